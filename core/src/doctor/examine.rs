//! Checks side by side: one that hangs, fails or panics takes nothing from the others.

use std::time::Duration;

use futures::future::{BoxFuture, join_all};

use super::finding::{Finding, Part};

/// How long a check may take. Longer than all of its own limits together, which say more.
pub const LIMIT: Duration = Duration::from_secs(15);

/// One look, and what is made of it.
pub struct Check {
    /// What its findings are about; the first is blamed when it comes to no end.
    parts: Vec<Part>,
    work: BoxFuture<'static, Vec<Finding>>,
}

impl Check {
    pub fn new(parts: &[Part], work: impl Future<Output = Vec<Finding>> + Send + 'static) -> Self {
        Self { parts: parts.to_vec(), work: Box::pin(work) }
    }
}

/// Makes all checks that have to do with one of these parts, and returns the findings about them in the order of parts.
pub async fn examine(checks: Vec<Check>, only: &[Part], limit: Duration) -> Vec<Finding> {
    let wanted = checks.into_iter().filter(|check| check.parts.iter().any(|part| only.contains(part)));
    let running: Vec<_> = wanted
        .map(|check| {
            let part = check.parts.first().copied().unwrap_or(Part::Gateway);
            // A task of its own, so that a panic ends this check alone.
            let task = tokio::spawn(tokio::time::timeout(limit, check.work));
            async move {
                match task.await {
                    Ok(Ok(findings)) => findings,
                    Ok(Err(_)) => vec![part.fail(
                        format!("no end of this check within {} s", limit.as_secs()),
                        "look whether what it asks is overloaded or behind a firewall that drops packets",
                    )],
                    Err(_) => {
                        vec![part.fail("the check itself broke down", "report it, with the lines above and below")]
                    }
                }
            }
        })
        .collect();
    let mut findings: Vec<Finding> = join_all(running).await.into_iter().flatten().collect();
    findings.retain(|finding| only.contains(&finding.part));
    findings.sort_by_key(|finding| finding.part);
    findings
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_check_that_hangs_or_panics_takes_nothing_from_the_others() {
        let checks = || {
            vec![
                Check::new(&[Part::Redis], std::future::pending()),
                Check::new(&[Part::Nats, Part::Clock], async { panic!("on purpose") }),
                Check::new(&[Part::Gateway, Part::Clock], async {
                    vec![Part::Clock.ok("right"), Part::Gateway.ok("answers")]
                }),
            ]
        };
        let found = examine(checks(), &Part::ALL, LIMIT).await;
        let told: Vec<_> = found.iter().map(|finding| (finding.part, finding.state)).collect();
        let (ok, fail) = (State::Ok, State::Fail);
        assert_eq!(
            told,
            [(Part::Gateway, ok), (Part::Nats, fail), (Part::Redis, fail), (Part::Clock, ok)],
            "{found:?}"
        );
        let found = examine(checks(), &[Part::Clock], LIMIT).await;
        assert_eq!(found, [Part::Clock.ok("right")]);
    }
}
