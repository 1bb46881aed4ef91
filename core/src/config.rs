//! Configuration: compiled-in defaults file → file → environment. The sources are passed in, so that tests never touch
//! the process environment.
//!
//! `PLUGBOARD_NATS__URL=nats://a:4222` sets `url` in section `[nats]`: two underscores separate levels.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Value};
use serde::de::DeserializeOwned;

/// Prefix of every variable.
pub const ENV_PREFIX: &str = "PLUGBOARD_";

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("configuration file {0} does not exist")]
    NoFile(PathBuf),
    /// Names the key and where its value came from.
    #[error("configuration: {0}")]
    Wrong(Box<figment::Error>),
}

/// Reads a configuration of type `T`.
///
/// # Errors
/// When the file is missing, or a value is of the wrong type; the message names the key and its source.
pub fn load<T: DeserializeOwned>(
    defaults: &str,
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<T, ConfigError> {
    let given = layers(Figment::from(Toml::string(defaults)), file, environment)?;
    given.extract().map_err(|error| ConfigError::Wrong(Box::new(error)))
}

/// The settings, as `section.key`, that file or environment give, whatever their values: what is not among them is a
/// default that nobody may have meant.
///
/// # Errors
/// When the file is missing or is no TOML.
pub fn given(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<BTreeSet<String>, ConfigError> {
    let figment = layers(Figment::new(), file, environment)?;
    let sections: Dict = figment.extract().map_err(|error| ConfigError::Wrong(Box::new(error)))?;
    let keys = sections.iter().flat_map(|(section, value)| {
        let keys = value.as_dict().into_iter().flat_map(Dict::keys);
        keys.map(move |key| format!("{section}.{key}"))
    });
    Ok(keys.collect())
}

fn layers(
    mut figment: Figment,
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Figment, ConfigError> {
    if let Some(path) = file {
        if !path.is_file() {
            return Err(ConfigError::NoFile(path.to_owned()));
        }
        figment = figment.merge(Toml::file_exact(path));
    }
    for (name, value) in environment {
        let Some(rest) = name.strip_prefix(ENV_PREFIX) else { continue };
        // Only sectioned names are settings; plain ones (PLUGBOARD_API_KEY) belong to commands.
        let Some((section, key)) = rest.split_once("__") else { continue };
        let mut path: Vec<String> = vec![section.to_ascii_lowercase()];
        path.extend(key.split("__").map(str::to_ascii_lowercase));
        // The parser of environment values never fails: what is not a number, boolean, list or table is text.
        let parsed: Value = value.parse().unwrap_or_else(|_| Value::from(value.as_str()));
        figment = figment.merge(Serialized::defaults(nest(&path, parsed)));
    }
    Ok(figment)
}

fn nest(path: &[String], value: Value) -> Dict {
    let mut dict = Dict::new();
    if let Some((first, rest)) = path.split_first() {
        let inner = if rest.is_empty() { value } else { Value::from(nest(rest, value)) };
        dict.insert(first.clone(), inner);
    }
    dict
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Sample {
        nats: Nats,
    }

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nats {
        url: String,
        replicas: usize,
    }

    const DEFAULTS: &str = "[nats]\nurl = \"nats://127.0.0.1:4222\"\nreplicas = 1\n";

    fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn environment_wins_over_defaults() {
        let vars = env(&[("PLUGBOARD_NATS__URL", "nats://b:1"), ("PLUGBOARD_NATS__REPLICAS", "3"), ("OTHER__X", "1")]);
        let sample: Sample = load(DEFAULTS, None, vars).unwrap();
        assert_eq!((sample.nats.url.as_str(), sample.nats.replicas), ("nats://b:1", 3));
    }

    #[test]
    fn what_somebody_gave_is_known() {
        let vars = env(&[("PLUGBOARD_NATS__URL", "nats://b:1"), ("PLUGBOARD_API_KEY", "x"), ("PLUGBOARD_MODE__A", "")]);
        let keys: Vec<String> = given(None, vars).unwrap().into_iter().collect();
        assert_eq!(keys, ["mode.a", "nats.url"]);
        assert!(given(None, Vec::new()).unwrap().is_empty());
    }

    #[test]
    fn mistakes_are_named() {
        let error = load::<Sample>(DEFAULTS, None, env(&[("PLUGBOARD_NATS__REPLICAS", "many")])).err().unwrap();
        assert!(error.to_string().contains("replicas"), "{error}");
        let error = load::<Sample>(DEFAULTS, None, env(&[("PLUGBOARD_NATS__ULR", "x")])).err().unwrap();
        assert!(error.to_string().contains("ulr"), "{error}");
        let error = load::<Sample>(DEFAULTS, Some(Path::new("/nonexistent.toml")), env(&[])).err().unwrap();
        assert!(error.to_string().contains("/nonexistent.toml"));
    }
}
