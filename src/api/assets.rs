//! The page, out of the binary.

use axum::{
    http::{HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};
use rust_embed::RustEmbed;

use super::error::ApiError;

#[derive(RustEmbed)]
#[folder = "$NEXFLOW_PAGES"]
struct Pages;

/// A file of the page; paths that are no file and no API are the page itself.
pub(super) async fn page(method: Method, uri: Uri) -> Response {
    let path = uri.path().trim_start_matches('/');
    let api = ["api/", "ws/", "hooks/", "v1/", "mcp"]
        .iter()
        .any(|start| path.starts_with(start));
    if api || !matches!(method, Method::GET | Method::HEAD) {
        return ApiError::not_found("such path").into_response();
    }
    let name = if path.is_empty() { "index.html" } else { path };
    let found = Pages::get(name).map(|file| (file, name.starts_with("assets/")));
    // Asset names carry a hash of their content; everything else may change with the next version.
    let Some((file, lasting)) = found.or_else(|| Some((Pages::get("index.html")?, false))) else {
        return ApiError::not_found("page in this build").into_response();
    };
    if found_nothing(name) && name.contains('.') {
        return ApiError::not_found("such file").into_response();
    }
    let cache = if lasting {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let kind = HeaderValue::from_str(file.metadata.mimetype())
        .unwrap_or(HeaderValue::from_static("application/octet-stream"));
    let mut response = (StatusCode::OK, file.data.into_owned()).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}

fn found_nothing(name: &str) -> bool {
    Pages::get(name).is_none()
}
