//! A signature made ready: its texts parsed, and nothing named where it has no meaning.

use indexmap::IndexMap;

use super::expression::{Expression, ExpressionError, Named};
use super::{FieldSource, Signature, SignatureAlgorithm, SignatureEncoding, SignedPart, signs};
use crate::json_pointer::child;

/// Placements: names with what stands there.
pub(super) type Placements = Vec<(String, Expression)>;

#[derive(Debug)]
pub struct CompiledSignature {
    pub(super) modules: Vec<String>,
    pub(super) algorithm: SignatureAlgorithm,
    pub(super) algorithm_field: Option<String>,
    pub(super) key: Option<Expression>,
    pub(super) parts: Vec<Part>,
    pub(super) join: String,
    pub(super) encoding: SignatureEncoding,
    pub(super) headers: Placements,
    pub(super) query: Placements,
    pub(super) body: Placements,
    pub(super) payload: Option<Expression>,
}

#[derive(Debug)]
pub(super) enum Part {
    Text(Expression),
    Fields(Fields),
}

#[derive(Debug)]
pub(super) struct Fields {
    pub(super) sources: Vec<FieldSource>,
    pub(super) prefix: Option<String>,
    pub(super) except: Vec<String>,
    pub(super) add: Placements,
    pub(super) pair: Expression,
    pub(super) join: String,
    pub(super) percent: bool,
}

/// A text of a signature that is wrong, by its place in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct SignatureError {
    /// JSON pointer below the signature.
    pub place: String,
    pub message: String,
}

/// Where an expression stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    Key,
    Part,
    Pair,
    Addition,
    Placement,
}

impl Position {
    fn allows(self, named: &Named) -> bool {
        match named {
            Named::Credential(_) => self != Self::Pair,
            Named::Time(_) | Named::Nonce => matches!(self, Self::Part | Self::Addition | Self::Placement),
            Named::Request(_) | Named::Query(_) | Named::Body(_) => self == Self::Part,
            Named::Name | Named::Value => self == Self::Pair,
            Named::Signature | Named::Signed => self == Self::Placement,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Key => "a key is made of credentials",
            Self::Part => "a part is made of the request, credentials, the time and the nonce",
            Self::Pair => "a pair is made of {name} and {value}",
            Self::Addition => "an added field is made of credentials, the time and the nonce",
            Self::Placement => "a placement is made of {signature}, {signed}, credentials, the time and the nonce",
        }
    }
}

impl CompiledSignature {
    /// # Errors
    /// The first text that is wrong.
    pub fn of(signature: &Signature) -> Result<Self, SignatureError> {
        let parts = signature.parts.iter().enumerate().map(|(at, part)| compile_part(at, part));
        Ok(Self {
            modules: signature.modules.clone(),
            algorithm: signature.algorithm,
            algorithm_field: signature.algorithm_field.clone(),
            key: parse_one("/key", signature.key.as_ref(), Position::Key)?,
            parts: parts.collect::<Result<_, _>>()?,
            join: signature.join.clone(),
            encoding: signature.encoding,
            headers: parse_all("/headers", &signature.headers, Position::Placement)?,
            query: parse_all("/query", &signature.query, Position::Placement)?,
            body: parse_all("/body", &signature.body, Position::Placement)?,
            payload: parse_one("/payload", signature.payload.as_ref(), Position::Placement)?,
        })
    }

    /// Whether the calls of a module are signed so.
    pub fn signs(&self, module: &str) -> bool {
        signs(&self.modules, module)
    }

    /// Headers that it sets.
    pub fn header_names(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().map(|(name, _)| name.as_str())
    }

    pub fn query_names(&self) -> impl Iterator<Item = &str> {
        self.query.iter().map(|(name, _)| name.as_str())
    }

    pub fn body_names(&self) -> impl Iterator<Item = &str> {
        self.body.iter().map(|(name, _)| name.as_str())
    }

    pub fn replaces_body(&self) -> bool {
        self.payload.is_some()
    }

    /// What is signed, the key included.
    pub fn signed_names(&self) -> impl Iterator<Item = &Named> {
        let parts = self.parts.iter().flat_map(|part| -> Box<dyn Iterator<Item = &Named>> {
            match part {
                Part::Text(text) => Box::new(text.names()),
                Part::Fields(fields) => Box::new(fields.add.iter().flat_map(|(_, text)| text.names())),
            }
        });
        parts.chain(self.key.iter().flat_map(Expression::names))
    }

    /// What the placements name.
    pub fn placed_names(&self) -> impl Iterator<Item = &Named> {
        let lists = self.headers.iter().chain(&self.query).chain(&self.body).map(|(_, text)| text);
        lists.chain(&self.payload).flat_map(Expression::names)
    }
}

fn compile_part(at: usize, part: &SignedPart) -> Result<Part, SignatureError> {
    let place = format!("/parts/{at}");
    Ok(match part {
        SignedPart::Text(text) => Part::Text(parse(place, text, Position::Part)?),
        SignedPart::Fields(fields) => Part::Fields(Fields {
            sources: fields.fields.clone(),
            prefix: fields.prefix.clone(),
            except: fields.except.clone(),
            add: parse_all(&format!("{place}/add"), &fields.add, Position::Addition)?,
            pair: parse(format!("{place}/pair"), &fields.pair, Position::Pair)?,
            join: fields.join.clone(),
            percent: fields.percent,
        }),
    })
}

fn parse_one(place: &str, text: Option<&String>, position: Position) -> Result<Option<Expression>, SignatureError> {
    text.map(|text| parse(place.to_owned(), text, position)).transpose()
}

fn parse_all(place: &str, texts: &IndexMap<String, String>, position: Position) -> Result<Placements, SignatureError> {
    texts.iter().map(|(name, text)| Ok((name.clone(), parse(child(place, name), text, position)?))).collect()
}

fn parse(place: String, text: &str, position: Position) -> Result<Expression, SignatureError> {
    let wrong = |error: ExpressionError| SignatureError { place: place.clone(), message: error.to_string() };
    let expression = Expression::parse(text).map_err(wrong)?;
    if expression.names().all(|named| position.allows(named)) {
        return Ok(expression);
    }
    Err(SignatureError { message: format!("{text:?}: {}", position.words()), place })
}
