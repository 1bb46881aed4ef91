//! Two organizations on one platform.

use plugboard_tests::tenant::{Tenant, hubspot_read, hubspot_write, unique};
use plugboard_tests::vendor::Answer;
use serde_json::{Value, json};

use crate::shared::Site;

/// Neither sees, uses or can name what is the other's: accounts, results, executions, keys, the organization itself.
pub(crate) async fn two_organizations_do_not_meet(site: &Site) {
    let (ours, theirs) = (Tenant::new(&site.stack).await, Tenant::new(&site.stack).await);
    let account = theirs.connect("hubspot", "Theirs", &site.vendor).await;
    let (mcp, rest) = (ours.mcp(), ours.rest());

    // Accounts: by default, by label, by id, by management.
    assert_eq!(mcp.execute(hubspot_read()).await["error"]["code"], "NOT_CONNECTED");
    let named = |name: &str, value: &str| {
        let mut call = hubspot_read();
        call[name] = json!(value);
        call
    };
    let own = ours.connect("hubspot", "Ours", &site.vendor).await;
    for call in [named("service", "hubspot:Theirs"), named("instance_id", &account.id)] {
        let envelope = mcp.execute(call).await;
        assert_eq!(envelope["error"]["code"], "INVALID_ARGUMENT", "{envelope}");
        let options = envelope["error"]["fix"]["options"].to_string();
        assert!(options.contains(&own.id) && !options.contains(&account.id), "{envelope}");
    }
    let path = format!("/api/v1/connections/{}", account.id);
    rest.get(&path).await.expect_problem(404, "INVALID_ARGUMENT");
    rest.patch(&path, &json!({"label": "Mine"})).await.expect_problem(404, "INVALID_ARGUMENT");
    rest.delete(&path).await.expect_problem(404, "INVALID_ARGUMENT");
    rest.post(&format!("{path}/test"), &json!({})).await.expect_problem(404, "INVALID_ARGUMENT");
    let listed = rest.get("/api/v1/connections").await.expect(200).to_string();
    assert!(listed.contains(&own.id) && !listed.contains(&account.id), "{listed}");
    assert_eq!(site.vendor.count(&account.mark), 0);
    // It is still there for its owner.
    assert_eq!(theirs.mcp().execute(hubspot_read()).await["ok"], true);

    executions_and_results(site, &ours, &theirs, &account.mark).await;
    keys(&ours, &theirs).await;
}

async fn executions_and_results(site: &Site, ours: &Tenant, theirs: &Tenant, mark: &str) {
    let write = unique();
    let handle = theirs.mcp().execute(background(hubspot_write(&write))).await;
    let big: Value = json!({"results": ["x".repeat(5 << 20)]});
    site.vendor.on(mark, Answer::json(200, &big));
    let kept = theirs.mcp().execute(hubspot_read()).await;
    let result = kept["truncated"]["result_id"].as_str().unwrap_or_else(|| panic!("no handle: {kept}"));
    for (field, value) in [("execution_id", handle["execution_id"].as_str().unwrap()), ("result_id", result)] {
        let envelope = ours.mcp().execute(json!({"service": "hubspot", field: value})).await;
        assert_eq!(envelope["error"]["code"], "INVALID_ARGUMENT", "{envelope}");
        assert_eq!(envelope["error"]["field"], field, "{envelope}");
        // The answer for what never was is the same, so nothing can be probed.
        let never = match field {
            "execution_id" => "ex_00000000000070008000000000000000",
            _ => "blob_00000000000040008000000000000000",
        };
        let nothing = ours.mcp().execute(json!({"service": "hubspot", field: never})).await;
        assert_eq!(nothing["error"]["message"], envelope["error"]["message"]);
        let own = theirs.mcp().execute(json!({"service": "hubspot", field: value})).await;
        assert!(own["ok"] == true, "{own}");
    }
}

fn background(mut call: Value) -> Value {
    call["wait_ms"] = json!(0);
    call
}

async fn keys(ours: &Tenant, theirs: &Tenant) {
    let (id, key) = theirs.rest().issue(&["read:tools"]).await;
    let rest = ours.rest();
    for organization in [theirs.organization.as_str(), "org_00000000000070008000000000000000"] {
        let path = format!("/api/v1/organizations/{organization}/api-keys");
        rest.get(&path).await.expect_problem(404, "INVALID_ARGUMENT");
        rest.post(&path, &json!({"name": "spare"})).await.expect_problem(404, "INVALID_ARGUMENT");
        rest.delete(&format!("{path}/{id}")).await.expect_problem(404, "INVALID_ARGUMENT");
    }
    let own = format!("/api/v1/organizations/{}/api-keys/{id}", ours.organization);
    rest.delete(&own).await.expect_problem(404, "INVALID_ARGUMENT");
    let listed = rest.get("/api/v1/organizations/me/api-keys").await.expect(200).to_string();
    assert!(!listed.contains(&id), "{listed}");
    // Nothing of that touched the key.
    assert!(!theirs.with_key(&key).tool("list_services", json!({})).await.is_error);
    // An organization's admin makes no organizations.
    rest.post("/api/v1/organizations", &json!({"name": "x"})).await.expect_problem(403, "AUTH_PERMISSION_DENIED");
}
