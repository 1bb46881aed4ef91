//! `plugboard connectors`: manifests, checked and shown. Needs no running service.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use catalog_service::{diff, import, lint, load, readme, schema};
use plugboard_core::catalog::{Listed, Snapshot};
use plugboard_core::ids::ServiceKey;
use plugboard_core::manifest::{Manifest, document, passport, suggest};

use crate::cli::ConnectorsCommand;
use crate::print_answer;

pub fn run(command: ConnectorsCommand) -> anyhow::Result<ExitCode> {
    match command {
        ConnectorsCommand::Lint { paths } => return lint_all(&paths),
        ConnectorsCommand::List => {
            let snapshot = built_in()?;
            let rows: Vec<_> =
                snapshot.iter().map(|connector| passport::ServiceRow::new(connector.brief(), false)).collect();
            print_answer(&passport::services_text(&rows));
        }
        ConnectorsCommand::Show { service, module } => print_answer(&show(&service, module.as_deref())?),
        ConnectorsCommand::Diff { old, new } => return compare(&old, &new),
        ConnectorsCommand::Import { document, key, category, tag, path } => {
            return draft(&document, key, &category, import::Selection { tags: tag, paths: path });
        }
        ConnectorsCommand::Schema => print_answer(&schema::manifest_schema_text()),
        ConnectorsCommand::Table => {
            let table = readme::table().map_err(|findings| anyhow::anyhow!("{} findings", findings.len()))?;
            print_answer(&table);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn lint_all(paths: &[std::path::PathBuf]) -> anyhow::Result<ExitCode> {
    let sources = if paths.is_empty() {
        load::built_in()?
    } else {
        let mut sources = Vec::new();
        for path in paths {
            sources.extend(load::directory(path)?);
        }
        sources
    };
    let findings = lint::sources(&sources);
    for finding in &findings {
        print_answer(&finding.to_string());
    }
    print_answer(&format!("{} manifests, {} findings", sources.len(), findings.len()));
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn compare(old: &Path, new: &Path) -> anyhow::Result<ExitCode> {
    let changes = diff::catalogs(&manifests(old)?, &manifests(new)?);
    for change in &changes {
        print_answer(&change.to_string());
    }
    let breaking = changes.iter().filter(|change| change.breaks).count();
    print_answer(&format!("{} changes, {breaking} of them break callers", changes.len()));
    Ok(if breaking == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn draft(
    document: &Path,
    key: Option<String>,
    category: &str,
    selection: import::Selection,
) -> anyhow::Result<ExitCode> {
    let text = std::fs::read_to_string(document).with_context(|| document.display().to_string())?;
    let category = serde_json::from_value(category.into()).with_context(|| format!("--category {category}"))?;
    let wanted = import::Wanted { key, category, today: import::today(), selection };
    let draft = import::draft(&text, &wanted).with_context(|| document.display().to_string())?;
    print_answer(&draft.text);
    for left in draft.remarks.iter().cloned().chain(draft.findings().iter().map(ToString::to_string)) {
        remark(&left);
    }
    Ok(ExitCode::SUCCESS)
}

#[allow(clippy::print_stderr, reason = "for the person at the terminal; stdout is the draft")]
fn remark(text: &str) {
    eprintln!("{text}");
}

fn manifests(path: &Path) -> anyhow::Result<Vec<Manifest>> {
    let sources = load::directory(path)?;
    if sources.is_empty() {
        bail!("{} has no manifests", path.display());
    }
    let all = sources.iter().map(|source| load::manifest(source).map_err(|findings| load::LoadError { findings }));
    Ok(all.collect::<Result<_, _>>()?)
}

fn built_in() -> anyhow::Result<Snapshot> {
    let loaded = load::all(&catalog_service::config::Config::default())?;
    let listed = loaded.iter().map(|one| Ok(Arc::new(Listed::new(document(one.connector.manifest())?)?)));
    Ok(Snapshot::new(listed.collect::<anyhow::Result<_>>()?))
}

fn show(service: &str, module: Option<&str>) -> anyhow::Result<String> {
    let snapshot = built_in()?;
    let key = ServiceKey::parse(service).context("not a service key")?;
    let Some(connector) = snapshot.get(&key) else {
        let near = suggest::nearest(service, snapshot.iter().map(|one| one.key().as_str()), 3);
        match near.as_slice() {
            [] => bail!("there is no connector {service:?}; `plugboard connectors list` shows all"),
            near => bail!("there is no connector {service:?}; did you mean {}?", near.join(" or ")),
        }
    };
    let value = match module {
        None => passport::index(&connector),
        Some(name) => passport::module(&connector, name).map_err(|error| anyhow::anyhow!(error.message.clone()))?,
    };
    Ok(serde_json::to_string_pretty(&value)?)
}
