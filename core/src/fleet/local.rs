//! Everything in one process.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{Answer, Fleet, Member, Members, Question};

/// Asks members of its own process. Cheap to clone.
#[derive(Clone, Default)]
pub struct LocalFleet(Arc<Mutex<Members>>);

impl std::fmt::Debug for LocalFleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("LocalFleet").field(&self.0.lock().len()).finish()
    }
}

impl LocalFleet {
    pub fn join(&self, member: Arc<dyn Member>) {
        self.0.lock().push(member);
    }
}

#[async_trait]
impl Fleet for LocalFleet {
    async fn ask(&self, question: Question) -> Vec<Answer> {
        let members = self.0.lock().clone();
        members.iter().filter_map(|member| member.answer(&question)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{FleetWorld, fleet_contract};

    #[derive(Default)]
    struct OneProcess(LocalFleet);

    #[async_trait]
    impl FleetWorld for OneProcess {
        async fn asker(&mut self) -> Arc<dyn Fleet> {
            Arc::new(self.0.clone())
        }

        async fn join(&mut self, member: Arc<dyn Member>) {
            self.0.join(member);
        }

        async fn kill_members(&mut self) -> bool {
            false
        }
    }

    #[tokio::test]
    async fn keeps_the_contract() {
        fleet_contract(async || OneProcess::default()).await;
    }
}
