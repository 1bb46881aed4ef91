//! Connector manifests: the format, its checks, and the compiled form that validates calls.
//!
//! [`model`] is the file format, [`Connector`] what a process keeps in memory, [`Connector::check`] what every call
//! goes through before anything leaves.

pub mod body;
mod call;
mod connector;
pub mod credentials;
pub(crate) mod formats;
pub mod host;
mod limits;
pub mod model;
pub mod oauth;
mod pagination;
mod params;
pub mod passport;
mod path;
mod request_path;
pub mod search;
pub mod signature;
mod success;
pub mod suggest;
mod template;
#[cfg(test)]
mod tests;
pub mod token;

pub use call::{CallArguments, CheckedCall};
pub use connector::{
    CompileError, Connector, ConnectorModule, ConnectorOperation, ConnectorTransport, Found, document,
};
pub use formats::KNOWN as KNOWN_FORMATS;
pub use limits::{LimitScope, RateLimit};
pub use model::*;
pub use oauth::{Dialect, Discovery, KeptField, OAuthFlow, RefreshRules, Source, TokenPointers, TokenRequestStyle};
pub use pagination::{Pagination, PaginationKind};
pub use passport::Brief;
pub use path::{PathTemplate, PathTemplateError};
pub use signature::{Signature, SignatureAlgorithm, SignatureEncoding};
pub use template::{Template, TemplateError, Variable};
pub use token::{Assertion, ClientAuth, LoginRequest, TokenGrant, TokenGrantKind};
