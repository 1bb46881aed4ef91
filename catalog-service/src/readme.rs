//! The table of connectors in the README.

use plugboard_core::manifest::{FlowKind, Manifest};

use crate::load::{self, Finding};

/// The built-in connectors as a Markdown table, by category.
///
/// # Errors
/// What keeps a built-in manifest from loading.
pub fn table() -> Result<String, Vec<Finding>> {
    let sources = load::built_in().map_err(|error| error.findings)?;
    let mut manifests = sources.iter().map(load::manifest).collect::<Result<Vec<Manifest>, _>>()?;
    manifests.sort_by(|a, b| (a.category, &a.key).cmp(&(b.category, &b.key)));
    let mut table = String::from("| key | name | category | credential fields |\n| --- | --- | --- | --- |\n");
    for manifest in &manifests {
        let name = match &manifest.name_ru {
            Some(russian) if russian != &manifest.name => format!("{} ({russian})", manifest.name),
            _ => manifest.name.clone(),
        };
        let admin = if manifest.admin_only { ", admin only" } else { "" };
        let cells =
            [format!("`{}`", manifest.key), name, format!("{}{admin}", manifest.category.as_str()), fields(manifest)];
        table.push_str("| ");
        table.push_str(&cells.map(|cell| cell.replace('|', "\\|")).join(" | "));
        table.push_str(" |\n");
    }
    Ok(table)
}

/// Fields of every credentials flow; flows are alternatives.
fn fields(manifest: &Manifest) -> String {
    let flows = manifest.auth.flows.iter().filter(|flow| flow.kind == FlowKind::Credentials);
    let lists = flows.map(|flow| {
        let names = flow
            .fields
            .iter()
            .map(|(name, field)| if field.optional { format!("`{name}` (optional)") } else { format!("`{name}`") });
        names.collect::<Vec<_>>().join(", ")
    });
    let lists: Vec<String> = lists.map(|list| if list.is_empty() { "none".to_owned() } else { list }).collect();
    lists.join(" or ")
}
