//! Every manifest that ships: each operation's example makes a request, and its example answer is a success.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::HeaderMap;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use plugboard_core::clock::Millis;
use plugboard_core::manifest::{Connector, Manifest, Operation};
use plugboard_core::secret::SecretKey;
use serde_json::Value;

use crate::http::request::{Parts, build};
use crate::http::response::{About, Answer, shape};
use crate::scrub::Scrubber;
use crate::testing::{STAMP, job, sandbox_fields};

fn manifests() -> Vec<(PathBuf, Manifest)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../catalog-service/connectors");
    let Ok(categories) = std::fs::read_dir(root) else { return Vec::new() };
    let files = categories.flatten().filter_map(|category| std::fs::read_dir(category.path()).ok()).flatten().flatten();
    files
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "yaml"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let manifest = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path, manifest)
        })
        .collect()
}

fn example_path(connector: &Connector, operation: &Operation) -> String {
    let Some(template) = &connector.operation(&operation.id).unwrap().1.path else { return String::new() };
    let example = operation.request_example.clone().unwrap_or_default();
    let values: Vec<(String, String)> = template
        .names()
        .iter()
        .map(|name| {
            let value = match example.path_params.get(name) {
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
                None => "1".to_owned(),
            };
            (name.clone(), utf8_percent_encode(&value, NON_ALPHANUMERIC).to_string())
        })
        .collect();
    template.fill(|name| values.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())).unwrap()
}

#[test]
fn every_operation_makes_a_request_and_reads_its_own_answer() {
    for (file, manifest) in manifests() {
        let connector = Connector::from_manifest(manifest.clone()).unwrap();
        let account = sandbox_fields(&manifest);
        for operation in &manifest.operations {
            let place = format!("{}: {}", file.display(), operation.id);
            let mut job = job(&connector, &operation.id, &example_path(&connector, operation));
            let example = operation.request_example.clone().unwrap_or_default();
            job.query = example.query.iter().map(|(name, value)| (name.clone(), value.to_string())).collect();
            let body = example.body.as_ref().map(|body| Bytes::from(body.to_string()));
            let root = SecretKey::new([1; 32]);
            let parts = Parts {
                connector: &connector,
                job: &job,
                body: body.as_ref(),
                fields: &account,
                idempotency_root: &root,
                stamp: STAMP,
            };
            let outgoing = build(&parts).unwrap_or_else(|error| panic!("{place}: {error}"));
            assert!(outgoing.binding.permits(&outgoing.url), "{place}");

            let about = About {
                connector: &connector,
                operation: Some(operation),
                job: &job,
                body: body.as_ref(),
                now: Millis(0),
            };
            let body = Bytes::from(operation.response_example.to_string());
            let answer = Answer { status: 200, headers: &HeaderMap::new(), body: &body };
            let derived = outgoing.derived.iter().map(|text| text.as_str());
            let shaped = shape(&about, &Scrubber::new(account.secrets().chain(derived)), answer);
            assert!(shaped.error.is_none(), "{place}: {:?}", shaped.error);
            let same = shaped.data.is_some_and(|data| data == body) || operation.response_example.is_null();
            assert!(same, "{place}: the example holds a sandbox secret");
        }
    }
}
