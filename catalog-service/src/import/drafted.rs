//! An operation between the document and the manifest: what it takes is known, its examples are not made yet.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Map, Value, json};

use super::answers::Answer;
use super::bodies::Body;
use super::example::Maker;
use super::parameters::Parameter;

#[derive(Default)]
pub(super) struct Drafted {
    pub(super) id: String,
    pub(super) module: String,
    method: String,
    path: String,
    summary: String,
    pub(super) effect: &'static str,
    pub(super) path_params: Vec<Parameter>,
    pub(super) query: Vec<Parameter>,
    pub(super) body: Option<Body>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) answer: Answer,
    /// Its place among all; what is made up for it has this number.
    pub(super) number: u64,
}

/// Examples that operations have already.
#[derive(Default)]
pub(super) struct Seen(HashSet<u64>);

impl Drafted {
    pub(super) fn new(id: &str, verb: &str, path: &str, summary: String) -> Self {
        let (id, method, path) = (id.to_owned(), verb.to_uppercase(), path.to_owned());
        Self { id, method, path, summary, ..Self::default() }
    }

    /// A call that proves an account: it changes nothing and needs nothing.
    pub(super) fn is_test(&self) -> bool {
        self.method == "GET" && self.path_params.is_empty() && self.query.iter().all(|parameter| !parameter.required)
    }

    /// As manifests write it.
    pub(super) fn write(self, seen: &mut Seen) -> Value {
        let (request, answer) = self.examples(seen);
        let mut operation = json!({
            "id": self.id, "module": self.module, "method": self.method, "path": self.path,
            "summary": self.summary, "effect": self.effect,
        });
        for (place, parameters) in [("path_params", self.path_params), ("query", self.query)] {
            if !parameters.is_empty() {
                let all: Map<String, Value> =
                    parameters.into_iter().map(|one| (one.name, Value::Object(one.draft))).collect();
                operation[place] = all.into();
            }
        }
        if let Some(body) = self.body {
            operation["body"] = body.bare();
            if body.required {
                operation["body_required"] = true.into();
            }
            for (name, value) in [("body_encoding", body.encoding), ("body_arrays", body.arrays)] {
                if let Some(value) = value {
                    operation[name] = value.into();
                }
            }
        }
        if !self.headers.is_empty() {
            operation["headers"] =
                self.headers.into_iter().map(|(name, text)| (name, text.into())).collect::<Map<_, _>>().into();
        }
        if !request.is_empty() {
            operation["request_example"] = request.into();
        }
        operation["response_example"] = answer;
        operation
    }

    /// What the document shows, unless another operation has the same; then something made up.
    fn examples(&self, seen: &mut Seen) -> (Map<String, Value>, Value) {
        let maker = |shown: bool| Maker { number: self.number, shown, all: false };
        let mut last = None;
        for (request, answer) in [(true, true), (false, true), (false, false)] {
            let examples = (self.request(maker(request)), self.answer.example(maker(answer)));
            let mut hasher = DefaultHasher::new();
            json!([examples.0, examples.1]).to_string().hash(&mut hasher);
            if seen.0.insert(hasher.finish()) {
                return examples;
            }
            last = Some(examples);
        }
        last.unwrap_or_default()
    }

    fn request(&self, maker: Maker) -> Map<String, Value> {
        let mut request = Map::new();
        for (place, parameters) in [("path_params", &self.path_params), ("query", &self.query)] {
            let needed = parameters.iter().filter(|parameter| parameter.required);
            let values: Map<String, Value> = needed.map(|one| (one.name.clone(), one.example(maker))).collect();
            if !values.is_empty() {
                request.insert(place.to_owned(), values.into());
            }
        }
        if let Some(body) = &self.body {
            request.insert("body".to_owned(), body.example(maker));
        }
        request
    }
}

/// Parameters and headers that every operation must have, with one and the same value: they belong to the transport.
#[derive(Default)]
pub(super) struct Constants {
    pub(super) query: Map<String, Value>,
    pub(super) headers: Map<String, Value>,
}

impl Constants {
    /// Takes them out of the operations.
    pub(super) fn take(drafted: &mut [Drafted]) -> Self {
        let mut constants = Self::default();
        let Some(first) = drafted.first().filter(|_| drafted.len() > 1) else { return constants };
        let of_query =
            |one: &Drafted, name: &str| one.query.iter().find(|parameter| parameter.name == name)?.constant();
        for parameter in &first.query {
            let Some(value) = parameter.constant().filter(|value| !value.contains(['{', '}'])) else { continue };
            if drafted.iter().all(|one| of_query(one, &parameter.name).as_ref() == Some(&value)) {
                constants.query.insert(parameter.name.clone(), value.into());
            }
        }
        for header in &first.headers {
            if header.0 != "Content-Type" && drafted.iter().all(|one| one.headers.contains(header)) {
                constants.headers.insert(header.0.clone(), header.1.clone().into());
            }
        }
        for one in drafted {
            one.query.retain(|parameter| !constants.query.contains_key(&parameter.name));
            one.headers.retain(|(name, _)| !constants.headers.contains_key(name));
        }
        constants
    }
}
