//! `plugboard doctor`: what is wrong with a deployment, in plain words, and what to do. Looks at what the command was told
//! of: a gateway, the settings of services, or the data of `plugboard up`.

mod embedded;
mod gateway;
mod output;
mod services;

use std::process::ExitCode;

use plugboard_core::doctor::{Check, LIMIT, Part, egress, examine, is_healthy};
use tokio::sync::watch;

use self::gateway::Asked;
use self::services::Told;
use crate::cli::DoctorArgs;
use crate::print_answer;
use crate::settings::{Settings, egress_policy};

/// What the gateway has said, for checks that compare with it; it never comes where the gateway is not asked.
type Hearing = watch::Receiver<Option<Asked>>;

pub async fn run(args: DoctorArgs) -> anyhow::Result<ExitCode> {
    let config = args.config.as_deref();
    let told = Told { settings: Settings::load(config)?, given: Settings::given(config)?, whole: config.is_some() };
    let (asked, hearing) = watch::channel(None);
    let mut checks = vec![gateway::check(args.client.clone(), asked)];
    if told.is_of_services() {
        checks.extend(services::checks(told, &args, &hearing));
    } else {
        checks.push(services::certificates(&told));
        checks.push(embedded::keys(args.data.as_deref(), &hearing));
        checks.push(way_out(args.egress.clone(), &hearing));
        let elsewhere = [
            (Part::Nats, "nats.urls"),
            (Part::Queue, "nats.urls"),
            (Part::Redis, "redis.url"),
            (Part::Catalog, "peers.catalog"),
        ];
        checks.extend(elsewhere.map(|(part, setting)| not_told(part, setting, &hearing)));
    }
    let only = if args.only.is_empty() { Part::ALL.to_vec() } else { args.only };
    let findings = examine(checks, &only, LIMIT).await;
    let healthy = is_healthy(&findings);
    print_answer(&if args.json { output::json(&findings, healthy)? } else { output::text(&findings) });
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Of `plugboard up`, whose policy stands in its own command line.
fn way_out(host: Option<String>, hearing: &Hearing) -> Check {
    let hearing = hearing.clone();
    Check::new(&[Part::Egress], async move {
        let mut findings: Vec<_> = egress::judge_proxies(|name| std::env::var_os(name).is_some()).into_iter().collect();
        let shape = gateway::shape(hearing).await;
        findings
            .push(Part::Egress.skipped(shape.why_not("[egress]", "what is open is set by flags of `plugboard up`")));
        findings.push(match (host, egress_policy(&[], None, false)) {
            (Some(host), Ok(policy)) => egress::reach(policy, &host).await,
            _ => Part::Egress.skipped(NO_HOST),
        });
        findings
    })
}

const NO_HOST: &str = "no vendor was tried: name a host of one with --egress HOST";

/// A part of which the settings say nothing.
fn not_told(part: Part, setting: &'static str, hearing: &Hearing) -> Check {
    let hearing = hearing.clone();
    Check::new(&[part], async move {
        let shape = gateway::shape(hearing).await;
        vec![part.skipped(shape.why_not(setting, "`plugboard up` has it inside of its process"))]
    })
}
