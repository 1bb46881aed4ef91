//! `Mcp-Param-*`: arguments that a tool's schema mirrors into headers with `x-mcp-header`.
//!
//! Only tools that carry the annotation are checked; for all others such headers are ignored.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName};
use serde_json::Value;

use super::headers::{self, Single};
use super::json::Json;
use super::reply::RpcError;

const ANNOTATION: &str = "x-mcp-header";
const PREFIX: &str = "Mcp-Param-";

/// A bad annotation; clients would drop the tool.
#[derive(Debug, thiserror::Error)]
pub enum ParamHeaderError {
    /// Not usable as the end of a header name.
    #[error("x-mcp-header {0:?} is not a header token")]
    Name(String),
    /// Two properties under one header.
    #[error("x-mcp-header {0:?} is used twice")]
    Duplicate(String),
    /// Headers carry scalars only.
    #[error("x-mcp-header {0:?} stands on a property that is neither string, integer nor boolean")]
    Type(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    String,
    Integer,
    Boolean,
}

/// One annotated property.
#[derive(Debug)]
pub(super) struct ParamHeader {
    header: HeaderName,
    /// As written in the schema, for messages.
    shown: String,
    /// Property names from the root of the arguments.
    path: Vec<String>,
    kind: Kind,
}

impl ParamHeader {
    /// All annotations reachable through `properties` alone.
    pub(super) fn all(schema: &Value) -> Result<Vec<Self>, ParamHeaderError> {
        let mut found = Vec::new();
        collect(schema, &mut Vec::new(), &mut found)?;
        Ok(found)
    }

    /// Compares the header with the argument it mirrors.
    pub(super) fn check(&self, map: &HeaderMap, arguments: Json<'_>) -> Result<(), RpcError> {
        let found = headers::single(map, &self.header);
        let argument = lookup(arguments, &self.path).filter(|value| !value.is_null());
        let agrees = match (found, argument) {
            (Single::Absent, None) => true,
            (Single::Value(value), Some(argument)) => {
                headers::decode(value).is_some_and(|value| self.kind.equal(&value, argument))
            }
            _ => false,
        };
        if agrees {
            return Ok(());
        }
        let body = argument.map_or("nothing", Json::get);
        Err(headers::mismatch(&self.shown, found, body))
    }
}

impl Kind {
    /// An argument of another type than the schema's is not a disagreement of headers: it is compared as text and
    /// left to the tool's own check.
    fn equal(self, header: &str, argument: Json<'_>) -> bool {
        let literal = argument.string().unwrap_or(Cow::Borrowed(argument.get()));
        match self {
            Self::Integer => match (header.parse::<f64>(), literal.parse::<f64>()) {
                // Beyond 2^53 a float would equate neighbours.
                (Ok(left), Ok(right)) if left.abs() < 9_007_199_254_740_992.0 => left == right,
                _ => header == literal,
            },
            Self::String | Self::Boolean => header == literal,
        }
    }
}

fn collect(schema: &Value, path: &mut Vec<String>, found: &mut Vec<ParamHeader>) -> Result<(), ParamHeaderError> {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return Ok(()) };
    for (property, schema) in properties {
        path.push(property.clone());
        if let Some(annotation) = schema.get(ANNOTATION) {
            found.push(annotated(annotation, schema, path, found)?);
        }
        collect(schema, path, found)?;
        path.pop();
    }
    Ok(())
}

