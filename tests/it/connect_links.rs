//! A call without an account: a link in the answer, or a question to whoever sits at the client.

use std::time::Duration;

use plugboard_tests::chromium::Chromium;
use plugboard_tests::mcp_client::McpClient;
use plugboard_tests::tenant::Tenant;
use plugboard_tests::wait::eventually;
use reqwest::Url;
use serde_json::{Value, json};

use crate::oauth::Desk;
use crate::shared::SignInSite;

const SERVICE: &str = "mock_links";

pub(crate) async fn a_call_without_an_account_has_a_link(site: &SignInSite) {
    let desk = Desk::new(site, SERVICE).await;
    let envelope = desk.client.execute(desk.read()).await;
    assert_eq!(envelope["error"]["code"], "NOT_CONNECTED", "{envelope}");
    let fix = &envelope["error"]["fix"];
    assert_eq!((&fix["kind"], &envelope["service"]), (&json!("reconnect"), &json!(SERVICE)), "{envelope}");
    let link = fix["url"].as_str().unwrap_or_else(|| panic!("no link: {envelope}"));
    assert_eq!(link.rsplit("/connect/").next().unwrap().len(), 43, "{link}");
    // Whoever asks again at once gets no second link; another key gets its own.
    assert_eq!(desk.client.execute(desk.read()).await["error"]["fix"]["url"], link);
    let body = json!({"name": "Caller", "scopes": ["write:tools"], "subject": "anna"});
    let keys = "/api/v1/organizations/me/api-keys";
    let issued = desk.tenant.rest().post(keys, &body).await.expect(201);
    let anna = desk.tenant.with_key(issued["key"].as_str().unwrap());
    let theirs = anna.execute(desk.read()).await["error"]["fix"]["url"].clone();
    assert!(theirs.is_string() && theirs != link, "{theirs}");
    // An account that is not usable has one too, and what is no matter of accounts has none.
    let id = desk.connect().await;
    let revoked = format!("/api/v1/connections/{id}/revoke");
    desk.tenant.rest().post(&revoked, &json!({"reason": "a test"})).await.expect(200);
    let envelope = eventually("the account is revoked", Duration::from_secs(5), || async {
        let envelope = desk.client.execute(desk.read()).await;
        (envelope["error"]["code"] == "ACCOUNT_REVOKED").then_some(envelope)
    })
    .await;
    assert!(envelope["error"]["fix"]["url"].is_string(), "{envelope}");
    let mut wrong = desk.read();
    wrong["path"] = json!("/nowhere");
    assert!(desk.client.execute(wrong).await["error"]["fix"]["url"].is_null());
}

/// A call of a client that can send its person to a URL: the whole JSON-RPC answer.
async fn call(client: &McpClient, arguments: &Value, retry: Option<(&str, &Value)>) -> Value {
    let mut params = json!({"name": "connector_execute", "arguments": arguments});
    if let Some((state, responses)) = retry {
        params["requestState"] = json!(state);
        params["inputResponses"] = responses.clone();
    }
    let mut message = client.message("tools/call", params);
    message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({"elicitation": {"url": {}}});
    client.post(&message.to_string(), "tools/call", Some("connector_execute")).await.json
}

pub(crate) async fn a_client_that_opens_links_is_asked_and_its_call_goes_through(site: &SignInSite) {
    let desk = Desk::new(site, SERVICE).await;
    let arguments = desk.read();
    let asked = call(&desk.client, &arguments, None).await;
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    let question = &asked["result"]["inputRequests"]["connect"];
    assert_eq!((&question["method"], &question["params"]["mode"]), (&json!("elicitation/create"), &json!("url")));
    assert!(question["params"]["message"].as_str().unwrap().contains("Mock mock_links"), "{question}");
    let link = question["params"]["url"].as_str().unwrap().to_owned();
    let state = asked["result"]["requestState"].as_str().unwrap().to_owned();
    let accept = json!({"connect": {"action": "accept"}});

    // The state belongs to this key and these arguments, and to nobody who changes it.
    let stranger = Tenant::new(&site.stack).await.mcp();
    let mut other = arguments.clone();
    other["query"] = json!({"a": 1});
    let forged = format!("{}{}", if state.starts_with('A') { "B" } else { "A" }, &state[1..]);
    for (client, arguments, state) in
        [(&stranger, &arguments, &state), (&desk.client, &other, &state), (&desk.client, &arguments, &forged)]
    {
        let refused = call(client, arguments, Some((state, &accept))).await;
        assert_eq!(refused["error"]["code"], -32602, "{refused}");
    }
    // No answer to the question: it is asked again. A person who does not want to is not.
    let again = call(&desk.client, &arguments, Some((&state, &json!({})))).await;
    assert_eq!(again["result"]["inputRequests"]["connect"]["params"]["url"], link, "{again}");
    let declined = call(&desk.client, &arguments, Some((&state, &json!({"connect": {"action": "decline"}})))).await;
    assert_eq!(declined["result"]["structuredContent"]["error"]["code"], "NOT_CONNECTED", "{declined}");

    // The client repeats as soon as its person has agreed; the person needs a little longer.
    let repeat = {
        let (client, arguments, state, accept) =
            (desk.client.clone(), arguments.clone(), state.clone(), accept.clone());
        tokio::spawn(async move { call(&client, &arguments, Some((&state, &accept))).await })
    };
    connect_in_a_browser(&link);
    let done = repeat.await.unwrap();
    assert_eq!(done["result"]["structuredContent"]["data"], json!({"login": "octocat"}), "{done}");

    // Played back, the state redeems nothing, and the call is an ordinary one.
    let replayed = call(&desk.client, &arguments, Some((&state, &accept))).await;
    assert_eq!(replayed["result"]["structuredContent"]["ok"], true, "{replayed}");
    let listed = desk.tenant.rest().get("/api/v1/connections").await.expect(200);
    assert_eq!(listed["connections"].as_array().unwrap().len(), 1, "{listed}");
}

fn connect_in_a_browser(link: &str) {
    let chromium = Chromium::start();
    let person = chromium.person();
    let tab = person.tab();
    tab.open(link);
    let page = Url::parse(&tab.url()).unwrap().join(&format!("/connect/services/{SERVICE}")).unwrap();
    tab.open(page.as_str());
    tab.click_text("Continue at Mock mock_links");
    tab.wait_heading("Your accounts");
    tab.wait("document.body.innerText.includes('octocat')");
}
