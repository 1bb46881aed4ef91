//! Whether a whole answer is a success by a manifest's rule. The executor, which does not build answers into trees, looks
//! at the same conditions in its own way.

use serde_json::Value;

use super::{Condition, SuccessRule};

impl SuccessRule {
    /// Whether every condition holds.
    pub fn fits(&self, answer: &Value) -> bool {
        self.all.iter().all(|condition| condition.holds(answer))
    }
}

impl Condition {
    fn holds(&self, answer: &Value) -> bool {
        let found = answer.pointer(&self.pointer);
        let is = |wanted: &Value| match (found, wanted) {
            // As JSON Schema compares: 1 is 1.0.
            (Some(Value::Number(a)), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
            (found, wanted) => found.unwrap_or(&Value::Null) == wanted,
        };
        let present = found.is_some_and(|found| !found.is_null());
        let empty = match found {
            None | Some(Value::Null) => true,
            Some(Value::String(text)) => text.is_empty(),
            Some(Value::Array(items)) => items.is_empty(),
            Some(Value::Object(members)) => members.is_empty(),
            Some(_) => false,
        };
        self.equals.as_ref().is_none_or(is)
            && !self.not_equals.as_ref().is_some_and(is)
            && self.present.is_none_or(|wanted| wanted == present)
            && self.empty.is_none_or(|wanted| wanted == empty)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_test_of_a_condition() {
        let table = [
            (json!({"pointer": "/ok", "equals": true}), json!({"ok": true}), true),
            (json!({"pointer": "/ok", "equals": true}), json!({}), false),
            (json!({"pointer": "/code", "equals": 0}), json!({"code": 0.0}), true),
            (json!({"pointer": "/ok", "not_equals": false}), json!({"ok": false}), false),
            (json!({"pointer": "/error", "present": false}), json!({"error": null}), true),
            (json!({"pointer": "/error", "present": false}), json!({"error": ""}), false),
            (json!({"pointer": "/errors", "empty": true}), json!({"errors": []}), true),
            (json!({"pointer": "/errors", "empty": true}), json!({"errors": [1]}), false),
        ];
        for (condition, answer, expected) in table {
            let rule: SuccessRule = serde_json::from_value(json!({"all": [condition]})).unwrap();
            assert_eq!(rule.fits(&answer), expected, "{condition} of {answer}");
        }
    }
}
