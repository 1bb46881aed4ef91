//! Connecting by sign-in, as REST says it. What is behind it is the auth service's business and tested there.

use async_trait::async_trait;
use http::Method;
use parking_lot::Mutex;
use plugboard_core::clock::Millis;
use plugboard_core::identity::{
    Account, ClientOwner, Connect, DeviceStatus, IdentityError, IssuedSession, NewConnectSession, NewOAuthClient,
    OAuthClient, SignIn, StartedDevice, StartedSignIn,
};
use plugboard_core::ids::{OrganizationId, ServiceKey};
use plugboard_core::secret::Secret;
use serde_json::json;

use super::support::World;

const NOW: Millis = Millis(1_800_000_000_000);

/// Remembers what it was asked.
#[derive(Default)]
pub(super) struct FakeConnect {
    sign_ins: Mutex<Vec<SignIn>>,
    sessions: Mutex<Vec<NewConnectSession>>,
    clients: Mutex<Vec<NewOAuthClient>>,
}

fn listed(client: &NewOAuthClient) -> OAuthClient {
    OAuthClient {
        service: client.service.clone(),
        client_id: client.client_id.clone(),
        has_secret: client.client_secret.is_some(),
        redirect_uri: format!("https://plugboard.example/oauth/callback/{}", client.service),
        updated_at: NOW,
    }
}

#[async_trait]
impl Connect for FakeConnect {
    async fn start_sign_in(&self, request: SignIn) -> Result<StartedSignIn, IdentityError> {
        self.sign_ins.lock().push(request);
        Ok(StartedSignIn { url: "https://plugboard.example/oauth/start/x".to_owned(), expires_at: NOW })
    }

    async fn start_device(&self, request: SignIn) -> Result<StartedDevice, IdentityError> {
        self.sign_ins.lock().push(request);
        Ok(StartedDevice {
            id: "dev_1".to_owned(),
            user_code: "ABCD-EFGH".to_owned(),
            verification_uri: "https://vendor.example/device".to_owned(),
            verification_uri_complete: None,
            interval_seconds: 5,
            expires_at: NOW,
        })
    }

    async fn device(&self, _: &OrganizationId, id: &str) -> Result<DeviceStatus, IdentityError> {
        match id {
            "dev_1" => Ok(DeviceStatus::Pending { interval_seconds: 10 }),
            "dev_2" => Ok(DeviceStatus::Failed("the vendor refused: HTTP 400".to_owned())),
            _ => Err(IdentityError::NotFound { what: "the sign-in" }),
        }
    }

    async fn create_session(&self, request: NewConnectSession) -> Result<IssuedSession, IdentityError> {
        self.sessions.lock().push(request);
        Ok(IssuedSession {
            id: "s1".to_owned(),
            token: Secret::new("t1"),
            url: Secret::new("https://plugboard.example/connect/t1"),
            expires_at: NOW,
            claim: None,
        })
    }

    async fn redeem_claim(&self, _: &OrganizationId, claim: &Secret) -> Result<Vec<Account>, IdentityError> {
        if claim.expose() == "good" { Ok(Vec::new()) } else { Err(IdentityError::NotFound { what: "the claim" }) }
    }

    async fn set_client(&self, request: NewOAuthClient) -> Result<OAuthClient, IdentityError> {
        let client = listed(&request);
        self.clients.lock().push(request);
        Ok(client)
    }

    async fn clients(&self, owner: &ClientOwner) -> Result<Vec<OAuthClient>, IdentityError> {
        Ok(self.clients.lock().iter().filter(|client| client.owner == *owner).map(listed).collect())
    }

    async fn remove_client(&self, owner: &ClientOwner, service: &ServiceKey) -> Result<OAuthClient, IdentityError> {
        let mut clients = self.clients.lock();
        let at = clients.iter().position(|client| client.owner == *owner && client.service == *service);
        Ok(listed(&clients.remove(at.ok_or(IdentityError::NotFound { what: "the OAuth client" })?)))
    }
}

