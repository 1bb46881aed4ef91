//! Manifests from YAML files: those compiled into the binary, and those of extra directories.

use std::collections::BTreeMap;
use std::fmt;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use plugboard_core::manifest::{Connector, Manifest};
use serde_json::Value;

use crate::config::Config;
use crate::lines::Lines;
use crate::{schema, yaml};

/// A JSON list of file names and texts; see `build.rs`.
const BUILT_IN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/built_in.json.gz"));

/// Deepest folder below an extra directory that is looked into.
const MAX_DEPTH: usize = 4;
/// Largest manifest; the greatest built-in one has a twentieth of it.
pub(crate) const MAX_FILE: u64 = 1024 * 1024;

/// The text of one manifest and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Path as a reader can find it.
    pub file: String,
    pub text: String,
}

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub file: String,
    pub line: Option<usize>,
    /// Path inside the manifest: `operations.get_orders.query.dateFrom`; empty for the whole file.
    pub place: String,
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str(": ")?;
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.message)
    }
}

/// Why a catalog cannot be loaded: every file that is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct LoadError {
    pub findings: Vec<Finding>,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, finding) in self.findings.iter().enumerate() {
            if at > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{finding}")?;
        }
        Ok(())
    }
}

/// The manifests that are compiled in: as JSON, which is YAML too and is read in a tenth of the time.
///
/// # Errors
/// When the binary is damaged.
pub fn built_in() -> Result<Vec<Source>, LoadError> {
    let files: Vec<(String, String)> = serde_json::from_reader(BufReader::new(GzDecoder::new(BUILT_IN)))
        .map_err(|error| LoadError { findings: vec![unreadable(Path::new("built in"), &error)] })?;
    Ok(files.into_iter().map(|(file, text)| Source { file, text }).collect())
}

fn unreadable(file: &Path, error: &impl fmt::Display) -> Finding {
    let message = format!("cannot be read: {error}");
    Finding { file: file.display().to_string(), line: None, place: String::new(), message }
}

pub(crate) fn too_large(file: &str) -> Finding {
    unreadable(Path::new(file), &format!("it is larger than {MAX_FILE} bytes"))
}

/// The `.yaml` and `.yml` files below a directory, in order of their paths.
///
/// # Errors
/// What cannot be read.
pub fn directory(path: &Path) -> Result<Vec<Source>, LoadError> {
    let mut sources = Vec::new();
    let mut findings = Vec::new();
    match yaml_files(path) {
        Err((file, error)) => findings.push(unreadable(&file, &error)),
        Ok(files) => {
            for (file, meta) in files {
                if meta.len() > MAX_FILE {
                    findings.push(too_large(&file.display().to_string()));
                    continue;
                }
                match std::fs::read_to_string(&file) {
                    Ok(text) => sources.push(Source { file: file.display().to_string(), text }),
                    Err(error) => findings.push(unreadable(&file, &error)),
                }
            }
        }
    }
    if findings.is_empty() { Ok(sources) } else { Err(LoadError { findings }) }
}

/// YAML files below a directory with their metadata, in order. A single file stands for itself.
pub(crate) fn yaml_files(path: &Path) -> Result<Vec<(PathBuf, std::fs::Metadata)>, (PathBuf, std::io::Error)> {
    let mut files = Vec::new();
    let mut left = vec![(path.to_owned(), 0)];
    while let Some((path, depth)) = left.pop() {
        let meta = std::fs::metadata(&path).map_err(|error| (path.clone(), error))?;
        if !meta.is_dir() {
            files.push((path, meta));
            continue;
        }
        let entries = std::fs::read_dir(&path).map_err(|error| (path.clone(), error))?;
        for entry in entries {
            let entry = entry.map_err(|error| (path.clone(), error))?.path();
            let hidden = entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            let yaml = entry.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
            if !hidden && (yaml || entry.is_dir() && depth < MAX_DEPTH) {
                left.push((entry, depth + 1));
            }
        }
    }
    files.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(files)
}

/// YAML → JSON.
///
/// # Errors
/// Where the text is not YAML.
pub(crate) fn to_value(source: &Source) -> Result<Value, Finding> {
    yaml::parse(&source.text).map_err(|error| {
        let line = error.location().and_then(|location| usize::try_from(location.line()).ok());
        let pointer = line.and_then(|line| Lines::of(&source.text).pointer_at(line).map(str::to_owned));
        let message = error.without_snippet().to_string();
        let message = message.lines().next().unwrap_or("is not YAML").to_owned();
        let place = pointer.unwrap_or_default().trim_start_matches('/').replace('/', ".");
        Finding { file: source.file.clone(), line, place, message }
    })
}

