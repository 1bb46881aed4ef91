//! What a key may do.

use std::fmt;

/// One permission of an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    ReadTools,
    WriteTools,
    ReadData,
    Chat,
    ConnectorGateway,
    Admin,
}

impl Scope {
    pub const ALL: [Self; 6] =
        [Self::ReadTools, Self::WriteTools, Self::ReadData, Self::Chat, Self::ConnectorGateway, Self::Admin];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadTools => "read:tools",
            Self::WriteTools => "write:tools",
            Self::ReadData => "read:data",
            Self::Chat => "chat",
            Self::ConnectorGateway => "connector:gateway",
            Self::Admin => "admin",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }

    fn bit(self) -> u8 {
        match self {
            Self::ReadTools => 1,
            Self::WriteTools => 2,
            Self::ReadData => 4,
            Self::Chat => 8,
            Self::ConnectorGateway => 16,
            Self::Admin => 32,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of scopes.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    pub fn all() -> Self {
        Scope::ALL.into_iter().collect()
    }

    /// Scopes of a new key when none are named.
    pub fn default_for_keys() -> Self {
        [Scope::WriteTools].into_iter().collect()
    }

    /// `admin` passes every check inside its organization; `write:tools` implies `read:tools`.
    pub fn permit(self, scope: Scope) -> bool {
        self.has(scope) || self.has(Scope::Admin) || (scope == Scope::ReadTools && self.has(Scope::WriteTools))
    }

    pub fn has(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.has(*scope))
    }

    pub fn names(self) -> Vec<String> {
        self.iter().map(|scope| scope.as_str().to_owned()).collect()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Scope::as_str)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn implications() {
        let write: Scopes = [Scope::WriteTools].into_iter().collect();
        assert!(write.permit(Scope::ReadTools));
        assert!(!write.permit(Scope::ReadData));
        assert!(!write.permit(Scope::Admin));
        let admin: Scopes = [Scope::Admin].into_iter().collect();
        assert!(Scope::ALL.into_iter().all(|scope| admin.permit(scope)));
        let read: Scopes = [Scope::ReadTools].into_iter().collect();
        assert!(!read.permit(Scope::WriteTools));
    }
}
