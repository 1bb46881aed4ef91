//! An organization of a test's own, so that tests can share a stack.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::mcp_client::McpClient;
use crate::rest_client::Rest;
use crate::stack::Stack;
use crate::vendor::{Answer, Vendor};

/// The key of a fresh organization, with all scopes.
#[derive(Debug, Clone)]
pub struct Tenant {
    pub organization: String,
    pub key: String,
    url: String,
}

/// A connected account.
#[derive(Debug, Clone)]
pub struct Account {
    pub id: String,
    pub service: String,
    pub label: String,
    /// What must not be seen anywhere.
    pub secret: String,
    /// What the vendor sees in every request of this account, and of no other: its mark.
    pub mark: String,
}

/// Letters and digits that occur nowhere else.
pub fn unique() -> String {
    format!("cnr{}", uuid::Uuid::new_v4().simple())
}

impl Tenant {
    pub async fn new(stack: &Stack) -> Self {
        let operator = stack.rest(stack.operator_key());
        let made = operator.post("/api/v1/organizations", &json!({"name": "A tenant of a test"})).await.expect(201);
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        Self { organization: text("id"), key: text("api_key"), url: stack.url().to_owned() }
    }

    pub fn rest(&self) -> Rest {
        Rest::new(&self.url, &self.key)
    }

    pub fn mcp(&self) -> McpClient {
        McpClient::modern(&self.url, &self.key)
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same with another key of this organization.
    pub fn with_key(&self, key: &str) -> McpClient {
        McpClient::modern(&self.url, key)
    }

    /// Connects an account with a secret that nobody else has.
    pub async fn connect(&self, service: &str, label: &str, vendor: &Vendor) -> Account {
        let secret = unique();
        let (credentials, secret) = credentials(service, &secret);
        let mark = match service {
            // Travels encoded.
            "onec_odata" => STANDARD.encode(format!("Иванов:{secret}")),
            // Does not travel: a token does, which the vendor issues for it.
            "cdek" => {
                let token = format!("tok{}", unique());
                vendor.on(
                    &secret,
                    Answer::json(200, &json!({"access_token": token, "token_type": "bearer", "expires_in": 3600})),
                );
                token
            }
            _ => secret.clone(),
        };
        let id = self.rest().connect(service, label, &credentials).await;
        Account { id, service: service.to_owned(), label: label.to_owned(), secret, mark }
    }
}

/// Credentials as the manifests name them, and the secret among them.
pub fn credentials(service: &str, unique: &str) -> (Value, String) {
    let secret = match service {
        "telegram" => format!("123456789:{unique}"),
        "stripe" => format!("sk_test_{unique}"),
        _ => unique.to_owned(),
    };
    let fields = match service {
        "wildberries" => json!({"api_token": secret}),
        "ozon" => json!({"client_id": "836271", "api_key": secret}),
        "bitrix24" => json!({"portal_host": "lebed.bitrix24.ru", "webhook_user_id": "17", "webhook_code": secret}),
        "onec_odata" => {
            json!({"host": "1c.lebed-home.ru", "publication": "base/ut", "username": "Иванов", "password": secret})
        }
        "telegram" | "max_messenger" => json!({"bot_token": secret}),
        "stripe" => json!({"secret_key": secret}),
        "github" | "hubspot" => json!({"access_token": secret}),
        "cdek" => json!({"client_id": "cdek-account", "client_secret": secret}),
        "yandex_metrika" => json!({"oauth_token": secret}),
        "supadata" => json!({"api_key": secret}),
        other => panic!("no credentials for {other}"),
    };
    (fields, secret)
}

/// A read of HubSpot without required arguments.
pub fn hubspot_read() -> Value {
    json!({"service": "hubspot", "module": "crm", "method": "GET", "path": "/crm/v3/owners"})
}

/// A plain POST of HubSpot, effect `once`, with this name in its body.
pub fn hubspot_write(name: &str) -> Value {
    json!({
        "service": "hubspot", "module": "crm", "method": "POST", "path": "/crm/v3/objects/deals",
        "body": {"properties": {"dealname": name}}
    })
}
