//! A browser without eyes: cookies of its own, redirects one by one, and an end where nothing of the test's world is.
#![allow(clippy::disallowed_types, reason = "a test speaks to the product from outside")]

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Client, Url};

const MOST_REDIRECTS: usize = 10;

/// Where it stands.
#[derive(Debug, Clone)]
pub struct Page {
    pub url: Url,
    /// 0: an address outside, which was not asked.
    pub status: u16,
    pub text: String,
}

impl Page {
    /// A parameter of the address.
    pub fn query(&self, name: &str) -> Option<String> {
        self.url.query_pairs().find(|(one, _)| one == name).map(|(_, value)| value.into_owned())
    }

    /// The text of an element with this id.
    pub fn element(&self, id: &str) -> Option<&str> {
        let after = self.text.split_once(&format!("id=\"{id}\""))?.1;
        after.split_once('>')?.1.split_once('<').map(|(text, _)| text)
    }

    /// The `href` of the link with this id.
    pub fn link(&self, id: &str) -> Option<String> {
        let tag = self.text.split('<').find(|tag| tag.contains(&format!("id=\"{id}\"")))?;
        let href = tag.split_once("href=\"")?.1.split_once('"')?.0;
        Some(self.url.join(href).ok()?.into())
    }
}

/// One person's browser.
#[derive(Debug)]
pub struct Browser {
    client: Client,
    /// By host, as browsers do: ports share them.
    cookies: BTreeMap<(String, String), String>,
}

impl Default for Browser {
    fn default() -> Self {
        Self::new()
    }
}

impl Browser {
    /// # Panics
    /// When no client can be made.
    pub fn new() -> Self {
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(60))
            .build()
            .unwrap();
        Self { client, cookies: BTreeMap::new() }
    }

    /// Follows redirects to the end, or to a host that is not on this machine.
    ///
    /// # Panics
    /// When a request fails, or the redirects do not end.
    pub async fn open(&mut self, url: &str) -> Page {
        let mut url = Url::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        for _ in 0..MOST_REDIRECTS {
            if url.host_str() != Some("127.0.0.1") {
                return Page { url, status: 0, text: String::new() };
            }
            match self.step(&url).await {
                Ok(page) => return page,
                Err(next) => url = next,
            }
        }
        panic!("redirected for ever, last to {url}");
    }

    /// One request: a page, or where it redirects to.
    ///
    /// # Errors
    /// The next address.
    ///
    /// # Panics
    /// When the request fails.
    pub async fn step(&mut self, url: &Url) -> Result<Page, Url> {
        self.try_step(url).await.unwrap_or_else(|error| panic!("{url}: {error:?}"))
    }

    /// The same, where the server may be away.
    ///
    /// # Errors
    /// When the request fails.
    pub async fn try_step(&mut self, url: &Url) -> Result<Result<Page, Url>, reqwest::Error> {
        let host = url.host_str().unwrap_or_default().to_owned();
        let sent: Vec<String> = self
            .cookies
            .iter()
            .filter(|((one, _), _)| *one == host)
            .map(|((_, name), value)| format!("{name}={value}"))
            .collect();
        let mut request = self.client.get(url.clone());
        if !sent.is_empty() {
            request = request.header(COOKIE, sent.join("; "));
        }
        let answer = request.send().await?;
        for cookie in answer.headers().get_all(SET_COOKIE) {
            let (pair, _) = cookie.to_str().unwrap().split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.insert((host.clone(), name.to_owned()), value.to_owned());
        }
        if let Some(location) = answer.headers().get(LOCATION) {
            return Ok(Err(url.join(location.to_str().unwrap()).unwrap()));
        }
        let (status, url) = (answer.status().as_u16(), answer.url().clone());
        Ok(Ok(Page { url, status, text: answer.text().await? }))
    }
}
