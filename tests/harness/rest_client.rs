//! Management over HTTP, and the plain HTTP client that the other clients share.
#![allow(clippy::disallowed_types, reason = "a test speaks to the product from outside")]

use std::sync::OnceLock;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

/// One client for the whole test binary; all tests run on one runtime.
pub fn http() -> &'static Client {
    static HTTP: OnceLock<Client> = OnceLock::new();
    HTTP.get_or_init(|| Client::builder().no_proxy().timeout(Duration::from_secs(120)).build().unwrap())
}

/// An HTTP answer with a JSON body, where it has one.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
    pub json: Value,
}

impl Reply {
    /// # Panics
    /// When the request itself fails.
    pub async fn of(request: RequestBuilder) -> Self {
        Self::try_of(request).await.unwrap_or_else(|error| panic!("{error:?}"))
    }

    /// # Errors
    /// When there is no answer.
    pub async fn try_of(request: RequestBuilder) -> Result<Self, reqwest::Error> {
        let answer = request.send().await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await?;
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Self { status, headers, text, json })
    }

    /// What the last event of a stream says, where the answer is one.
    pub fn last_event(&self) -> Option<Value> {
        let streamed = self.header("content-type").starts_with("text/event-stream");
        let last = streamed.then(|| self.text.lines().rev().find_map(|line| line.strip_prefix("data: ")))?;
        serde_json::from_str(last?).ok()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// # Panics
    /// When the status is another one.
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json
    }

    /// # Panics
    /// When this is not a problem document with this status and code.
    pub fn expect_problem(self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text);
        assert_eq!(self.json["code"], code, "{}", self.text);
        assert_eq!(self.json["status"], status, "{}", self.text);
        assert!(self.json["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{}", self.text);
        self.json
    }
}

/// REST with one key.
#[derive(Debug, Clone)]
pub struct Rest {
    base: String,
    key: String,
}

impl Rest {
    pub fn new(base: &str, key: &str) -> Self {
        Self { base: base.to_owned(), key: key.to_owned() }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = http().request(method, format!("{}{path}", self.base));
        if self.key.is_empty() { request } else { request.bearer_auth(&self.key) }
    }

    pub async fn get(&self, path: &str) -> Reply {
        Reply::of(self.request(Method::GET, path)).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        Reply::of(self.request(Method::DELETE, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        Reply::of(self.request(Method::POST, path).json(body)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Reply {
        Reply::of(self.request(Method::PATCH, path).json(body)).await
    }

    /// Connects an account and returns its id.
    pub async fn connect(&self, service: &str, label: &str, credentials: &Value) -> String {
        let body = json!({"service": service, "label": label, "credentials": credentials});
        let made = self.post("/api/v1/connections", &body).await.expect(201);
        made["id"].as_str().unwrap().to_owned()
    }

    /// Issues a key of this key's organization.
    pub async fn issue(&self, scopes: &[&str]) -> (String, String) {
        let body = json!({"name": "test", "scopes": scopes});
        let made = self.post("/api/v1/organizations/me/api-keys", &body).await.expect(201);
        (made["id"].as_str().unwrap().to_owned(), made["key"].as_str().unwrap().to_owned())
    }
}
