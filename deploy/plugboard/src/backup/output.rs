//! Where a backup is written: a file that has its name only when it is whole, or standard output.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use bytes::Bytes;
use tokio::sync::mpsc;

pub(super) struct Output(Option<Part>);

/// A file under another name. Removed when it is dropped before it was kept.
struct Part {
    file: File,
    path: PathBuf,
    to: PathBuf,
    kept: bool,
}

impl Output {
    pub(super) fn standard() -> Self {
        Self(None)
    }

    /// For the owner alone.
    ///
    /// # Errors
    /// When there is a file of this name, or none can be made.
    pub(super) fn create(to: &Path) -> anyhow::Result<Self> {
        let shown = to.display();
        if to.exists() {
            bail!("{shown} is there already: a backup replaces nothing");
        }
        let mut path = to.as_os_str().to_owned();
        path.push(".part");
        let path = PathBuf::from(path);
        let opened = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = opened.with_context(|| format!("writing {}", path.display()))?;
        Ok(Self(Some(Part { file, path, to: to.to_owned(), kept: false })))
    }

    /// Writes everything that arrives.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) async fn write(&mut self, mut arriving: mpsc::Receiver<Bytes>) -> anyhow::Result<()> {
        while let Some(bytes) = arriving.recv().await {
            match &mut self.0 {
                Some(part) => part.file.write_all(&bytes).with_context(|| part.path.display().to_string())?,
                None => std::io::stdout().lock().write_all(&bytes).context("standard output")?,
            }
        }
        Ok(())
    }

    /// What was written, from the start; `None`: it is gone already.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn written(&mut self) -> anyhow::Result<Option<&File>> {
        let Some(part) = &mut self.0 else {
            std::io::stdout().flush()?;
            return Ok(None);
        };
        part.file.seek(SeekFrom::Start(0))?;
        Ok(Some(&part.file))
    }

    /// Gives the file its name, when it is on disk. How long it is.
    ///
    /// # Errors
    /// When it cannot be, or another file has the name by now.
    pub(super) fn keep(self) -> anyhow::Result<u64> {
        let Some(mut part) = self.0 else { return Ok(0) };
        part.file.sync_all()?;
        // As a rename, but one that replaces nothing.
        std::fs::hard_link(&part.path, &part.to).with_context(|| part.to.display().to_string())?;
        std::fs::remove_file(&part.path)?;
        part.kept = true;
        let folder = part.to.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(part.file.metadata()?.len())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.kept {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
