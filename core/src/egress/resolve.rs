//! From names to addresses.

use std::io;
use std::net::IpAddr;

use futures::future::BoxFuture;

/// Looks up a host name. What it answers is checked by the connector, and exactly what was checked is
/// dialled: an implementation needs no opinion on addresses.
pub trait Resolve: Send + Sync + 'static {
    /// All addresses of a name, in the order in which they should be tried. Called once for every new
    /// connection, never for literal addresses.
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// The operating system's resolver: hosts file, search list and DNS, as configured on the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|addr| addr.ip()).collect())
        })
    }
}
