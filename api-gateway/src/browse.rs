//! The use cases behind `list_services` and `describe_service`.

use bytes::Bytes;
use plugboard_core::error::{CallError, ErrorCode, Fix, FixKind};
use plugboard_core::identity::{Account, Principal, Scope};
use plugboard_core::manifest::{Category, passport, suggest};
use serde::Deserialize;

use crate::accounts;
use crate::mcp::{Envelope, Written};
use crate::pages::{Connected, Wanted};
use crate::principal::require;
use crate::state::Gateway;
use crate::submit::{auth_away, noted};
use crate::tool_specs::{DESCRIBE_SERVICE, LIST_SERVICES};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListRequest {
    #[serde(default)]
    pub query: Option<String>,
    #[serde(default)]
    pub category: Option<String>,
    #[serde(default)]
    pub connected: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescribeRequest {
    pub service: String,
    #[serde(default)]
    pub module: Option<String>,
}

impl ListRequest {
    /// # Errors
    /// The argument that is unknown or of the wrong type.
    pub fn parse(arguments: &str) -> Result<Self, CallError> {
        serde_json::from_str(arguments).map_err(|error| {
            wrong_arguments(
                &error,
                arguments,
                &[("query", "a string"), ("category", "a string"), ("connected", "true or false")],
            )
        })
    }
}

impl DescribeRequest {
    /// # Errors
    /// The argument that is missing, unknown or of the wrong type.
    pub fn parse(arguments: &str) -> Result<Self, CallError> {
        serde_json::from_str(arguments)
            .map_err(|error| wrong_arguments(&error, arguments, &[("service", "a string"), ("module", "a string")]))
    }
}

/// serde tells what is wrong but not always where: the field is found by looking.
fn wrong_arguments(error: &serde_json::Error, arguments: &str, known: &[(&str, &str)]) -> CallError {
    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    let Ok(object) = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(arguments) else {
        return CallError::argument("arguments", "The arguments must be a JSON object.");
    };
    if let Some(name) = object.keys().find(|name| !names.contains(&name.as_str())) {
        return CallError::argument(name, format!("`{name}` is not an argument here. There are {}.", names.join(", ")));
    }
    let at_fault = known.iter().find(|(name, kind)| {
        object.get(*name).is_some_and(|value| !value.is_null() && value.is_boolean() != (*kind == "true or false"))
            || object.get(*name).is_some_and(|value| !value.is_string() && *kind == "a string")
    });
    match at_fault {
        Some((name, kind)) => CallError::argument(*name, format!("`{name}` must be {kind}.")),
        None => match known.iter().find(|(name, _)| error.to_string().contains(&format!("`{name}`"))) {
            Some((name, _)) => CallError::argument(*name, format!("`{name}` is required.")),
            None => CallError::argument("arguments", "The arguments cannot be read."),
        },
    }
}

impl Gateway {
    /// # Errors
    /// A missing scope, an unknown category, or the auth service away.
    pub async fn service_rows(
        &self,
        principal: &Principal,
        request: &ListRequest,
    ) -> Result<Vec<passport::ServiceRow>, CallError> {
        require(principal, Scope::ReadTools)?;
        let connected = self.connected_services(principal).await?;
        self.rows(request, &connected)
    }

    fn rows(&self, request: &ListRequest, connected: &Connected) -> Result<Vec<passport::ServiceRow>, CallError> {
        let category = match request.category.as_deref().filter(|text| !text.is_empty()) {
            Some(text) => Some(parse_category(text)?),
            None => None,
        };
        let snapshot = self.catalog.snapshot();
        let found: Vec<_> = match request.query.as_deref().filter(|text| !text.trim().is_empty()) {
            Some(query) => snapshot.search(query),
            None => snapshot.iter().cloned().collect(),
        };
        let rows = found.iter().filter(|connector| category.is_none_or(|wanted| connector.brief().category == wanted));
        let rows =
            rows.map(|connector| passport::ServiceRow::new(connector.brief(), connected.contains(connector.key())));
        Ok(rows.filter(|row| request.connected.is_none_or(|wanted| row.connected == wanted)).collect())
    }

    /// The list, if it was made before and all it depends on is known here.
    pub fn kept_list(&self, principal: &Principal, arguments: &str) -> Option<Written> {
        require(principal, Scope::ReadTools).ok()?;
        let connected = match &principal.organization {
            Some(organization) if !self.sandbox => connected(&self.directory.accounts_now(organization)?, principal),
            _ => self.without_accounts(),
        };
        self.pages.get(self.wanted(LIST_SERVICES, &connected, arguments))
    }

    /// The passport, if it was made before.
    pub fn kept_passport(&self, principal: &Principal, arguments: &str) -> Option<Written> {
        require(principal, Scope::ReadTools).ok()?;
        self.pages.get(self.wanted(DESCRIBE_SERVICE, &Connected::All, arguments))
    }

    /// The list as text and as JSON.
    ///
    /// # Errors
    /// Arguments that are wrong, and as [`Gateway::service_rows`].
    pub async fn list_page(&self, principal: &Principal, arguments: &str) -> Result<Written, CallError> {
        require(principal, Scope::ReadTools)?;
        let connected = self.connected_services(principal).await?;
        self.page(LIST_SERVICES, &connected, arguments, || {
            let rows = self.rows(&ListRequest::parse(arguments)?, &connected)?;
            let text = passport::services_text(&rows);
            Ok(Envelope::ok(passport::services_json(&rows).to_string()).with_text(text))
        })
    }

    /// The passport.
    ///
    /// # Errors
    /// Arguments that are wrong, and as [`Gateway::describe_service`].
    pub fn passport_page(&self, principal: &Principal, arguments: &str) -> Result<Written, CallError> {
        require(principal, Scope::ReadTools)?;
        // A passport is the same for everybody.
        self.page(DESCRIBE_SERVICE, &Connected::All, arguments, || {
            let request = DescribeRequest::parse(arguments)?;
            Ok(Envelope::ok(self.describe_service(principal, &request)?))
        })
    }

    fn page(
        &self,
        tool: &'static str,
        connected: &Connected,
        arguments: &str,
        make: impl FnOnce() -> Result<Envelope, CallError>,
    ) -> Result<Written, CallError> {
        // Before it is made: a page of the catalog that comes meanwhile is kept under the older one, and never found.
        let wanted = self.wanted(tool, connected, arguments);
        if let Some(page) = self.pages.get(wanted) {
            return Ok(page);
        }
        let page = Written::new(&make()?);
        self.pages.keep(wanted, page.clone());
        Ok(page)
    }

    fn wanted<'a>(&self, tool: &'static str, connected: &'a Connected, arguments: &'a str) -> Wanted<'a> {
        Wanted { tool, snapshot: self.catalog.snapshot().serial(), connected, arguments }
    }

    /// The passport as JSON.
    ///
    /// # Errors
    /// A missing scope, an unknown service or module with the nearest right ones.
    pub fn describe_service(&self, principal: &Principal, request: &DescribeRequest) -> Result<Bytes, CallError> {
        require(principal, Scope::ReadTools)?;
        let (connector, _) = self.service(&request.service)?;
        match request.module.as_deref().filter(|module| !module.is_empty()) {
            None => Ok(passport::index(&connector).to_string().into()),
            Some(module) => Ok(passport::module(&connector, module)?.to_string().into()),
        }
    }

    /// Keys of the services this principal has an account for.
    async fn connected_services(&self, principal: &Principal) -> Result<Connected, CallError> {
        match &principal.organization {
            Some(organization) if !self.sandbox => {
                let all = self.directory.accounts(organization).await.map_err(|error| noted(auth_away(error)))?;
                Ok(connected(&all, principal))
            }
            _ => Ok(self.without_accounts()),
        }
    }

    /// In the sandbox everything answers; an operator has no accounts.
    fn without_accounts(&self) -> Connected {
        if self.sandbox { Connected::All } else { Connected::of(std::iter::empty()) }
    }
}

fn connected(all: &[Account], principal: &Principal) -> Connected {
    let usable = accounts::visible(all, principal).filter(|account| account.state.is_usable());
    Connected::of(usable.map(|account| account.service.clone()))
}

fn parse_category(text: &str) -> Result<Category, CallError> {
    let parsed = serde_json::from_value(serde_json::Value::String(text.to_ascii_lowercase()));
    parsed.map_err(|_| {
        let names: Vec<&str> = Category::ALL.iter().map(|category| category.as_str()).collect();
        let near = suggest::nearest(text, names.iter().copied(), 3);
        let options = if near.is_empty() { names.clone() } else { near };
        CallError::new(
            ErrorCode::InvalidArgument,
            format!("There is no category {text:?}. Categories: {}.", names.join(", ")),
        )
        .field("category")
        .fix(Fix::new(FixKind::ChangeArgument).field("category").options(options))
    })
}
