//! A small disk for one nats-server, so that it can be full.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Room enough for all that a long campaign keeps there.
const SIZE: &str = "size=192m";
const PIECE: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct Disk {
    mounted: PathBuf,
}

impl Disk {
    /// `None`: this takes a right to mount, which not every machine gives.
    pub(crate) fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(at).stderr(Stdio::null());
        let mounted = mount.status().is_ok_and(|status| status.success());
        mounted.then(|| Self { mounted: at.to_owned() })
    }

    /// Until not one more page fits.
    pub(crate) fn fill(&self) {
        let mut file = File::create(self.filler()).unwrap();
        for piece in [PIECE, 4096] {
            while file.write_all(&vec![0; piece]).is_ok() {}
        }
    }

    pub(crate) fn free(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.mounted.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // At once for all who look, and in truth when the server has let go.
        let _ = Command::new("umount").arg("-l").arg(&self.mounted).status();
    }
}
