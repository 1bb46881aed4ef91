//! A rolling upgrade under load: two of each service behind a balancer, each stopped by SIGTERM and started again, one
//! after the other, while callers go on. `tests/upgrade/run` runs it: one line PASS or FAIL for each thing shown.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that cannot go on says why and ends"
)]
#![allow(clippy::disallowed_types, reason = "a test speaks to the product from outside")]

mod load;
mod roll;
mod tally;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use load::Load;
use plugboard_tests::stack::{Stack, binary};
use plugboard_tests::vendor::Vendor;
use roll::Roll;
use tally::Tally;

/// Calls go through before anything is stopped, and after.
const CALM: Duration = Duration::from_secs(2);

const USAGE: &str = "tests/upgrade/run [--rounds N] [--from BINARY] [--order KIND,...] [--signal NAME]";

#[derive(Debug)]
struct Arguments {
    rounds: usize,
    /// The version that is replaced, and to which one goes back; without it every service is replaced by its like.
    from: Option<PathBuf>,
    /// In which kinds of services are upgraded; the way back is the other way round.
    order: Vec<String>,
    /// With which a service is told to stop.
    signal: String,
}

impl Arguments {
    fn parse() -> Result<Self, String> {
        let order = roll::KINDS.map(str::to_owned).to_vec();
        let mut parsed = Self { rounds: 1, from: None, order, signal: "TERM".to_owned() };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--rounds" => parsed.rounds = value()?.parse().map_err(|_| "--rounds takes a whole number")?,
                "--from" => parsed.from = Some(value()?.into()),
                "--order" => parsed.order = value()?.split(',').map(str::to_owned).collect(),
                "--signal" => parsed.signal = value()?,
                _ => return Err(format!("unknown argument {word}")),
            }
        }
        Ok(parsed)
    }
}

fn main() -> ExitCode {
    let arguments = match Arguments::parse() {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let good = runtime.block_on(run(&arguments));
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn run(arguments: &Arguments) -> bool {
    let folder = tempfile::tempdir().unwrap();
    // Services are started from here, so that what is here is what the next one started is.
    let installed = folder.path().join("plugboard");
    let new = binary();
    let old = arguments.from.clone().unwrap_or_else(|| new.clone());
    install(&old, &installed);
    let vendor = Vendor::start();
    let options = Stack::cluster()
        .gateways(roll::EACH)
        .executors(roll::EACH)
        .auths(roll::EACH)
        .catalogs(roll::EACH)
        .balanced()
        .vendor(&vendor)
        .without_limits()
        .environment("PLUGBOARD_BIN", installed.to_str().unwrap());
    let stack = tokio::task::spawn_blocking(move || options.start()).await.unwrap();

    let tally = Tally::default();
    let load = Load::start(&stack, &vendor, &tally).await;
    let roll = Roll { stack: &stack, tally: &tally, signal: &arguments.signal };
    tokio::time::sleep(CALM).await;
    for round in 1..=arguments.rounds {
        println!("round {round}");
        install(&new, &installed);
        roll.every_service(&arguments.order).await;
        if arguments.from.is_some() {
            println!("and back");
            install(&old, &installed);
            let back: Vec<String> = arguments.order.iter().rev().cloned().collect();
            roll.every_service(&back).await;
        }
    }
    tokio::time::sleep(CALM).await;
    load.end().await;
    tally.verdict(&vendor, &stack.logs())
}

/// Puts a binary in place of another at once, as a package manager does: what runs keeps the file that it was started from.
fn install(from: &Path, to: &Path) {
    let beside = to.with_extension("new");
    std::fs::copy(from, &beside).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    std::fs::rename(&beside, to).unwrap();
}
