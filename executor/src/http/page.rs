//! Where the next page is, as far as the manifest's rule and the answer tell.

use http::HeaderMap;
use http::header::LINK;
use plugboard_core::job::Page;
use plugboard_core::manifest::{Operation, Pagination, PaginationKind};
use serde_json::Value;

use super::pick::{At, Picks, Query};

/// The rule of an operation, with the places of the answer it looks at.
pub(crate) struct Pager<'c> {
    rule: &'c Pagination,
    next: Option<At>,
    items: Option<At>,
    total: Option<At>,
    more: Option<At>,
}

/// What the request asked for.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) operation: &'a Operation,
    pub(crate) query: &'a [(String, String)],
    pub(crate) body: Option<&'a [u8]>,
}

impl<'c> Pager<'c> {
    pub(crate) fn new(rule: &'c Pagination, query: &mut Query<'c>) -> Self {
        Self {
            rule,
            next: rule.next.as_deref().map(|pointer| query.value(pointer)),
            items: rule.items.as_deref().map(|pointer| query.size(pointer)),
            total: rule.total.as_deref().map(|pointer| query.value(pointer)),
            more: rule.more.as_deref().map(|pointer| query.value(pointer)),
        }
    }

    /// `None` when the rule and the answer do not tell.
    pub(crate) fn read(&self, picks: &Picks, headers: &HeaderMap, asked: Asked<'_>) -> Option<Page> {
        let items = self.items.and_then(|at| picks.get(at)).map(|found| found.size as u64);
        let total = self.total.and_then(|at| picks.value(at)).and_then(whole);
        let more = self.more.and_then(|at| picks.value(at)).and_then(flag);
        let page = |next: Option<Value>, guess: bool| {
            let has_more = more.unwrap_or(guess);
            Some(Page { next: next.filter(|_| has_more), has_more, total })
        };
        match self.rule.kind {
            PaginationKind::Watermark => None,
            PaginationKind::LinkHeader => {
                let next = next_link(headers).map(Value::from);
                let guess = next.is_some();
                page(next, guess)
            }
            PaginationKind::Cursor | PaginationKind::NextUrl => {
                let next = self.pointed(picks);
                // A cursor after an empty page only leads to the next empty page.
                let guess = next.is_some() && items != Some(0);
                page(next, guess)
            }
            PaginationKind::Offset if self.next.is_some() => {
                let next = self.pointed(picks);
                let guess = next.is_some();
                page(next, guess)
            }
            PaginationKind::Offset => {
                let count = items?;
                let next = self.asked(asked, self.rule.request.as_deref()).unwrap_or(0) + count;
                let guess = count > 0
                    && match (total, self.asked(asked, self.rule.size.as_deref())) {
                        (Some(total), _) => next < total,
                        (None, Some(size)) => count >= size,
                        (None, None) => true,
                    };
                page(Some(next.into()), guess)
            }
            PaginationKind::Page => {
                let count = items?;
                let next = self.asked(asked, self.rule.request.as_deref()).unwrap_or(1) + 1;
                // Whether the first page is 0 or 1 is the vendor's secret, so the total does not help.
                let guess = count > 0 && self.asked(asked, self.rule.size.as_deref()).is_none_or(|size| count >= size);
                page(Some(next.into()), guess)
            }
        }
    }

    /// The cursor or URL in the answer, unless it says that this was the last page.
    fn pointed(&self, picks: &Picks) -> Option<Value> {
        let value = picks.value(self.next?)?;
        let end = match value {
            Value::String(text) => text.is_empty(),
            Value::Number(number) => number.as_f64() == Some(0.0),
            Value::Bool(flag) => !flag,
            Value::Array(items) => items.is_empty(),
            Value::Object(members) => members.is_empty(),
            Value::Null => true,
        };
        (!end).then(|| value.clone())
    }

    /// A number from the request: a query parameter by name, a body member by pointer, else the declared default.
    fn asked(&self, asked: Asked<'_>, name: Option<&str>) -> Option<u64> {
        let name = name?;
        if name.starts_with('/') {
            let mut query = Query::default();
            let at = query.value(name);
            let body = std::str::from_utf8(asked.body?).ok()?;
            return query.run(body)?.value(at).and_then(whole);
        }
        match asked.query.iter().find(|(key, _)| key == name) {
            Some((_, text)) => text.parse().ok(),
            None => asked.operation.query.get(name)?.default.as_ref().and_then(whole),
        }
    }
}

