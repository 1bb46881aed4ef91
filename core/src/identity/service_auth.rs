//! How our own services prove to each other what they are: by a token, and where they speak TLS by their certificate, too.
//!
//! All processes of a cluster share one secret. A service presents
//! `hex(HMAC-SHA-256(secret, "plugboard service <role>"))` as a bearer token, so what a gateway holds in memory does not
//! open what only executors may ask. Where a connection has a certificate, that must say the same: a token that was stolen
//! is worth nothing without a key of its role, and a key nothing without the token.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use tonic::{Request, Status};

use crate::secret::{Secret, SecretKey};
use crate::tls::Peer;

/// What a calling process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServiceRole {
    Gateway,
    Executor,
    Auth,
}

impl ServiceRole {
    pub const ALL: [Self; 3] = [Self::Gateway, Self::Executor, Self::Auth];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Executor => "executor",
            Self::Auth => "auth",
        }
    }
}

impl std::fmt::Display for ServiceRole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The token that a process of this role presents.
pub fn service_token(cluster_secret: &SecretKey, role: ServiceRole) -> Secret {
    let mut mac = match Hmac::<Sha256>::new_from_slice(cluster_secret.expose()) {
        Ok(mac) => mac,
        Err(_) => unreachable!("HMAC takes keys of any length"),
    };
    mac.update(b"plugboard service ");
    mac.update(role.as_str().as_bytes());
    Secret::new(hex::encode(mac.finalize().into_bytes()))
}

/// The server's side: tells what a caller is by its token.
#[derive(Debug, Clone)]
pub struct ServiceAuth {
    tokens: [(ServiceRole, Secret); 3],
}

impl ServiceAuth {
    pub fn new(cluster_secret: &SecretKey) -> Self {
        Self { tokens: ServiceRole::ALL.map(|role| (role, service_token(cluster_secret, role))) }
    }

    /// The role of whoever sent this request.
    ///
    /// # Errors
    /// When it has no valid token, or its connection's certificate is not of that role.
    #[allow(clippy::result_large_err, reason = "what tonic wants")]
    pub fn caller<T>(&self, request: &Request<T>) -> Result<ServiceRole, Status> {
        let presented = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        let Some(role) = presented.and_then(|value| self.role_of(value)) else {
            return Err(Status::unauthenticated(
                "no valid service token: the caller must be configured with this cluster's secret",
            ));
        };
        match request.extensions().get::<Peer>() {
            Some(Peer::Certified(roles)) if !roles.contains(role) => {
                tracing::warn!(%role, "a caller was refused: it has the token of this role, but not its certificate");
                Err(Status::permission_denied(format!("the caller's certificate has none of tls.names.{role}")))
            }
            _ => Ok(role),
        }
    }

    /// The role of whoever sent this `authorization` value. Every token is compared, each in constant time.
    fn role_of(&self, authorization: &str) -> Option<ServiceRole> {
        let presented = Secret::new(authorization.strip_prefix("Bearer ")?);
        self.tokens.iter().fold(None, |found, (role, token)| if *token == presented { Some(*role) } else { found })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_has_its_own_token() {
        let secret = SecretKey::new([3; 32]);
        let auth = ServiceAuth::new(&secret);
        for role in ServiceRole::ALL {
            let token = service_token(&secret, role);
            assert_eq!(auth.role_of(&format!("Bearer {}", token.expose())), Some(role));
            assert_eq!(auth.role_of(token.expose()), None);
            assert_eq!(ServiceAuth::new(&SecretKey::new([4; 32])).role_of(&format!("Bearer {}", token.expose())), None);
        }
        assert_eq!(auth.role_of("Bearer "), None);
        assert!(!format!("{auth:?}").contains(service_token(&secret, ServiceRole::Auth).expose()));
    }
}
