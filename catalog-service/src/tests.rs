//! The service as a whole, and the built-in manifests.

#![allow(clippy::print_stdout, reason = "sizes for whoever asks")]

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use plugboard_core::catalog::{Catalog, GrpcCatalog};
use plugboard_core::identity::{ServiceAuth, ServiceRole, service_token};
use plugboard_core::manifest::{Category, Connector, Manifest, document, passport};
use plugboard_core::secret::SecretKey;
use plugboard_core::testing::{CatalogWorld, World, catalog_contract};
use tokio_util::sync::CancellationToken;

use crate::catalog::CatalogService;
use crate::config::Config;
use crate::grpc::CatalogGrpc;
use crate::{lint, load, readme};

/// A catalog over one directory, in this process or behind a listener.
struct Directory {
    folder: tempfile::TempDir,
    service: Arc<CatalogService>,
    stop: CancellationToken,
    remote: bool,
}

impl Directory {
    fn new(remote: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let directories = vec![folder.path().to_owned()];
        let service = CatalogService::open(Config { built_in: false, directories, poll_ms: 20 }).unwrap();
        Self { folder, service, stop: CancellationToken::new(), remote }
    }

    async fn listen(&self, callers: Option<ServiceAuth>) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = CatalogGrpc::new(self.service.clone(), callers, self.stop.clone()).into_server();
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let stop = self.stop.clone();
        tokio::spawn(async move {
            let router = tonic::transport::Server::builder().add_service(server);
            router.serve_with_incoming_shutdown(incoming, stop.cancelled()).await.unwrap();
        });
        url
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[async_trait]
impl World for Directory {
    type Port = dyn Catalog;

