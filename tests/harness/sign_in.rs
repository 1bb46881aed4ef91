//! A person who signs in at a shipped connector's vendor, and that vendor: it answers where the manifest says it does,
//! in the manifest's own dialect.

use std::collections::BTreeMap;

use plugboard_core::manifest::{Flow, KeptField, Manifest, OAuthFlow};
use reqwest::{Method, Url};
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::made_up::{self, document, fitting, unique};
use crate::rest_client::Reply;
use crate::tenant::{Tenant, rendered};
use crate::vendor::{Answer, Vendor};

/// What came of it.
pub(crate) struct SignedIn {
    pub(crate) id: String,
    pub(crate) token: String,
    /// Typed before and told on the way.
    pub(crate) fields: BTreeMap<String, String>,
}

/// What a vendor tells about the account.
struct Told {
    fields: BTreeMap<String, String>,
    callback: Vec<(String, String)>,
    token: Vec<(String, Value)>,
    discovery: Vec<(String, Value)>,
}

impl Told {
    fn new(oauth: &OAuthFlow) -> Self {
        let mut told = Self { fields: BTreeMap::new(), callback: Vec::new(), token: Vec::new(), discovery: Vec::new() };
        for (name, kept) in &oauth.keep {
            let value = kept_value(kept);
            told.fields.insert(name.clone(), value.clone());
            told.say(&kept.source(), value);
        }
        if let Some(name) = &oauth.account_name
            && !told.says(name)
        {
            told.say(name, "anna@example.com".to_owned());
        }
        told
    }

    fn says(&self, source: &plugboard_core::manifest::Source) -> bool {
        let has = |list: &[(String, Value)], pointer: &Option<String>| {
            pointer.as_ref().is_some_and(|pointer| list.iter().any(|(known, _)| known == pointer))
        };
        has(&self.token, &source.token) || has(&self.discovery, &source.discovery)
    }

    fn say(&mut self, source: &plugboard_core::manifest::Source, value: String) {
        self.callback.extend(source.callback.clone().map(|parameter| (parameter, value.clone())));
        self.token.extend(source.token.clone().map(|pointer| (pointer, json!(value))));
        self.discovery.extend(source.discovery.clone().map(|pointer| (pointer, json!(value))));
    }
}

fn kept_value(kept: &KeptField) -> String {
    match &kept.pattern {
        Some(pattern) => fitting(pattern),
        None if kept.host => made_up::host(),
        None => unique(),
    }
}

/// From the link to the claim: the browser is a browser, the vendor's page is played, everything else is the product.
pub(crate) async fn sign_in(
    tenant: &Tenant,
    manifest: &Manifest,
    flow: &Flow,
    label: &str,
    vendor: &Vendor,
) -> SignedIn {
    let oauth = flow.oauth.as_ref().unwrap();
    let service = &manifest.key;
    let rest = tenant.rest();
    let client = json!({"client_id": unique(), "client_secret": unique()});
    let path = format!("/api/v1/oauth-clients/{service}");
    let set = Reply::of(rest.request(Method::PUT, &path).json(&client)).await.expect(200);
    let typed = made_up::fields(&flow.fields);
    let body = json!({"service": service, "label": label, "fields": typed});
    let started = rest.post("/api/v1/connections/oauth/start", &body).await.expect(201);

    let mut browser = Browser::new();
    let page = browser.open(started["url"].as_str().unwrap()).await;
    let go = Url::parse(&page.link("continue").unwrap_or_else(|| panic!("{service}: {}", page.text))).unwrap();
    let left = browser.step(&go).await.expect_err("it leaves for the vendor");
    let mut told = Told::new(oauth);
    let expected = rendered(oauth.authorize_url.as_deref().unwrap(), &typed, None);
    assert!(left.as_str().starts_with(&expected), "{service}: {left}");
    let asked = |name: &str| {
        let name = oauth.dialect.authorize.get(name).map_or(name, String::as_str);
        left.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
    };
    let state = asked("state").unwrap_or_else(|| panic!("{service}: no state in {left}"));

    let (code, token, refresh) = (unique(), format!("tok{}", unique()), unique());
    told.token.extend([
        (oauth.answer.access_token.clone(), json!(token)),
        (oauth.answer.expires_in.clone(), json!(3600)),
        ("/token_type".to_owned(), json!("bearer")),
    ]);
    if oauth.answer.refresh_token != oauth.answer.access_token {
        told.token.push((oauth.answer.refresh_token.clone(), json!(refresh)));
    }
    let answer = |values: &[(String, Value)]| {
        let values: Vec<(&str, Value)> = values.iter().map(|(at, value)| (at.as_str(), value.clone())).collect();
        Answer::json(200, &document(&values))
    };
    // A refresh brings the same token again: it is what marks the account's requests.
    vendor.on(&refresh, answer(&told.token));
    vendor.on(&code, answer(&told.token));
    vendor.on(&token, answer(&told.discovery));

    let mut back = Url::parse(set["redirect_uri"].as_str().unwrap()).unwrap();
    {
        let mut query = back.query_pairs_mut();
        let mut say = |name: &str, value: &str| {
            query.append_pair(oauth.dialect.callback.get(name).map_or(name, String::as_str), value);
        };
        say("state", &state);
        say("code", &code);
        oauth.issuer.iter().for_each(|issuer| say("iss", issuer));
        told.callback.iter().for_each(|(name, value)| say(name, value));
    }
    let page = browser.open(back.as_str()).await;
    let claim = page.element("claim").unwrap_or_else(|| panic!("{service}: no claim: {}", page.text));
    let claimed = rest.post("/api/v1/connect-sessions/claims", &json!({"claim": claim})).await.expect(200);
    let id = claimed["connections"][0]["id"].as_str().unwrap().to_owned();

    let redeemed = vendor.only(&code);
    let url = rendered(oauth.token_url.as_str(), &typed.iter().chain(&told.fields).map(own).collect(), None);
    let url = Url::parse(&url).unwrap();
    assert_eq!((redeemed.host(), redeemed.path.as_str()), (url.host_str().unwrap(), url.path()), "{service}");
    let mut fields = typed;
    fields.append(&mut told.fields);
    if let Some(name) = &oauth.token_field {
        fields.insert(name.clone(), token.clone());
    }
    SignedIn { id, token, fields }
}

fn own((name, value): (&String, &String)) -> (String, String) {
    (name.clone(), value.clone())
}
