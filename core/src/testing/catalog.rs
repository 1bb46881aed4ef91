//! The contract of [`Catalog`].

use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::{World, eventually};
use crate::catalog::{Catalog, CatalogHandle, ManifestDocument};
use crate::ids::ServiceKey;
use crate::manifest::Connector;

/// Long enough for a busy machine; nothing waits this long when it works.
const PATIENCE: Duration = Duration::from_secs(10);

/// A catalog whose manifests can be exchanged from outside. The first call of [`World::open`] finds a catalog without
/// manifests.
#[async_trait]
pub trait CatalogWorld: World<Port = dyn Catalog> {
    /// Serves exactly these manifests (YAML) from now on; returns when the catalog service has taken or refused them.
    async fn serve(&mut self, manifests: &[String]);
}

/// Runs every check, each in a world of its own.
pub async fn catalog_contract<W: CatalogWorld>(mut world: impl AsyncFnMut() -> W) {
    a_watcher_gets_the_whole_catalog_at_once(world().await).await;
    every_watcher_gets_every_change(world().await).await;
    a_replaced_version_can_still_be_had(world().await).await;
    a_bad_manifest_changes_nothing(world().await).await;
    a_handle_follows(world().await).await;
}

fn manifest(key: &str, version: &str) -> String {
    format!(
        "key: {key}\nname: {key}\ntagline: For tests\ndescription: For tests.\ncategory: data\ndocs: https://a.example\n\
         version: \"{version}\"\nauth: {{flows: [{{kind: credentials, label: none, fields: {{}}}}]}}\n\
         modules: {{main: {{summary: All, base_url: \"https://a.example\"}}}}\n\
         operations: [{{id: ping, module: main, method: GET, path: /ping, summary: Answers., effect: read, \
         response_example: {{}}}}]\nverified: {{how: documentation, on: \"2026-11-22\"}}\n"
    )
}

async fn next(stream: &mut BoxStream<'static, Vec<ManifestDocument>>) -> Vec<ManifestDocument> {
    let received = tokio::time::timeout(PATIENCE, stream.next()).await;
    received.expect("a snapshot in time").expect("the stream goes on")
}

/// Waits for the snapshot with these keys; snapshots between may be skipped, never reordered.
async fn until(stream: &mut BoxStream<'static, Vec<ManifestDocument>>, keys: &[&str]) -> Vec<ManifestDocument> {
    loop {
        let documents = next(stream).await;
        if names(&documents) == keys {
            return documents;
        }
    }
}

fn names(documents: &[ManifestDocument]) -> Vec<&str> {
    documents.iter().map(|document| document.key.as_str()).collect()
}

async fn a_watcher_gets_the_whole_catalog_at_once<W: CatalogWorld>(mut world: W) {
    world.serve(&[manifest("b_two", "1"), manifest("a_one", "1")]).await;
    let catalog = world.open().await;
    for _ in 0..2 {
        let documents = next(&mut catalog.watch().await.unwrap()).await;
        assert_eq!(names(&documents), ["a_one", "b_two"], "in order of the keys, for every watcher");
        for document in &documents {
            assert_eq!(document.digest, hex::encode(Sha256::digest(&document.json)));
            let connector = Connector::from_document(document).unwrap();
            assert_eq!(connector.key(), &document.key);
            assert_eq!(connector.digest(), document.digest);
        }
    }
}

async fn every_watcher_gets_every_change<W: CatalogWorld>(mut world: W) {
    let (first, second) = (world.open().await, world.open().await);
    let mut streams = [first.watch().await.unwrap(), second.watch().await.unwrap()];
    for stream in &mut streams {
        assert_eq!(next(stream).await, []);
    }
    world.serve(&[manifest("a_one", "1")]).await;
    for stream in &mut streams {
        until(stream, &["a_one"]).await;
    }
    world.serve(&[manifest("a_one", "1"), manifest("b_two", "1")]).await;
    for stream in &mut streams {
        until(stream, &["a_one", "b_two"]).await;
    }
    world.serve(&[manifest("b_two", "2")]).await;
    for stream in &mut streams {
        until(stream, &["b_two"]).await;
    }
    // What did not change is not sent again.
    world.serve(&[manifest("b_two", "2")]).await;
    for stream in &mut streams {
        let silence = tokio::time::timeout(Duration::from_millis(200), stream.next()).await;
        assert!(silence.is_err(), "an unchanged catalog was sent again, or the stream ended");
    }
}

async fn a_replaced_version_can_still_be_had<W: CatalogWorld>(mut world: W) {
    world.serve(&[manifest("a_one", "1")]).await;
    let catalog = world.open().await;
    let mut stream = catalog.watch().await.unwrap();
    let before = next(&mut stream).await.remove(0);
    world.serve(&[manifest("a_one", "2")]).await;
    let after = next(&mut stream).await.remove(0);
    assert_ne!(before.digest, after.digest);
    world.serve(&[]).await;
    assert_eq!(next(&mut stream).await, []);
    assert_eq!(catalog.by_digest(&before.digest).await.unwrap(), Some(before));
    assert_eq!(catalog.by_digest(&after.digest).await.unwrap(), Some(after));
    for unknown in ["", "0", &"0".repeat(64)] {
        assert_eq!(catalog.by_digest(unknown).await.unwrap(), None);
    }
}

async fn a_bad_manifest_changes_nothing<W: CatalogWorld>(mut world: W) {
    world.serve(&[manifest("a_one", "1")]).await;
    let catalog = world.open().await;
    for bad in ["key: [", "key: b_two\n", &manifest("b_two", "1").replace("category: data", "category: dta")] {
        world.serve(&[manifest("a_one", "2"), bad.to_owned()]).await;
        let documents = next(&mut catalog.watch().await.unwrap()).await;
        assert_eq!(names(&documents), ["a_one"]);
        assert_eq!(Connector::from_document(&documents[0]).unwrap().manifest().version, "1", "all or nothing");
    }
    world.serve(&[manifest("a_one", "3")]).await;
    let documents = next(&mut catalog.watch().await.unwrap()).await;
    assert_eq!(Connector::from_document(&documents[0]).unwrap().manifest().version, "3");
}

async fn a_handle_follows<W: CatalogWorld>(mut world: W) {
    world.serve(&[manifest("a_one", "1")]).await;
    let handle = CatalogHandle::new(world.open().await);
    let stop = CancellationToken::new();
    let following = tokio::spawn(handle.clone().follow(stop.clone()));
    tokio::time::timeout(PATIENCE, handle.ready()).await.unwrap();
    let key = ServiceKey::parse("a_one").unwrap();
    let pinned = handle.snapshot().get(&key).unwrap().digest().to_owned();
    world.serve(&[manifest("a_one", "2")]).await;
    let version = || handle.snapshot().get(&key).map(|connector| connector.manifest().version.clone());
    eventually(PATIENCE, "the handle has the new version", async || version().as_deref() == Some("2")).await;
    assert_eq!(handle.by_digest(&pinned).await.unwrap().unwrap().manifest().version, "1");
    // A process that started later asks the catalog for what it never compiled.
    let late = CatalogHandle::new(world.open().await);
    assert_eq!(late.by_digest(&pinned).await.unwrap().unwrap().manifest().version, "1");
    assert!(late.by_digest("nothing").await.unwrap().is_none());
    stop.cancel();
    tokio::time::timeout(PATIENCE, following).await.unwrap().unwrap();
}
