//! The fault campaign: a cluster, a vendor with a ledger, callers who write down every answer, and faults; then a checker
//! that believes the ledger. `tests/faults` builds and runs it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a campaign that cannot go on says why and ends"
)]
#![allow(clippy::disallowed_types, reason = "a test speaks to the product from outside")]

mod calls;
mod checker;
#[cfg(test)]
mod checker_tests;
mod disk;
mod driver;
mod fairness;
mod manifest;
mod old_copy;
mod poison;
mod records;
mod refresh;
mod script;
mod site;
mod survey;
mod table;
mod vendor;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use driver::{DEADLINE, Driver};
use records::{ASKED, Answer, Clock, FACTS, FAULTS, Facts, Log, PHASES, Records, Tagger};
use refresh::Refresher;
use script::Stage;
use site::Site;

/// What CI has time for.
const MINUTES: f64 = 5.0;
/// Shorter runs have no faults but the vendor's own, and what brings a broken variant to light.
const SHORTEST_MINUTES: f64 = 2.0;
/// Of the time, for calls to end and for the checker.
const FOR_THE_END_MS: u64 = 75_000;
/// Beyond a call's deadline, after the last fault.
const SETTLES_WITHIN: Duration = Duration::from_secs(120);
/// Calls go through before anything is broken.
const WARM_UP: Duration = Duration::from_secs(3);

#[derive(Debug, Clone)]
struct Arguments {
    minutes: f64,
    seed: u64,
    out: PathBuf,
    /// Only the checker, on the records of an earlier run.
    check: bool,
}

impl Arguments {
    fn parse() -> Result<Self, String> {
        let mut parsed = Self { minutes: MINUTES, seed: 1, out: PathBuf::new(), check: false };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--minutes" => parsed.minutes = value()?.parse().map_err(|_| "--minutes takes a number")?,
                "--seed" => parsed.seed = value()?.parse().map_err(|_| "--seed takes a whole number")?,
                "--out" => parsed.out = value()?.into(),
                "--check" => (parsed.check, parsed.out) = (true, value()?.into()),
                _ => return Err(format!("unknown argument {word}")),
            }
        }
        if parsed.out.as_os_str().is_empty() {
            parsed.out = std::env::temp_dir().join(format!("plugboard-faults-{}", std::process::id()));
        }
        Ok(parsed)
    }
}

fn main() -> ExitCode {
    let arguments = match Arguments::parse() {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("{problem}\ntests/faults [--minutes M] [--seed S] [--out DIR] | --check DIR");
            return ExitCode::from(2);
        }
    };
    if !arguments.check {
        std::fs::create_dir_all(&arguments.out).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let facts = runtime.block_on(run(&arguments));
        std::fs::write(arguments.out.join(FACTS), serde_json::to_vec_pretty(&facts).unwrap()).unwrap();
    }
    judge(&arguments.out)
}

