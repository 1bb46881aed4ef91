//! Names and numbers fixed by the protocol.

use std::fmt;

/// The revisions served, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProtocolVersion {
    /// The last revision with batches.
    V2025_03_26,
    /// Structured content.
    V2025_06_18,
    /// The newest revision with `initialize`.
    V2025_11_25,
    /// Stateless: every request carries its own `_meta`.
    V2026_07_28,
}

/// How a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Era {
    /// Up to 2025-11-25: `initialize` first, `ping`, notifications.
    Legacy,
    /// From 2026-07-28 on: self-contained requests.
    Modern,
}

impl ProtocolVersion {
    /// All revisions, newest first, as discovery lists them.
    pub const NEWEST_FIRST: [Self; 4] = [Self::V2026_07_28, Self::V2025_11_25, Self::V2025_06_18, Self::V2025_03_26];

    /// What `initialize` falls back to.
    pub const NEWEST_LEGACY: Self = Self::V2025_11_25;

    /// What a legacy request without the version header means.
    pub const HEADERLESS: Self = Self::V2025_03_26;

    /// The revision called `text`, if it is served.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::NEWEST_FIRST.into_iter().find(|version| version.as_str() == text)
    }

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// The era this revision belongs to.
    #[must_use]
    pub const fn era(self) -> Era {
        match self {
            Self::V2026_07_28 => Era::Modern,
            Self::V2025_03_26 | Self::V2025_06_18 | Self::V2025_11_25 => Era::Legacy,
        }
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Era {
    /// The value of the metrics label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Modern => "modern",
        }
    }
}

/// JSON-RPC error codes in use.
pub mod code {
    /// The body is not JSON.
    pub const PARSE: i32 = -32700;
    /// The body is JSON but not a JSON-RPC message.
    pub const INVALID_REQUEST: i32 = -32600;
    /// No such method.
    pub const METHOD_NOT_FOUND: i32 = -32601;
    /// The parameters do not fit the method.
    pub const INVALID_PARAMS: i32 = -32602;
    /// Our fault.
    pub const INTERNAL: i32 = -32603;
    /// A header disagrees with the body.
    pub const HEADER_MISMATCH: i32 = -32020;
    /// The client lacks a capability that the call needs.
    pub const MISSING_CAPABILITY: i32 = -32021;
    /// The revision is not served.
    pub const UNSUPPORTED_VERSION: i32 = -32022;
    // Codes of our own stay outside -32768..=-32000, which belongs to JSON-RPC and MCP.
    /// No credentials, or bad ones.
    pub const UNAUTHENTICATED: i32 = -31401;
    /// Good credentials, not for this.
    pub const FORBIDDEN: i32 = -31403;
    /// The body did not arrive in time.
    pub const TIMEOUT: i32 = -31408;
    /// The body exceeds the limit.
    pub const TOO_LARGE: i32 = -31413;
    /// Too many requests.
    pub const RATE_LIMITED: i32 = -31429;
    /// A dependency is away.
    pub const UNAVAILABLE: i32 = -31503;
}
