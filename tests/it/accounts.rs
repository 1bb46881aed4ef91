//! Which account a call uses.

use std::time::Duration;

use plugboard_tests::tenant::{Tenant, credentials, hubspot_read};
use plugboard_tests::vendor::Vendor;
use plugboard_tests::wait::eventually;
use serde_json::{Value, json};

use crate::shared::Site;

/// When every process must know of a change.
const SOON: Duration = Duration::from_secs(3);

/// Who was called: the marks that saw a request since the last look.
fn saw(vendor: &Vendor, marks: &[&str]) -> Vec<usize> {
    marks.iter().map(|mark| vendor.count(mark)).collect()
}

pub(crate) async fn an_account_is_chosen_by_label_or_id(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let client = tenant.mcp();
    let first = tenant.connect("hubspot", "Top Zip", &site.vendor).await;
    // One account needs no name.
    let envelope = client.execute(hubspot_read()).await;
    assert_eq!((&envelope["account"]["id"], &envelope["account"]["label"]), (&json!(first.id), &json!("Top Zip")));
    let second = tenant.connect("hubspot", "Кафе", &site.vendor).await;
    let marks = [first.mark.as_str(), second.mark.as_str()];
    assert_eq!(saw(&site.vendor, &marks), [1, 0]);

    // Two are ambiguous, and the list says how to name them.
    let envelope = client.execute(hubspot_read()).await;
    let error = &envelope["error"];
    assert_eq!(error["code"], "ACCOUNT_AMBIGUOUS", "{envelope}");
    assert_eq!(error["fix"]["kind"], "choose_account");
    let mut options: Vec<&Value> = error["fix"]["options"].as_array().unwrap().iter().collect();
    options.sort_by_key(|option| option["label"].as_str().map(str::to_owned));
    assert_eq!(options[0], &json!({"instance_id": first.id, "label": "Top Zip"}));
    assert_eq!(options[1], &json!({"instance_id": second.id, "label": "Кафе"}));

    let named = |service: &str, id: Option<&str>| {
        let mut call = hubspot_read();
        call["service"] = json!(service);
        if let Some(id) = id {
            call["instance_id"] = json!(id);
        }
        call
    };
    let good = [
        (named("hubspot:Top Zip", None), [2, 0]),
        (named("hubspot: top zip ", None), [3, 0]),
        (named("hubspot:КАФЕ", None), [3, 1]),
        (named("hubspot", Some(&second.id)), [3, 2]),
        (named("hubspot:Кафе", Some(&second.id)), [3, 3]),
    ];
    for (call, counts) in good {
        let envelope = client.execute(call.clone()).await;
        assert_eq!(envelope["ok"], true, "{call}: {envelope}");
        assert_eq!(saw(&site.vendor, &marks), counts, "{call}");
    }
    let bad = [
        (named("hubspot:Top Zip", Some(&second.id)), "instance_id"),
        (named("hubspot:Nobody", None), "service"),
        (named("hubspot", Some("acc_00000000000000000000000000000000")), "instance_id"),
        (named("hubspot", Some("../secrets")), "instance_id"),
    ];
    for (call, field) in bad {
        let envelope = client.execute(call.clone()).await;
        assert_eq!(envelope["error"]["code"], "INVALID_ARGUMENT", "{call}: {envelope}");
        assert_eq!(envelope["error"]["field"], field, "{call}: {envelope}");
    }
    assert_eq!(saw(&site.vendor, &marks), [3, 3], "what was refused was not sent");

    // Labels are unique for the service, in any case; the same label at another service is another account.
    let taken = json!({"service": "hubspot", "label": "кафе", "credentials": {"access_token": "x".repeat(20)}});
    let problem = tenant.rest().post("/api/v1/connections", &taken).await.expect_problem(409, "INVALID_ARGUMENT");
    assert_eq!(problem["field"], "label");
    tenant.connect("github", "Кафе", &site.vendor).await;
}

pub(crate) async fn without_an_account_nothing_is_sent(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let client = tenant.mcp();
    let envelope = client.execute(hubspot_read()).await;
    let error = &envelope["error"];
    assert_eq!((&error["code"], &error["origin"]), (&json!("NOT_CONNECTED"), &json!("credential")), "{envelope}");
    assert_eq!(error["fix"]["kind"], "reconnect");
    let mut labelled = hubspot_read();
    labelled["service"] = json!("hubspot:Shop");
    assert_eq!(client.execute(labelled).await["error"]["code"], "NOT_CONNECTED");

    let listed = client.tool("list_services", json!({"connected": true})).await;
    assert_eq!(listed.structured["services"], json!([]));
    tenant.connect("hubspot", "Shop", &site.vendor).await;
    let listed = client.tool("list_services", json!({"connected": true})).await;
    let services = listed.structured["services"].as_array().unwrap().clone();
    assert_eq!(services.len(), 1, "{}", listed.structured);
    assert_eq!((&services[0]["key"], &services[0]["connected"]), (&json!("hubspot"), &json!(true)));
}

