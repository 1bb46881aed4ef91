//! The two tools that tell what there is, against a constant: an axum handler that gives the very bytes of their
//! answers.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::Router;
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::routing::any;

use crate::http::{Connection, address};
use crate::load::{self, Target};
use crate::plugboard::System;
use crate::yardsticks;

/// Tool, its arguments, and what must stand in every answer.
const TOOLS: [(&str, &str, &str); 3] = [
    ("list_services", "{}", "wildberries"),
    ("describe_service", r#"{"service":"wildberries"}"#, "statistics"),
    ("describe_service", r#"{"service":"wildberries","module":"statistics"}"#, "supplier/orders"),
];

const CALLERS: usize = 64;

/// Answers everything with the content of a file. The body of the request is read, as everybody must.
///
/// # Errors
/// When there is no such file, or no port.
pub async fn constant(file: &str) -> anyhow::Result<()> {
    let answer = Bytes::from(std::fs::read(file)?);
    let reply = move |_body: Bytes| {
        let answer = answer.clone();
        async move { ([(CONTENT_TYPE, "application/json")], answer) }
    };
    yardsticks::serve(Router::new().fallback(any(reply))).await
}

/// The table: calls per second of each tool, of its constant, and the ratio; the medians of interleaved rounds.
///
/// # Errors
/// When a tool does not answer.
pub async fn measure(up: &System, scratch: &Path, rounds: usize, seconds: Duration) -> anyhow::Result<String> {
    let mut table = String::from(
        "| tool | bytes | calls/s, 64 callers | constant reply | × constant reply |\n\
         | --- | ---: | ---: | ---: | ---: |\n",
    );
    for (number, (tool, arguments, proof)) in TOOLS.into_iter().enumerate() {
        let request = up.call_of(tool, arguments);
        let answer = {
            let mut connection = Connection::open(address(up.url())).await?;
            let (status, answer) = connection.exchange(&request).await?;
            if status != 200 {
                bail!("{tool} answered {status}: {}", String::from_utf8_lossy(answer));
            }
            answer.to_vec()
        };
        let file = scratch.join(format!("constant-{number}.json"));
        std::fs::write(&file, &answer)?;
        let constant = yardsticks::spawn(&["constant", file.to_str().context("an odd path")?])?;
        let targets = [(tool, up.url()), ("constant", constant.url.as_str())]
            .map(|(name, url)| Target::new(name.to_owned(), url, vec![request.clone()], proof));
        let mut rates = [Vec::new(), Vec::new()];
        for round in 1..=rounds {
            for (target, rates) in targets.iter().zip(&mut rates) {
                let measured = load::closed(target, CALLERS, seconds).await?;
                eprintln!("round {round}: {tool} {arguments} {:<16} {measured}", target.name);
                rates.push(measured.per_second);
            }
        }
        let [own, constant] = rates.map(median);
        let arguments = if arguments == "{}" { String::new() } else { format!(" `{arguments}`") };
        let ratio = own / constant;
        writeln!(table, "| {tool}{arguments} | {} | {own:.0} | {constant:.0} | {ratio:.2} |", answer.len())?;
    }
    Ok(table)
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or(f64::NAN)
}
