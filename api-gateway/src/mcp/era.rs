//! Which revision a message is served under, or why it cannot be.
//!
//! Two things name a revision: the header `MCP-Protocol-Version` and, since 2026-07-28, `_meta`. A request is modern if
//! either does so in a modern way; both must then agree.

use std::borrow::Cow;

use http::HeaderMap;

use super::frame::Meta;
use super::headers::{self, Single};
use super::json::Json;
use super::protocol::{Era, ProtocolVersion, code};
use super::reply::RpcError;

/// What the version header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VersionHeader<'a> {
    Absent,
    Served(ProtocolVersion),
    Unknown(&'a str),
    /// Repeated, or not text.
    Unreadable,
}

impl<'a> VersionHeader<'a> {
    pub(super) fn read(map: &'a HeaderMap) -> Self {
        match headers::single(map, &headers::PROTOCOL_VERSION) {
            Single::Absent => Self::Absent,
            Single::Value(text) => ProtocolVersion::parse(text).map_or(Self::Unknown(text), Self::Served),
            Single::Unreadable => Self::Unreadable,
        }
    }

    /// The era to assume before the body is known.
    pub(super) fn era(self) -> Era {
        match self {
            Self::Served(version) => version.era(),
            Self::Absent | Self::Unknown(_) | Self::Unreadable => Era::Legacy,
        }
    }

    /// The revision that messages without `_meta` are served under, if this header allows any.
    pub(super) fn legacy(self) -> Option<ProtocolVersion> {
        match self {
            Self::Absent => Some(ProtocolVersion::HEADERLESS),
            Self::Served(version) if version.era() == Era::Legacy => Some(version),
            Self::Served(_) | Self::Unknown(_) | Self::Unreadable => None,
        }
    }
}

/// Decides the revision of a request.
///
/// # Errors
/// The JSON-RPC error to answer with HTTP 400.
pub(super) fn classify(
    header: VersionHeader<'_>,
    meta: &Meta<'_>,
    method: &str,
    tolerate_mismatch: bool,
) -> Result<ProtocolVersion, RpcError> {
    let claimed = match meta.version {
        None => None,
        Some(raw) => {
            Some(raw.string().ok_or_else(|| RpcError::invalid_params("_meta: protocolVersion must be a string"))?)
        }
    };
    let claims_legacy = claimed
        .as_deref()
        .is_some_and(|text| ProtocolVersion::parse(text).is_some_and(|version| version.era() == Era::Legacy));
    match claimed {
        Some(claimed) if !claims_legacy => modern(header, meta, &claimed, tolerate_mismatch),
        // `initialize` negotiates, so whatever the header says is not held against it.
        None if method == "initialize" => Ok(header.legacy().unwrap_or(ProtocolVersion::NEWEST_LEGACY)),
        claimed => match header {
            VersionHeader::Served(version) if version.era() == Era::Modern => Err(match claimed {
                Some(claimed) => mismatch(&claimed, version.as_str()),
                None => incomplete("protocolVersion"),
            }),
            VersionHeader::Unknown(text) => Err(unsupported(text)),
            VersionHeader::Unreadable => Err(unreadable()),
            header => header.legacy().ok_or_else(unreadable),
        },
    }
}

fn modern(
    header: VersionHeader<'_>,
    meta: &Meta<'_>,
    claimed: &str,
    tolerate_mismatch: bool,
) -> Result<ProtocolVersion, RpcError> {
    if !meta.capabilities.is_some_and(Json::is_object) {
        return Err(incomplete("clientCapabilities"));
    }
    let agrees = match header {
        VersionHeader::Absent => {
            return Err(RpcError::new(code::HEADER_MISMATCH, "the header MCP-Protocol-Version is missing"));
        }
        VersionHeader::Unreadable => return Err(unreadable()),
        VersionHeader::Served(version) if tolerate_mismatch && version.era() == Era::Legacy => true,
        VersionHeader::Served(version) if version.as_str() != claimed => {
            return Err(mismatch(claimed, version.as_str()));
        }
        VersionHeader::Served(_) => true,
        VersionHeader::Unknown(text) => text == claimed,
    };
    match (agrees, ProtocolVersion::parse(claimed)) {
        (true, Some(version)) => Ok(version),
        (true, None) => Err(unsupported(claimed)),
        (false, _) => Err(RpcError::new(
            code::HEADER_MISMATCH,
            "the header MCP-Protocol-Version differs from protocolVersion in _meta",
        )),
    }
}

fn incomplete(field: &str) -> RpcError {
    RpcError::invalid_params(format!(
        "params._meta must have \"io.modelcontextprotocol/{field}\" under MCP-Protocol-Version {}",
        ProtocolVersion::V2026_07_28
    ))
}

fn mismatch(claimed: &str, header: &str) -> RpcError {
    RpcError::new(
        code::HEADER_MISMATCH,
        format!(
            "the header MCP-Protocol-Version says {header}, protocolVersion in _meta says {}",
            headers::shown(claimed)
        ),
    )
}

fn unreadable() -> RpcError {
    RpcError::new(code::HEADER_MISMATCH, "the header MCP-Protocol-Version must appear once, as plain text")
}

/// -32022 with the list a client needs to pick another revision.
pub(super) fn unsupported(requested: &str) -> RpcError {
    let supported = ProtocolVersion::NEWEST_FIRST.map(ProtocolVersion::as_str);
    let data = serde_json::json!({"supported": supported, "requested": headers::shown(requested)});
    let message = Cow::Borrowed("this protocol version is not served");
    RpcError::new(code::UNSUPPORTED_VERSION, message).with_data(data.to_string())
}
