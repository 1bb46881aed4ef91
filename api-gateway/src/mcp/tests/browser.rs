//! Origins, hosts and preflights.

use super::*;

fn from(host: &str, origin: &str) -> Request<Body> {
    post(&[("host", host), ("origin", origin)], r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#)
}

#[tokio::test]
async fn origins() {
    let app = App::new();
    for (host, origin, status) in [
        ("mcp.example.com", "", 200),
        ("mcp.example.com", "https://app.example.com", 200),
        ("mcp.example.com", "HTTPS://APP.example.com", 200),
        ("mcp.example.com", "https://evil.example.com", 403),
        ("mcp.example.com", "https://app.example.com.evil.com", 403),
        ("mcp.example.com", "http://app.example.com", 403),
        ("mcp.example.com", "null", 403),
        ("mcp.example.com", "http://localhost:6274", 403),
        ("127.0.0.1:3000", "http://localhost:6274", 200),
        ("localhost:3000", "http://[::1]:6274", 200),
        ("localhost:3000", "http://evil.example.com", 403),
        ("evil.example.com", "http://evil.example.com", 403),
    ] {
        let (found, body) = app.json(from(host, origin)).await;
        assert_eq!(found, status, "{host} {origin}");
        assert!(body["jsonrpc"] == "2.0");
    }
}

#[tokio::test]
async fn foreign_hosts_are_refused_where_names_are_known() {
    let mut local = settings();
    local.allowed_hosts = HostPolicy::Loopback;
    let local = App::with(local);
    let mut named = settings();
    named.allowed_hosts = HostPolicy::Names(vec!["mcp.example.com".to_owned()]);
    let named = App::with(named);
    for (app, host, status) in [
        (&local, "127.0.0.1:80", 200),
        (&local, "[::1]:80", 200),
        (&local, "evil.example.com", 403),
        (&named, "mcp.example.com:443", 200),
        (&named, "localhost", 200),
        (&named, "evil.example.com", 403),
        (&named, "", 403),
    ] {
        assert_eq!(app.json(from(host, "")).await.0, status, "{host}");
    }
}

#[tokio::test]
async fn a_listed_page_may_preflight_and_read_the_challenge() {
    let app = App::new();
    let preflight = |origin: &str| {
        Request::options("/mcp")
            .header("host", "mcp.example.com")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,mcp-param-region")
            .body(Body::empty())
            .unwrap()
    };
    let response = app.send(preflight("https://app.example.com")).await;
    assert_eq!(response.status(), 204);
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("access-control-allow-origin"), "https://app.example.com");
    assert_eq!(header("access-control-allow-headers"), "authorization,mcp-param-region");
    assert!(header("access-control-allow-methods").contains("POST"));

    assert_eq!(app.send(preflight("https://evil.example.com")).await.status(), 403);

    let mut refused = from("mcp.example.com", "https://app.example.com");
    refused.headers_mut().remove("authorization");
    let response = app.send(refused).await;
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["access-control-allow-origin"], "https://app.example.com");
    assert!(response.headers()["access-control-expose-headers"].to_str().unwrap().contains("WWW-Authenticate"));
    assert_eq!(response.headers()["vary"], "Origin");
}

#[tokio::test]
async fn forms_cannot_post() {
    let app = App::new();
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    for (kind, status) in [
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/json; charset=utf-8", 200),
        ("Application/JSON", 200),
        ("", 200),
    ] {
        assert_eq!(app.json(post(&[("content-type", kind)], body)).await.0, status, "{kind}");
    }
}
