//! YAML as manifests are written in it. The build script includes this file, so that what is built in was read by the
//! same rules.

use serde_json::Value;
use serde_saphyr::options;

/// YAML → JSON. Booleans are `true` and `false` alone, so that `NO` stays a country, and `007` keeps its zeros.
pub(crate) fn parse(text: &str) -> Result<Value, serde_saphyr::Error> {
    let options = options! {
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
    };
    serde_saphyr::from_str_with_options(text, options)
}
