use serde_json::json;

use plugboard_core::manifest::Connector;

use super::*;

fn connector(url: &str) -> Connector {
    let manifest = serde_json::from_value(json!({
        "key": "crm", "name": "CRM", "tagline": "CRM", "description": "A CRM.", "category": "crm",
        "docs": "https://crm.example/docs", "version": "1",
        "auth": {"flows": [{"kind": "credentials", "label": "Client", "fields": {
            "portal_host": {"label": "Portal", "host": true, "secret": false},
            "tenant": {"label": "Tenant", "secret": false, "sandbox": "demo"},
            "client_secret": {"label": "Secret"},
            "zone": {"label": "Zone", "secret": false, "optional": true, "default": "eu"},
            "note": {"label": "Note", "optional": true},
        }}]},
        "transport": {"token": {
            "kind": "client_credentials", "url": url, "client_id": "{account.tenant}",
            "client_secret": "{account.client_secret}",
        }},
        "modules": {"api": {"summary": "API", "base_url": "https://crm.example"}},
        "operations": [],
        "verified": {"how": "documentation", "on": "2026-11-22"},
    }));
    Connector::from_manifest(manifest.unwrap()).unwrap()
}

fn fields(host: &str, tenant: &str) -> AccountFields {
    let mut fields = AccountFields::default();
    fields.public.insert("portal_host".into(), host.into());
    fields.public.insert("tenant".into(), tenant.into());
    fields.secret.insert("client_secret".into(), Secret::new("s"));
    fields
}

#[test]
fn defaults_fill_what_was_left_empty() {
    let connector = connector("https://crm.example/token");
    let mut given = fields("a.example", "t");
    fill_defaults(connector.manifest(), &mut given);
    assert_eq!(given.get("zone"), Some("eu"));
    assert_eq!(given.get("note"), None);
    given.public.insert("zone".into(), "ru".into());
    fill_defaults(connector.manifest(), &mut given);
    assert_eq!(given.get("zone"), Some("ru"));
}

#[test]
fn the_sandbox_account_has_every_required_field() {
    let made = made_up(connector("https://crm.example/token").manifest());
    assert_eq!(made.public["portal_host"], SANDBOX_HOST);
    assert_eq!(made.public["tenant"], "demo");
    assert_eq!(made.public["zone"], "eu");
    assert_eq!(made.secret["client_secret"].expose(), "sandbox-client_secret");
    assert_eq!(made.get("note"), None);
}