#[tokio::test]
async fn a_sign_in_begins_with_a_link_or_a_code() {
    let world = World::new().await;
    let wanted = json!({"service": "alpha", "label": "Main", "fields": {"host": "a.example"}, "return_url": "https://a.example"});
    let link = world.post("/api/v1/connections/oauth/start", "admin", wanted.clone()).await.expect(201);
    assert_eq!(link["url"], "https://plugboard.example/oauth/start/x");
    let code = world.post("/api/v1/connections/device/start", "admin", wanted.clone()).await.expect(201);
    assert_eq!((&code["user_code"], &code["interval"]), (&json!("ABCD-EFGH"), &json!(5)));
    let sign_ins = world.connecting.sign_ins.lock().clone();
    assert_eq!(sign_ins.len(), 2);
    assert_eq!(sign_ins[0].organization, world.org);
    assert_eq!(sign_ins[0].fields["host"].expose(), "a.example");
    let pending = world.get("/api/v1/connections/device/dev_1", "admin").await.expect(200);
    assert_eq!(pending, json!({"status": "pending", "interval": 10}));
    let failed = world.get("/api/v1/connections/device/dev_2", "admin").await.expect(200);
    assert_eq!(failed["status"], "failed");
    assert_eq!(world.get("/api/v1/connections/device/none", "admin").await.status, 404);

    let others = json!({"service": "alpha", "owner": "boris"});
    assert_eq!(world.post("/api/v1/connections/oauth/start", "anna-admin", others).await.status, 403);
    let unknown = json!({"service": "nothing"});
    assert_eq!(world.post("/api/v1/connections/oauth/start", "admin", unknown).await.status, 404);
    assert_eq!(world.connecting.sign_ins.lock().len(), 2);
}

#[tokio::test]
async fn a_session_link_is_for_the_keys_own_user() {
    let world = World::new().await;
    let wanted = json!({"subject": "boris", "services": ["alpha"], "return_url": "https://a.example/done"});
    let made = world.post("/api/v1/connect-sessions", "admin", wanted.clone()).await.expect(201);
    assert_eq!(made["url"], "https://plugboard.example/connect/t1");
    assert_eq!(world.post("/api/v1/connect-sessions", "anna-admin", wanted.clone()).await.status, 403);
    assert_eq!(world.post("/api/v1/connect-sessions", "reader", wanted.clone()).await.status, 403);
    world.post("/api/v1/connect-sessions", "anna-admin", json!({})).await.expect(201);
    let subjects: Vec<_> = world.connecting.sessions.lock().iter().map(|one| one.subject.clone().unwrap().0).collect();
    assert_eq!(subjects, ["boris", "anna"]);
    let claim = |claim: &str| json!({"claim": claim});
    let redeemed = world.post("/api/v1/connect-sessions/claims", "admin", claim("good")).await.expect(200);
    assert_eq!(redeemed, json!({"connections": []}));
    assert_eq!(world.post("/api/v1/connect-sessions/claims", "admin", claim("bad")).await.status, 404);
}

#[tokio::test]
async fn clients_are_the_organizations_or_the_platforms() {
    let world = World::new().await;
    let client = json!({"client_id": "id", "client_secret": "CANARY"});
    let path = "/api/v1/oauth-clients/alpha";
    for key in ["admin", "operator-key"] {
        let set = world.ask(Method::PUT, path, key, Some(client.clone())).await.expect(200);
        assert_eq!((&set["has_secret"], set.to_string().contains("CANARY")), (&json!(true), false));
        let list = world.get("/api/v1/oauth-clients", key).await.expect(200);
        assert_eq!(list["clients"].as_array().unwrap().len(), 1, "{key}");
    }
    assert_eq!(world.ask(Method::PUT, path, "anna-admin", Some(client.clone())).await.status, 403);
    assert_eq!(world.ask(Method::DELETE, path, "admin", None).await.status, 204);
    assert_eq!(world.ask(Method::DELETE, path, "admin", None).await.status, 404);
}
