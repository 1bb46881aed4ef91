//! Paths of documents → path templates of manifests.

use percent_encoding::percent_decode_str;
use plugboard_core::manifest::PathTemplate;
use url::form_urlencoded;

use super::names::free;

pub(super) struct Path {
    /// As manifests write it.
    pub(super) text: String,
    /// Parameters: what the document calls them, and what the manifest does.
    pub(super) names: Vec<(String, String)>,
    /// Parameters of the query that the document has in the path.
    pub(super) query: Vec<(String, String)>,
}

impl Path {
    /// # Errors
    /// Why no manifest can have it.
    pub(super) fn read(written: &str) -> Result<Self, String> {
        if written.contains('#') {
            return Err("has a path with `#`, which is never sent".to_owned());
        }
        // `{?page,limit}` says again what is said of the parameters.
        let written = written.split("{?").next().unwrap_or_default();
        let (path, query) = written.split_once('?').unwrap_or((written, ""));
        let query =
            form_urlencoded::parse(query.as_bytes()).into_owned().filter(|(name, _)| !name.is_empty()).collect();
        let mut read = Self { text: String::new(), names: Vec::new(), query };
        let mut rest = path.trim_start_matches('/');
        while let Some((before, after)) = rest.split_once('{') {
            let (inside, after) = after.split_once('}').ok_or("has a path with `{` and no `}`")?;
            read.push_text(before);
            read.push_name(inside, after.is_empty());
            rest = after;
        }
        read.push_text(rest);
        let text = format!("/{}", read.text);
        let plain = !text.contains(['#', '%', '\\', ' ']) && !text.contains("//") && !text.contains("..");
        if !plain {
            return Err(format!("has the path {written}, which cannot be called"));
        }
        PathTemplate::parse(&text).map_err(|error| format!("has the path {written}: {error}"))?;
        read.text = text;
        Ok(read)
    }

    fn push_text(&mut self, text: &str) {
        self.text.push_str(&percent_decode_str(text).decode_utf8_lossy());
    }

    /// `{+path}` and `{path*}` (RFC 6570) take the rest of the path where they end it.
    fn push_name(&mut self, inside: &str, is_last: bool) {
        let name = inside.trim_start_matches('+').trim_end_matches(['*', '+']);
        let rest = is_last && name != inside && self.text.ends_with('/');
        let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let plain = if plain.is_empty() { "value".to_owned() } else { plain };
        let plain = free(&plain, |name| self.names.iter().all(|(_, taken)| taken != name));
        self.text.push_str(&format!("{{{plain}{}}}", if rest { "+" } else { "" }));
        self.names.push((name.to_owned(), plain));
    }

    /// The call as the vendor sees it: parameters count by place, not by name.
    pub(super) fn shape(&self) -> String {
        let mut shape = self.text.clone();
        for (_, name) in &self.names {
            shape = shape.replacen(&format!("{{{name}}}"), "*", 1).replacen(&format!("{{{name}+}}"), "*", 1);
        }
        shape
    }
}
