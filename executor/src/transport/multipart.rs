//! A body as `multipart/form-data` (RFC 7578): files travel as they are, not as the base64 in which a caller gives them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::body::{Members, plain};
use crate::http::request::BuildError;

/// A member that is a file.
#[derive(Deserialize)]
struct File {
    filename: String,
    content: String,
    content_type: Option<String>,
}

struct Part {
    /// Without the line breaks around it.
    head: String,
    content: Vec<u8>,
}

/// The body and its content type. The same members always make the same bytes: the boundary is a hash of the content, which
/// therefore cannot hold it.
pub(super) fn encode(members: &Members<'_>) -> Result<(Bytes, HeaderValue), BuildError> {
    let mut parts = Vec::with_capacity(members.len());
    for (name, value) in members {
        let text = value.get();
        if text.starts_with('[') {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| BuildError::Body("is not JSON"))?;
            for item in items {
                parts.extend(part(name, item)?);
            }
        } else {
            parts.extend(part(name, value)?);
        }
    }
    let mut hash = Sha256::new();
    for part in &parts {
        hash.update(&part.head);
        hash.update(&part.content);
    }
    let boundary = hex::encode(&hash.finalize()[..16]);
    let mut body = Vec::new();
    for part in &parts {
        body.extend_from_slice(format!("--{boundary}\r\n{}\r\n\r\n", part.head).as_bytes());
        body.extend_from_slice(&part.content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    let kind = HeaderValue::try_from(format!("multipart/form-data; boundary={boundary}"))
        .map_err(|_| BuildError::Body("cannot be sent"))?;
    Ok((Bytes::from(body), kind))
}

/// `None` for null, which is left out.
fn part(name: &str, value: &RawValue) -> Result<Option<Part>, BuildError> {
    let text = value.get();
    let mut head = format!("Content-Disposition: form-data; name=\"{}\"", quoted(name));
    if text == "null" {
        return Ok(None);
    }
    if !text.starts_with(['{', '[']) {
        return Ok(Some(Part { head, content: plain(value)?.into_bytes() }));
    }
    let Ok(file) = serde_json::from_str::<File>(text) else {
        head.push_str("\r\nContent-Type: application/json");
        return Ok(Some(Part { head, content: text.as_bytes().to_vec() }));
    };
    let content = STANDARD.decode(&file.content).map_err(|_| BuildError::Body("has a file that is not base64"))?;
    let kind = file.content_type.as_deref().unwrap_or("application/octet-stream");
    // What a caller writes must not become a header, nor the end of one.
    if kind.is_empty() || !kind.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Err(BuildError::Body("has a file whose content_type cannot be sent"));
    }
    head.push_str(&format!("; filename=\"{}\"\r\nContent-Type: {kind}", quoted(&file.filename)));
    Ok(Some(Part { head, content }))
}

/// As browsers do (HTML, multipart form data).
fn quoted(text: &str) -> String {
    text.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(json: &str) -> Result<(String, String), BuildError> {
        let (body, kind) = encode(&serde_json::from_str(json).unwrap())?;
        Ok((String::from_utf8(body.to_vec()).unwrap(), kind.to_str().unwrap().to_owned()))
    }

    #[test]
    fn files_fields_and_lists_are_parts() {
        let json = r#"{"purpose": "batch", "count": 1.50, "none": null, "meta": {"a": [1]}, "tags": ["x", "y"],
            "file": {"filename": "a \"b\".txt", "content": "aGVsbG8=", "content_type": "text/plain"}}"#;
        let (body, kind) = text_of(json).unwrap();
        assert_eq!(text_of(json).unwrap().0, body, "the same for every attempt");
        let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
        let expected = [
            "form-data; name=\"purpose\"\r\n\r\nbatch",
            "form-data; name=\"count\"\r\n\r\n1.50",
            "form-data; name=\"meta\"\r\nContent-Type: application/json\r\n\r\n{\"a\": [1]}",
            "form-data; name=\"tags\"\r\n\r\nx",
            "form-data; name=\"tags\"\r\n\r\ny",
            "form-data; name=\"file\"; filename=\"a %22b%22.txt\"\r\nContent-Type: text/plain\r\n\r\nhello",
        ];
        let parts: Vec<String> =
            expected.iter().map(|part| format!("--{boundary}\r\nContent-Disposition: {part}\r\n")).collect();
        assert_eq!(body, format!("{}--{boundary}--\r\n", parts.concat()));
        assert_ne!(text_of(r#"{"purpose": "other"}"#).unwrap().1, kind);
    }

    #[test]
    fn what_would_be_a_header_of_its_own_is_refused() {
        for file in [
            r#"{"filename": "a", "content": "!"}"#,
            r#"{"filename": "a", "content": "", "content_type": "text/plain\r\nX: y"}"#,
            r#"{"filename": "a", "content": "", "content_type": ""}"#,
        ] {
            assert!(text_of(&format!("{{\"file\": {file}}}")).is_err(), "{file}");
        }
        let (body, _) = text_of(r#"{"a\r\nX: y": 1, "f": {"filename": "b\nZ: w", "content": ""}}"#).unwrap();
        assert!(body.contains("name=\"a%0D%0AX: y\"") && body.contains("filename=\"b%0AZ: w\""), "{body}");
    }
}
