//! The language of a signature's texts.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use percent_encoding::utf8_percent_encode;
use zeroize::Zeroizing;

use super::{SignatureAlgorithm, digest};
use crate::manifest::template::{self, Unclosed, Variable, pieces, variable};
use crate::percent::UNRESERVED;

/// What an expression may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// A field of the account, or its token.
    Credential(Variable),
    Request(RequestPart),
    Query(String),
    Body(String),
    Time(TimeForm),
    Nonce,
    /// Of the pair that is being written.
    Name,
    Value,
    Signature,
    Signed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestPart {
    Method,
    Host,
    Path,
    Query,
    Target,
    Url,
    Body,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeForm {
    Seconds,
    Millis,
    /// ISO 8601 in UTC, whole seconds.
    Iso,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filter {
    Percent,
    Upper,
    Lower,
    Underscore,
    Base64,
    Base64url,
    Md5,
    Sha256,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) named: Named,
    /// Empty, not missing, when there is no value.
    optional: bool,
    filters: Vec<Filter>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Slot(Slot),
}

/// A parsed text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    #[error("`{{` without `}}` in {0:?}")]
    Unclosed(String),
    #[error("{{{0}}} is not known to signatures")]
    Unknown(String),
    #[error("{0:?} is no filter; there are percent, upper, lower, underscore, base64, base64url, md5 and sha256")]
    Filter(String),
}

impl Expression {
    /// # Errors
    /// When a brace is not closed, or a name or filter is not known.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        let pieces = pieces(text).map(|piece| {
            Ok(match piece.map_err(|Unclosed| ExpressionError::Unclosed(text.to_owned()))? {
                template::Piece::Plain(plain) => Piece::Text(plain.to_owned()),
                template::Piece::Braced(inside) => Piece::Slot(slot(inside)?),
            })
        });
        Ok(Self(pieces.collect::<Result<_, _>>()?))
    }

    pub fn names(&self) -> impl Iterator<Item = &Named> {
        self.slots().map(|slot| &slot.named)
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Slot(slot) => Some(slot),
            Piece::Text(_) => None,
        })
    }

    /// Names the result, and so is filled in after the signing.
    pub fn is_result(&self) -> bool {
        self.names().any(|named| matches!(named, Named::Signature | Named::Signed))
    }

    /// Filled in; `None` when something that it names is absent.
    pub(super) fn render<E>(
        &self,
        mut value: impl FnMut(&Slot) -> Result<Option<Zeroizing<String>>, E>,
    ) -> Result<Option<Zeroizing<String>>, E> {
        let mut out = Zeroizing::new(String::new());
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Slot(slot) => match value(slot)? {
                    Some(text) => out.push_str(&text),
                    None if slot.optional => {}
                    None => return Ok(None),
                },
            }
        }
        Ok(Some(out))
    }
}

impl Slot {
    /// The value as the filters leave it.
    pub(super) fn filtered(&self, value: &str) -> Zeroizing<String> {
        self.filters.iter().fold(Zeroizing::new(value.to_owned()), |text, filter| Zeroizing::new(filter.apply(&text)))
    }

    /// What the filters leave is another secret than the value, not a spelling of it that everybody undoes.
    pub(super) fn changes(&self) -> bool {
        self.filters.iter().any(|filter| !matches!(filter, Filter::Percent | Filter::Base64))
    }
}

impl Filter {
    fn apply(self, text: &str) -> String {
        let hash = |algorithm| hex::encode(digest::digest(algorithm, &[], text.as_bytes()));
        match self {
            Self::Percent => percent(text),
            Self::Upper => text.to_uppercase(),
            Self::Lower => text.to_lowercase(),
            Self::Underscore => text.replace('-', "_"),
            Self::Base64 => STANDARD.encode(text),
            Self::Base64url => URL_SAFE_NO_PAD.encode(text),
            Self::Md5 => hash(SignatureAlgorithm::Md5),
            Self::Sha256 => hash(SignatureAlgorithm::Sha256),
        }
    }
}

pub(super) fn percent(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

fn slot(inside: &str) -> Result<Slot, ExpressionError> {
    let mut words = inside.split('|');
    let written = words.next().unwrap_or_default();
    let (name, optional) = written.strip_suffix('?').map_or((written, false), |name| (name, true));
    let named = named(name).ok_or_else(|| ExpressionError::Unknown(written.to_owned()))?;
    Ok(Slot { named, optional, filters: words.map(filter).collect::<Result<_, _>>()? })
}

fn named(name: &str) -> Option<Named> {
    let whole = match name {
        "request.method" => Named::Request(RequestPart::Method),
        "request.host" => Named::Request(RequestPart::Host),
        "request.path" => Named::Request(RequestPart::Path),
        "request.query" => Named::Request(RequestPart::Query),
        "request.target" => Named::Request(RequestPart::Target),
        "request.url" => Named::Request(RequestPart::Url),
        "request.body" => Named::Request(RequestPart::Body),
        "time.seconds" => Named::Time(TimeForm::Seconds),
        "time.millis" => Named::Time(TimeForm::Millis),
        "time.iso" => Named::Time(TimeForm::Iso),
        "nonce" => Named::Nonce,
        "name" => Named::Name,
        "value" => Named::Value,
        "signature" => Named::Signature,
        "signed" => Named::Signed,
        _ => {
            if let Ok(credential @ (Variable::Token | Variable::Account(_))) = variable(name) {
                return Some(Named::Credential(credential));
            }
            let (kind, field) = name.split_once('.').filter(|(_, field)| !field.is_empty())?;
            let field = field.to_owned();
            return match kind {
                "query" => Some(Named::Query(field)),
                "body" => Some(Named::Body(field)),
                _ => None,
            };
        }
    };
    Some(whole)
}

fn filter(name: &str) -> Result<Filter, ExpressionError> {
    match name {
        "percent" => Ok(Filter::Percent),
        "upper" => Ok(Filter::Upper),
        "lower" => Ok(Filter::Lower),
        "underscore" => Ok(Filter::Underscore),
        "base64" => Ok(Filter::Base64),
        "base64url" => Ok(Filter::Base64url),
        "md5" => Ok(Filter::Md5),
        "sha256" => Ok(Filter::Sha256),
        _ => Err(ExpressionError::Filter(name.to_owned())),
    }
}
