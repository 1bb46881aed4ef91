//! What earlier versions have written is read for as long as it can lie somewhere.

use super::*;
use crate::testing::JobBuilder;

const JOBS_1: &[u8] = include_bytes!("../../../tests/fixtures/wire/jobs-1.bin");
const DEAD_LETTER_1: &[u8] = include_bytes!("../../../tests/fixtures/wire/dead-letter-1.bin");

/// The job that the fixtures hold.
fn job() -> Job {
    Job {
        execution_id: ExecutionId::trusted("ex_019ac9f2c0de7a10b4d1c0ffee015eed"),
        organization: OrganizationId::trusted("org_019ac9f2c0de7a10b4d1c0ffee025eed"),
        key_id: KeyId::trusted("key_019ac9f2c0de7a10b4d1c0ffee035eed"),
        account: AccountId::trusted("acc_019ac9f2c0de7a10b4d1c0ffee045eed"),
        manifest_digest: "ab".repeat(32),
        request_hash: [3; 32],
        accepted_at: Millis(1_764_000_000_000),
        deadline: Millis(1_764_000_060_000),
        ..JobBuilder::new(Effect::Keyed).build()
    }
}

#[test]
fn jobs_of_format_1_are_read() {
    assert_eq!(format!("{:?}", decode_jobs(Bytes::from_static(JOBS_1)).unwrap()), format!("{:?}", [job()]));
    let letter = super::super::dead_letters::decode(DEAD_LETTER_1).unwrap();
    assert_eq!(format!("{:?}", letter.job), format!("{:?}", job()));
    assert_eq!((letter.reason.as_str(), letter.starts, letter.at), ("started 5 times", 5, Millis(1_764_000_070_000)));
}

#[test]
fn a_job_comes_back_as_it_was_and_takes_less_room() {
    let bytes = encode_job(&job());
    assert_eq!(format!("{:?}", decode_jobs(bytes.clone()).unwrap()), format!("{:?}", [job()]));
    assert!(bytes.len() + 100 < JOBS_1.len(), "{} and {}", bytes.len(), JOBS_1.len());
    let later = wire::JobPack { format: JOB_FORMAT + 1, jobs: Vec::new() };
    assert!(matches!(decode_jobs(later.encode_to_vec().into()), Err(QueueError::Unreadable(_))));
}
