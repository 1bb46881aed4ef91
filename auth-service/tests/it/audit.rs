//! The audit log: what is in it, and that whoever changes it is found out.

use std::sync::Arc;

use plugboard_core::identity::{
    Actor, AuditEntry, AuditFault, AuditLink, AuditQuery, CallBatch, CallCount, CallFacts, ChainCheck, Custody,
    Directory, IdentityError, chain_start, link_hash, on_behalf_of,
};
use plugboard_core::ids::{KeyId, OrganizationId, ServiceKey};
use plugboard_core::store::{Expect, Store, Write};
use serde_json::{Value, json};

use crate::support::{OZON, Ports, new_account, on_both, text};

on_both!(who_did_what_is_entered, calls_are_entered_once, entries_are_found_and_paged, racing_writers_leave_one_chain,);

pub(crate) fn query(organization: &OrganizationId) -> AuditQuery {
    AuditQuery { organization: Some(organization.clone()), limit: 1_000, ..AuditQuery::default() }
}

/// Reads and checks a whole log, as `plugboard audit verify` does.
pub(crate) async fn verify(custody: &dyn Custody, query: &AuditQuery) -> Result<Vec<AuditEntry>, AuditFault> {
    let mut query = query.clone();
    let mut check = ChainCheck::new(query.chain());
    let mut entries = Vec::new();
    loop {
        let page = custody.audit(&query).await.unwrap();
        for link in &page.links {
            check.link(link)?;
            entries.push(serde_json::from_str(&link.entry).unwrap());
        }
        match page.next {
            Some(next) => query.after = next,
            None => {
                check.finish(&page.head)?;
                return Ok(entries);
            }
        }
    }
}

fn actions(entries: &[AuditEntry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.action.as_str()).collect()
}

async fn who_did_what_is_entered(ports: Ports) {
    let operator = Actor { key: Some("key_op".into()), operator: true, ..Actor::default() };
    let (organization, first) =
        on_behalf_of(operator.clone(), ports.directory.create_organization("Acme")).await.unwrap();
    let anna = Actor {
        key: Some(first.key.id.as_str().into()),
        subject: Some("anna".into()),
        source: Some("192.0.2.7".into()),
        ..Actor::default()
    };
    let account = on_behalf_of(anna.clone(), ports.account(&organization.id, "ozon", &OZON)).await;
    on_behalf_of(anna.clone(), ports.directory.delete_account(&organization.id, &account.id)).await.unwrap();
    on_behalf_of(anna.clone(), ports.directory.revoke_key(&organization.id, &first.key.id)).await.unwrap();
    let entries = verify(ports.custody.as_ref(), &query(&organization.id)).await.unwrap();
    assert_eq!(actions(&entries), ["organization.create", "account.create", "account.delete", "key.revoke"]);
    assert_eq!(entries[0].actor, operator);
    assert_eq!(entries[1].actor, anna);
    assert_eq!(entries[1].target.as_ref().map(|target| target.id.as_str()), Some(account.id.as_str()));
    assert_eq!(entries[3].target.as_ref().map(|target| target.kind.as_str()), Some("key"));
    // Never any content.
    assert!(!format!("{entries:?}").contains("canary"));
    // What concerns no organization is in the platform's own.
    let platform = AuditQuery { limit: 1_000, ..AuditQuery::default() };
    let entries = verify(ports.custody.as_ref(), &platform).await.unwrap();
    assert_eq!(actions(&entries), ["organization.create"]);
    // What failed was not done, and is not there.
    assert!(ports.directory.create_account(new_account(&organization.id, "ozon", &[])).await.is_err());
    assert_eq!(verify(ports.custody.as_ref(), &query(&organization.id)).await.unwrap().len(), 4);
}

fn batch(organization: &OrganizationId, id: &str, code: &str, count: u64) -> CallBatch {
    let facts = CallFacts {
        key: KeyId::trusted("key_a"),
        subject: None,
        service: ServiceKey::trusted("ozon"),
        account: None,
        operation: Some("orders.list".into()),
        code: code.to_owned(),
    };
    CallBatch {
        organization: organization.clone(),
        id: id.to_owned(),
        at: 5,
        calls: vec![CallCount { facts, count }],
        dropped: 0,
    }
}

