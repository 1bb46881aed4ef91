//! Parameters of a query string, by name.

use axum::extract::Query;
use http::{StatusCode, Uri};

use super::error::{Problem, shown};

/// What was given, in its order: each name is a known one and stands once.
pub(super) fn parameters(uri: &Uri, known: &[&'static str]) -> Result<Vec<(&'static str, String)>, Problem> {
    let Query(given) = Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map_err(|_| Problem::body(StatusCode::BAD_REQUEST, "The query string cannot be read."))?;
    let mut parameters: Vec<(&str, String)> = Vec::with_capacity(given.len());
    for (name, value) in given {
        let Some(name) = known.iter().find(|one| **one == name) else {
            let name = shown(&name);
            let there = match known {
                [only] => format!("There is `{only}`."),
                several => format!("There are {}.", several.join(", ")),
            };
            return Err(Problem::argument(name.clone(), format!("`{name}` is not a parameter here. {there}")));
        };
        if parameters.iter().any(|(earlier, _)| earlier == name) {
            return Err(Problem::argument(*name, format!("`{name}` is there twice; send it once.")));
        }
        parameters.push((name, value));
    }
    Ok(parameters)
}

pub(super) fn number(name: &str, text: &str, least: u64, most: u64) -> Result<u64, Problem> {
    let parsed = text.parse().ok().filter(|number| (least..=most).contains(number));
    parsed.ok_or_else(|| match most {
        u64::MAX => Problem::argument(name, format!("`{name}` is a whole number, not negative.")),
        most => Problem::argument(name, format!("`{name}` is a whole number from {least} to {most}.")),
    })
}
