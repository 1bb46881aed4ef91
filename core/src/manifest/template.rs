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
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            if open > 0 {
                parts.push(Part::Text(rest[..open].to_owned()));
            }
            let after = &rest[open + 1..];
            let close = after.find('}').ok_or_else(|| TemplateError::Unclosed(text.to_owned()))?;
            parts.push(Part::Variable(variable(&after[..close])?));
            rest = &after[close + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
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

fn variable(name: &str) -> Result<Variable, TemplateError> {
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
