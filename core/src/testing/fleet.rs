//! What every [`Fleet`] promises: everybody is asked once, and nobody is waited for long.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::eventually;
use crate::clock::Millis;
use crate::fleet::{Answer, CallFilter, Fleet, Member, Presence, Question, Rates, WITHIN, presences};
use crate::ids::{InstanceId, OrganizationId};
use crate::readiness::Readiness;

const SOON: Duration = Duration::from_secs(5);

/// Somebody who asks, and members that come and go.
#[async_trait]
pub trait FleetWorld: Send {
    async fn asker(&mut self) -> Arc<dyn Fleet>;

    /// Returns when it is reached.
    async fn join(&mut self, member: Arc<dyn Member>);

    /// Ends every member so far, as `kill -9` does. `false`: this adapter's members end with whoever asks.
    async fn kill_members(&mut self) -> bool;
}

/// Runs all checks.
pub async fn fleet_contract<W: FleetWorld>(make: impl AsyncFn() -> W) {
    everybody_is_heard_once(make().await).await;
    who_has_nothing_to_say_is_not_there(make().await).await;
    answers_belong_to_their_question(make().await).await;
    who_is_away_hides_nobody(make().await).await;
    without_a_member_there_is_no_answer(make().await).await;
}

/// Knows itself, and how many calls it has.
struct Known {
    me: InstanceId,
    rates: bool,
}

impl Known {
    fn new(rates: bool) -> Arc<Self> {
        Arc::new(Self { me: InstanceId::generate(), rates })
    }
}

impl Member for Known {
    fn answer(&self, question: &Question) -> Option<Answer> {
        match question {
            Question::Presence => {
                let report = Readiness::default().report();
                Some(Answer::Presence(Presence::new("gateway", &self.me, Millis(7), report)))
            }
            // As many as the organization's name is long, so that each question has an answer of its own.
            Question::Rates { organization } if self.rates => {
                let running = organization.as_ref().map_or(0, |one| one.as_str().len() as u64);
                Some(Answer::Rates(Rates::of_running(running)))
            }
            _ => None,
        }
    }
}

async fn count(fleet: &Arc<dyn Fleet>) -> usize {
    presences(fleet.as_ref()).await.len()
}

async fn everybody_is_heard_once<W: FleetWorld>(mut world: W) {
    let fleet = world.asker().await;
    let members: Vec<_> = (0..5).map(|_| Known::new(false)).collect();
    for member in &members {
        world.join(member.clone()).await;
    }
    let heard = presences(fleet.as_ref()).await;
    assert_eq!(heard.len(), members.len());
    for member in &members {
        assert_eq!(heard.iter().filter(|one| one.instance == member.me).count(), 1);
    }
    // One that comes later is heard soon.
    world.join(Known::new(false)).await;
    eventually(SOON, "the sixth is heard", || async { count(&fleet).await == 6 }).await;
}

async fn who_has_nothing_to_say_is_not_there<W: FleetWorld>(mut world: W) {
    let fleet = world.asker().await;
    world.join(Known::new(true)).await;
    world.join(Known::new(false)).await;
    assert_eq!(count(&fleet).await, 2);
    assert_eq!(fleet.ask(Question::Rates { organization: None }).await.len(), 1);
    assert!(fleet.ask(Question::Calls(CallFilter::default())).await.is_empty());
}

async fn answers_belong_to_their_question<W: FleetWorld>(mut world: W) {
    let fleet = world.asker().await;
    world.join(Known::new(true)).await;
    let asked = (1..=40).map(|length| {
        let fleet = fleet.clone();
        tokio::spawn(async move {
            let organization = Some(OrganizationId::trusted("o".repeat(length)));
            let answers = fleet.ask(Question::Rates { organization }).await;
            assert_eq!(answers, [Answer::Rates(Rates::of_running(length as u64))]);
        })
    });
    for one in asked.collect::<Vec<_>>() {
        one.await.unwrap();
    }
}

async fn who_is_away_hides_nobody<W: FleetWorld>(mut world: W) {
    let fleet = world.asker().await;
    world.join(Known::new(false)).await;
    assert_eq!(count(&fleet).await, 1);
    if !world.kill_members().await {
        return;
    }
    world.join(Known::new(false)).await;
    let began = Instant::now();
    assert_eq!(count(&fleet).await, 1, "the one that is left");
    assert!(began.elapsed() < WITHIN * 4, "{:?}", began.elapsed());
}

async fn without_a_member_there_is_no_answer<W: FleetWorld>(mut world: W) {
    let fleet = world.asker().await;
    assert!(fleet.ask(Question::Presence).await.is_empty());
}
