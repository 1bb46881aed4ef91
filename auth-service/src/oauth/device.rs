//! Sign-in by a code typed on another device (RFC 8628), as a record that any auth process can drive.
//!
//! Whoever asks where it stands makes the vendor be asked, but never before its interval is over: the next moment is in
//! the record and moved on by compare-and-set before the request goes out, so that two processes never ask at once. A
//! `slow_down` adds five seconds for good.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use plugboard_core::clock::Millis;
use plugboard_core::identity::{DeviceStatus, IdentityError, SignIn, StartedDevice};
use plugboard_core::ids::OrganizationId;
use plugboard_core::manifest::{Connector, FlowKind, OAuthFlow};
use plugboard_core::secret::{AccountFields, Secret};
use plugboard_core::store::Expect;
use serde_json::Value;

use super::authorize::{Prepared, Visit, random_id};
use super::records::{self as names, DeviceEnd, DeviceRecord};
use super::redeem::{Exchange, RedeemError, grant};
use super::{NO_SIGN_IN, OAuth, flow_of};
use crate::records;
use crate::token_endpoint::{Failure, TokenCall};

const DEVICE_CODE: &str = ":device_code";
/// What the person is shown: sealed too, since whoever reads it can take the person's place.
const USER_CODE: &str = ":user_code";
const VERIFICATION: &str = ":verification_uri";
const VERIFICATION_COMPLETE: &str = ":verification_uri_complete";
/// RFC 8628 §3.2 and §3.5.
const INTERVAL: u32 = 5;
const SLOWER_BY: u32 = 5;
const LONGEST_INTERVAL: u32 = 60;
/// A code that is to live longer is given up all the same.
const LONGEST_LIFE: u64 = 30 * 60;

impl OAuth {
    pub(crate) async fn start_device(
        &self,
        request: SignIn,
        visit: Option<Visit>,
    ) -> Result<StartedDevice, IdentityError> {
        let connector = self.connector(&request.service)?;
        let (flow, oauth) = flow_of(&connector, FlowKind::DeviceCode)?;
        let claim = visit.as_ref().and_then(|visit| visit.claim.clone());
        let Prepared { intent, mut typed } =
            self.prepare(request, &connector, flow, oauth, visit.as_ref(), claim).await?;
        let found = self.client(&intent.organization, &intent.service, oauth).await?;
        let fields = AccountFields::of_secrets(typed.clone());
        let exchange = Exchange {
            manifest: connector.manifest(),
            oauth,
            client: &found.client,
            url: oauth.device_url.as_deref().unwrap_or_default(),
            fields: &fields,
            once: false,
        };
        let reply = self.device_authorization(&exchange).await?;
        let answer = Answer { oauth, reply: &reply };
        let device_code = answer.text("device_code")?;
        let interval = answer.seconds("interval").map_or(INTERVAL, |seconds| clamp(seconds).max(1));
        let life = answer.seconds("expires_in").unwrap_or(LONGEST_LIFE).min(LONGEST_LIFE);
        let now = self.clock.now();
        let expires_at = now.plus(Duration::from_secs(life));
        typed.insert(DEVICE_CODE.to_owned(), Secret::new(device_code));
        typed.insert(USER_CODE.to_owned(), Secret::new(answer.text("user_code")?));
        typed.insert(VERIFICATION.to_owned(), Secret::new(answer.text("verification_uri")?));
        if let Ok(complete) = answer.text("verification_uri_complete") {
            typed.insert(VERIFICATION_COMPLETE.to_owned(), Secret::new(complete));
        }
        let id = format!("dev_{}", random_id()?);
        let record = DeviceRecord {
            interval_seconds: interval,
            poll_at: now.plus(Duration::from_secs(interval.into())).0,
            expires_at: expires_at.0,
            end: None,
            sealed: self.seal(&intent.organization, &intent.service, &id, &typed)?,
            intent,
            id: id.clone(),
        };
        let write = records::put(names::device(&record.intent.organization, &id), &record, Expect::Absent)?;
        self.records.commit(vec![write], None).await?.map_err(|_| records::contended())?;
        Ok(StartedDevice {
            id,
            user_code: answer.text("user_code")?,
            verification_uri: answer.text("verification_uri")?,
            verification_uri_complete: answer.text("verification_uri_complete").ok(),
            interval_seconds: interval,
            expires_at,
        })
    }

