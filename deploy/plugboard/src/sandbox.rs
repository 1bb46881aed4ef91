//! The built-in vendor: a listener on loopback that this process alone may reach.

use std::sync::Arc;

use anyhow::Context;
use plugboard_core::catalog::CatalogHandle;
use plugboard_core::egress::{Allowance, Egress, EgressPolicy, PolicyError};
use plugboard_core::lifecycle::Lifecycle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A bound listener and the door that leads only to it.
pub struct Sandbox {
    listener: TcpListener,
    policy: EgressPolicy,
}

impl Sandbox {
    /// # Errors
    /// When no port is free.
    pub async fn bind(policy: EgressPolicy) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("the sandbox vendor cannot listen")?;
        let address = listener.local_addr()?;
        let base = format!("http://{address}").parse().context("the sandbox vendor's address")?;
        Ok(Self { listener, policy: policy.with_allowance(Allowance::exactly(address)).with_upstream(base) })
    }

    /// Starts the vendor. It outlives the drain: calls that are being finished still need it.
    ///
    /// # Errors
    /// When the door cannot be made.
    pub fn start(self, catalog: &Arc<CatalogHandle>, life: &Lifecycle) -> Result<Egress, PolicyError> {
        let egress = Egress::new(self.policy)?;
        let stop: CancellationToken = life.dropping();
        tokio::spawn(executor::sandbox::serve(self.listener, catalog.clone(), stop));
        Ok(egress)
    }
}

/// The door of a service: to the built-in vendor in sandbox mode, else to the world.
pub enum Door {
    World(Egress),
    Sandbox(Box<Sandbox>),
}

impl Door {
    /// # Errors
    /// When the policy cannot be served or no port is free.
    pub async fn new(policy: EgressPolicy, sandbox: bool) -> anyhow::Result<Self> {
        Ok(if sandbox {
            Self::Sandbox(Box::new(Sandbox::bind(policy).await?))
        } else {
            Self::World(Egress::new(policy)?)
        })
    }

    /// # Errors
    /// When the door cannot be made.
    pub fn open(self, catalog: &Arc<CatalogHandle>, life: &Lifecycle) -> Result<Egress, PolicyError> {
        match self {
            Self::World(egress) => Ok(egress),
            Self::Sandbox(sandbox) => sandbox.start(catalog, life),
        }
    }
}