fn judge(out: &Path) -> ExitCode {
    let records = Records::read(out);
    let rows = checker::check(&records);
    let Facts { seed, minutes, ended, broken, .. } = &records.facts;
    let of = broken.as_ref().map(|variant| format!(", broken on purpose: {variant}")).unwrap_or_default();
    println!(
        "\nSeed {seed}, {minutes} minutes asked for, {:.1} run{of}; records in {}\n",
        *ended as f64 / 60_000.0,
        out.display()
    );
    println!("{}", table::markdown(&rows));
    for row in rows.iter().filter(|row| !row.examples.is_empty()) {
        println!("{} {}:", row.invariant, row.promise);
        row.examples.iter().take(10).for_each(|example| println!("- {example}"));
    }
    if checker::is_red(&rows) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

async fn run(arguments: &Arguments) -> Facts {
    let Arguments { minutes, seed, out, .. } = arguments;
    let (clock, tagger) = (Clock::start(), Tagger::new());
    let mut facts = Facts { seed: *seed, minutes: *minutes, ..Facts::default() };
    facts.broken = std::env::var("PLUGBOARD_BROKEN").ok();
    let site = Arc::new(Site::start(out, *seed, clock, &tagger, *minutes > MINUTES).await);
    for (caller, credential) in site.callers.iter().zip(&site.credentials) {
        facts.credentials.insert(caller.name.clone(), tagger.tag(credential));
    }
    println!("the cluster is up after {:.1} s", clock.now() as f64 / 1000.0);

    let driver = Driver::new(site.callers.clone(), site.gateways(), Log::create(out, ASKED), clock, *seed);
    let (log, phases) = (Log::create(out, FAULTS), Log::create(out, PHASES));
    let stage = Stage { site: site.clone(), driver: driver.clone(), log, phases, clock };
    let refresher = Refresher::new(site.clone(), clock);
    let calls = tokio::spawn(driver.clone().run());
    let refreshing = tokio::spawn(refresher.clone().run());
    tokio::time::sleep(WARM_UP).await;
    survey::remember_audit(&site);
    survey::processes(&site, clock.now(), &mut facts);

    facts.poison = play(arguments, &stage, &refresher, &mut facts).await;

    driver.stop();
    refresher.stop();
    let horizon = clock.now() + u64::try_from((DEADLINE + SETTLES_WITHIN).as_millis()).unwrap();
    driver.give_up_at(horizon);
    calls.await.unwrap();
    facts.oauth = refreshing.await.unwrap();
    println!("all calls have ended after {:.1} s", clock.now() as f64 / 1000.0);
    clear_up(&driver, out).await;
    survey::streams(&site, &mut facts).await;
    survey::audit(&site, &mut facts);
    survey::processes(&site, clock.now(), &mut facts);
    survey::secrets(&site, out, &mut facts);
    facts.canary_connections = site.canary.connections();
    facts.ended = clock.now();
    facts
}

/// All faults; returns the execution that was put aside.
async fn play(arguments: &Arguments, stage: &Stage, refresher: &Refresher, facts: &mut Facts) -> Option<String> {
    if arguments.minutes < SHORTEST_MINUTES {
        for step in facts.broken.as_deref().map(script::against).unwrap_or_default() {
            stage.play(&step).await;
        }
        tokio::time::sleep(Duration::from_secs_f64(arguments.minutes * 60.0)).await;
        return None;
    }
    let until = ((arguments.minutes * 60_000.0) as u64).saturating_sub(FOR_THE_END_MS);
    // It takes more than a minute of waiting, beside everything else.
    let poisoned = tokio::spawn({
        let stage = stage.clone();
        async move { poison::play(&stage).await }
    });
    refresher.die_at(stage, "refresh_received_before_persist").await;
    refresher.die_at(stage, "refresh_persisted_before_reply").await;
    // What everybody gets, however short the run; once more what did not happen; and as much as there is time for.
    let mut missed = Vec::new();
    for step in script::slice(arguments.seed) {
        if !stage.play(&step).await {
            missed.push(step);
        }
    }
    for step in missed {
        stage.play(&step).await;
    }
    for step in (0..).flat_map(|round| script::round(arguments.seed, round)) {
        if stage.clock.now() > until {
            break;
        }
        stage.play(&step).await;
        survey::processes(&stage.site, stage.clock.now(), facts);
    }
    poisoned.await.unwrap()
}

/// What was unknown under way may be known by now.
async fn clear_up(driver: &Driver, out: &Path) {
    let text = std::fs::read_to_string(out.join(ASKED)).unwrap();
    let asked = text.lines().filter_map(|line| serde_json::from_str::<records::Asked>(line).ok());
    for asked in asked {
        if let Answer::Told(told) = &asked.answer
            && told.unknown()
            && let Some(execution) = &told.execution_id
        {
            driver.look_once(&asked, execution).await;
        }
    }
}