async fn calls_are_entered_once(ports: Ports) {
    let organization = ports.organization().await.id;
    let one = batch(&organization, "in_x/1", "OK", 40);
    for _ in 0..3 {
        ports.custody.append_calls(std::slice::from_ref(&one)).await.unwrap();
    }
    ports.custody.append_calls(&[batch(&organization, "in_x/2", "UPSTREAM_REJECTED", 1)]).await.unwrap();
    let entries = verify(ports.custody.as_ref(), &query(&organization)).await.unwrap();
    let calls: Vec<_> = entries.iter().flat_map(|entry| &entry.calls).collect();
    assert_eq!(calls.iter().map(|call| call.count).collect::<Vec<_>>(), [40, 1]);
    assert_eq!(entries[1].at, 5, "when they were made");
    assert!(ports.custody.append_calls(&[batch(&OrganizationId::trusted("x"), "in_x/3", "OK", 1)]).await.is_err());

    // Several organizations in one message: all of it, or nothing.
    let other = ports.organization().await.id;
    let both = [batch(&organization, "in_x/4", "OK", 1), batch(&other, "in_x/5", "OK", 1)];
    for _ in 0..2 {
        ports.custody.append_calls(&both).await.unwrap();
    }
    let twice = [batch(&organization, "in_x/6", "OK", 1), batch(&organization, "in_x/7", "OK", 1)];
    assert!(matches!(ports.custody.append_calls(&twice).await, Err(IdentityError::Invalid { .. })));
    let one_is_wrong =
        [batch(&organization, "in_x/8", "OK", 1), batch(&OrganizationId::trusted("x"), "in_x/9", "OK", 1)];
    assert!(ports.custody.append_calls(&one_is_wrong).await.is_err());
    for (organization, entered) in [(&organization, 3), (&other, 1)] {
        let entries = verify(ports.custody.as_ref(), &query(organization)).await.unwrap();
        assert_eq!(entries.iter().map(|entry| entry.calls.len()).sum::<usize>(), entered);
    }
}

async fn entries_are_found_and_paged(ports: Ports) {
    let organization = ports.organization().await.id;
    for number in 0..25 {
        ports.custody.append_calls(&[batch(&organization, &format!("in_x/{number}"), "OK", 1)]).await.unwrap();
    }
    let account = ports.account(&organization, "ozon", &OZON).await.id;
    let found = async |change: &dyn Fn(&mut AuditQuery)| {
        let mut query = query(&organization);
        change(&mut query);
        let page = ports.custody.audit(&query).await.unwrap();
        (page.links.iter().map(|link| link.seq).collect::<Vec<_>>(), page.next)
    };
    assert_eq!(found(&|query| query.limit = 3).await, (vec![1, 2, 3], Some(3)));
    assert_eq!(found(&|query| query.after = 25).await, (vec![26, 27], None));
    assert_eq!(found(&|query| query.action = Some("account".into())).await, (vec![27], None));
    assert_eq!(found(&|query| query.action = Some("acc".into())).await, (vec![], None));
    assert_eq!(found(&|query| query.target = Some(account.as_str().into())).await, (vec![27], None));
    assert_eq!(found(&|query| query.key = Some("key_a".into())).await.0.len(), 25);
    assert_eq!(found(&|query| query.subject = Some("anna".into())).await, (vec![], None));
    let stranger = AuditQuery { organization: Some(OrganizationId::generate()), limit: 10, ..AuditQuery::default() };
    assert!(ports.custody.audit(&stranger).await.unwrap().links.is_empty());
}