pub(crate) async fn a_changed_account_is_used_at_once_and_a_removed_one_never_again(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let client = tenant.mcp();
    let account = tenant.connect("hubspot", "Shop", &site.vendor).await;
    assert_eq!(client.execute(hubspot_read()).await["ok"], true);

    let (fresh, secret) = credentials("hubspot");
    let path = format!("/api/v1/connections/{}", account.id);
    let change = json!({"label": "Store", "credentials": fresh});
    let changed = tenant.rest().patch(&path, &change).await.expect(200);
    assert_eq!((&changed["label"], &changed["state"]), (&json!("Store"), &json!("connected")));
    // Caches of other processes have half a second.
    let envelope = eventually("the new label is known", SOON, || async {
        let mut call = hubspot_read();
        call["service"] = json!("hubspot:Store");
        let envelope = client.execute(call).await;
        (envelope["ok"] == true && site.vendor.count(&secret) > 0).then_some(envelope)
    })
    .await;
    assert_eq!(envelope["account"]["label"], "Store");
    // Each executor hears of it in its own time, and within two seconds.
    eventually("the old secret is not used any more", SOON, || async {
        let before = site.vendor.count(&account.secret);
        for _ in 0..20 {
            assert_eq!(client.execute(hubspot_read()).await["ok"], true);
        }
        (site.vendor.count(&account.secret) == before).then_some(())
    })
    .await;

    // A changed host clears the secrets: nobody may send them elsewhere.
    let bitrix = tenant.connect("bitrix24", "Portal", &site.vendor).await;
    let path = format!("/api/v1/connections/{}", bitrix.id);
    let moved = json!({"credentials": {"portal_host": "other.bitrix24.ru"}});
    let moved = tenant.rest().patch(&path, &moved).await.expect(200);
    assert_eq!(moved["state"], "needs_reauth", "{moved}");
    let profile = json!({"service": "bitrix24", "module": "rest", "method": "profile"});
    eventually("the account asks to be reconnected", SOON, || async {
        let envelope = client.execute(profile.clone()).await;
        (envelope["error"]["code"] == "ACCOUNT_EXPIRED").then_some(())
    })
    .await;
    assert_eq!(site.vendor.count(&bitrix.secret), 0);

    tenant.rest().delete(&format!("/api/v1/connections/{}", account.id)).await.expect(204);
    eventually("the account is gone", SOON, || async {
        (client.execute(hubspot_read()).await["error"]["code"] == "NOT_CONNECTED").then_some(())
    })
    .await;
    let after = site.vendor.count(&secret);
    assert_eq!(client.execute(hubspot_read()).await["error"]["code"], "NOT_CONNECTED");
    assert_eq!(site.vendor.count(&secret), after);
}

pub(crate) async fn an_end_user_sees_own_and_shared_accounts(site: &Site) {
    let tenant = Tenant::new(&site.stack).await;
    let keys = "/api/v1/organizations/me/api-keys";
    let issue = |subject: &str| json!({"scopes": ["write:tools"], "subject": subject});
    let anna = tenant.rest().post(keys, &issue("anna")).await.expect(201);
    let boris = tenant.rest().post(keys, &issue("boris")).await.expect(201);
    let (anna, boris) = (anna["key"].as_str().unwrap(), boris["key"].as_str().unwrap());
    let (fields, secret) = credentials("hubspot");
    let owned = json!({"service": "hubspot", "label": "Anna's", "owner": "anna", "credentials": fields});
    let owned = tenant.rest().post("/api/v1/connections", &owned).await.expect(201);
    let id = owned["id"].as_str().unwrap();

    assert_eq!(tenant.with_key(anna).execute(hubspot_read()).await["account"]["id"], id);
    assert_eq!(site.vendor.count(&secret), 1);
    for other in [boris, tenant.key.as_str()] {
        let client = tenant.with_key(other);
        assert_eq!(client.execute(hubspot_read()).await["error"]["code"], "NOT_CONNECTED");
        let mut by_id = hubspot_read();
        by_id["instance_id"] = json!(id);
        let envelope = client.execute(by_id).await;
        assert_eq!(envelope["error"]["code"], "NOT_CONNECTED", "{envelope}");
        assert!(!envelope.to_string().contains("Anna"), "{envelope}");
    }
    site.stack.rest(boris).get(&format!("/api/v1/connections/{id}")).await.expect_problem(404, "INVALID_ARGUMENT");
    assert_eq!(site.vendor.count(&secret), 1);
    // A call of hers is not his to look up.
    let mut background = hubspot_read();
    background["wait_ms"] = json!(0);
    let handle = tenant.with_key(anna).execute(background).await;
    let look = json!({"service": "hubspot", "execution_id": handle["execution_id"]});
    let envelope = tenant.with_key(boris).execute(look).await;
    assert_eq!(envelope["error"]["field"], "execution_id", "{envelope}");
}
