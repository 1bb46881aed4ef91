//! The one binary: parses, then calls.

mod audit;
mod backup;
mod call;
mod cli;
mod connectors;
mod doctor;
mod greeting;
mod health;
mod jobs;
mod keys;
mod operator;
mod public;
mod rotate;
mod sandbox;
mod services;
mod settings;
mod starting;
mod up;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let result = runtime.block_on(run(cli));
    // What still runs was told to stop and had its time.
    runtime.shutdown_background();
    match result {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command.unwrap_or(Command::Up(cli.up)) {
        Command::Up(args) => up::run(args).await,
        Command::Gateway(args) => services::gateway(&args).await,
        Command::Executor(args) => services::executor(&args).await,
        Command::Auth(args) => services::auth(&args).await,
        Command::Catalog(args) => services::catalog(&args).await,
        Command::Call(args) => call::run(args).await,
        Command::Keys(command) => keys::run(command).await,
        Command::Rotate(args) => rotate::run(args).await,
        Command::Backup(args) => backup::backup(args).await,
        Command::Restore(args) => backup::restore(args).await,
        Command::Audit(command) => audit::run(command).await,
        Command::Jobs(command) => jobs::run(command).await,
        Command::Connectors(command) => connectors::run(command),
        Command::Doctor(args) => doctor::run(args).await,
    }
}

/// Prints a command's answer. A reader that has gone (`… | head`) is no failure.
fn print_answer(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{}", text.trim_end_matches('\n')).and_then(|()| out.flush());
}

#[allow(clippy::print_stderr, reason = "an error of the command itself")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("plugboard: {error:#}");
    ExitCode::FAILURE
}