    /// `session`: the connect session that may look, if it was begun on its page.
    pub(crate) async fn device(
        &self,
        organization: &OrganizationId,
        id: &str,
        session: Option<&str>,
    ) -> Result<DeviceStatus, IdentityError> {
        let plain = id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !plain || OrganizationId::parse(organization.as_str()).is_none() {
            return Err(NO_SIGN_IN);
        }
        let name = names::device(organization, id);
        let found: Option<(DeviceRecord, u64)> = self.records.get(&name).await?;
        let found = found.filter(|(record, _)| record.intent.session.as_deref() == session);
        let (mut record, version) = found.ok_or(NO_SIGN_IN)?;
        let now = self.clock.now();
        if record.end.is_none() && Millis(record.expires_at) <= now {
            return self.end(&name, record, version, DeviceEnd::Expired).await;
        }
        if record.end.is_some() || Millis(record.poll_at) > now {
            return self.status(&record).await;
        }
        // Ours is the next request, unless another process has just taken it.
        record.poll_at = now.plus(Duration::from_secs(record.interval_seconds.into())).0;
        if self.put_device(&name, &record, version).await?.is_none() {
            return self.status(&record).await;
        }
        let version = version + 1;
        match self.poll(&record).await {
            Ok(end) => self.end(&name, record, version, end).await,
            Err(Poll::Pending) => self.status(&record).await,
            Err(Poll::SlowDown) => {
                record.interval_seconds = (record.interval_seconds + SLOWER_BY).min(LONGEST_INTERVAL);
                self.wait(&name, record, version).await
            }
            Err(Poll::Down) => {
                // RFC 8628 §3.5: back off on a timeout.
                record.interval_seconds = (record.interval_seconds * 2).min(LONGEST_INTERVAL);
                self.wait(&name, record, version).await
            }
            Err(Poll::Identity(error)) => Err(error),
        }
    }

    /// What its person was shown when it began, for the page that shows it again.
    pub(crate) async fn shown_device(
        &self,
        organization: &OrganizationId,
        id: &str,
        session: &str,
    ) -> Result<(Arc<Connector>, StartedDevice), IdentityError> {
        let plain = id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !plain {
            return Err(NO_SIGN_IN);
        }
        let found: Option<(DeviceRecord, u64)> = self.records.get(&names::device(organization, id)).await?;
        let found = found.filter(|(record, _)| record.intent.session.as_deref() == Some(session));
        let (record, _) = found.ok_or(NO_SIGN_IN)?;
        let intent = &record.intent;
        let mut sealed = self.unseal(&intent.organization, &intent.service, &record.id, &record.sealed)?;
        let mut take = |name: &str| sealed.remove(name).map(|value| value.expose().to_owned());
        let started = StartedDevice {
            id: record.id.clone(),
            user_code: take(USER_CODE).ok_or(NO_SIGN_IN)?,
            verification_uri: take(VERIFICATION).ok_or(NO_SIGN_IN)?,
            verification_uri_complete: take(VERIFICATION_COMPLETE),
            interval_seconds: record.interval_seconds,
            expires_at: Millis(record.expires_at),
        };
        Ok((self.connector(&intent.service)?, started))
    }

    async fn wait(&self, name: &str, mut record: DeviceRecord, version: u64) -> Result<DeviceStatus, IdentityError> {
        record.poll_at = self.clock.now().plus(Duration::from_secs(record.interval_seconds.into())).0;
        self.put_device(name, &record, version).await?;
        self.status(&record).await
    }

    async fn end(
        &self,
        name: &str,
        mut record: DeviceRecord,
        version: u64,
        end: DeviceEnd,
    ) -> Result<DeviceStatus, IdentityError> {
        record.end = Some(end);
        self.put_device(name, &record, version).await?;
        self.status(&record).await
    }

    /// The store's new version; `None` when somebody else has written.
    async fn put_device(&self, name: &str, record: &DeviceRecord, version: u64) -> Result<Option<u64>, IdentityError> {
        let write = records::put(name.to_owned(), record, Expect::Version(version))?;
        Ok(self.records.commit(vec![write], None).await?.ok().map(|()| version + 1))
    }

    async fn status(&self, record: &DeviceRecord) -> Result<DeviceStatus, IdentityError> {
        Ok(match &record.end {
            None => DeviceStatus::Pending { interval_seconds: record.interval_seconds },
            Some(DeviceEnd::Denied) => DeviceStatus::Denied,
            Some(DeviceEnd::Expired) => DeviceStatus::Expired,
            Some(DeviceEnd::Failed(why)) => DeviceStatus::Failed(why.clone()),
            Some(DeviceEnd::Connected(account)) => {
                let record = self.account_record(&record.intent.organization, account).await?;
                DeviceStatus::Connected(record.account(self.clock.now()))
            }
        })
    }

