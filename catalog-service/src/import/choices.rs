//! `oneOf` and `anyOf`: what is only a list of values or of types becomes one, the rest stays a choice.

use serde_json::{Map, Value, json};

use super::schema::{CUT, SHOWN, Writer};
use super::whole::{TYPES, Whole};

impl<'a> Writer<'a, '_> {
    pub(super) fn choices(
        &mut self,
        whole: &Whole<'a>,
        depth: usize,
        types: &mut Vec<&'a str>,
        small: &mut Map<String, Value>,
    ) {
        let mut open = Vec::new();
        for choice in &whole.choices {
            if depth == 0 || !self.budget.take(choice.len()) {
                self.note(CUT);
                continue;
            }
            let mut branches: Vec<Value> = Vec::new();
            for branch in choice {
                let branch = self.node(&[*branch], depth - 1);
                if !branches.contains(&branch) {
                    branches.push(branch);
                }
            }
            if branches.iter().any(says_nothing) {
                continue;
            }
            if let Some(values) = listed(&branches) {
                if !small.contains_key("enum") {
                    small.insert("enum".to_owned(), values.into());
                }
                continue;
            }
            match union(&branches) {
                Some(kinds) if types.is_empty() => types.extend(kinds),
                Some(_) => {}
                None => {
                    if whole.nullable {
                        branches.push(json!({ "type": "null" }));
                    }
                    open.push(Value::Array(branches));
                }
            }
        }
        let mut open = open.into_iter();
        if let Some(first) = open.next() {
            small.insert("anyOf".to_owned(), first);
        }
        let more: Vec<Value> = open.map(|branches| json!({ "anyOf": branches })).collect();
        if !more.is_empty() {
            small.insert("allOf".to_owned(), more.into());
        }
    }
}

fn says_nothing(schema: &Value) -> bool {
    schema
        .as_object()
        .is_none_or(|members| members.keys().all(|name| matches!(name.as_str(), "description" | "default" | SHOWN)))
}

/// The values of branches that are only lists of values.
fn listed(branches: &[Value]) -> Option<Vec<Value>> {
    let mut values = Vec::new();
    for branch in branches {
        let members = branch.as_object()?;
        let plain = members
            .keys()
            .all(|name| matches!(name.as_str(), "type" | "description" | "default" | "enum" | "const" | SHOWN));
        let here = match (members.get("enum"), members.get("const")) {
            (Some(Value::Array(all)), _) => all.clone(),
            (_, Some(one)) => vec![one.clone()],
            _ => return None,
        };
        if !plain || here.iter().any(|value| value.is_object() || value.is_array()) {
            return None;
        }
        values.extend(here.into_iter().filter(|value| !values.contains(value)).collect::<Vec<_>>());
    }
    Some(values)
}

/// The types of branches that say nothing else.
fn union(branches: &[Value]) -> Option<Vec<&'static str>> {
    let mut union = Vec::new();
    for branch in branches {
        let members = branch.as_object()?;
        let plain = members.keys().all(|name| matches!(name.as_str(), "type" | "description" | "default" | SHOWN));
        let kind = members.get("type").and_then(Value::as_str).filter(|_| plain)?;
        let kind = TYPES.into_iter().find(|known| *known == kind)?;
        if !union.contains(&kind) {
            union.push(kind);
        }
    }
    if union.contains(&"number") {
        union.retain(|kind| *kind != "integer");
    }
    Some(union)
}
