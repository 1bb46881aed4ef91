use bytes::Bytes;
use http::{HeaderMap, StatusCode, Version};
use plugboard_core::egress::EgressResponse;

use super::*;

fn answer(status: u16, body: &'static str) -> EgressResponse {
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

fn request(client_auth: ClientAuth) -> TokenRequest {
    TokenRequest {
        url: "https://auth.vendor.example/token?v=2".into(),
        client_id: Secret::new("id:1"),
        client_secret: Secret::new("s&cret ю"),
        client_auth,
        scope: Some("orders read".into()),
    }
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
        let (token, life) = read(&answer(200, body)).unwrap();
        assert_eq!((token.expose(), life.as_secs()), ("t", seconds), "{body}");
    }
}

#[test]
fn refusals_and_outages_are_told_apart() {
    for (status, body, failure) in [
        (401, r#"{"error":"invalid_client"}"#, Failure::Refused("HTTP 401, invalid_client".into())),
        (400, r#"{"error":"CANARY","error_description":"CANARY"}"#, Failure::Refused("HTTP 400".into())),
        (403, "CANARY", Failure::Refused("HTTP 403".into())),
        (200, r#"{"error":"invalid_client"}"#, Failure::Refused("HTTP 200, invalid_client without a token".into())),
        (429, "", Failure::Down("HTTP 429".into())),
        (503, "CANARY", Failure::Down("HTTP 503".into())),
        (302, "", Failure::Down("HTTP 302".into())),
        (200, "<html>CANARY", Failure::Down("HTTP 200 without a JSON object".into())),
        (200, r#"{"token":"CANARY"}"#, Failure::Down("HTTP 200 without a token".into())),
        (200, r#"{"access_token":""}"#, Failure::Down("HTTP 200 with a token that cannot be sent".into())),
        (200, "{\"access_token\":\"a\\nb\"}", Failure::Down("HTTP 200 with a token that cannot be sent".into())),
    ] {
        assert_eq!(read(&answer(status, body)).unwrap_err(), failure);
    }
}

#[test]
fn the_client_shows_itself_in_the_body_or_in_a_header() {
    let body = outgoing(&request(ClientAuth::Body)).unwrap();
    assert_eq!(
        body.body.as_deref(),
        Some(
            "grant_type=client_credentials&client_id=id%3A1&client_secret=s%26cret+%D1%8E&scope=orders+read".as_bytes()
        )
    );
    assert!(!body.headers.contains_key(AUTHORIZATION));
    assert!(body.binding.permits(&body.url));
    assert!(!body.binding.permits(&parse_url("https://other.vendor.example/token").unwrap()));

    let basic = outgoing(&request(ClientAuth::Basic)).unwrap();
    assert_eq!(basic.body.as_deref(), Some("grant_type=client_credentials&scope=orders+read".as_bytes()));
    let expected = format!("Basic {}", STANDARD.encode("id%3A1:s%26cret+%D1%8E"));
    assert_eq!(basic.headers[AUTHORIZATION], expected.as_str());
    assert!(basic.headers[AUTHORIZATION].is_sensitive());
}
