//! Path templates: `/orders/{id}`, `/{entity}(guid'{key}')`, `/contents/{path+}`.
//!
//! Matching is linear in the length of the path: within a segment each literal is taken at its first occurrence, which
//! leaves the most room for what follows, so nothing is ever tried twice.

/// A compiled path template.
#[derive(Debug, Clone)]
pub struct PathTemplate {
    text: String,
    names: Vec<String>,
    /// One entry per segment; the last one may take the rest of the path.
    segments: Vec<Segment>,
    /// Literal bytes.
    literals: usize,
}

#[derive(Debug, Clone)]
struct Segment {
    /// Literal text before the first parameter; all of it when there is none.
    first: String,
    /// Literal text after each parameter.
    after: Vec<String>,
    /// The only parameter of this segment takes the rest of the path.
    rest: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathTemplateError {
    #[error("a path begins with `/`")]
    NoSlash,
    #[error("`{{` without `}}`")]
    Unclosed,
    #[error("{0:?} is no parameter name")]
    BadName(String),
    #[error("parameter {0} stands twice")]
    Twice(String),
    #[error("{{{0}+}} must end the path")]
    RestNotLast(String),
    #[error("parameter {0} follows another one without anything between them")]
    Adjacent(String),
}

impl PathTemplate {
    /// # Errors
    /// When the template is malformed.
    pub fn parse(text: &str) -> Result<Self, PathTemplateError> {
        let inside = text.strip_prefix('/').ok_or(PathTemplateError::NoSlash)?;
        let mut names = Vec::new();
        let mut segments = Vec::new();
        let mut literals = 1;
        let mut parts = inside.split('/').peekable();
        while let Some(part) = parts.next() {
            let segment = Segment::parse(part, &mut names)?;
            if segment.rest && parts.peek().is_some() {
                return Err(PathTemplateError::RestNotLast(names.last().cloned().unwrap_or_default()));
            }
            literals += segment.first.len() + segment.after.iter().map(String::len).sum::<usize>();
            literals += usize::from(parts.peek().is_some());
            segments.push(segment);
        }
        Ok(Self { text: text.to_owned(), names, segments, literals })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Parameter values as they stand in the path, in template order. None is empty.
    pub fn matches<'p>(&self, path: &'p str) -> Option<Vec<&'p str>> {
        if self.names.is_empty() {
            return (self.text == path).then(Vec::new);
        }
        let mut left = path.strip_prefix('/')?;
        let mut values = Vec::with_capacity(self.names.len());
        let last = self.segments.len() - 1;
        for (at, segment) in self.segments.iter().enumerate() {
            if segment.rest {
                let value = left.strip_prefix(segment.first.as_str()).filter(|value| !value.is_empty())?;
                values.push(value);
                return Some(values);
            }
            let part = match left.split_once('/') {
                Some((part, after)) if at < last => {
                    left = after;
                    part
                }
                None if at == last => left,
                _ => return None,
            };
            segment.matches(part, &mut values)?;
        }
        Some(values)
    }

    /// Puts values in; they must be encoded already.
    pub fn fill<'v>(&self, value: impl Fn(&str) -> Option<&'v str>) -> Option<String> {
        let mut path = String::new();
        let mut rest = self.text.as_str();
        while let Some(open) = rest.find('{') {
            path.push_str(&rest[..open]);
            let close = rest[open..].find('}')? + open;
            path.push_str(value(rest[open + 1..close].trim_end_matches('+'))?);
            rest = &rest[close + 1..];
        }
        path.push_str(rest);
        Some(path)
    }

    /// How specific it is. Of two matching templates the one with more literal text is meant, and among equals the one
    /// that does not take the rest of the path.
    pub fn weight(&self) -> usize {
        self.literals * 2 + usize::from(!self.takes_rest())
    }

    /// Ends in `{name+}`.
    pub(super) fn takes_rest(&self) -> bool {
        self.segments.last().is_some_and(|segment| segment.rest)
    }
}

