//! Templates of manifests: literal text with `{account.<field>}`, `{token}` and `{method}`.

/// One piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(Variable),
}

/// What a template may name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Variable {
    /// A credential field.
    Account(String),
    /// The token obtained by the manifest's token grant.
    Token,
    /// The method name of an RPC call.
    Method,
}

impl Variable {
    /// What an error calls it.
    pub fn name(&self) -> &str {
        match self {
            Self::Account(field) => field,
            Self::Token => "token",
            Self::Method => "method",
        }
    }
}

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("`{{` without `}}` in {0:?}")]
    Unclosed(String),
    #[error("{{{0}}} is not known; use {{account.<field>}}, {{token}} or {{method}}")]
    UnknownVariable(String),
}

impl Template {
    /// # Errors
    /// When a brace is not closed or a variable is not known.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let parts = pieces(text).map(|piece| {
            Ok(match piece.map_err(|Unclosed| TemplateError::Unclosed(text.to_owned()))? {
                Piece::Plain(plain) => Part::Text(plain.to_owned()),
                Piece::Braced(name) => Part::Variable(variable(name)?),
            })
        });
        Ok(Self { parts: parts.collect::<Result<_, _>>()? })
    }

    /// Fills the template in. `None` when a variable has no value.
    pub fn render<'v>(&self, value: impl Fn(&Variable) -> Option<&'v str>) -> Option<String> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Variable(variable) => text.push_str(value(variable)?),
            }
        }
        Some(text)
    }

    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable(variable) => Some(variable),
            Part::Text(_) => None,
        })
    }

    /// The text when nothing has to be filled in.
    pub fn literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }
}

/// A part of a text with braces.
pub(super) enum Piece<'a> {
    Plain(&'a str),
    /// What stands between braces.
    Braced(&'a str),
}

/// A brace is not closed.
pub(super) struct Unclosed;

/// Takes a text with braces apart.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = Result<Piece<'_>, Unclosed>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let piece = match rest.strip_prefix('{') {
            None if rest.is_empty() => return None,
            None => {
                let (plain, after) = rest.split_at(rest.find('{').unwrap_or(rest.len()));
                rest = after;
                Ok(Piece::Plain(plain))
            }
            Some(opened) => match opened.split_once('}') {
                Some((inside, after)) => {
                    rest = after;
                    Ok(Piece::Braced(inside))
                }
                None => {
                    rest = "";
                    Err(Unclosed)
                }
            },
        };
        Some(piece)
    })
}

pub(super) fn variable(name: &str) -> Result<Variable, TemplateError> {
    match name {
        "token" => Ok(Variable::Token),
        "method" => Ok(Variable::Method),
        _ => match name.strip_prefix("account.") {
            Some(field) if !field.is_empty() => Ok(Variable::Account(field.to_owned())),
            _ => Err(TemplateError::UnknownVariable(name.to_owned())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_and_reports_missing_values() {
        let template = Template::parse("https://{account.host}/rest/{account.user}/x").unwrap();
        let full = template.render(|v| match v {
            Variable::Account(f) if f == "host" => Some("a.example"),
            Variable::Account(_) => Some("1"),
            _ => None,
        });
        assert_eq!(full.as_deref(), Some("https://a.example/rest/1/x"));
        assert_eq!(template.render(|_| None), None);
        assert_eq!(Template::parse("plain").unwrap().literal(), Some("plain"));
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        assert!(Template::parse("{account.host").is_err());
        assert!(Template::parse("{vendor}").is_err());
        assert!(Template::parse("{account.}").is_err());
    }
}
