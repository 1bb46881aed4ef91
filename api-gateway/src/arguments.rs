//! The arguments of `connector_execute`, from JSON or from gRPC.

use std::borrow::Cow;

use plugboard_core::error::{CallError, Fix, FixKind};
use plugboard_core::ids::ExecutionId;
use plugboard_core::manifest::suggest;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::config::{MAX_DEADLINE_MS, MAX_WAIT_MS};
use crate::mcp::json::Json;

/// What the caller asks for.
#[derive(Debug)]
pub enum Request {
    Call(Box<Call>),
    /// How did this call end.
    Look(ExecutionId),
    /// A slice of a kept answer.
    Slice(Slice),
}

#[derive(Debug, Default)]
pub struct Call {
    pub service: String,
    pub module: Option<String>,
    pub method: String,
    pub path: Option<String>,
    pub query: Option<Map<String, Value>>,
    pub body: Option<Box<RawValue>>,
    pub headers: Option<Map<String, Value>>,
    pub instance_id: Option<String>,
    pub wait_ms: Option<u32>,
    pub deadline_ms: Option<u32>,
    /// The caller's own name for the call, under which it happens once.
    pub idempotency_key: Option<String>,
    /// Make it although the answer of an equal call was lost.
    pub repeat: bool,
}

/// Part of an answer that was too large to give at once, in characters of its JSON text.
#[derive(Debug, PartialEq, Eq)]
pub struct Slice {
    pub result_id: String,
    pub offset: u64,
    pub limit: u64,
}

/// Characters of a slice when the caller names no limit.
const DEFAULT_SLICE: u64 = 40_000;

const MAX_SLICE: u64 = 1_000_000;

/// Bytes of an idempotency key.
const LONGEST_KEY: usize = 255;

/// Everything `connector_execute` takes.
pub const KNOWN: [&str; 16] = [
    "service",
    "module",
    "method",
    "path",
    "query",
    "body",
    "headers",
    "instance_id",
    "wait_ms",
    "deadline_ms",
    "idempotency_key",
    "repeat",
    "execution_id",
    "result_id",
    "offset",
    "limit",
];

/// Of the public contract, but not served yet: refused, because ignoring them would change what a call means.
const NOT_YET: [&str; 4] = ["dry_run", "select", "paginate", "calls"];

impl Request {
    /// `arguments`: a JSON object without repeated keys.
    ///
    /// # Errors
    /// The first argument that is unknown, missing or of the wrong type, by name.
    pub fn parse(arguments: &str) -> Result<Self, CallError> {
        let mut given = Given::read(arguments)?;
        if let Some(id) = given.text("execution_id")? {
            return look(&id, &given);
        }
        if let Some(result_id) = given.text("result_id")? {
            return slice(result_id, given);
        }
        for name in ["offset", "limit"] {
            if given.take(name).is_some() {
                return Err(CallError::argument(name, format!("`{name}` goes with `result_id` only.")));
            }
        }
        let service = given.text("service")?.ok_or_else(|| {
            CallError::argument("service", "`service` is required: a key of list_services, e.g. \"ozon\".")
        })?;
        let call = Call {
            service,
            module: given.text("module")?,
            method: given.text("method")?.ok_or_else(|| {
                CallError::argument("method", "`method` is required: an HTTP verb, or the vendor's RPC method name.")
            })?,
            path: given.text("path")?,
            query: given.value("query")?,
            body: given.value("body")?,
            headers: given.value("headers")?,
            instance_id: given.text("instance_id")?,
            wait_ms: given.value("wait_ms")?,
            deadline_ms: given.value("deadline_ms")?,
            idempotency_key: given.text("idempotency_key")?,
            repeat: given.value("repeat")?.unwrap_or(false),
        };
        call.check()?;
        Ok(Self::Call(Box::new(call)))
    }
}

/// The arguments that are not null, in the order of [`KNOWN`].
#[derive(Default)]
struct Given<'a>([Option<Json<'a>>; KNOWN.len()]);

impl<'a> Given<'a> {
    fn read(arguments: &'a str) -> Result<Self, CallError> {
        let arguments = Json::scanned(arguments);
        if !arguments.is_object() {
            return Err(CallError::argument("arguments", "The arguments must be a JSON object."));
        }
        let mut given = Self::default();
        // A null argument is an absent one.
        for (name, value) in arguments.members().filter(|(_, value)| !value.is_null()) {
            *given.slot(&name).ok_or_else(|| unknown(&name))? = Some(value);
        }
        Ok(given)
    }

    fn slot(&mut self, name: &str) -> Option<&mut Option<Json<'a>>> {
        self.0.get_mut(KNOWN.iter().position(|known| *known == name)?)
    }

    fn take(&mut self, name: &str) -> Option<Json<'a>> {
        self.slot(name)?.take()
    }

    /// An argument that is left and does not belong here. `service` always may: some clients send a required argument
    /// whatever the call.
    fn stray(&self) -> Option<&'static str> {
        let left = KNOWN.into_iter().zip(self.0).filter(|(_, value)| value.is_some());
        left.map(|(name, _)| name).find(|name| *name != "service")
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, CallError> {
        let text = self.take(name).map(|json| json.string().map(Cow::into_owned));
        text.map(|text| text.ok_or_else(|| must_be("a string", name))).transpose()
    }

    fn value<T: Deserialize<'a>>(&mut self, name: &str) -> Result<Option<T>, CallError> {
        let Some(json) = self.take(name) else { return Ok(None) };
        serde_json::from_str(json.get()).map(Some).map_err(|_| {
            let kind = match name {
                "query" | "headers" => "an object",
                "repeat" => "true or false",
                "body" => "JSON",
                _ => "a whole number, not negative",
            };
            must_be(kind, name)
        })
    }
}

