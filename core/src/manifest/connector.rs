//! A manifest made ready for calls: templates parsed, operations indexed, schemas compiled on first use.

use std::sync::OnceLock;

use bytes::Bytes;
use hashbrown::HashMap;
use indexmap::IndexMap;
use regex::Regex;
use sha2::{Digest, Sha256};

use super::body;
use super::model::{Category, Effect, Flow, FlowKind, Manifest, Module, Operation, Param, Style};
use super::path::{PathTemplate, PathTemplateError};
use super::signature::{CompiledSignature, SignatureError};
use super::template::{Template, TemplateError};
use crate::catalog::ManifestDocument;
use crate::ids::ServiceKey;
use crate::json_schema::{self, Validator};

/// A compiled connector. Immutable; shared by every call that pins its digest.
#[derive(Debug)]
pub struct Connector {
    key: ServiceKey,
    digest: String,
    manifest: Manifest,
    modules: IndexMap<String, ConnectorModule>,
    operations: Vec<ConnectorOperation>,
    /// Operations by module and method.
    index: HashMap<String, HashMap<String, Vec<usize>>>,
    transport: ConnectorTransport,
}

#[derive(Debug)]
pub struct ConnectorModule {
    pub base_url: Template,
    /// For `rpc`: the path, with `{method}`.
    pub rpc_path: Option<Template>,
}

/// Credential placements, parsed.
#[derive(Debug, Default)]
pub struct ConnectorTransport {
    pub headers: Vec<(String, Template)>,
    pub query: Vec<(String, Template)>,
    pub body: Vec<(String, Template)>,
    pub basic: Option<(Template, Template)>,
    pub token_url: Option<Template>,
    /// By name.
    pub signatures: Vec<(String, CompiledSignature)>,
}

impl ConnectorTransport {
    /// How the calls of a module are signed.
    pub fn signature_of(&self, module: &str) -> Option<&CompiledSignature> {
        self.signatures.iter().map(|(_, signature)| signature).find(|signature| signature.signs(module))
    }
}

#[derive(Debug)]
pub struct ConnectorOperation {
    at: usize,
    /// `None` for RPC.
    pub path: Option<PathTemplate>,
    body: OnceLock<Option<Validator>>,
    /// By name, for path and query each: both may have a parameter of one name.
    path_patterns: OnceLock<HashMap<String, Regex>>,
    query_patterns: OnceLock<HashMap<String, Regex>>,
}

#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    #[error("not a manifest: {0}")]
    Shape(String),
    #[error("key {0:?} is not [a-z0-9][a-z0-9_]*")]
    Key(String),
    #[error("{place}: {source}")]
    Template { place: String, source: TemplateError },
    #[error("transport.signatures.{name}: {source}")]
    Signature { name: String, source: SignatureError },
    #[error("operation {operation}: path: {source}")]
    Path { operation: String, source: PathTemplateError },
    #[error("operation {operation}: {message}")]
    Operation { operation: String, message: String },
    #[error("module {module}: {message}")]
    Module { module: String, message: String },
}

impl Connector {
    /// # Errors
    /// When the document is not a manifest, or a template in it is malformed.
    pub fn from_document(document: &ManifestDocument) -> Result<Self, CompileError> {
        let manifest: Manifest =
            serde_json::from_slice(&document.json).map_err(|error| CompileError::Shape(error.to_string()))?;
        Self::compile(manifest, document.digest.clone())
    }

    /// # Errors
    /// When a template in the manifest is malformed.
    pub fn from_manifest(manifest: Manifest) -> Result<Self, CompileError> {
        let document = document(&manifest)?;
        Self::compile(manifest, document.digest)
    }

    fn compile(manifest: Manifest, digest: String) -> Result<Self, CompileError> {
        let key = ServiceKey::parse(&manifest.key).ok_or_else(|| CompileError::Key(manifest.key.clone()))?;
        let mut modules = IndexMap::new();
        for (name, module) in &manifest.modules {
            modules.insert(name.clone(), compile_module(name, module)?);
        }
        let mut operations = Vec::with_capacity(manifest.operations.len());
        let mut index: HashMap<String, HashMap<String, Vec<usize>>> = HashMap::new();
        for (at, operation) in manifest.operations.iter().enumerate() {
            let module = manifest.modules.get(&operation.module).ok_or_else(|| CompileError::Operation {
                operation: operation.id.clone(),
                message: format!("module {:?} does not exist", operation.module),
            })?;
            operations.push(compile_operation(at, operation, module)?);
            index.entry(operation.module.clone()).or_default().entry(operation.method.clone()).or_default().push(at);
        }
        let transport = compile_transport(&manifest)?;
        Ok(Self { key, digest, modules, operations, index, transport, manifest })
    }

