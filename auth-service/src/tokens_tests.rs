use bytes::Bytes;
use http::{HeaderMap, StatusCode, Version};
use serde_json::json;

use super::*;

pub(crate) fn answer(status: u16, body: &'static str) -> EgressResponse {
    EgressResponse {
        status: StatusCode::from_u16(status).unwrap(),
        version: Version::HTTP_11,
        headers: HeaderMap::new(),
        body: Bytes::from_static(body.as_bytes()),
        remote: None,
        wire_bytes: 0,
        decoded_bytes: 0,
    }
}

fn request() -> TokenRequest {
    crate::grants::tests::request(&json!({
        "kind": "client_credentials", "url": "https://auth.vendor.example/token", "client_id": "a", "client_secret": "b",
    }))
}

#[test]
fn lives_are_read_as_vendors_write_them() {
    for (body, seconds) in [
        (r#"{"access_token":"t","expires_in":3600}"#, 3600),
        (r#"{"access_token":"t","expires_in":"3600"}"#, 3600),
        (r#"{"access_token":"t","expires_in":59.9}"#, 59),
        (r#"{"access_token":"t"}"#, 300),
        (r#"{"access_token":"t","expires_in":null}"#, 300),
        (r#"{"access_token":"t","expires_in":-5}"#, 0),
        (r#"{"access_token":"t","expires_in":1e18}"#, 86_400),
        (r#"{"access_token":"t","expires_in":{}}"#, 300),
    ] {
        let (token, life) = read(&answer(200, body), &request()).unwrap();
        assert_eq!((token.expose(), life.as_secs()), ("t", seconds), "{body}");
    }
}

#[test]
fn refusals_and_outages_are_told_apart() {
    let refused = |said: &str, code| Failure::Refused { said: said.into(), code };
    let invalid_client = Some("invalid_client");
    for (status, body, failure) in [
        (401, r#"{"error":"invalid_client"}"#, refused("HTTP 401, invalid_client", invalid_client)),
        (400, r#"{"error":"CANARY","error_description":"CANARY"}"#, refused("HTTP 400", None)),
        (403, "CANARY", refused("HTTP 403", None)),
        (200, r#"{"error":"invalid_client"}"#, refused("HTTP 200, invalid_client without a token", invalid_client)),
        (400, r#"{"error":"slow_down"}"#, refused("HTTP 400, slow_down", Some("slow_down"))),
        (429, r#"{"error":"slow_down"}"#, refused("HTTP 429, slow_down", Some("slow_down"))),
        (429, "", Failure::down("HTTP 429")),
        (503, "CANARY", Failure::down("HTTP 503")),
        (302, "", Failure::down("HTTP 302")),
        (200, "<html>CANARY", Failure::down("HTTP 200 without a JSON object")),
        (200, r#"{"token":"CANARY"}"#, Failure::down("an answer without a token")),
        (200, r#"{"access_token":""}"#, Failure::down("an answer with a token that cannot be sent")),
        (200, "{\"access_token\":\"a\\nb\"}", Failure::down("an answer with a token that cannot be sent")),
    ] {
        assert_eq!(read(&answer(status, body), &request()).unwrap_err(), failure);
    }
}

#[test]
fn a_vendor_may_have_its_own_codes() {
    let errors = IndexMap::from([("bad_refresh_token".to_owned(), "invalid_grant".to_owned())]);
    let failure = token_endpoint::json_of(&answer(200, r#"{"error":"bad_refresh_token"}"#), &errors).unwrap_err();
    assert_eq!(failure.code(), Some("invalid_grant"));
}
