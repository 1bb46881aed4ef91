//! The operator's commands, as typed.

use std::process::{Command, Output};

use plugboard_tests::stack::{Stack, binary, repository};
use serde_json::{Value, json};

async fn plugboard(stack: &Stack, words: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(words).env("PLUGBOARD_URL", stack.url()).env("PLUGBOARD_API_KEY", stack.api_key());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

pub(crate) fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(output)))
}

pub(crate) async fn a_call_from_a_shell(stack: &Stack) {
    let orders = ["call", "wildberries", "statistics", "GET", "/api/v1/supplier/orders"];
    let good = plugboard(stack, &[&orders[..], &["dateFrom==2026-04-15"]].concat()).await;
    assert!(good.status.success(), "{}", said(&good));
    assert!(json_of(&good)[0]["srid"].is_string(), "the vendor's data alone: {}", said(&good));
    let whole = plugboard(stack, &[&orders[..], &["dateFrom==2026-04-15", "--envelope"]].concat()).await;
    assert_eq!(json_of(&whole)["state"], "succeeded");
    let written = ["call", "hubspot", "crm", "POST", "/crm/v3/objects/deals", "properties:={\"dealname\":\"a\"}"];
    assert!(plugboard(stack, &written).await.status.success());

    let bad = plugboard(stack, &orders).await;
    assert!(!bad.status.success());
    assert_eq!(json_of(&bad)["error"]["field"], "query.dateFrom");
    for words in [
        vec!["call", "wildberries", "statistics", "GET", "/x", "nonsense"],
        vec!["call", "wildberries", "statistics", "GET", "/x", "--key", "sk-org-wrong"],
        vec!["call", "wildberries", "statistics", "GET", "/x", "--url", "http://127.0.0.1:1"],
        vec!["call", "wildberries"],
    ] {
        let refused = plugboard(stack, &words).await;
        assert!(!refused.status.success() && !refused.stderr.is_empty(), "{words:?}: {}", said(&refused));
        assert!(!said(&refused).contains("panicked"), "{words:?}: {}", said(&refused));
    }
}

pub(crate) async fn keys_manifests_and_the_doctor(stack: &Stack) {
    let issued = json_of(&plugboard(stack, &["keys", "issue", "--name", "CI", "--scope", "read:tools"]).await);
    let (id, key) = (issued["id"].as_str().unwrap(), issued["key"].as_str().unwrap());
    assert!(!stack.mcp(key).tool("list_services", json!({})).await.is_error);
    let listed = plugboard(stack, &["keys", "list"]).await;
    assert!(said(&listed).contains(id) && !said(&listed).contains(key), "{}", said(&listed));
    assert!(plugboard(stack, &["keys", "revoke", id]).await.status.success());
    let fresh = json_of(&plugboard(stack, &["keys", "generate"]).await);
    assert_eq!(fresh["PLUGBOARD_SECRETS__MASTER_KEY"].as_str().map(str::len), Some(64), "{fresh}");

    let doctor = plugboard(stack, &["doctor"]).await;
    assert!(doctor.status.success(), "{}", said(&doctor));
    let astray = plugboard(stack, &["doctor", "--url", "http://127.0.0.1:1"]).await;
    assert!(!astray.status.success() && said(&astray).contains("FAIL"), "{}", said(&astray));

    let lint = plugboard(stack, &["connectors", "lint"]).await;
    assert!(lint.status.success(), "{}", said(&lint));
    for words in [
        vec!["connectors", "list"],
        vec!["connectors", "show", "wildberries", "statistics"],
        vec!["connectors", "schema"],
        vec!["gateway", "--defaults"],
        vec!["--help"],
        vec!["--version"],
    ] {
        let shown = plugboard(stack, &words).await;
        assert!(shown.status.success() && !shown.stdout.is_empty(), "{words:?}: {}", said(&shown));
    }
    let document = repository().join("tests/fixtures/openapi/parcels.yaml");
    let draft = plugboard(stack, &["connectors", "import", document.to_str().unwrap(), "--tag", "Parcels"]).await;
    assert!(draft.status.success(), "{}", said(&draft));
    assert!(String::from_utf8_lossy(&draft.stdout).starts_with("key: parcel_hub"), "{}", said(&draft));
    let left = String::from_utf8_lossy(&draft.stderr);
    assert!(left.contains("write them for a model") && !left.contains("the file is called"), "{left}");
    let nothing = plugboard(stack, &["connectors", "import", document.to_str().unwrap(), "--path", "/nowhere"]).await;
    assert!(!nothing.status.success() && said(&nothing).contains("Parcels (2)"), "{}", said(&nothing));
    let ozon = repository().join("catalog-service/connectors/marketplaces/ozon.yaml");
    let changed = tempfile::tempdir().unwrap();
    let changed_ozon = changed.path().join("ozon.yaml");
    let text = std::fs::read_to_string(&ozon).unwrap();
    let recipe = "method: POST\n    path: /v3/product/list\n";
    std::fs::write(&changed_ozon, text.replace(recipe, &recipe.replace("POST", "PUT"))).unwrap();
    let [ozon, changed_ozon] = [&ozon, &changed_ozon].map(|path| path.to_str().unwrap());
    let same = plugboard(stack, &["connectors", "diff", ozon, ozon]).await;
    assert!(same.status.success() && said(&same).starts_with("0 changes"), "{}", said(&same));
    let broken = plugboard(stack, &["connectors", "diff", ozon, changed_ozon]).await;
    let removed =
        said(&broken).lines().any(|line| line.starts_with("BREAKS ozon.") && line.contains("/v3/product/list"));
    assert!(!broken.status.success() && removed, "{}", said(&broken));
    let unknown = plugboard(stack, &["connectors", "show", "wildbery"]).await;
    assert!(!unknown.status.success() && said(&unknown).contains("wildberries"), "{}", said(&unknown));
    // A service makes up no secret.
    let bare = plugboard(stack, &["auth"]).await;
    assert!(!bare.status.success(), "{}", said(&bare));
    assert!(said(&bare).contains("PLUGBOARD_SECRETS__"), "{}", said(&bare));
}
