use proptest::prelude::*;
use serde_json::json;

use super::*;

fn manifest(flows: serde_json::Value) -> Manifest {
    serde_json::from_value(json!({
        "key": "crm", "name": "CRM", "tagline": "CRM", "description": "A CRM.", "category": "crm",
        "docs": "https://crm.example/docs", "version": "1",
        "auth": {"flows": flows},
        "modules": {"api": {"summary": "API", "base_url": "https://crm.example"}},
        "operations": [],
        "verified": {"how": "documentation", "on": "2026-11-22"},
    }))
    .unwrap()
}

fn two_ways() -> Manifest {
    manifest(json!([
        {"kind": "popup_oauth", "label": "Sign in", "fields": {}},
        {"kind": "credentials", "label": "Webhook", "fields": {
            "portal_host": {"label": "Portal", "host": true, "secret": false},
            "webhook": {"label": "Webhook secret", "pattern": "[a-z0-9]{4,}", "hint": "letters and digits"},
            "zone": {"label": "Zone", "secret": false, "optional": true},
        }},
        {"kind": "credentials", "label": "API key", "fields": {"api_key": {"label": "API key"}}},
    ]))
}

fn fields(pairs: &[(&str, &str)]) -> BTreeMap<String, Secret> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect()
}

fn check(pairs: &[(&str, &str)]) -> Result<CheckedCredentials, Vec<FieldError>> {
    CredentialRules::default().check(&two_ways(), &fields(pairs))
}

#[test]
fn fields_are_normalised_and_split() {
    let checked =
        check(&[("portal_host", "https://Portal.CRM.example/"), ("webhook", " abcd\n"), ("zone", " ")]).unwrap();
    assert_eq!(checked.public, BTreeMap::from([("portal_host".to_owned(), "portal.crm.example".to_owned())]));
    assert_eq!(checked.secret, fields(&[("webhook", "abcd")]));
}

#[test]
fn the_flow_whose_fields_are_given_wins() {
    assert_eq!(check(&[("api_key", "k")]).unwrap().secret, fields(&[("api_key", "k")]));
    // Both are complete: the first wins, and the other's field is not asked for.
    let errors = check(&[("portal_host", "a.example"), ("webhook", "abcd"), ("api_key", "k")]).unwrap_err();
    assert_eq!(errors[0].field, "credentials.api_key");
}

#[test]
fn everything_wrong_is_said_at_once() {
    let errors = check(&[("portal_host", "localhost"), ("webhook", "CANARY"), ("zonne", "x")]).unwrap_err();
    let names: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
    assert_eq!(names, ["credentials.portal_host", "credentials.webhook", "credentials.zonne"]);
    assert!(errors[1].message.contains("`[a-z0-9]{4,}` (letters and digits)"));
    assert!(errors[2].message.contains("portal_host, webhook, zone"));
    assert!(errors.iter().all(|error| !error.to_string().contains("CANARY")));
}

#[test]
fn a_missing_field_names_the_alternatives() {
    let errors = check(&[("portal_host", "a.example")]).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!(
        errors[0].to_string(),
        "credentials.webhook: is missing (Webhook secret); or connect by API key (api_key)"
    );
    assert_eq!(check(&[]).unwrap_err()[0].field, "credentials.portal_host");
}

#[test]
fn values_are_one_line_of_bounded_length() {
    for bad in ["a\nb", "a\rb", "a\0b", "a\u{7f}b", &"a".repeat(MAX_FIELD + 1)] {
        assert_eq!(check(&[("api_key", bad)]).unwrap_err()[0].field, "credentials.api_key");
    }
    assert!(check(&[("api_key", &"a".repeat(MAX_FIELD))]).is_ok());
}

#[test]
fn a_pattern_covers_the_whole_value() {
    assert!(check(&[("portal_host", "a.example"), ("webhook", "abcd!")]).is_err());
    assert!(!matches_whole("a|b", "ab"));
    assert!(!matches_whole("(", "("));
}

fn change(old: &[(&str, &str)], given: &[(&str, &str)]) -> Result<(CheckedCredentials, bool), Vec<FieldError>> {
    CredentialRules::default().check_change(&two_ways(), &fields(old), &fields(given))
}

const OLD: [(&str, &str); 3] = [("portal_host", "a.example"), ("webhook", "abcd"), ("zone", "z")];

#[test]
fn a_change_keeps_the_other_fields() {
    let (checked, complete) = change(&OLD, &[("webhook", "efgh"), ("zone", "")]).unwrap();
    assert!(complete);
    assert_eq!(checked.secret, fields(&[("webhook", "efgh")]));
    assert_eq!(checked.public.keys().collect::<Vec<_>>(), ["portal_host"]);
    // The same host in another spelling is no change.
    assert!(change(&OLD, &[("portal_host", "https://A.example/")]).unwrap().1);
}

#[test]
fn a_changed_host_drops_the_secrets() {
    let (checked, complete) = change(&OLD, &[("portal_host", "b.example")]).unwrap();
    assert!(!complete && checked.secret.is_empty());
    assert_eq!(checked.public["portal_host"], "b.example");
    let (checked, complete) = change(&OLD, &[("portal_host", "b.example"), ("webhook", "efgh")]).unwrap();
    assert!(complete);
    assert_eq!(checked.secret, fields(&[("webhook", "efgh")]));
    // Still incomplete: another field changes nothing about it.
    assert!(!change(&[("portal_host", "b.example")], &[("zone", "y")]).unwrap().1);
}

#[test]
fn a_required_field_cannot_be_emptied() {
    assert_eq!(change(&OLD, &[("webhook", " ")]).unwrap_err()[0].field, "credentials.webhook");
    assert_eq!(change(&OLD, &[("webhook", "!")]).unwrap_err()[0].field, "credentials.webhook");
}

#[test]
fn another_way_to_connect_replaces_the_first() {
    let (checked, complete) = change(&OLD, &[("api_key", "k")]).unwrap();
    assert!(complete && checked.public.is_empty());
    assert_eq!(checked.secret, fields(&[("api_key", "k")]));
}

#[test]
fn a_service_without_typed_credentials_says_so() {
    let oauth = manifest(json!([{"kind": "popup_oauth", "label": "Sign in", "fields": {}}]));
    let errors = CredentialRules::default().check(&oauth, &fields(&[("a", "b")])).unwrap_err();
    assert_eq!(errors[0].field, "credentials");
    assert!(flow_of(&oauth, |_| true).is_none());
}

#[test]
fn an_account_finds_its_flow_again() {
    let manifest = two_ways();
    assert_eq!(flow_of(&manifest, |name| name == "api_key").unwrap().label, "API key");
    assert_eq!(flow_of(&manifest, |_| true).unwrap().label, "Webhook");
    assert_eq!(flow_of(&manifest, |_| false).unwrap().label, "Webhook");
}

proptest! {
    /// Nothing that could split a header or a URL passes, and no message repeats what was typed.
    #[test]
    fn what_passes_is_one_clean_line(value in "\\PC{0,20}[\u{0}-\u{1f}q]\\PC{0,20}") {
        match check(&[("api_key", &value)]) {
            Ok(checked) => prop_assert!(!checked.secret["api_key"].expose().chars().any(char::is_control)),
            Err(errors) => {
                let typed = value.trim();
                prop_assert!(typed.len() < 4 || errors.iter().all(|error| !error.message.contains(typed)));
            }
        }
    }
}
