//! What the kernel knows of this process, under the names Prometheus' own clients use. Nothing where there is no `/proc`.

use std::fmt::Write;
use std::fs;

/// Of processor time as `/proc` tells it. The kernel's own clock may tick otherwise; this one is fixed.
const TICKS_PER_SECOND: f64 = 100.0;

pub(super) fn write(text: &mut String) {
    let mut line = |name: &str, kind: &str, help: &str, value: f64| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
    };
    if let Some(bytes) = resident_bytes() {
        line("process_resident_memory_bytes", "gauge", "Resident memory.", bytes);
    }
    if let Some(Times { cpu, started }) = times() {
        line("process_cpu_seconds_total", "counter", "Processor time, user and system.", cpu);
        line("process_start_time_seconds", "gauge", "When the process started, since the epoch.", started);
    }
    if let Some(count) = open_files() {
        line("process_open_fds", "gauge", "Open file descriptors.", count);
    }
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<f64>().ok().map(|kilobytes| kilobytes * 1024.0)
}

struct Times {
    cpu: f64,
    started: f64,
}

fn times() -> Option<Times> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name may hold anything, and ends with the last bracket; `state` comes next, as field 3.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    let (user, system, since_boot) = (ticks(14)?, ticks(15)?, ticks(22)?);
    let boot = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(Times { cpu: (user + system) / TICKS_PER_SECOND, started: boot + since_boot / TICKS_PER_SECOND })
}

fn open_files() -> Option<f64> {
    // Looking opens one more.
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, SystemClock};

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_is_told_of() {
        let mut text = String::new();
        write(&mut text);
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("{name}: {text}")).parse().unwrap()
        };
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("process_cpu_seconds_total") >= 0.0);
        let now = SystemClock.now().0 as f64 / 1000.0;
        let age = now - value("process_start_time_seconds");
        assert!((-5.0..86_400.0).contains(&age), "{age}");
    }
}
