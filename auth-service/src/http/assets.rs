//! The style sheet, the script and the icon: in the binary, under names made of their content, so that browsers may keep
//! them for ever.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode};
use plugboard_core::pages;
use sha2::{Digest, Sha256};

struct Asset {
    name: String,
    kind: &'static str,
    text: String,
}

impl Asset {
    fn new(stem: &str, extension: &str, kind: &'static str, parts: &[&str]) -> Self {
        let text = parts.concat();
        let digest = hex::encode(&Sha256::digest(&text)[..8]);
        Self { name: format!("{stem}-{digest}.{extension}"), kind, text }
    }

    fn path(&self) -> String {
        format!("/connect/assets/{}", self.name)
    }
}

// Made of constants at their first use, the same in every process.
static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("connect", "css", "text/css; charset=utf-8", &[pages::PALETTE, include_str!("assets/connect.css")])
});
static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("connect", "js", "text/javascript; charset=utf-8", &[include_str!("assets/connect.js")])
});
static ICON: LazyLock<Asset> = LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", &[pages::ICON]));

pub(super) fn style() -> String {
    STYLE.path()
}

pub(super) fn script() -> String {
    SCRIPT.path()
}

pub(super) fn icon() -> String {
    ICON.path()
}

pub(super) async fn serve(Path(name): Path<String>) -> Response {
    let Some(asset) = [&STYLE, &SCRIPT, &ICON].into_iter().find(|asset| asset.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let mut response = asset.text.as_str().into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