async fn racing_writers_leave_one_chain(ports: Ports) {
    let organization = ports.organization().await.id;
    let writers: Vec<_> = (0..12)
        .map(|writer| {
            let (custody, organization) = (ports.custody.clone(), organization.clone());
            tokio::spawn(async move {
                for number in 0..5 {
                    let id = format!("in_{writer}/{number}");
                    custody.append_calls(&[batch(&organization, &id, "OK", 1)]).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(verify(ports.custody.as_ref(), &query(&organization)).await.unwrap().len(), 61);
}

/// A log of ten entries, and somebody with the store's password.
struct Forgery {
    ports: Ports,
    organization: OrganizationId,
}

impl Forgery {
    async fn new() -> Self {
        let ports = Ports::in_process(Default::default()).await;
        let organization = ports.organization().await.id;
        for number in 1..10 {
            ports.custody.append_calls(&[batch(&organization, &format!("in_x/{number}"), "OK", number)]).await.unwrap();
        }
        let forgery = Self { ports, organization };
        assert_eq!(forgery.verdict().await, None, "nothing has been done yet");
        forgery
    }

    fn link(&self, seq: u64) -> String {
        format!("audit/{}/{seq:020}", self.organization)
    }

    fn head(&self) -> String {
        format!("audit-head/{}", self.organization)
    }

    async fn read(&self, name: &str) -> Value {
        serde_json::from_slice(&self.ports.world.store.get(name).await.unwrap().unwrap().value).unwrap()
    }

    async fn write(&self, name: String, value: &Value) {
        let write = Write::put(name, serde_json::to_vec(value).unwrap(), Expect::Anything);
        self.ports.world.store.commit(vec![write], None).await.unwrap();
    }

    async fn remove(&self, name: String) {
        self.ports.world.store.commit(vec![Write::delete(name, Expect::Anything)], None).await.unwrap();
    }

    async fn verdict(&self) -> Option<AuditFault> {
        verify(self.ports.custody.as_ref(), &query(&self.organization)).await.err()
    }

    /// Hashes and numbers from `seq` on as they would have to be; the head fits, but for its signature.
    async fn restamp(&self, from: u64, upto: u64) {
        let mut prev = match from {
            1 => chain_start(self.organization.as_str()),
            _ => self.read(&self.link(from - 1)).await["record"]["hash"].as_str().unwrap().to_owned(),
        };
        for seq in from..=upto {
            let mut link = self.read(&self.link(seq)).await;
            let mut entry: Value = serde_json::from_str(link["record"]["entry"].as_str().unwrap()).unwrap();
            entry["seq"] = json!(seq);
            let entry = entry.to_string();
            let hash = link_hash(&prev, seq, &entry);
            link["record"] = serde_json::to_value(AuditLink { seq, prev, hash: hash.clone(), entry }).unwrap();
            self.write(self.link(seq), &link).await;
            prev = hash;
        }
        let mut head = self.read(&self.head()).await;
        head["record"]["hash"] = json!(prev);
        head["record"]["seq"] = json!(upto);
        self.write(self.head(), &head).await;
    }
}

#[tokio::test]
async fn an_edit_is_found() {
    let forgery = Forgery::new().await;
    let mut link = forgery.read(&forgery.link(4)).await;
    let edited = link["record"]["entry"].as_str().unwrap().replace("key_a", "key_b");
    link["record"]["entry"] = json!(edited);
    forgery.write(forgery.link(4), &link).await;
    assert_eq!(forgery.verdict().await, Some(AuditFault::Edited(4)));
    // With its own hash put right, the next one does not follow from it.
    let prev = link["record"]["prev"].as_str().unwrap().to_owned();
    link["record"]["hash"] = json!(link_hash(&prev, 4, link["record"]["entry"].as_str().unwrap()));
    forgery.write(forgery.link(4), &link).await;
    assert_eq!(forgery.verdict().await, Some(AuditFault::Broken(5)));
}

#[tokio::test]
async fn a_cut_is_found() {
    let forgery = Forgery::new().await;
    forgery.remove(forgery.link(4)).await;
    assert_eq!(forgery.verdict().await, Some(AuditFault::Gap { expected: 4, found: 5 }));
}

#[tokio::test]
async fn another_order_is_found() {
    let forgery = Forgery::new().await;
    let (four, five) = (forgery.read(&forgery.link(4)).await, forgery.read(&forgery.link(5)).await);
    forgery.write(forgery.link(4), &five).await;
    forgery.write(forgery.link(5), &four).await;
    assert_eq!(forgery.verdict().await, Some(AuditFault::Gap { expected: 4, found: 5 }));
    // Renumbered and chained, but each entry knows its number.
    let mut swapped = [five, four];
    let mut prev = forgery.read(&forgery.link(3)).await["record"]["hash"].as_str().unwrap().to_owned();
    for (seq, link) in [4, 5].into_iter().zip(&mut swapped) {
        let entry = link["record"]["entry"].as_str().unwrap().to_owned();
        let hash = link_hash(&prev, seq, &entry);
        link["record"] = serde_json::to_value(AuditLink { seq, prev, hash: hash.clone(), entry }).unwrap();
        forgery.write(forgery.link(seq), link).await;
        prev = hash;
    }
    assert_eq!(forgery.verdict().await, Some(AuditFault::Renumbered(4)));
}

#[tokio::test]
async fn an_end_that_was_cut_off_is_found() {
    let forgery = Forgery::new().await;
    forgery.remove(forgery.link(10)).await;
    assert_eq!(forgery.verdict().await, Some(AuditFault::Length { head: 10, found: 9 }));
    // With a head that says so, the signature is missing.
    forgery.restamp(9, 9).await;
    assert_eq!(forgery.verdict().await, Some(AuditFault::Signature));
    for seq in 1..10 {
        forgery.remove(forgery.link(seq)).await;
    }
    forgery.remove(forgery.head()).await;
    assert_eq!(forgery.verdict().await, Some(AuditFault::Empty));
}

#[tokio::test]
async fn a_chain_written_anew_is_found() {
    let forgery = Forgery::new().await;
    let mut link = forgery.read(&forgery.link(2)).await;
    let edited = link["record"]["entry"].as_str().unwrap().replace("key_a", "key_b");
    link["record"]["entry"] = json!(edited);
    forgery.write(forgery.link(2), &link).await;
    forgery.restamp(2, 10).await;
    assert_eq!(forgery.verdict().await, Some(AuditFault::Signature));
    // The platform's next entry does not cover it up.
    forgery.ports.custody.append_calls(&[batch(&forgery.organization, "in_x/11", "OK", 1)]).await.unwrap();
    assert_eq!(forgery.verdict().await, Some(AuditFault::Signature));
    forgery.ports.custody.append_calls(&[batch(&forgery.organization, "in_x/12", "OK", 1)]).await.unwrap();
    assert_eq!(forgery.verdict().await, Some(AuditFault::Signature));
    // Nor does a rotation of the master key sign it.
    forgery.ports.custody.rotate_master_key(None).await.unwrap();
    assert_eq!(forgery.verdict().await, Some(AuditFault::Signature));
}

#[tokio::test]
async fn entries_added_by_hand_are_found() {
    let forgery = Forgery::new().await;
    let mut link = forgery.read(&forgery.link(10)).await;
    let prev = link["record"]["hash"].as_str().unwrap().to_owned();
    let entry = link["record"]["entry"].as_str().unwrap().replace("\"seq\":10", "\"seq\":11");
    let hash = link_hash(&prev, 11, &entry);
    link["record"] = serde_json::to_value(AuditLink { seq: 11, prev, hash, entry }).unwrap();
    forgery.write(forgery.link(11), &link).await;
    assert_eq!(forgery.verdict().await, Some(AuditFault::Length { head: 10, found: 11 }));
}

/// The log of one organization is no log of another.
#[tokio::test]
async fn a_log_cannot_be_exchanged() {
    let forgery = Forgery::new().await;
    let other = forgery.ports.organization().await.id;
    for seq in 1..=10 {
        let link = forgery.read(&forgery.link(seq)).await;
        forgery.write(format!("audit/{other}/{seq:020}"), &link).await;
    }
    forgery.write(format!("audit-head/{other}"), &forgery.read(&forgery.head()).await).await;
    let verdict = verify(forgery.ports.custody.as_ref(), &query(&other)).await.err();
    assert_eq!(verdict, Some(AuditFault::Broken(1)));
}

#[tokio::test]
async fn a_log_outlives_its_master_key() {
    let forgery = Forgery::new().await;
    forgery.ports.custody.rotate_master_key(None).await.unwrap();
    crate::support::eventually("the head is signed anew", async || {
        forgery.read(&forgery.head()).await["record"]["key"] == "2"
    })
    .await;
    assert_eq!(forgery.verdict().await, None);
}

/// Without the store nothing is done that is not entered.
#[tokio::test]
async fn an_entry_is_in_the_commit_of_what_it_tells() {
    let ports = Ports::in_process(Default::default()).await;
    let organization = ports.organization().await.id;
    let directory: Arc<dyn Directory> = ports.directory.clone();
    ports.world.store.set_down(true);
    assert!(text(directory.create_account(new_account(&organization, "ozon", &OZON)).await).starts_with("Unavailable"));
    ports.world.store.set_down(false);
    let entries = verify(ports.custody.as_ref(), &query(&organization)).await.unwrap();
    let accounts = ports.directory.accounts(&organization).await.unwrap();
    assert_eq!((entries.len(), accounts.len()), (1, 0));
}
