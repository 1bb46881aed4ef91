//! A few values out of a JSON text in one pass, without building the rest of it.
//!
//! Rules of manifests look at two or three places of an answer that may be megabytes; a tree of it would cost ten
//! times its size. One pass checks the text and picks the places.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// JSON nested deeper than this is passed on as text: readers of JSON commonly stop at 128 levels, and the answer is
/// going to be wrapped.
const MAX_DEPTH: usize = 100;

/// Places of interest. At most 64; a rule with more is not one.
#[derive(Default)]
pub(crate) struct Query<'q> {
    places: Vec<Place<'q>>,
}

struct Place<'q> {
    /// Unescaped reference tokens of an RFC 6901 pointer.
    tokens: Vec<std::borrow::Cow<'q, str>>,
    /// The value itself, or only its kind and size.
    whole: bool,
}

/// Number of a place in its query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct At(usize);

/// What stands at a place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    /// Present if the value was asked for and not only its size.
    pub(crate) value: Option<Value>,
    pub(crate) null: bool,
    /// Members, items or bytes of text; 1 for other scalars, 0 for null.
    pub(crate) size: usize,
}

/// What was found, by [`At`].
#[derive(Debug, Default)]
pub(crate) struct Picks(Vec<Option<Found>>);

impl<'q> Query<'q> {
    pub(crate) fn value(&mut self, pointer: &'q str) -> At {
        self.add(pointer, true)
    }

    pub(crate) fn size(&mut self, pointer: &'q str) -> At {
        self.add(pointer, false)
    }

    fn add(&mut self, pointer: &'q str, whole: bool) -> At {
        let tokens = pointer.split('/').skip(1).map(unescape).collect();
        self.places.push(Place { tokens, whole });
        At(self.places.len() - 1)
    }

    /// Checks that the text is one JSON value and picks; `None` when it is not JSON, or nested too deeply.
    pub(crate) fn run(&self, text: &str) -> Option<Picks> {
        if nests_deeper(text.as_bytes(), MAX_DEPTH) {
            return None;
        }
        if self.places.is_empty() {
            return is_json(text).then(Picks::default);
        }
        let mut found = vec![None; self.places.len()];
        let active = if self.places.len() >= 64 { u64::MAX } else { (1 << self.places.len()) - 1 };
        let mut reader = serde_json::Deserializer::from_str(text);
        let seed = Seed { places: &self.places, active, depth: 0, found: &mut found };
        match seed.deserialize(&mut reader).and_then(|()| reader.end()) {
            Ok(()) => Some(Picks(found)),
            // A number that no machine type holds is JSON all the same; only the picking stumbles over it.
            Err(_) => is_json(text).then(Picks::default),
        }
    }
}

impl Picks {
    pub(crate) fn get(&self, at: At) -> Option<&Found> {
        self.0.get(at.0)?.as_ref()
    }

    /// The value, unless it is absent or null.
    pub(crate) fn value(&self, at: At) -> Option<&Value> {
        self.get(at).and_then(|found| found.value.as_ref()).filter(|value| !value.is_null())
    }
}

impl Found {
    /// Absent values aside: null, `""`, `[]` or `{}`.
    pub(crate) fn is_empty(&self) -> bool {
        self.null || self.size == 0
    }

    fn of(value: Value) -> Self {
        let size = match &value {
            Value::Null => 0,
            Value::String(text) => text.len(),
            Value::Array(items) => items.len(),
            Value::Object(members) => members.len(),
            Value::Bool(_) | Value::Number(_) => 1,
        };
        Self { null: value.is_null(), size, value: Some(value) }
    }
}

fn unescape(token: &str) -> std::borrow::Cow<'_, str> {
    if token.contains('~') { token.replace("~1", "/").replace("~0", "~").into() } else { token.into() }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Counts brackets outside of strings.
fn nests_deeper(text: &[u8], limit: usize) -> bool {
    if text.len() <= limit {
        return false;
    }
    let mut depth = 0_usize;
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => loop {
                match bytes.next() {
                    Some(b'\\') => {
                        bytes.next();
                    }
                    Some(b'"') | None => break,
                    Some(_) => {}
                }
            },
            _ => {}
        }
    }
    false
}

struct Seed<'a, 'q> {
    places: &'a [Place<'q>],
    /// Bit set of the places whose tokens lead here.
    active: u64,
    depth: usize,
    found: &'a mut [Option<Found>],
}

/// Indices of the set bits.
fn bits(mut set: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        (set != 0).then(|| {
            let at = set.trailing_zeros() as usize;
            set &= set - 1;
            at
        })
    })
}

impl Seed<'_, '_> {
    fn is_wanted_whole(&self) -> bool {
        bits(self.active).any(|at| self.places.get(at).is_some_and(|p| p.whole && p.tokens.len() == self.depth))
    }

    /// Everything active is at this value or inside it.
    fn take(&mut self, value: &Value) {
        for at in bits(self.active) {
            let Some(place) = self.places.get(at) else { continue };
            let inner = place.tokens[self.depth..].iter().try_fold(value, |value, token| match value {
                Value::Object(members) => members.get(token.as_ref()),
                Value::Array(items) => items.get(token.parse::<usize>().ok()?),
                _ => None,
            });
            if let (Some(inner), Some(slot)) = (inner, self.found.get_mut(at)) {
                *slot = Some(Found::of(inner.clone()));
            }
        }
    }

