//! What is said of a whole operation.

use serde_json::json;

use super::super::{Selection, draft};
use super::{document, drafted, wanted};

#[test]
fn tags_in_other_letters_have_modules_of_their_own() {
    let tagged = |tag: &str| json!({"get": {"tags": [tag], "responses": {}}});
    let text = document(
        json!({"/a": tagged("Заказы FBS"), "/b": tagged("Возвраты"), "/c": tagged("注文"), "/d": tagged("在庫")}),
        json!({}),
    );
    let (manifest, _) = drafted(&text);
    let modules: Vec<_> = manifest.modules.keys().map(String::as_str).collect();
    assert_eq!(modules, ["zakazy_fbs", "vozvraty", "module_3", "module_4"]);
    assert_eq!(manifest.modules["vozvraty"].summary, "Возвраты");
}

#[test]
fn what_a_person_should_know_is_said_once() {
    let operation = json!({"tags": ["A", "B"], "deprecated": true, "callbacks": {}, "responses": {}, "requestBody": {"content": {"application/json": {}}}});
    let text = document(
        json!({"/a": {"get": operation, "trace": {}}, "/b": {"get": operation}}),
        json!({"webhooks": {"w": {}}}),
    );
    let (_, remarks) = drafted(&text);
    for wanted in [
        "2 operations: is deprecated (get_a, get_b)",
        "2 operations: has several tags",
        "2 operations: has callbacks",
        "a GET has no body",
        "/a: TRACE is not taken over",
        "webhooks are not taken over",
        "docs: the document does not say",
    ] {
        assert_eq!(remarks.lines().filter(|line| line.contains(wanted)).count(), 1, "{wanted}\n{remarks}");
    }
}

#[test]
fn a_part_of_a_document_can_be_drafted() {
    let tagged = |tag: &str| json!({"get": {"tags": [tag], "responses": {}}});
    let text = document(json!({"/v1/a": tagged("One"), "/v1/b": tagged("Two"), "/v2/a": tagged("one")}), json!({}));
    let part = |tags: &[&str], paths: &[&str]| {
        let all = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect();
        let mut wanted = wanted();
        wanted.selection = Selection { tags: all(tags), paths: all(paths) };
        draft(&text, &wanted)
            .map(|draft| super::manifest(&draft).operations.into_iter().map(|one| one.id).collect::<Vec<_>>())
    };
    assert_eq!(part(&["one"], &[]).unwrap(), ["get_v1_a", "get_v2_a"]);
    assert_eq!(part(&[], &["/v2", "/v1/b"]).unwrap(), ["get_v1_b", "get_v2_a"]);
    assert_eq!(part(&["One"], &["/v2"]).unwrap(), ["get_v2_a"]);
    let error = part(&["Three"], &[]).unwrap_err().to_string();
    assert!(error.contains("its tags are One (1)"), "{error}");
}
