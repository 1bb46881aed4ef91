//! Named places at which a process can be made to die, as if it had been killed there.
//!
//! Random kills hit a window of less than a millisecond almost never, so the windows that matter are forced. Only builds
//! with the feature `faults` have them; in every other build a failpoint is nothing.
//!
//! A failpoint is armed by files in a folder of its name, in the folder `PLUGBOARD_FAILPOINTS` that all processes of a
//! cluster share. Each file is one death: whoever reaches the place and removes one dies, whatever is started again
//! meanwhile. What is written in the file, if anything, names the execution or account that is meant.

/// Ends this process if this failpoint is armed. `of`: what is being worked on.
#[cfg(feature = "faults")]
pub fn failpoint(name: &'static str, of: &str) {
    static FOLDER: std::sync::LazyLock<Option<std::path::PathBuf>> =
        std::sync::LazyLock::new(|| std::env::var_os("PLUGBOARD_FAILPOINTS").map(Into::into));
    let Some(folder) = &*FOLDER else { return };
    let Ok(deaths) = folder.join(name).read_dir() else { return };
    for death in deaths.flatten() {
        let Ok(meant) = std::fs::read_to_string(death.path()) else { continue };
        if (meant.is_empty() || meant == of) && std::fs::remove_file(death.path()).is_ok() {
            std::process::abort();
        }
    }
}

/// Nothing.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub const fn failpoint(_name: &'static str, _of: &str) {}