    fn record(&mut self, null: bool, size: usize) {
        for at in bits(self.active) {
            if self.places.get(at).is_some_and(|place| place.tokens.len() == self.depth)
                && let Some(slot) = self.found.get_mut(at)
            {
                *slot = Some(Found { value: None, null, size });
            }
        }
    }

    /// Those of the active places that go on through this member.
    fn through(&self, member: &str) -> u64 {
        let goes_on = |at: &usize| {
            self.places.get(*at).and_then(|place| place.tokens.get(self.depth)).is_some_and(|token| token == member)
        };
        bits(self.active).filter(goes_on).fold(0, |set, at| set | 1 << at)
    }

    fn child(&mut self, active: u64) -> Seed<'_, '_> {
        Seed { places: self.places, active, depth: self.depth + 1, found: self.found }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(mut self, reader: D) -> Result<(), D::Error> {
        if self.is_wanted_whole() {
            let value = <Value as serde::Deserialize>::deserialize(reader)?;
            self.take(&value);
            return Ok(());
        }
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(mut self) -> Result<(), E> {
        self.record(true, 0);
        Ok(())
    }

    fn visit_bool<E: Error>(mut self, _: bool) -> Result<(), E> {
        self.record(false, 1);
        Ok(())
    }

    fn visit_i64<E: Error>(mut self, _: i64) -> Result<(), E> {
        self.record(false, 1);
        Ok(())
    }

    fn visit_u64<E: Error>(mut self, _: u64) -> Result<(), E> {
        self.record(false, 1);
        Ok(())
    }

    fn visit_f64<E: Error>(mut self, _: f64) -> Result<(), E> {
        self.record(false, 1);
        Ok(())
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<(), E> {
        self.record(false, text.len());
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        let mut size = 0;
        loop {
            let active = self.through_item(size);
            let more = if active == 0 {
                items.next_element::<IgnoredAny>()?.is_some()
            } else {
                items.next_element_seed(self.child(active))?.is_some()
            };
            if !more {
                break;
            }
            size += 1;
        }
        self.record(false, size);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        let mut size = 0;
        while let Some(name) = members.next_key::<std::borrow::Cow<'de, str>>()? {
            let active = self.through(&name);
            if active == 0 {
                members.next_value::<IgnoredAny>()?;
            } else {
                members.next_value_seed(self.child(active))?;
            }
            size += 1;
        }
        self.record(false, size);
        Ok(())
    }
}

impl Seed<'_, '_> {
    fn through_item(&self, index: usize) -> u64 {
        let goes_on = |at: &usize| {
            let token = self.places.get(*at).and_then(|place| place.tokens.get(self.depth));
            token.is_some_and(|token| token.parse() == Ok(index))
        };
        bits(self.active).filter(goes_on).fold(0, |set, at| set | 1 << at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn picks_values_and_sizes_in_one_pass() {
        let mut query = Query::default();
        let ok = query.value("/ok");
        let name = query.value("/result/items/1/name");
        let items = query.size("/result/items");
        let absent = query.value("/nope/deep");
        let escaped = query.value("/a~1b/~0");
        let root = query.size("");
        let text = r#"{"ok":true,"result":{"items":[{"name":"a"},{"name":"b","x":[1]}]},"a/b":{"~":7},"z":null}"#;
        let picks = query.run(text).unwrap();
        assert_eq!(picks.value(ok), Some(&json!(true)));
        assert_eq!(picks.value(name), Some(&json!("b")));
        assert_eq!(picks.get(items).unwrap().size, 2);
        assert_eq!(picks.get(absent), None);
        assert_eq!(picks.value(escaped), Some(&json!(7)));
        assert_eq!(picks.get(root).unwrap().size, 4);
    }

    #[test]
    fn a_place_inside_a_picked_value_is_found_too() {
        let mut query = Query::default();
        let outer = query.value("/data/cursor");
        let inner = query.value("/data/cursor/next");
        let picks = query.run(r#"{"data":{"cursor":{"next":true,"id":1}}}"#).unwrap();
        assert_eq!(picks.value(outer), Some(&json!({"next": true, "id": 1})));
        assert_eq!(picks.value(inner), Some(&json!(true)));
    }

    #[test]
    fn what_is_not_json_is_refused() {
        let mut query = Query::default();
        query.value("/a");
        for bad in ["", "{", "{} {}", "<html>", "{'a':1}", "nul", "[1,]", "\"\u{1}\""] {
            assert!(query.run(bad).is_none(), "{bad}");
            assert!(Query::default().run(bad).is_none(), "{bad}");
        }
        assert!(query.run(&format!("{}1{}", "[".repeat(101), "]".repeat(101))).is_none());
        assert!(query.run(&format!("{}1{}", "[".repeat(100), "]".repeat(100))).is_some());
        assert!(query.run(&format!("[\"{}\"]", "[\\\"".repeat(200))).is_some());
        assert!(query.run(r#"{"a":1e999}"#).is_some());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-c\"\\\\\u{e9}]{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[ab/~]{1,2}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn agrees_with_the_tree(value in any_json(), pointer in "(/(a|b|ab|0|1|~1|~0)){0,3}") {
            let text = value.to_string();
            let mut query = Query::default();
            let at = query.value(&pointer);
            let size = query.size(&pointer);
            let picks = query.run(&text).unwrap();
            prop_assert_eq!(picks.get(at).and_then(|f| f.value.as_ref()), value.pointer(&pointer));
            prop_assert_eq!(picks.get(size).is_some(), value.pointer(&pointer).is_some());
        }
    }
}