    async fn device_authorization(&self, exchange: &Exchange<'_>) -> Result<Value, IdentityError> {
        let oauth = exchange.oauth;
        let url = exchange.url()?;
        let scope = oauth.scopes.join(&oauth.scope_separator);
        let parameters = if scope.is_empty() { Vec::new() } else { vec![("scope", Secret::new(scope))] };
        let call = TokenCall { names: &oauth.dialect.device, ..exchange.call(&url, parameters)? };
        Ok(call.send(&*self.egress, &oauth.dialect.errors).await?)
    }

    /// Asks the vendor once.
    async fn poll(&self, record: &DeviceRecord) -> Result<DeviceEnd, Poll> {
        let intent = &record.intent;
        let connector = self.connector(&intent.service)?;
        let (_, oauth) = flow_of(&connector, FlowKind::DeviceCode)?;
        let mut typed = self.unseal(&intent.organization, &intent.service, &record.id, &record.sealed)?;
        let device_code = typed.remove(DEVICE_CODE).ok_or(NO_SIGN_IN)?;
        for shown in [USER_CODE, VERIFICATION, VERIFICATION_COMPLETE] {
            typed.remove(shown);
        }
        let client = self
            .same_client(&intent.organization, &intent.service, oauth, intent.platform_client, &intent.client_id)
            .await?;
        let Some(client) = client else { return Ok(DeviceEnd::Failed("the OAuth client is gone".to_owned())) };
        let fields = AccountFields::of_secrets(typed.clone());
        let exchange = Exchange {
            manifest: connector.manifest(),
            oauth,
            client: &client,
            url: oauth.dialect.device_token_url.as_deref().unwrap_or(&oauth.token_url),
            fields: &fields,
            once: true,
        };
        let parameters = vec![("grant_type", grant(oauth, "device_code")), ("device_code", device_code)];
        let reply =
            async { exchange.call(&exchange.url()?, parameters)?.send(&*self.egress, &oauth.dialect.errors).await };
        let reply = match reply.await {
            Ok(reply) => reply,
            Err(Failure::Down { .. }) => return Err(Poll::Down),
            Err(failure) => return refused(&failure),
        };
        self.finish(&connector, record, typed, &reply).await
    }

    async fn finish(
        &self,
        connector: &Connector,
        record: &DeviceRecord,
        typed: BTreeMap<String, Secret>,
        reply: &Value,
    ) -> Result<DeviceEnd, Poll> {
        let signed_in = self.account_of(connector, &record.intent, FlowKind::DeviceCode, typed, &[], reply).await;
        let signed_in = match signed_in {
            Ok(signed_in) => signed_in,
            Err(RedeemError::Identity(error)) => return Err(Poll::Identity(error)),
            Err(why) => return Ok(DeviceEnd::Failed(why.to_string())),
        };
        match self.check_same_account(&record.intent, &signed_in).await {
            Ok(()) => Ok(DeviceEnd::Connected(self.accounts.connect(signed_in).await?.id)),
            Err(RedeemError::Identity(error)) => Err(Poll::Identity(error)),
            Err(why) => Ok(DeviceEnd::Failed(why.to_string())),
        }
    }
}

/// Why a poll has not ended it.
enum Poll {
    Pending,
    SlowDown,
    Down,
    Identity(IdentityError),
}

impl From<IdentityError> for Poll {
    fn from(error: IdentityError) -> Self {
        Self::Identity(error)
    }
}

fn refused(failure: &Failure) -> Result<DeviceEnd, Poll> {
    match failure.code() {
        Some("authorization_pending") => Err(Poll::Pending),
        Some("slow_down") => Err(Poll::SlowDown),
        Some("access_denied") => Ok(DeviceEnd::Denied),
        Some("expired_token") => Ok(DeviceEnd::Expired),
        _ => Ok(DeviceEnd::Failed(format!("the vendor refused: {}", failure.said()))),
    }
}

fn clamp(seconds: u64) -> u32 {
    u32::try_from(seconds).unwrap_or(LONGEST_INTERVAL).min(LONGEST_INTERVAL)
}

/// The device authorization answer, by the RFC's names.
struct Answer<'a> {
    oauth: &'a OAuthFlow,
    reply: &'a Value,
}

impl Answer<'_> {
    fn get(&self, name: &str) -> Option<&Value> {
        self.reply.get(self.oauth.dialect.device_answer.get(name).map_or(name, String::as_str))
    }

    fn text(&self, name: &str) -> Result<String, IdentityError> {
        let text = self.get(name).and_then(Value::as_str).filter(|text| !text.chars().any(char::is_control));
        text.map(str::to_owned)
            .ok_or_else(|| IdentityError::VendorDown { message: format!("an answer without {name}") })
    }

    fn seconds(&self, name: &str) -> Option<u64> {
        let value = self.get(name)?;
        value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
    }
}