impl Segment {
    fn parse(text: &str, names: &mut Vec<String>) -> Result<Self, PathTemplateError> {
        let Some(open) = text.find('{') else {
            return Ok(Self { first: text.to_owned(), after: Vec::new(), rest: false });
        };
        let mut segment = Self { first: text[..open].to_owned(), after: Vec::new(), rest: false };
        let mut left = &text[open..];
        while let Some(inside) = left.strip_prefix('{') {
            let (inside, after) = inside.split_once('}').ok_or(PathTemplateError::Unclosed)?;
            let (name, rest) = inside.strip_suffix('+').map_or((inside, false), |name| (name, true));
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return Err(PathTemplateError::BadName(name.to_owned()));
            }
            if names.iter().any(|known| known == name) {
                return Err(PathTemplateError::Twice(name.to_owned()));
            }
            if segment.after.last().is_some_and(String::is_empty) {
                return Err(PathTemplateError::Adjacent(name.to_owned()));
            }
            if rest && (!after.is_empty() || !segment.after.is_empty()) {
                return Err(PathTemplateError::RestNotLast(name.to_owned()));
            }
            segment.rest = rest;
            names.push(name.to_owned());
            let next = after.find('{').unwrap_or(after.len());
            segment.after.push(after[..next].to_owned());
            left = &after[next..];
        }
        Ok(segment)
    }

    fn matches<'p>(&self, part: &'p str, values: &mut Vec<&'p str>) -> Option<()> {
        let mut left = part.strip_prefix(self.first.as_str())?;
        let Some((last, middle)) = self.after.split_last() else { return left.is_empty().then_some(()) };
        for literal in middle {
            // A value has at least one character, so the search begins behind it.
            let skip = left.chars().next()?.len_utf8();
            let at = left[skip..].find(literal.as_str())? + skip;
            values.push(&left[..at]);
            left = &left[at + literal.len()..];
        }
        values.push(left.strip_suffix(last.as_str()).filter(|value| !value.is_empty())?);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> PathTemplate {
        PathTemplate::parse(text).unwrap()
    }

    #[test]
    fn matches_segments_parts_and_rests() {
        let plain = template("/orders/{id}");
        assert_eq!(plain.matches("/orders/7"), Some(vec!["7"]));
        for other in ["/orders/7/items", "/orders/", "/orders", "orders/7", "/orders/7/", "/x/7"] {
            assert_eq!(plain.matches(other), None, "{other}");
        }
        let odata = template("/{entity}(guid'{key}')");
        assert_eq!(odata.matches("/Catalog_X(guid'0-1')"), Some(vec!["Catalog_X", "0-1"]));
        assert_eq!(odata.matches("/Catalog_X(guid'')"), None);
        assert_eq!(odata.matches("/(guid'1')"), None);
        let rest = template("/repos/{owner}/contents/{path+}");
        assert_eq!(rest.matches("/repos/a/contents/b/c.rs"), Some(vec!["a", "b/c.rs"]));
        assert_eq!(rest.matches("/repos/a/contents/"), None);
        assert_eq!(rest.fill(|n| Some(if n == "owner" { "a" } else { "b/c" })).unwrap(), "/repos/a/contents/b/c");
        assert_eq!(template("/a/{x}-{y}.json").matches("/a/1-2-3.json"), Some(vec!["1", "2-3"]));
        assert_eq!(template("/a/{x}/c").matches("/a/б/c"), Some(vec!["б"]));
        assert_eq!(template("/a").matches("/a"), Some(vec![]));
        assert_eq!(template("/").matches("/"), Some(vec![]));
        assert_eq!(template("/v{v}").matches("/v"), None);
    }

    #[test]
    fn refuses_malformed_templates() {
        for bad in [
            "orders",
            "",
            "/a/{",
            "/a/{}",
            "/{a}/{a}",
            "/{a+}/b",
            "/{a}{b}",
            "/x{a+}y",
            "/{b}x{a+}",
            "/{a b}",
            "/{a/b}",
        ] {
            assert!(PathTemplate::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_more_specific_template_weighs_more() {
        assert!(template("/a/{x}").weight() < template("/a/b").weight());
        assert!(template("/a/{x}").weight() > template("/a/{x+}").weight());
        assert!(template("/Catalog_{n}").weight() < template("/Catalog_{n}(guid'{ref}')").weight());
        assert_eq!(template("/a/{x}").weight(), template("/a/{longer_name}").weight());
    }
}
