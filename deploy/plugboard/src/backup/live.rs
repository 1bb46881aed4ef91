//! Backups of a running `plugboard up`: it has its data file locked, so it takes them itself, at a socket beside the file.
//! Who may connect is who may read the file.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use auth_service::KeySource;
use auth_service::backup;
use bytes::{Bytes, BytesMut};
use plugboard_core::clock::SystemClock;
use plugboard_core::lifecycle::Lifecycle;
use plugboard_core::store::Store;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use super::WAITING;

const PIECE: usize = 64 << 10;
const AGAIN_AFTER: Duration = Duration::from_secs(1);

fn socket(data: &Path) -> PathBuf {
    data.join("backup.sock")
}

/// Hands a backup to whoever connects. Without the socket everything else works, so that is no reason not to start.
pub fn serve(data: &Path, store: Arc<dyn Store>, keys: Arc<dyn KeySource>, life: &Lifecycle) {
    let listener = match bind(&socket(data)) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(%error, "no backup can be taken while this runs");
            return;
        }
    };
    life.beside::<std::convert::Infallible>("backups", async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // Out of files; others give some back.
                tokio::time::sleep(AGAIN_AFTER).await;
                continue;
            };
            let (store, keys) = (store.clone(), keys.clone());
            tokio::spawn(async move {
                if let Err(error) = hand_out(stream, store, keys).await {
                    tracing::warn!(error = format!("{error:#}"), "a backup was not taken");
                }
            });
        }
    });
}

/// The data file is locked by us, so a socket that is there is nobody's any more.
fn bind(path: &Path) -> std::io::Result<UnixListener> {
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn hand_out(mut stream: UnixStream, store: Arc<dyn Store>, keys: Arc<dyn KeySource>) -> anyhow::Result<()> {
    let (bytes, mut arriving) = mpsc::channel::<Bytes>(WAITING);
    // Owns what it receives from, so that its end is noticed by whoever sends.
    let write = async move {
        while let Some(bytes) = arriving.recv().await {
            stream.write_all(&bytes).await?;
        }
        stream.shutdown().await
    };
    let (taken, written) =
        tokio::join!(backup::take(store.as_ref(), keys.as_ref(), Arc::new(SystemClock), bytes), write);
    taken?;
    Ok(written?)
}

/// The bytes of a backup, from the process that runs on this data.
pub(super) async fn fetch(data: &Path, to: mpsc::Sender<Bytes>) -> anyhow::Result<()> {
    let connected = UnixStream::connect(socket(data)).await;
    let mut stream = connected.with_context(|| {
        format!("a plugboard runs on {} that hands out no backups: stop it, then try again", data.display())
    })?;
    loop {
        let mut piece = BytesMut::with_capacity(PIECE);
        if stream.read_buf(&mut piece).await? == 0 {
            return Ok(());
        }
        to.send(piece.freeze()).await.context("the backup is not written any more")?;
    }
}