fn whole(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::Number(number) => number.as_f64().map(|number| number != 0.0),
        Value::String(text) => match text.as_str() {
            "true" | "1" => Some(true),
            "false" | "0" | "" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// `Link: <…>; rel="next"` (RFC 8288).
fn next_link(headers: &HeaderMap) -> Option<String> {
    for value in headers.get_all(LINK) {
        let mut rest = value.to_str().ok()?;
        while let Some(open) = rest.find('<') {
            let close = rest[open..].find('>')? + open;
            let after = &rest[close + 1..];
            let end = after.find('<').unwrap_or(after.len());
            let is_next = after[..end].split([';', ',']).any(|parameter| {
                let (name, value) = parameter.split_once('=').unwrap_or_default();
                name.trim().eq_ignore_ascii_case("rel")
                    && value.trim().trim_matches('"').split(' ').any(|rel| rel.eq_ignore_ascii_case("next"))
            });
            if is_next {
                return Some(rest[open + 1..close].to_owned());
            }
            rest = &after[end..];
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn page(rule: Value, query: &[(&str, &str)], body: Value, answer: Value, link: Option<&str>) -> Option<Value> {
        let rule: Pagination = serde_json::from_value(rule).unwrap();
        let operation: Operation = serde_json::from_value(json!({
            "id": "x", "module": "m", "method": "GET", "path": "/x", "summary": "s", "effect": "read",
            "query": {"page": {"type": "integer", "default": 0}}, "response_example": null,
        }))
        .unwrap();
        let mut places = Query::default();
        let pager = Pager::new(&rule, &mut places);
        let picks = places.run(&answer.to_string()).unwrap();
        let headers = link.map(|link| (LINK, link.parse().unwrap())).into_iter().collect();
        let query: Vec<_> = query.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let body = body.to_string();
        let asked = Asked { operation: &operation, query: &query, body: Some(body.as_bytes()) };
        pager.read(&picks, &headers, asked).map(|page| serde_json::to_value(page).unwrap())
    }

    #[test]
    fn cursors() {
        let rule = json!({"kind": "cursor", "next": "/next", "items": "/items"});
        let more = json!({"next": "abc", "items": [1]});
        assert_eq!(page(rule.clone(), &[], json!({}), more, None), Some(json!({"next": "abc", "has_more": true})));
        for last in [
            json!({"next": "", "items": [1]}),
            json!({"next": 0, "items": [1]}),
            json!({"next": "x", "items": []}),
            json!({"items": [1]}),
        ] {
            assert_eq!(page(rule.clone(), &[], json!({}), last, None), Some(json!({"has_more": false})));
        }
        let flagged = json!({"kind": "cursor", "next": "/data/cursor", "more": "/data/cursor/next"});
        let answer = json!({"data": {"cursor": {"next": false, "id": 7}}});
        assert_eq!(page(flagged, &[], json!({}), answer, None), Some(json!({"has_more": false})));
    }

    #[test]
    fn offsets_from_query_body_and_answer() {
        let rule =
            json!({"kind": "offset", "request": "offset", "size": "limit", "items": "/items", "total": "/total"});
        let asked = [("offset", "20"), ("limit", "10")];
        let answer = json!({"items": [1, 2], "total": 23});
        assert_eq!(
            page(rule, &asked, json!({}), answer, None),
            Some(json!({"next": 22, "has_more": true, "total": 23}))
        );
        let rule = json!({"kind": "offset", "request": "/offset", "size": "/limit", "items": "/result"});
        let body = json!({"offset": 5, "limit": 2});
        assert_eq!(
            page(rule.clone(), &[], body.clone(), json!({"result": [1, 2]}), None),
            Some(json!({"next": 7, "has_more": true}))
        );
        assert_eq!(page(rule, &[], body, json!({"result": [1]}), None), Some(json!({"has_more": false})));
        let rule =
            json!({"kind": "offset", "request": "/start", "next": "/next", "items": "/result", "total": "/total"});
        let answer = json!({"result": [1], "next": 50, "total": 120});
        assert_eq!(page(rule, &[], json!({}), answer, None), Some(json!({"next": 50, "has_more": true, "total": 120})));
    }

    #[test]
    fn page_numbers_begin_where_the_manifest_says() {
        let rule = json!({"kind": "page", "request": "page", "size": "size", "items": ""});
        let answer = json!([1, 2]);
        assert_eq!(
            page(rule.clone(), &[("size", "2")], json!({}), answer.clone(), None),
            Some(json!({"next": 1, "has_more": true}))
        );
        assert_eq!(
            page(rule, &[("size", "5"), ("page", "3")], json!({}), answer, None),
            Some(json!({"has_more": false}))
        );
    }

    #[test]
    fn link_headers() {
        let rule = json!({"kind": "link_header"});
        let link = r#"<https://a.example/x?page=1>; rel="prev", <https://a.example/x?page=3>; rel="next""#;
        assert_eq!(
            page(rule.clone(), &[], json!({}), json!([]), Some(link)),
            Some(json!({"next": "https://a.example/x?page=3", "has_more": true}))
        );
        assert_eq!(page(rule, &[], json!({}), json!([]), None), Some(json!({"has_more": false})));
    }
}