    pub fn key(&self) -> &ServiceKey {
        &self.key
    }

    pub fn digest(&self) -> &str {
        &self.digest
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub fn transport(&self) -> &ConnectorTransport {
        &self.transport
    }

    pub fn module(&self, name: &str) -> Option<(&Module, &ConnectorModule)> {
        Some((self.manifest.modules.get(name)?, self.modules.get(name)?))
    }

    pub fn operation(&self, id: &str) -> Option<(&Operation, &ConnectorOperation)> {
        let at = self.manifest.operations.iter().position(|operation| operation.id == id)?;
        Some((&self.manifest.operations[at], &self.operations[at]))
    }

    /// Operations of a module, in manifest order.
    pub fn operations_of<'c>(
        &'c self,
        module: &'c str,
    ) -> impl Iterator<Item = (&'c Operation, &'c ConnectorOperation)> + 'c {
        self.operations
            .iter()
            .map(|compiled| (&self.manifest.operations[compiled.at], compiled))
            .filter(move |(operation, _)| operation.module == module)
    }

    /// The most specific operation that a REST call fits, with its path parameters. `path` is percent-decoded except
    /// for delimiters, as literals of templates are.
    pub fn find_rest<'c, 'p>(&'c self, module: &str, method: &str, path: &'p str) -> Option<Found<'c, 'p>> {
        let candidates = self.index.get(module)?.get(method)?;
        let mut best: Option<(usize, Found<'c, 'p>)> = None;
        for &at in candidates {
            let compiled = &self.operations[at];
            let Some(template) = &compiled.path else { continue };
            let Some(params) = template.matches(path) else { continue };
            let weight = template.weight();
            if best.as_ref().is_none_or(|(lighter, _)| weight > *lighter) {
                best = Some((weight, Found { operation: &self.manifest.operations[at], compiled, params }));
            }
        }
        best.map(|(_, found)| found)
    }

    pub fn find_rpc(&self, module: &str, method: &str) -> Option<Found<'_, 'static>> {
        let at = *self.index.get(module)?.get(method)?.first()?;
        Some(Found { operation: &self.manifest.operations[at], compiled: &self.operations[at], params: Vec::new() })
    }

    /// The flow that takes fields a person types.
    pub fn credentials_flow(&self) -> Option<&Flow> {
        self.manifest.flow(FlowKind::Credentials)
    }
}

/// An operation that fits a call.
#[derive(Debug)]
pub struct Found<'c, 'p> {
    pub operation: &'c Operation,
    pub compiled: &'c ConnectorOperation,
    /// Values in the order of the template's names, as they stand in the path that was given.
    pub params: Vec<&'p str>,
}

impl ConnectorOperation {
    /// The validator of the request body; `None` when the operation takes no body.
    pub(super) fn body_validator(&self, manifest: &Manifest, operation: &Operation) -> Option<&Validator> {
        self.body
            .get_or_init(|| {
                let schema = operation.body.as_ref()?;
                match json_schema::compile(&body::resolved(manifest, schema)) {
                    Ok(validator) => Some(validator),
                    Err(error) => {
                        // `connectors lint` refuses such a manifest; one that slips in validates nothing.
                        tracing::error!(operation = operation.id, %error, "a body schema does not compile");
                        None
                    }
                }
            })
            .as_ref()
    }

    /// The compiled `pattern` of a parameter.
    pub(super) fn pattern(&self, operation: &Operation, in_path: bool, parameter: &str) -> Option<&Regex> {
        let (compiled, declared) = match in_path {
            true => (&self.path_patterns, &operation.path_params),
            false => (&self.query_patterns, &operation.query),
        };
        let compile = || {
            let pattern = |parameter: &Param| Regex::new(parameter.pattern.as_ref()?).ok();
            declared.iter().filter_map(|(name, parameter)| Some((name.clone(), pattern(parameter)?))).collect()
        };
        compiled.get_or_init(compile).get(parameter)
    }
}

/// A manifest as a document: canonical JSON and its digest.
///
/// # Errors
/// When it cannot be serialized.
pub fn document(manifest: &Manifest) -> Result<ManifestDocument, CompileError> {
    let json = serde_json::to_vec(manifest).map_err(|error| CompileError::Shape(error.to_string()))?;
    Ok(ManifestDocument {
        key: ServiceKey::trusted(manifest.key.clone()),
        digest: hex::encode(Sha256::digest(&json)),
        json: Bytes::from(json),
    })
}

fn template(place: impl Into<String>, text: &str) -> Result<Template, CompileError> {
    Template::parse(text).map_err(|source| CompileError::Template { place: place.into(), source })
}