/// One manifest.
///
/// # Errors
/// Everything that keeps it from being one.
pub fn manifest(source: &Source) -> Result<Manifest, Vec<Finding>> {
    if source.text.starts_with('{')
        && let Ok(manifest) = serde_json::from_str(&source.text)
    {
        return Ok(manifest);
    }
    let value = to_value(source).map_err(|finding| vec![finding])?;
    from_value(source, &value)
}

/// A manifest whose text has been parsed already.
pub(crate) fn from_value(source: &Source, value: &Value) -> Result<Manifest, Vec<Finding>> {
    serde_json::from_value(value.clone()).map_err(|error| {
        let findings = schema::findings(source, value);
        if !findings.is_empty() {
            return findings;
        }
        // The schema follows from the same types, so this is a difference between the two.
        vec![Finding { file: source.file.clone(), line: None, place: String::new(), message: error.to_string() }]
    })
}

/// A manifest that compiles, with its source.
#[derive(Debug)]
pub struct Loaded {
    pub source: Source,
    pub connector: Connector,
}

/// Loads what the configuration names, in order of the keys. A later source replaces an earlier one of the same key;
/// within one source a key may stand only once.
///
/// # Errors
/// Everything that is wrong with any file.
pub fn all(config: &Config) -> Result<Vec<Loaded>, LoadError> {
    each(config, |source, connector| Loaded { source: source.clone(), connector })
}

/// As [`all`], but keeps only what is made of each connector: all of them at once take 25 MB.
pub(crate) fn each<T: Send>(
    config: &Config,
    make: impl Fn(&Source, Connector) -> T + Sync,
) -> Result<Vec<T>, LoadError> {
    let mut groups = Vec::new();
    if config.built_in {
        groups.push(built_in()?);
    }
    let mut findings = Vec::new();
    for path in &config.directories {
        match directory(path) {
            Ok(sources) => groups.push(sources),
            Err(error) => findings.extend(error.findings),
        }
    }
    let mut loaded: BTreeMap<String, T> = BTreeMap::new();
    for sources in groups {
        let mut group: BTreeMap<String, (String, T)> = BTreeMap::new();
        for (source, made) in sources.iter().zip(make_all(&sources, &make)) {
            match made {
                Ok((key, made)) => {
                    if let Some((first, _)) = group.get(&key) {
                        let message = format!("{key} is already defined by {first}");
                        let file = source.file.clone();
                        findings.push(Finding { file, line: None, place: "key".to_owned(), message });
                    } else {
                        group.insert(key, (source.file.clone(), made));
                    }
                }
                Err(wrong) => findings.extend(wrong),
            }
        }
        loaded.extend(group.into_iter().map(|(key, (_, made))| (key, made)));
    }
    if findings.is_empty() { Ok(loaded.into_values().collect()) } else { Err(LoadError { findings }) }
}

/// What is made of a connector, with its key.
type Made<T> = Result<(String, T), Vec<Finding>>;

/// Works on all cores, in the order of the sources: reading manifests is most of what a start costs.
fn make_all<T: Send>(sources: &[Source], make: &(impl Fn(&Source, Connector) -> T + Sync)) -> Vec<Made<T>> {
    let one = |source: &Source| -> Made<T> {
        let connector = compile(source)?;
        Ok((connector.key().as_str().to_owned(), make(source, connector)))
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = sources.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let parts: Vec<_> = sources
            .chunks(share)
            .map(|part| (part, scope.spawn(move || part.iter().map(one).collect::<Vec<_>>())))
            .collect();
        // A thread ends early only by a panic; then its part is done again here, where the panic has its usual way.
        parts
            .into_iter()
            .flat_map(|(part, thread)| thread.join().unwrap_or_else(|_| part.iter().map(one).collect()))
            .collect()
    })
}

fn compile(source: &Source) -> Result<Connector, Vec<Finding>> {
    let manifest = manifest(source)?;
    Connector::from_manifest(manifest).map_err(|error| vec![unfit(source, &error)])
}

/// What is wrong with the whole of a file.
pub(crate) fn unfit(source: &Source, error: &impl fmt::Display) -> Finding {
    Finding { file: source.file.clone(), line: None, place: String::new(), message: error.to_string() }
}
