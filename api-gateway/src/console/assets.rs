//! Styles, scripts and the icon: in the binary, in a folder named by the content of all of them, so that browsers may keep
//! them for ever and scripts find each other by their plain names.

use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode};
use plugboard_core::pages;
use sha2::{Digest, Sha256};

const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

macro_rules! assets {
    ($($name:literal: $kind:expr,)*) => {
        &[
            ("palette.css", STYLE, pages::PALETTE),
            ("icon.svg", PICTURE, pages::ICON),
            $(($name, $kind, include_str!(concat!("assets/", $name)))),*
        ]
    };
}

const ASSETS: &[(&str, &str, &str)] = assets! {
    "console.css": STYLE,
    "main.js": SCRIPT,
    "api.js": SCRIPT,
    "dom.js": SCRIPT,
    "format.js": SCRIPT,
    "charts.js": SCRIPT,
    "sign-in.js": SCRIPT,
    "overview.js": SCRIPT,
    "calls.js": SCRIPT,
    "call.js": SCRIPT,
    "letters.js": SCRIPT,
    "limits.js": SCRIPT,
    "accounts.js": SCRIPT,
};

/// Of all of them together.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for (name, _, text) in ASSETS {
        hash.update(name);
        hash.update(text);
    }
    hash.finalize().iter().take(8).fold(String::new(), |mut version, byte| {
        // Writing to a string cannot fail.
        let _ = write!(version, "{byte:02x}");
        version
    })
});

pub(super) fn path(name: &str) -> String {
    format!("/console/assets/{}/{name}", *VERSION)
}

pub(super) async fn serve(Path((version, name)): Path<(String, String)>) -> Response {
    let asset = ASSETS.iter().find(|(one, ..)| *one == name).filter(|_| version == *VERSION);
    let Some((_, kind, text)) = asset else { return StatusCode::NOT_FOUND.into_response() };
    let mut response = text.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