fn annotated(
    annotation: &Value,
    schema: &Value,
    path: &[String],
    earlier: &[ParamHeader],
) -> Result<ParamHeader, ParamHeaderError> {
    let name = annotation.as_str().unwrap_or_default();
    let kind = match schema.get("type").and_then(Value::as_str) {
        Some("string") => Kind::String,
        Some("integer") => Kind::Integer,
        Some("boolean") => Kind::Boolean,
        _ => return Err(ParamHeaderError::Type(name.to_owned())),
    };
    let shown = format!("{PREFIX}{name}");
    let header = HeaderName::from_bytes(shown.as_bytes())
        .ok()
        .filter(|_| !name.is_empty())
        .ok_or_else(|| ParamHeaderError::Name(annotation.to_string()))?;
    if earlier.iter().any(|other| other.header == header) {
        return Err(ParamHeaderError::Duplicate(name.to_owned()));
    }
    Ok(ParamHeader { header, shown, path: path.to_vec(), kind })
}

fn lookup<'a>(arguments: Json<'a>, path: &[String]) -> Option<Json<'a>> {
    path.iter()
        .try_fold(arguments, |object, wanted| object.members().find(|(name, _)| name == wanted).map(|(_, value)| value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn agrees(schema: Value, header: Option<&str>, arguments: &Value) -> bool {
        let all = ParamHeader::all(&json!({"properties": {"p": schema}})).unwrap();
        let mut map = HeaderMap::new();
        if let Some(header) = header {
            map.insert("mcp-param-p", header.parse().unwrap());
        }
        let arguments = arguments.to_string();
        all.iter().all(|header| header.check(&map, Json::scanned(&arguments)).is_ok())
    }

    #[test]
    fn header_and_argument_must_agree() {
        let string = json!({"type": "string", "x-mcp-header": "P"});
        let integer = json!({"type": "integer", "x-mcp-header": "P"});
        let boolean = json!({"type": "boolean", "x-mcp-header": "P"});
        assert!(agrees(string.clone(), Some("a"), &json!({"p": "a"})));
        assert!(agrees(string.clone(), Some("=?base64?SGVsbG8=?="), &json!({"p": "Hello"})));
        assert!(agrees(string.clone(), Some("=?base64?SGVsbG8="), &json!({"p": "=?base64?SGVsbG8="})));
        assert!(!agrees(string.clone(), Some("=?base64?SGVsbG8?="), &json!({"p": "Hello"})));
        assert!(!agrees(string.clone(), Some("A"), &json!({"p": "a"})));
        assert!(!agrees(string.clone(), None, &json!({"p": "a"})));
        assert!(!agrees(string.clone(), Some("a"), &json!({})));
        assert!(agrees(string.clone(), None, &json!({"p": null})));
        assert!(agrees(string, None, &json!({})));
        assert!(agrees(integer.clone(), Some("42.0"), &json!({"p": 42})));
        assert!(!agrees(integer.clone(), Some("43"), &json!({"p": 42})));
        assert!(!agrees(integer, Some("9007199254740993"), &json!({"p": 9_007_199_254_740_992_u64})));
        assert!(agrees(boolean.clone(), Some("true"), &json!({"p": true})));
        assert!(!agrees(boolean, Some("True"), &json!({"p": true})));
    }

    #[test]
    fn nested_properties_are_found_and_bad_annotations_refused() {
        let nested = json!({"properties": {"a": {"type": "object", "properties": {
            "b": {"type": "string", "x-mcp-header": "B"}}}}});
        let all = ParamHeader::all(&nested).unwrap();
        let arguments = Json::scanned(r#"{"a":{"\u0062":"x"}}"#);
        assert_eq!(lookup(arguments, &all[0].path).unwrap().get(), "\"x\"");

        let of = |schema| ParamHeader::all(&json!({"properties": schema})).unwrap_err().to_string();
        assert!(of(json!({"a": {"type": "object", "x-mcp-header": "A"}})).contains("neither"));
        assert!(of(json!({"a": {"type": "string", "x-mcp-header": "a b"}})).contains("token"));
        assert!(of(json!({"a": {"type": "string", "x-mcp-header": ""}})).contains("token"));
        assert!(
            of(json!({"a": {"type": "string", "x-mcp-header": "A"}, "b": {"type": "string", "x-mcp-header": "a"}}))
                .contains("twice")
        );
    }
}
