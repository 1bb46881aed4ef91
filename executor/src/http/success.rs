//! When a 2xx answer is a success: the manifest's conditions.

use plugboard_core::manifest::{Condition, Connector, Operation, SuccessRule};
use serde_json::Value;

use super::pick::{At, Found, Picks, Query};

/// The rule of an operation, with the places it looks at.
pub(crate) struct Judge<'c> {
    conditions: Vec<(&'c Condition, At)>,
}

/// The operation's own rule replaces the connector's.
pub(crate) fn rule_of<'c>(connector: &'c Connector, operation: Option<&'c Operation>) -> Option<&'c SuccessRule> {
    operation.and_then(|operation| operation.success.as_ref()).or(connector.manifest().success.as_ref())
}

impl<'c> Judge<'c> {
    pub(crate) fn new(rule: Option<&'c SuccessRule>, query: &mut Query<'c>) -> Self {
        let conditions = rule.map(|rule| rule.all.as_slice()).unwrap_or_default();
        let place = |condition: &'c Condition| {
            let whole = condition.equals.is_some() || condition.not_equals.is_some();
            let at = if whole { query.value(&condition.pointer) } else { query.size(&condition.pointer) };
            (condition, at)
        };
        Self { conditions: conditions.iter().map(place).collect() }
    }

    pub(crate) fn holds(&self, picks: &Picks) -> bool {
        self.conditions.iter().all(|(condition, at)| holds(condition, picks.get(*at)))
    }
}

fn holds(condition: &Condition, found: Option<&Found>) -> bool {
    let value = found.and_then(|found| found.value.as_ref());
    let is = |wanted: &Value| match value {
        Some(value) => same(value, wanted),
        None => wanted.is_null(),
    };
    condition.equals.as_ref().is_none_or(is)
        && !condition.not_equals.as_ref().is_some_and(is)
        && condition.present.is_none_or(|wanted| found.is_some_and(|found| !found.null) == wanted)
        && condition.empty.is_none_or(|wanted| found.is_none_or(Found::is_empty) == wanted)
}

/// As JSON Schema compares: 1 is 1.0.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x == y || x.as_f64() == y.as_f64(),
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn judge(rule: Value, answer: Value) -> bool {
        let rule: SuccessRule = serde_json::from_value(json!({ "all": [rule] })).unwrap();
        let mut query = Query::default();
        let judge = Judge::new(Some(&rule), &mut query);
        judge.holds(&query.run(&answer.to_string()).unwrap())
    }

    #[test]
    fn every_test_of_a_condition() {
        let table = [
            (json!({"pointer": "/ok", "equals": true}), json!({"ok": true}), true),
            (json!({"pointer": "/ok", "equals": true}), json!({"ok": false}), false),
            (json!({"pointer": "/ok", "equals": true}), json!({}), false),
            (json!({"pointer": "/code", "equals": 0}), json!({"code": 0.0}), true),
            (json!({"pointer": "/ok", "not_equals": false}), json!({}), true),
            (json!({"pointer": "/ok", "not_equals": false}), json!({"ok": false}), false),
            (json!({"pointer": "/error", "present": false}), json!({"error": null}), true),
            (json!({"pointer": "/error", "present": false}), json!({"error": ""}), false),
            (json!({"pointer": "/result", "present": true}), json!({"result": []}), true),
            (json!({"pointer": "/result", "present": true}), json!({}), false),
            (json!({"pointer": "/errors", "empty": true}), json!({"errors": []}), true),
            (json!({"pointer": "/errors", "empty": true}), json!({}), true),
            (json!({"pointer": "/errors", "empty": true}), json!({"errors": [1]}), false),
            (json!({"pointer": "/errors", "empty": true}), json!([1]), true),
            (json!({"pointer": "", "empty": false}), json!([1]), true),
        ];
        for (rule, answer, expected) in table {
            assert_eq!(judge(rule.clone(), answer.clone()), expected, "{rule} on {answer}");
        }
    }
}
