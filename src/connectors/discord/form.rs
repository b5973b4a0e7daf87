//! Files on the way out: the multipart form that Discord takes them in.

use rand::Rng as _;
use serde_json::Value;

use crate::types::Attachment;

/// The content type and the body of a request with files. Their order is that of `attachments` in the
/// JSON part.
pub(super) fn with_files(payload: &Value, files: &[Attachment]) -> (String, Vec<u8>) {
    // Nothing in a file can be mistaken for it.
    let boundary = format!("nexflow-{:032x}", rand::rng().random::<u128>());
    let mut body = Vec::new();
    let mut part = |head: String, content: &[u8]| {
        body.extend_from_slice(format!("--{boundary}\r\n{head}\r\n\r\n").as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    };
    part(
        "Content-Disposition: form-data; name=\"payload_json\"\r\nContent-Type: application/json"
            .to_owned(),
        payload.to_string().as_bytes(),
    );
    for (at, file) in files.iter().enumerate() {
        let head = format!(
            "Content-Disposition: form-data; name=\"files[{at}]\"; filename=\"{}\"\r\nContent-Type: {}",
            quoted(&file.name),
            media_type(&file.media_type)
        );
        part(head, &file.data);
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={boundary}"), body)
}

/// A file name within quotes, as browsers write it.
fn quoted(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '"' => out.push_str("%22"),
            '\r' | '\n' => out.push(' '),
            c => out.push(c),
        }
    }
    if out.is_empty() {
        "file".to_owned()
    } else {
        out
    }
}

fn media_type(given: &str) -> &str {
    let plain = !given.is_empty() && given.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    if plain {
        given
    } else {
        "application/octet-stream"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_place() {
        let file = Attachment {
            name: "a\"; name=\"x\r\nEvil: 1.txt".to_owned(),
            media_type: "text/plain\r\nEvil: 2".to_owned(),
            data: b"--nexflow".to_vec(),
        };
        let (kind, body) = with_files(&serde_json::json!({ "content": "x" }), &[file]);
        let text = String::from_utf8(body).unwrap();
        assert!(!text.contains("\r\nEvil"), "{text}");
        assert!(
            text.contains("filename=\"a%22; name=%22x  Evil: 1.txt\""),
            "{text}"
        );
        let boundary = kind.split_once("boundary=").unwrap().1;
        assert_eq!(text.matches(&format!("--{boundary}")).count(), 3);
    }
}
