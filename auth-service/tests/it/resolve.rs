use std::time::Duration;

use auth_service::Config;
use plugboard_core::clock::{Clock, Millis};
use plugboard_core::identity::Grant;
use plugboard_core::ids::{AccountId, ExecutionId, OrganizationId};

use crate::support::{OZON, Ports, on_both, text};

on_both!(
    auth_service::Config { sandbox: true, ..auth_service::Config::default() } =>
    a_ticket_opens_one_account_of_one_call,
    a_ticket_ends_with_its_deadline,
    the_sandbox_has_an_account_of_everything,
);

async fn a_ticket_opens_one_account_of_one_call(ports: Ports) {
    let organization = ports.organization().await.id;
    let account = ports.account(&organization, "ozon", &OZON).await;
    let other = ports.account(&organization, "ozon", &OZON).await;
    let grant = ports.world.grant(&organization, "ozon", &account.id);
    let resolved = ports.vault.resolve(&grant).await.unwrap();
    assert_eq!(resolved.public["client_id"], "42");
    assert_eq!(resolved.secret["api_key"].expose(), "canary-ozon");
    assert!(resolved.token.is_none());
    assert!(!format!("{resolved:?}").contains("canary"));

    let mut flipped = grant.ticket;
    flipped[31] ^= 1;
    for forged in [
        Grant { ticket: flipped, ..grant.clone() },
        Grant { account: other.id, ..grant.clone() },
        Grant { organization: OrganizationId::generate(), ..grant.clone() },
        Grant { execution_id: ExecutionId::generate(), ..grant.clone() },
        Grant { request_hash: [1; 32], ..grant.clone() },
        Grant { deadline: Millis(grant.deadline.0 + 1), ..grant.clone() },
    ] {
        assert_eq!(text(ports.vault.resolve(&forged).await), "TicketRefused");
    }
    let nobody = AccountId::generate();
    let missing = ports.vault.resolve(&ports.world.grant(&organization, "ozon", &nobody)).await;
    assert_eq!(text(missing), r#"NotFound { what: "the account" }"#);
}

async fn a_ticket_ends_with_its_deadline(ports: Ports) {
    let organization = ports.organization().await.id;
    let account = ports.account(&organization, "ozon", &OZON).await;
    let grant = ports.world.grant_until(
        &organization,
        "ozon",
        &account.id,
        ports.world.clock.now().plus(Duration::from_secs(10)),
    );
    assert!(ports.vault.resolve(&grant).await.is_ok());
    ports.world.clock.advance(Duration::from_secs(10));
    assert_eq!(text(ports.vault.resolve(&grant).await), "TicketRefused");
}

async fn the_sandbox_has_an_account_of_everything(ports: Ports) {
    let organization = ports.organization().await.id;
    let sandbox = AccountId::sandbox();
    let resolved = ports.vault.resolve(&ports.world.grant(&organization, "bitrix24", &sandbox)).await.unwrap();
    assert_eq!(resolved.public["portal_host"], "sandbox.example.com");
    assert_eq!(resolved.secret["webhook"].expose(), "sandbox-webhook");
    let resolved = ports.vault.resolve(&ports.world.grant(&organization, "cdek", &sandbox)).await.unwrap();
    assert_eq!(resolved.token.as_ref().unwrap().expose(), "token-1");
    assert!(ports.world.vendor.requests.lock()[0].contains("client_id=demo&client_secret=sandbox-client_secret"));
    // Still only for a live job.
    let forged = Grant { ticket: [0; 32], ..ports.world.grant(&organization, "cdek", &sandbox) };
    assert_eq!(text(ports.vault.resolve(&forged).await), "TicketRefused");
}

#[tokio::test]
async fn outside_the_sandbox_there_is_no_sandbox_account() {
    let ports = Ports::in_process(Config::default()).await;
    let organization = ports.organization().await.id;
    let answer = ports.vault.resolve(&ports.world.grant(&organization, "ozon", &AccountId::sandbox())).await;
    assert_eq!(text(answer), r#"NotFound { what: "the account" }"#);
}
