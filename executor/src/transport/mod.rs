//! Where credentials go in a request: one file a placement. What they are is the manifest's word, never code's.

pub(crate) mod basic;
pub(crate) mod body;
pub(crate) mod headers;
mod multipart;
pub(crate) mod path;
pub(crate) mod query;
pub(crate) mod signature;

use plugboard_core::manifest::{Connector, CredentialField, KeptField, Template, Variable};
use plugboard_core::secret::AccountFields;

use crate::http::request::BuildError;

/// The values that templates may name.
#[derive(Clone, Copy)]
pub(crate) struct Values<'a> {
    connector: &'a Connector,
    fields: &'a AccountFields,
}

impl<'a> Values<'a> {
    pub(crate) fn new(connector: &'a Connector, fields: &'a AccountFields) -> Self {
        Self { connector, fields }
    }

    pub(crate) fn connector(&self) -> &'a Connector {
        self.connector
    }

    pub(crate) fn get(&self, variable: &Variable) -> Option<&'a str> {
        self.connector.manifest().value_of(self.fields, variable)
    }

    /// `None` when the template names an optional field that the account does not have: then the header, parameter
    /// or body field is left out.
    pub(crate) fn fill(&self, template: &Template) -> Result<Option<String>, BuildError> {
        if let Some(text) = template.render(|variable| self.get(variable)) {
            return Ok(Some(text));
        }
        for variable in template.variables() {
            if self.get(variable).is_none() && !self.is_optional(variable) {
                return Err(BuildError::MissingField(variable.name().to_owned()));
            }
        }
        Ok(None)
    }

    /// The field as the manifest describes it.
    pub(crate) fn field(&self, name: &str) -> Option<&'a CredentialField> {
        self.connector.manifest().credential(name)
    }

    /// A field that a vendor tells at sign-in.
    fn kept(&self, name: &str) -> Option<&'a KeptField> {
        let mut flows = self.connector.manifest().auth.flows.iter();
        flows.find_map(|flow| flow.oauth.as_ref()?.keep.get(name))
    }

    /// The whole host of a URL, checked when it came.
    pub(crate) fn is_host(&self, name: &str) -> bool {
        self.field(name).map_or_else(|| self.kept(name).is_some_and(|kept| kept.host), |field| field.host)
    }

    fn is_optional(&self, variable: &Variable) -> bool {
        match variable {
            Variable::Account(name) => self
                .field(name)
                .map_or_else(|| self.kept(name).is_some_and(|kept| kept.optional), |field| field.optional),
            Variable::Token | Variable::Method => false,
        }
    }
}
