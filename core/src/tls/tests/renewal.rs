//! Files that change while the process runs.

use std::time::Duration;

use time::Duration as Span;

use super::files::Files;
use crate::readiness::{Health, Readiness};
use crate::testing::certificates::{Authority, now};
use crate::tls::ServiceTls;
use tokio_util::sync::CancellationToken;

fn open(files: &Files) -> ServiceTls {
    ServiceTls::open(&files.config(), None).unwrap().unwrap()
}

#[test]
fn a_renewed_file_is_taken_and_a_broken_one_is_not() {
    let authority = Authority::default();
    let files = Files::new(&authority.pem, &authority.day(&["auth.test"]));
    let tls = open(&files);
    let ends = |tls: &ServiceTls| tls.files().describe()[0].ends;
    let first = ends(&tls);
    tls.files().reload().unwrap();
    assert_eq!((ends(&tls), tls.generation()), (first, 0), "nothing has changed");

    let renewed = authority.issue(&["auth.test"], now() - Span::hours(1), now() + Span::days(9));
    files.write("own.pem", &renewed.certificate);
    let error = tls.files().reload().unwrap_err();
    assert!(error.to_string().contains("does not belong"), "{error}");
    tls.files().tell(&error);
    assert_eq!((ends(&tls), tls.generation()), (first, 0), "the old one stays");
    assert!(matches!(tls.files().health(), Health::Reduced(why) if why.contains("old one stays")));

    files.write("own.key", &renewed.key);
    tls.files().reload().unwrap();
    assert_eq!((ends(&tls) > first, tls.generation()), (true, 1));
    assert_eq!(tls.files().health(), Health::Up);
}

#[test]
fn a_renewed_certificate_must_be_of_the_same_role() {
    let authority = Authority::default();
    let files = Files::new(&authority.pem, &authority.day(&["auth.test"]));
    let tls = ServiceTls::open(&files.config(), Some(crate::identity::ServiceRole::Auth)).unwrap().unwrap();
    files.put(&authority.day(&["gateway.test"]));
    assert!(tls.files().reload().unwrap_err().to_string().contains("tls.names.auth"));
}

#[tokio::test(start_paused = true)]
async fn readiness_tells_of_broken_files_and_stays_ready() {
    let authority = Authority::default();
    let made = authority.day(&["auth.test"]);
    let files = Files::new(&authority.pem, &made);
    let tls = crate::tls::Tls { services: Some(open(&files)), public: None };
    let readiness = tls.watched_by(Readiness::new(CancellationToken::new()));
    let stop = CancellationToken::new();
    let following = tls.services.as_ref().unwrap().files().clone().follow(Duration::from_secs(60), stop.clone());
    let following = tokio::spawn(following);
    let part = || readiness.report().parts["certificates"];
    assert_eq!(part(), "ok");
    files.write("ca.pem", "nothing");
    // Another thread reads the files, which paused time does not wait for.
    let until = |wanted: &'static str| async move {
        for _ in 0..1_000 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if part().contains(wanted) {
                return;
            }
        }
        panic!("never {wanted:?}: {}", part());
    };
    until("old one stays").await;
    assert!(readiness.is_ready());
    files.write("ca.pem", &authority.pem);
    until("ok").await;
    stop.cancel();
    following.await.unwrap();
}