fn compile_module(name: &str, module: &Module) -> Result<ConnectorModule, CompileError> {
    let wrong = |message: &str| CompileError::Module { module: name.to_owned(), message: message.to_owned() };
    if !module.base_url.starts_with("https://") && !module.base_url.starts_with("http://") {
        return Err(wrong("base_url begins with https://"));
    }
    if module.base_url.ends_with('/') {
        return Err(wrong("base_url has no trailing slash"));
    }
    let rpc_path = match (module.style, &module.rpc) {
        (Style::Rpc, Some(rpc)) => Some(template(format!("module {name}: rpc.path"), &rpc.path)?),
        (Style::Rpc, None) => return Err(wrong("style rpc needs `rpc.path`")),
        (Style::Rest, Some(_)) => return Err(wrong("`rpc` belongs to style rpc")),
        (Style::Rest, None) => None,
    };
    Ok(ConnectorModule { base_url: template(format!("module {name}: base_url"), &module.base_url)?, rpc_path })
}

fn compile_operation(at: usize, operation: &Operation, module: &Module) -> Result<ConnectorOperation, CompileError> {
    let wrong = |message: String| CompileError::Operation { operation: operation.id.clone(), message };
    let path = match (module.style, &operation.path) {
        (Style::Rest, Some(path)) => Some(
            PathTemplate::parse(path)
                .map_err(|source| CompileError::Path { operation: operation.id.clone(), source })?,
        ),
        (Style::Rest, None) => return Err(wrong("a rest operation has a path".to_owned())),
        (Style::Rpc, Some(_)) => return Err(wrong("an rpc operation has no path".to_owned())),
        (Style::Rpc, None) => None,
    };
    if let Some(path) = &path {
        for name in path.names() {
            if !operation.path_params.contains_key(name) {
                return Err(wrong(format!("path parameter {name} is not described in path_params")));
            }
        }
    }
    let (path_patterns, query_patterns) = (OnceLock::new(), OnceLock::new());
    Ok(ConnectorOperation { at, path, body: OnceLock::new(), path_patterns, query_patterns })
}

fn compile_transport(manifest: &Manifest) -> Result<ConnectorTransport, CompileError> {
    let transport = &manifest.transport;
    let parse_all = |what: &str, map: &IndexMap<String, String>| {
        map.iter()
            .map(|(name, text)| Ok((name.clone(), template(format!("transport.{what}.{name}"), text)?)))
            .collect::<Result<Vec<_>, CompileError>>()
    };
    Ok(ConnectorTransport {
        headers: parse_all("headers", &transport.headers)?,
        query: parse_all("query", &transport.query)?,
        body: parse_all("body", &transport.body)?,
        basic: match &transport.basic {
            Some(basic) => Some((
                template("transport.basic.username", &basic.username)?,
                template("transport.basic.password", &basic.password)?,
            )),
            None => None,
        },
        token_url: match &transport.token {
            Some(token) => Some(template("transport.token.url", &token.url)?),
            None => None,
        },
        signatures: {
            let compiled = transport.signatures.iter().map(|(name, signature)| {
                let wrong = |source| CompileError::Signature { name: name.clone(), source };
                Ok((name.clone(), CompiledSignature::of(signature).map_err(wrong)?))
            });
            compiled.collect::<Result<_, CompileError>>()?
        },
    })
}

impl Category {
    /// Every category, in the order of the contract.
    pub const ALL: [Self; 16] = [
        Self::Marketplaces,
        Self::Ecommerce,
        Self::Crm,
        Self::ErpAccounting,
        Self::Banking,
        Self::Payments,
        Self::DocumentFlow,
        Self::Messengers,
        Self::Communications,
        Self::Advertising,
        Self::Analytics,
        Self::Logistics,
        Self::Data,
        Self::Productivity,
        Self::Hr,
        Self::DeveloperTools,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Marketplaces => "marketplaces",
            Self::Ecommerce => "ecommerce",
            Self::Crm => "crm",
            Self::ErpAccounting => "erp_accounting",
            Self::Banking => "banking",
            Self::Payments => "payments",
            Self::DocumentFlow => "document_flow",
            Self::Messengers => "messengers",
            Self::Communications => "communications",
            Self::Advertising => "advertising",
            Self::Analytics => "analytics",
            Self::Logistics => "logistics",
            Self::Data => "data",
            Self::Productivity => "productivity",
            Self::Hr => "hr",
            Self::DeveloperTools => "developer_tools",
        }
    }
}

impl Effect {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Idempotent => "idempotent",
            Self::Keyed => "keyed",
            Self::Once => "once",
        }
    }
}
