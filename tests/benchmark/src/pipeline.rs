//! A gateway and a worker with a nats-server between them.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::plugboard::Sync;
use crate::yardsticks::Part;

pub struct Pipeline {
    pub url: String,
    worker: Part,
    gateway: Part,
    nats: NatsServer,
}

impl Pipeline {
    pub fn of(worker: Part, gateway: Part, nats: NatsServer) -> Self {
        Self { url: gateway.url.clone(), worker, gateway, nats }
    }

    /// Its processes, by name.
    pub fn pids(&self) -> Vec<(String, u32)> {
        let all = [("worker", self.worker.pid()), ("gateway", self.gateway.pid()), ("nats", self.nats.child.id())];
        all.map(|(name, pid)| (name.to_owned(), pid)).into()
    }
}

/// A server of its own; killed when dropped.
pub struct NatsServer {
    pub url: String,
    child: Child,
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl NatsServer {
    /// # Errors
    /// When there is none, or it does not listen.
    pub fn start(scratch: &Path, name: &str, sync: Sync) -> anyhow::Result<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/bin/nats-server");
        let program = if installed.is_file() { installed } else { "nats-server".into() };
        let mut command = Command::new(program);
        // Only a file can say how JetStream syncs.
        let config = scratch.join(format!("{name}-nats.conf"));
        let store = scratch.join(format!("{name}-nats"));
        let jetstream = format!("jetstream {{ store_dir: {store:?}, sync_interval: \"{}\" }}\n", sync.interval());
        std::fs::write(&config, format!("listen: 127.0.0.1:{port}\n{jetstream}"))?;
        command.arg("-c").arg(config);
        let child = command.stderr(Stdio::null()).spawn().context("nats-server")?;
        let server = Self { url: format!("nats://127.0.0.1:{port}"), child };
        for _ in 0..200 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(server);
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        bail!("nats-server does not listen")
    }
}
