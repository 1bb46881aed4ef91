//! Puts the built-in manifests into the binary, which so needs no files: as JSON, so that a start has no YAML to read,
//! and packed, to a fifth of the two megabytes they are.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

#[path = "src/yaml.rs"]
mod yaml;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let connectors = root.join("connectors");
    // A directory is watched with everything below it.
    println!("cargo:rerun-if-changed={}", connectors.display());
    println!("cargo:rerun-if-changed=src/yaml.rs");
    let mut files = Vec::new();
    collect(&connectors, &mut files)?;
    files.sort();
    let mut built_in = Vec::new();
    for file in files {
        let name = file.strip_prefix(&root)?.to_string_lossy().replace('\\', "/");
        let text = std::fs::read_to_string(&file)?;
        // What is no YAML stays as it is: the tests say what is wrong with it, and where.
        let text = yaml::parse(&text).map_or(text, |value| value.to_string());
        built_in.push((name, text));
    }
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&serde_json::to_vec(&built_in)?)?;
    std::fs::write(out.join("built_in.json.gz"), packed.finish()?)?;
    Ok(())
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
    }
    Ok(())
}