    async fn open(&mut self) -> Arc<Self::Port> {
        if self.remote {
            Arc::new(GrpcCatalog::connect_lazy(&self.listen(None).await, None).unwrap())
        } else {
            self.service.clone()
        }
    }
}

#[async_trait]
impl CatalogWorld for Directory {
    async fn serve(&mut self, manifests: &[String]) {
        for entry in std::fs::read_dir(self.folder.path()).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
        for (at, manifest) in manifests.iter().enumerate() {
            self.write(&format!("{at}.yaml"), manifest);
        }
        let _ = self.service.reload();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_keeps_the_contract() {
    catalog_contract(async || Directory::new(false)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_keeps_the_contract_over_grpc() {
    catalog_contract(async || Directory::new(true)).await;
}

#[tokio::test]
async fn only_our_own_services_read_the_catalog() {
    let world = Directory::new(false);
    let secret = SecretKey::new([1; 32]);
    let url = world.listen(Some(ServiceAuth::new(&secret))).await;
    let stranger = GrpcCatalog::connect_lazy(&url, None).unwrap();
    assert!(stranger.watch().await.is_err());
    assert!(stranger.by_digest("x").await.is_err());
    let gateway = stranger.with_token(&service_token(&secret, ServiceRole::Gateway)).unwrap();
    assert_eq!(gateway.watch().await.unwrap().next().await, Some(Vec::new()));
    assert_eq!(gateway.by_digest("x").await.unwrap(), None);
}

#[tokio::test]
async fn a_stream_ends_with_the_server() {
    let mut world = Directory::new(true);
    let catalog = world.open().await;
    let mut stream = catalog.watch().await.unwrap();
    assert_eq!(stream.next().await, Some(Vec::new()));
    world.stop.cancel();
    let end = tokio::time::timeout(Duration::from_secs(5), stream.next()).await.unwrap();
    assert_eq!(end, None);
}

#[tokio::test]
async fn changed_files_are_noticed() {
    let world = Directory::new(false);
    let follower = tokio::spawn(world.service.clone().follow_files(world.stop.clone()));
    let mut snapshots = Box::pin(world.service.snapshots());
    assert!(snapshots.next().await.unwrap().documents.is_empty());
    let ozon = built_in("ozon");
    world.write("ozon.yaml", "key: [");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(world.service.snapshot().documents.is_empty());
    world.write("ozon.yaml", &ozon.text);
    let snapshot = tokio::time::timeout(Duration::from_secs(5), snapshots.next()).await.unwrap().unwrap();
    assert_eq!(snapshot.documents[0].key.as_str(), "ozon");
    world.stop.cancel();
    follower.await.unwrap();
}

/// The built-in manifests as they are written, with lines to point to.
fn written() -> Vec<load::Source> {
    load::directory(&Path::new(env!("CARGO_MANIFEST_DIR")).join("connectors")).unwrap()
}

fn built_in(key: &str) -> load::Source {
    written().into_iter().find(|source| source.file.ends_with(&format!("/{key}.yaml"))).unwrap()
}

#[test]
fn what_is_built_in_is_what_is_written() {
    let built_in = load::built_in().unwrap();
    assert_eq!(built_in.len(), written().len());
    for (built_in, written) in built_in.iter().zip(written()) {
        assert!(written.file.ends_with(&built_in.file), "{} is not {}", built_in.file, written.file);
        let [one, other] = [built_in, &written].map(|source| document(&load::manifest(source).unwrap()).unwrap());
        assert_eq!(one, other, "{}", built_in.file);
    }
}

#[test]
fn an_extra_directory_overrides_by_key() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let ozon = built_in("ozon").text;
    for (folder, name) in folders.iter().zip(["First", "Second"]) {
        let category = folder.path().join("marketplaces");
        std::fs::create_dir(&category).unwrap();
        let text = ozon.replace("name: Ozon Seller API", &format!("name: {name}"));
        std::fs::write(category.join("ozon.yaml"), text).unwrap();
    }
    let directories = folders.iter().map(|folder| folder.path().to_owned()).collect();
    let loaded = load::all(&Config { directories, ..Config::default() }).unwrap();
    assert_eq!(loaded.len(), load::built_in().unwrap().len());
    let ozon = loaded.iter().find(|entry| entry.connector.key().as_str() == "ozon").unwrap();
    assert_eq!(ozon.connector.manifest().name, "Second");
}

#[test]
fn mistakes_name_file_line_and_place() {
    let folder = tempfile::tempdir().unwrap();
    let good = built_in("ozon").text;
    let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
    write("a.yaml", good.replace("tagline:", "taglin:"));
    write("b.yaml", "key: x\n  name: y\n".to_owned());
    write("c.yaml", good.clone());
    write("d.yaml", good.clone());
    write("ignored.txt", "key: [".to_owned());
    let error =
        CatalogService::open(Config { built_in: false, directories: vec![folder.path().to_owned()], poll_ms: 0 });
    let findings = error.unwrap_err().findings;
    let of = |name: &str| findings.iter().filter(|finding| finding.file.ends_with(name)).collect::<Vec<_>>();
    let messages: Vec<&str> = of("a.yaml").iter().map(|finding| finding.message.as_str()).collect();
    assert!(messages.contains(&"tagline is missing"), "{messages:?}");
    assert!(messages.contains(&"unknown key taglin (did you mean tagline?)"), "{messages:?}");
    assert!(of("a.yaml").iter().any(|finding| finding.line == Some(4) && finding.place == "taglin"));
    assert_eq!(of("b.yaml")[0].line, Some(2), "{findings:?}");
    assert!(of("d.yaml")[0].message.contains("already defined by"), "{findings:?}");
    let missing = Path::new("/nonexistent/plugboard").to_owned();
    let error = CatalogService::open(Config { directories: vec![missing], ..Config::default() }).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/plugboard: cannot be read"), "{error}");
}

#[test]
fn yaml_keeps_what_looks_like_something_else() {
    let source = load::Source {
        file: "x.yaml".to_owned(),
        text: "{country: NO, code: 007, big: 1_000, on: yes, day: 2026-04-15, yes: true, n: 1.5}".to_owned(),
    };
    let value = load::to_value(&source).unwrap();
    let expected = serde_json::json!({
        "country": "NO", "code": "007", "big": "1_000", "on": "yes", "day": "2026-04-15", "yes": true, "n": 1.5,
    });
    assert_eq!(value, expected);
}

#[test]
fn every_built_in_manifest_is_clean() {
    let findings: Vec<String> = lint::sources(&written()).iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

/// Gateways compile from JSON, so nothing may be lost on the way.
#[test]
fn every_built_in_manifest_survives_json() {
    for source in load::built_in().unwrap() {
        let manifest = load::manifest(&source).unwrap();
        let first = document(&manifest).unwrap();
        let again: Manifest = serde_json::from_slice(&first.json).unwrap();
        assert_eq!(document(&again).unwrap(), first, "{}", source.file);
        let direct = Connector::from_manifest(manifest).unwrap();
        assert_eq!(Connector::from_document(&first).unwrap().digest(), direct.digest());
    }
}

/// What a reader pays for: an index or a module at a time.
const LARGEST_PASSPORT: usize = 12 * 1024;

#[test]
fn every_built_in_passport_is_small() {
    let mut large = Vec::new();
    for entry in load::all(&Config::default()).unwrap() {
        let connector = &entry.connector;
        let names = connector.manifest().modules.keys();
        let modules = names.map(|name| (name.as_str(), passport::module(connector, name).unwrap().to_string().len()));
        let all: Vec<(&str, usize)> =
            std::iter::once(("index", passport::index(connector).to_string().len())).chain(modules).collect();
        // Shown with --nocapture.
        println!("{}: {all:?}", connector.key());
        let over = all.iter().filter(|(_, size)| *size > LARGEST_PASSPORT);
        large.extend(over.map(|(name, size)| format!("{}/{name} {size}", connector.key())));
    }
    assert!(large.is_empty(), "over {LARGEST_PASSPORT} bytes: {}", large.join(", "));
}

#[test]
fn the_catalog_is_as_wide_and_as_deep_as_promised() {
    let loaded = load::all(&Config::default()).unwrap();
    let manifests: Vec<&Manifest> = loaded.iter().map(|entry| entry.connector.manifest()).collect();
    assert!(manifests.len() >= 99, "{} connectors", manifests.len());
    let categories: HashSet<Category> = manifests.iter().map(|manifest| manifest.category).collect();
    assert_eq!((categories.len(), Category::ALL.len()), (16, 16), "{categories:?}");
    let mut counts: Vec<usize> = manifests.iter().map(|manifest| manifest.operations.len()).collect();
    counts.sort_unstable();
    let operations: usize = counts.iter().sum();
    println!("{} connectors, {operations} operations", counts.len());
    assert!(operations >= 750, "{operations} operations");
    assert!(counts[counts.len() / 2] >= 8, "the median connector has {} operations", counts[counts.len() / 2]);
    assert!(counts[0] >= 6, "the smallest connector has {} operations", counts[0]);
}

#[test]
fn the_table_has_a_row_for_every_connector() {
    let table = readme::table().unwrap();
    assert_eq!(table.lines().count(), load::built_in().unwrap().len() + 2);
    assert!(table.contains("| `ozon` | Ozon Seller API (Озон) | marketplaces | `client_id`, `api_key` |"), "{table}");
}
