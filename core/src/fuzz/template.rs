//! Any text as a template of a manifest.

use crate::manifest::signature::Expression;
use crate::manifest::{Template, Variable};
use crate::testing::words;

const WORDS: &[&str] = &[
    "{",
    "}",
    "{{",
    "}}",
    "{token}",
    "{method}",
    "{account.",
    "{account.key}",
    "{account.host}",
    "{account.}",
    "{query.",
    "{body.",
    "{request.",
    "{request.body}",
    "{time.millis}",
    "{nonce}",
    "{signature}",
    "?",
    "|",
    "|md5",
    "|base64|upper",
    "https://",
    "/",
    "é",
    "%7B",
    "\\{",
    "\0",
    "\n",
];

pub fn template(bytes: &[u8]) {
    let text = words(WORDS, bytes);
    // What is no expression is refused in words, not with a panic.
    let _ = Expression::parse(&text).map(|expression| expression.names().count());
    let Ok(template) = Template::parse(&text) else { return };
    let variables: Vec<(Variable, String)> =
        template.variables().map(|variable| (variable.clone(), spelled(variable))).collect();
    let value = |wanted: &Variable| variables.iter().find(|(known, _)| known == wanted).map(|(_, text)| &**text);
    // Filled in with its own words it is itself: a value is never looked into for another variable.
    assert_eq!(template.render(value).as_deref(), Some(text.as_str()));
    assert_eq!(template.literal().is_none(), !variables.is_empty(), "{text:?}");
    assert_eq!(template.render(|_| None).is_none(), !variables.is_empty(), "a value that is missing, {text:?}");
}

fn spelled(variable: &Variable) -> String {
    match variable {
        Variable::Account(field) => format!("{{account.{field}}}"),
        Variable::Token => "{token}".to_owned(),
        Variable::Method => "{method}".to_owned(),
    }
}
