//! Files of messages: what came in with one, what went out with one.

use axum::{
    extract::State,
    http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};

use super::{
    App,
    access::Caller,
    chat::own,
    error::{ApiError, ApiResult, Path},
};
use crate::{store::messages, types::MessageId};

/// What a browser may show by itself; anything else is saved, because it may be a page.
const SHOWN: &[&str] = &["image/png", "image/jpeg", "image/gif", "image/webp"];

/// One file, by its place in the message's list, from 0.
pub(super) async fn show(
    State(app): State<App>,
    caller: Caller,
    Path((id, n)): Path<(MessageId, u32)>,
) -> ApiResult<Response> {
    let message = app.store().read(move |c| messages::get(c, id)).await?;
    let message = message.ok_or_else(|| ApiError::not_found("such message"))?;
    own(&app, &caller, message.session).await?;
    let file = app
        .store()
        .read(move |c| messages::attachment(c, id, n))
        .await?;
    let file = file.ok_or_else(|| ApiError::not_found("such attachment"))?;
    let shown = SHOWN.iter().find(|kind| **kind == file.media_type);
    let how = if shown.is_some() {
        "inline"
    } else {
        "attachment"
    };
    let kind = shown.unwrap_or(&"application/octet-stream");
    let headers = [
        (CONTENT_TYPE, (*kind).to_owned()),
        (CONTENT_DISPOSITION, disposition(how, &file.name)),
        // What a message brought along never changes.
        (
            CACHE_CONTROL,
            "private, max-age=86400, immutable".to_owned(),
        ),
    ];
    Ok((headers, file.data).into_response())
}

/// With the file's name, as RFC 6266 and RFC 8187 write it.
fn disposition(how: &str, name: &str) -> String {
    let mut plain = String::new();
    let mut encoded = String::new();
    for c in name.chars().filter(|c| !c.is_control()) {
        let safe = c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        plain.push(if safe || c == ' ' { c } else { '_' });
        if safe {
            encoded.push(c);
        } else {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                encoded.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    format!("{how}; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_end_the_header() {
        assert_eq!(
            disposition("attachment", "a\"; x=\r\ny ü.txt"),
            "attachment; filename=\"a__ x_y _.txt\"; filename*=UTF-8''a%22%3B%20x%3Dy%20%C3%BC.txt"
        );
    }
}