fn must_be(kind: &str, name: &str) -> CallError {
    CallError::argument(name, format!("`{name}` must be {kind}."))
}

impl Call {
    /// # Errors
    /// When a value is out of range.
    pub fn check(&self) -> Result<(), CallError> {
        if self.deadline_ms.is_some_and(|ms| ms == 0 || ms > MAX_DEADLINE_MS) {
            let message = format!("`deadline_ms` must be 1 to {MAX_DEADLINE_MS}.");
            return Err(CallError::argument("deadline_ms", message));
        }
        if self.wait_ms.is_some_and(|ms| ms > MAX_WAIT_MS) {
            let message = format!("`wait_ms` must be 0 to {MAX_WAIT_MS}; a longer call becomes a handle.");
            return Err(CallError::argument("wait_ms", message));
        }
        let fits = |key: &String| (1..=LONGEST_KEY).contains(&key.len()) && !key.chars().any(char::is_control);
        if !self.idempotency_key.as_ref().is_none_or(fits) {
            let message = format!("`idempotency_key` must be 1 to {LONGEST_KEY} bytes without control characters.");
            return Err(CallError::argument("idempotency_key", message));
        }
        Ok(())
    }
}

fn unknown(name: &str) -> CallError {
    if NOT_YET.contains(&name) {
        return CallError::argument(name, format!("`{name}` is not served yet. Leave it out."));
    }
    let near = suggest::nearest(name, KNOWN.into_iter(), 2);
    let message = match near.as_slice() {
        [] => format!("`{name}` is not an argument of connector_execute. It takes {}.", KNOWN.join(", ")),
        near => format!("`{name}` is not an argument of connector_execute. Did you mean {}?", near.join(" or ")),
    };
    let fix = Fix::new(FixKind::ChangeArgument).field(name).options(near);
    CallError::argument(name, message).fix(fix)
}

fn look(id: &str, rest: &Given<'_>) -> Result<Request, CallError> {
    if let Some(name) = rest.stray() {
        let message = format!("`{name}` does not go with `execution_id`, which asks how an earlier call ended.");
        return Err(CallError::argument(name, message));
    }
    ExecutionId::parse(id).map(Request::Look).ok_or_else(|| {
        CallError::argument(
            "execution_id",
            "`execution_id` is not one of ours: `ex_` and hexadecimal digits, as an answer named it.",
        )
    })
}

fn slice(result_id: String, mut rest: Given<'_>) -> Result<Request, CallError> {
    let offset = rest.value("offset")?.unwrap_or(0);
    let limit = rest.value("limit")?.unwrap_or(DEFAULT_SLICE);
    if limit == 0 || limit > MAX_SLICE {
        return Err(CallError::argument("limit", format!("`limit` must be 1 to {MAX_SLICE} characters.")));
    }
    if let Some(name) = rest.stray() {
        return Err(CallError::argument(name, format!("`{name}` does not go with `result_id`.")));
    }
    Ok(Request::Slice(Slice { result_id, offset, limit }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Request, CallError> {
        Request::parse(json)
    }

    fn field(json: &str) -> String {
        parse(json).unwrap_err().field.clone().unwrap()
    }

    #[test]
    fn a_call() {
        let json = r#"{"service":"ozon","method":"GET","path":"/x","query":{"a":1},"body":[1],"module":null}"#;
        let Ok(Request::Call(call)) = parse(json) else { panic!() };
        assert_eq!((call.service.as_str(), call.module), ("ozon", None));
        assert_eq!(call.body.unwrap().get(), "[1]");
    }

    #[test]
    fn mistakes_name_their_field() {
        assert_eq!(field("{}"), "service");
        assert_eq!(field(r#"{"service":5}"#), "service");
        assert_eq!(field(r#"{"service":"a"}"#), "method");
        assert_eq!(field(r#"{"service":"a","method":"GET","query":"x"}"#), "query");
        assert_eq!(field(r#"{"service":"a","method":"GET","wait_ms":-1}"#), "wait_ms");
        assert_eq!(field(r#"{"service":"a","method":"GET","wait_ms":60000}"#), "wait_ms");
        assert_eq!(field(r#"{"service":"a","method":"GET","deadline_ms":900001}"#), "deadline_ms");
        assert_eq!(field(r#"{"service":"a","methd":"GET"}"#), "methd");
        assert_eq!(field(r#"{"service":"a","method":"GET","idempotency_key":""}"#), "idempotency_key");
        assert_eq!(field(r#"{"service":"a","method":"GET","idempotency_key":"a\nb"}"#), "idempotency_key");
        assert_eq!(field(r#"{"service":"a","method":"GET","repeat":"yes"}"#), "repeat");
        assert_eq!(field(r#"{"service":"a","method":"GET","dry_run":true}"#), "dry_run");
        assert_eq!(field(r#"{"execution_id":"x"}"#), "execution_id");
        assert_eq!(field(r#"{"service":"a","method":"GET","offset":1}"#), "offset");
        assert_eq!(field(r#"[1]"#), "arguments");
    }
}
