//! Sign-ins that nobody finished are forgotten.

use std::time::Duration;

use plugboard_core::clock::Millis;
use plugboard_core::identity::IdentityError;
use plugboard_core::store::{Expect, Write};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::OAuth;
use super::records::{CLAIMS, DEVICES, FLOWS, LINKS};
use crate::sessions;

const EVERY: Duration = Duration::from_secs(5 * 60);
/// A device sign-in that has ended can be looked at for a while.
const GRACE: Duration = Duration::from_secs(10 * 60);

#[derive(Deserialize)]
struct Ends {
    expires_at: i64,
}

impl OAuth {
    /// Runs until told to stop.
    pub(crate) async fn sweep(&self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
            if let Err(error) = self.forget_ended().await {
                tracing::debug!(%error, "ended sign-ins could not be forgotten");
            }
        }
    }

    async fn forget_ended(&self) -> Result<(), IdentityError> {
        let now = self.clock.now();
        for prefix in [LINKS, FLOWS, DEVICES, CLAIMS, sessions::SESSIONS, sessions::TOKENS, sessions::BROWSERS] {
            for (name, record, version) in self.records.list_named::<Ends>(prefix).await? {
                if Millis(record.expires_at).plus(GRACE) < now {
                    // Changed in between: it is somebody's, and looked at again next time.
                    let _ = self.records.commit(vec![Write::delete(name, Expect::Version(version))], None).await?;
                }
            }
        }
        Ok(())
    }
}
