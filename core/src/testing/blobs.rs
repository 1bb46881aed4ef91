//! What every [`Blobs`] promises: whole payloads of any size for their organization alone, for 24 hours, sealed.

use std::time::Duration;

use bytes::Bytes;

use super::World;
use crate::blobs::{BlobId, Blobs};
use crate::ids::OrganizationId;

const MIB: usize = 1024 * 1024;

/// Runs all checks.
pub async fn blobs_contract<W: World<Port = dyn Blobs>>(make: impl AsyncFn() -> W) {
    keeps_payloads_of_every_size(make().await).await;
    keeps_payloads_of_many_callers(make().await).await;
    knows_whose_they_are(make().await).await;
    is_one_store_for_all_processes(make().await).await;
    survives_a_crash(make().await).await;
    nothing_lies_in_clear(make().await).await;
    forgets_after_a_day(make().await).await;
}

/// Not compressible, and different at each place.
fn payload(length: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

async fn keeps_payloads_of_every_size<W: World<Port = dyn Blobs>>(mut world: W) {
    let blobs = world.open().await;
    let me = OrganizationId::generate();
    let inline = crate::blobs::INLINE_LIMIT;
    for length in [0, 1, inline - 1, inline, inline + 1, MIB - 1, MIB, MIB + 1, 20 * MIB] {
        let data = payload(length, length as u64);
        let id = blobs.put(&me, data.clone()).await.unwrap();
        assert_eq!(BlobId::parse(id.as_str()), Some(id.clone()), "an id of ours");
        let found = blobs.get(&me, &id).await.unwrap().expect("just stored");
        assert!(found == data, "{length} bytes came back as {} others", found.len());
    }
}

async fn keeps_payloads_of_many_callers<W: World<Port = dyn Blobs>>(mut world: W) {
    let blobs = world.open().await;
    let tasks: Vec<_> = (0..16u64)
        .map(|at| {
            let blobs = blobs.clone();
            tokio::spawn(async move {
                let me = OrganizationId::generate();
                let data = payload(300 * 1024 + at as usize, at);
                let id = blobs.put(&me, data.clone()).await.unwrap();
                assert!(blobs.get(&me, &id).await.unwrap().unwrap() == data);
                id
            })
        })
        .collect();
    let mut ids = std::collections::HashSet::new();
    for task in tasks {
        assert!(ids.insert(task.await.unwrap()), "an id was given twice");
    }
}

async fn knows_whose_they_are<W: World<Port = dyn Blobs>>(mut world: W) {
    let blobs = world.open().await;
    let (me, other) = (OrganizationId::generate(), OrganizationId::generate());
    let id = blobs.put(&me, Bytes::from_static(b"mine")).await.unwrap();
    assert_eq!(blobs.get(&other, &id).await.unwrap(), None, "to another organization it does not exist");
    assert_eq!(blobs.get(&me, &BlobId::generate()).await.unwrap(), None);
    assert_eq!(blobs.get(&me, &BlobId::trusted("blob_no-such")).await.unwrap(), None);
    assert_eq!(blobs.get(&me, &id).await.unwrap().unwrap(), "mine");
}

async fn is_one_store_for_all_processes<W: World<Port = dyn Blobs>>(mut world: W) {
    let (one, two) = (world.open().await, world.open().await);
    let me = OrganizationId::generate();
    let id = one.put(&me, Bytes::from_static(b"from one")).await.unwrap();
    assert_eq!(two.get(&me, &id).await.unwrap().unwrap(), "from one");
}

async fn survives_a_crash<W: World<Port = dyn Blobs>>(mut world: W) {
    let blobs = world.open().await;
    let me = OrganizationId::generate();
    let (short, long) = (payload(10, 1), payload(3 * MIB, 2));
    let one = blobs.put(&me, short.clone()).await.unwrap();
    let two = blobs.put(&me, long.clone()).await.unwrap();
    if !world.crash().await {
        return;
    }
    let blobs = world.open().await;
    assert_eq!(blobs.get(&me, &one).await.unwrap().unwrap(), short);
    assert!(blobs.get(&me, &two).await.unwrap().unwrap() == long);
}

async fn nothing_lies_in_clear<W: World<Port = dyn Blobs>>(mut world: W) {
    let blobs = world.open().await;
    let needle = b"a sentence that stands out in any file";
    let me = OrganizationId::generate();
    let id = blobs.put(&me, Bytes::from(needle.repeat(10_000))).await.unwrap();
    let found = world.lies_in_clear(needle).await;
    assert_ne!(found, Some(true), "a payload lies in clear");
    assert_eq!(blobs.get(&me, &id).await.unwrap().unwrap().len(), needle.len() * 10_000);
}

async fn forgets_after_a_day<W: World<Port = dyn Blobs>>(mut world: W) {
    let blobs = world.open().await;
    let Some(clock) = world.clock() else { return };
    let me = OrganizationId::generate();
    let id = blobs.put(&me, Bytes::from_static(b"for a day")).await.unwrap();
    clock.advance(Duration::from_secs(23 * 3600));
    assert!(blobs.get(&me, &id).await.unwrap().is_some(), "after 23 hours");
    clock.advance(Duration::from_secs(2 * 3600));
    assert_eq!(blobs.get(&me, &id).await.unwrap(), None, "after 25 hours");
}
