//! An organization of a test's own, so that tests can share a stack.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plugboard_core::manifest::credentials::flow_of;
use plugboard_core::manifest::{ClientAuth, Flow, FlowKind, Manifest, TokenGrant};
use serde_json::{Value, json};

use crate::examples::shipped;
use crate::made_up::{self, document};
use crate::mcp_client::McpClient;
use crate::rest_client::Rest;
use crate::sign_in::sign_in;
use crate::stack::Stack;
use crate::vendor::{Answer, Vendor};

pub use crate::made_up::unique;

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
    pub fields: BTreeMap<String, String>,
    /// Where the credential does not travel itself.
    pub token: Option<String>,
    /// What must not be seen anywhere.
    pub secret: String,
    /// What the vendor sees in every request of this account, and of no other: its mark.
    pub mark: String,
    /// Its requests are signed and show no credential: the mark is the vendor's domain, which other accounts share.
    pub only_signs: bool,
}

impl Account {
    /// What must not be seen anywhere, in the form in which it travels too.
    pub fn secrets(&self) -> Vec<String> {
        let mark = (!self.only_signs).then(|| self.mark.clone());
        [self.secret.clone()].into_iter().chain(mark).collect()
    }
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

    /// Connects an account with a secret that nobody else has, in the way the manifest prefers.
    pub async fn connect(&self, service: &str, label: &str, vendor: &Vendor) -> Account {
        let manifest = shipped(service);
        self.connect_by(&manifest, &manifest.auth.flows[0], label, vendor).await
    }

    /// By one of its flows.
    ///
    /// # Panics
    /// When the vendor's answers do not connect an account.
    pub async fn connect_by(&self, manifest: &Manifest, flow: &Flow, label: &str, vendor: &Vendor) -> Account {
        let service = manifest.key.clone();
        let account = |id, fields, token: Option<String>, secret, mark: String| Account {
            id,
            service: service.clone(),
            label: label.to_owned(),
            fields: with_defaults(manifest, fields),
            token,
            secret,
            only_signs: manifest.modules.values().any(|module| module.base_url.contains(&mark)),
            mark,
        };
        if flow.kind != FlowKind::Credentials {
            let done = sign_in(self, manifest, flow, label, vendor).await;
            return account(done.id, done.fields, Some(done.token.clone()), done.token.clone(), done.token);
        }
        let fields = made_up::fields(&flow.fields);
        let token = manifest.transport.token.as_ref().map(|grant| grant_token(grant, flow, &fields, vendor));
        let (secret, mark) = match &token {
            Some((secret, token)) => (secret.clone(), token.clone()),
            None => travelling(manifest, flow, &fields),
        };
        let id = self.rest().connect(&manifest.key, label, &json!(fields)).await;
        account(id, fields, token.map(|(_, token)| token), secret, mark)
    }
}

/// A template of a manifest with an account's values in it.
pub fn rendered(template: &str, fields: &BTreeMap<String, String>, token: Option<&str>) -> String {
    let mut text = template.replace("{token}", token.unwrap_or("{token}"));
    for (name, value) in fields {
        text = text.replace(&format!("{{account.{name}}}"), value);
    }
    text
}

/// What was left empty has the manifest's value.
fn with_defaults(manifest: &Manifest, mut fields: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let flow = flow_of(manifest, |name| fields.contains_key(name));
    for (name, field) in flow.iter().flat_map(|flow| &flow.fields) {
        if let Some(default) = &field.default {
            fields.entry(name.clone()).or_insert_with(|| default.clone());
        }
    }
    fields
}

/// The secret that travels, and how its requests are known: as itself, or encoded where it is a password. Where requests are
/// signed it may stay at home: then by the vendor's domain, which is nobody else's.
fn travelling(manifest: &Manifest, flow: &Flow, fields: &BTreeMap<String, String>) -> (String, String) {
    let transport = &manifest.transport;
    let basic = transport.basic.iter().flat_map(|basic| [&basic.password, &basic.username]);
    let places = [&transport.headers, &transport.query, &transport.body].into_iter().flat_map(|list| list.values());
    let signed =
        transport.signatures.values().flat_map(|signature| [&signature.headers, &signature.query, &signature.body]);
    let signed = signed.flat_map(|list| list.values());
    let urls = manifest.modules.values().map(|module| &module.base_url);
    let named = |text: &&String| {
        let stands = |name: &String| {
            [format!("{{account.{name}}}"), format!("{{account.{name}|")].iter().any(|one| text.contains(one))
        };
        flow.fields.iter().find(|(name, field)| field.secret && stands(name))
    };
    let secret = |text: &String| named(&text).and_then(|(name, _)| fields.get(name)).cloned();
    if let (Some(pair), Some(secret)) = (&transport.basic, basic.clone().find_map(secret)) {
        let pair = format!("{}:{}", rendered(&pair.username, fields, None), rendered(&pair.password, fields, None));
        return (secret, STANDARD.encode(pair));
    }
    let secret = places.chain(signed).chain(urls).find_map(secret);
    if secret.is_none() && !transport.signatures.is_empty() {
        let field = flow.fields.iter().find(|(_, field)| field.secret).and_then(|(name, _)| fields.get(name));
        let host = manifest.modules[0].base_url.trim_start_matches("https://").split('/').next().unwrap();
        let domain: Vec<&str> = host.rsplitn(3, '.').take(2).collect();
        return (field.unwrap().clone(), format!("{}.{}", domain[1], domain[0]));
    }
    let secret = secret.unwrap_or_else(|| panic!("{} has no secret that travels", manifest.key));
    (secret.clone(), secret)
}

/// Has the vendor issue a token for these credentials, as often as it is asked: the secret, and the token.
fn grant_token(
    grant: &TokenGrant,
    flow: &Flow,
    fields: &BTreeMap<String, String>,
    vendor: &Vendor,
) -> (String, String) {
    let id = rendered(&grant.client_id, fields, None);
    let secret = match &grant.login {
        // The password, wherever the template has it.
        Some(login) => {
            let body = login.body.to_string();
            let mut secrets = flow.fields.iter().filter(|(_, field)| field.secret);
            let name = secrets.find(|(name, _)| body.contains(&format!("{{account.{name}}}"))).unwrap().0;
            fields[name].clone()
        }
        None => rendered(&grant.client_secret, fields, None),
    };
    let sent = match grant.client_auth {
        ClientAuth::Basic => STANDARD.encode(format!("{id}:{secret}")),
        ClientAuth::Body | ClientAuth::None => secret.clone(),
    };
    let token = format!("tok{}", unique());
    let reply = document(&[
        (&grant.access_token, json!(token)),
        (&grant.expires_in, json!(3600)),
        ("/token_type", json!("bearer")),
    ]);
    vendor.on(&sent, Answer::json(200, &reply));
    (secret, token)
}

/// Credentials as the manifest names them, and the secret among them that travels.
pub fn credentials(service: &str) -> (Value, String) {
    let manifest = shipped(service);
    let flow = manifest.flow(FlowKind::Credentials).unwrap();
    let fields = made_up::fields(&flow.fields);
    let (secret, _) = travelling(&manifest, flow, &fields);
    (json!(fields), secret)
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
