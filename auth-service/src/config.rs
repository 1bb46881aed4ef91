//! Settings of the auth service.

use serde::Deserialize;

/// | setting | default | meaning |
/// | --- | --- | --- |
/// | `sandbox` | false | every organization has the account `acc_sandbox` of every service, with made-up credentials |
/// | `allow_private_hosts` | false | host fields may name single labels, addresses and ports of an intranet |
/// | `public_url` | empty | where browsers reach the callback and the connect pages; without it nobody can sign in |
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub sandbox: bool,
    pub allow_private_hosts: bool,
    pub public_url: String,
}
