//! Validators of JSON Schema (draft 2020-12). They are made here and nowhere else: each crate that makes one carries a copy
//! of the schema compiler, which is a megabyte of code.

pub use jsonschema::error::ValidationErrorKind;
pub use jsonschema::{ValidationError, Validator};
use serde_json::Value;

use crate::manifest::formats;

/// Formats are assertions, and mean what they mean for parameters in a path or a query.
///
/// # Errors
/// When the schema is no schema, or refers to another document.
#[allow(clippy::result_large_err, reason = "the library's own; made once per schema")]
pub fn compile(schema: &Value) -> Result<Validator, ValidationError<'static>> {
    let options = jsonschema::draft202012::options().should_validate_formats(true);
    let known = formats::KNOWN.iter();
    known
        .fold(options, |options, name| options.with_format(*name, |text| formats::check(name, text).is_ok()))
        .build(schema)
}

/// Everything that is wrong with a schema as such.
pub fn faults(schema: &Value) -> Vec<ValidationError<'static>> {
    jsonschema::draft202012::meta::validator().iter_errors(schema).map(|error| error.to_owned()).collect()
}
