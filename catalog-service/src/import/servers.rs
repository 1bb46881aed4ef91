//! Servers → base URLs. A path or an operation may have servers of its own.

use serde_json::Value;
use url::Url;

use super::document::Document;
use super::remarks::Remarks;

/// Where the document names no host.
const MADE_UP: &str = "https://api.example.com";

pub(super) struct Servers {
    root: String,
}

impl Servers {
    pub(super) fn of(document: &Document, remarks: &mut Remarks) -> Self {
        let url = match document.at("/servers") {
            Some(servers) => first(servers, remarks),
            None => older(document).and_then(|url| address(&url, remarks)),
        };
        let root = url.unwrap_or_else(|| {
            remarks.document("modules: the document names no server; base_url is made up");
            MADE_UP.to_owned()
        });
        Self { root }
    }

    /// Without a slash at the end.
    pub(super) fn base_url(&self, item: &Value, operation: &Value, remarks: &mut Remarks) -> String {
        let own = operation.get("servers").or_else(|| item.get("servers"));
        own.and_then(|servers| first(servers, remarks)).unwrap_or_else(|| self.root.clone())
    }
}

/// The name of the service in its host: `securepay` of `securepay.tinkoff.ru`.
pub(super) fn host_word(document: &Document) -> Option<String> {
    let url = document.text("/servers/0/url").map(str::to_owned).or_else(|| older(document))?;
    let host = Url::parse(&url).ok()?.host_str()?.to_owned();
    host.split('.').find(|word| !matches!(*word, "api" | "www" | "app")).map(str::to_owned)
}

/// Swagger 2.0.
fn older(document: &Document) -> Option<String> {
    let path = document.text("/basePath").unwrap_or_default();
    match document.text("/host") {
        Some(host) => {
            let secure = document.at("/schemes").and_then(Value::as_array);
            let plain = secure.is_some_and(|schemes| !schemes.is_empty() && schemes.iter().all(|one| one == "http"));
            let host = host.split_once("://").map_or(host, |(_, host)| host);
            Some(format!("{}://{host}{path}", if plain { "http" } else { "https" }))
        }
        None if path.trim_matches('/').is_empty() => None,
        None => Some(path.to_owned()),
    }
}

fn first(servers: &Value, remarks: &mut Remarks) -> Option<String> {
    let servers = servers.as_array()?;
    let url = |server: &Value| server.get("url").and_then(Value::as_str).map(str::to_owned);
    let server = servers.first()?;
    let more: Vec<String> = servers.iter().skip(1).filter_map(url).collect();
    let mut text = url(server)?;
    if !more.is_empty() {
        remarks.document(format!("modules: {text} is taken; the document also names {}", more.join(", ")));
    }
    for (name, variable) in server.get("variables").and_then(Value::as_object).into_iter().flatten() {
        let said = variable.get("default").or_else(|| variable.get("enum")?.get(0)).and_then(Value::as_str);
        let value = said.filter(|value| !value.is_empty()).unwrap_or(name);
        put_in(&mut text, name, value, remarks);
    }
    // Variables that nothing describes.
    while let Some((_, after)) = text.split_once('{') {
        let name = after.split_once('}')?.0.to_owned();
        let value = super::names::snake(&name)?.replace('_', "-");
        put_in(&mut text, &name, &value, remarks);
    }
    address(&text, remarks)
}

fn put_in(url: &mut String, name: &str, value: &str, remarks: &mut Remarks) {
    let template = format!("{{{name}}}");
    if url.contains(&template) {
        remarks.document(format!(
            "modules: {{{name}}} of the server {url} is taken as {value:?}; where accounts differ in it, it is a field of the account"
        ));
        *url = url.replace(&template, value);
    }
}

/// What may stand in a manifest: `https`, without a query, without a slash at the end.
fn address(text: &str, remarks: &mut Remarks) -> Option<String> {
    let whole = match text {
        _ if text.contains("://") => text.to_owned(),
        _ if text.starts_with("//") => format!("https:{text}"),
        _ => {
            remarks.document(format!("modules: the server {text:?} has no host; {MADE_UP} is made up"));
            format!("{MADE_UP}/{}", text.trim_start_matches('/'))
        }
    };
    let mut url = Url::parse(&whole).ok().filter(|url| url.has_host() && matches!(url.scheme(), "http" | "https"))?;
    if url.query().is_some() || url.fragment().is_some() {
        remarks.document(format!("modules: only host and path of the server {whole} are taken over"));
        url.set_query(None);
        url.set_fragment(None);
    }
    let text = url.as_str().trim_end_matches('/');
    if url.scheme() == "http" {
        remarks.document(format!("modules: the document names {text}; https is assumed"));
    }
    Some(text.replacen("http://", "https://", 1))
}
