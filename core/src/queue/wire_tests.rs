//! What earlier versions have written is read for as long as it can lie somewhere.

use super::*;
use crate::journal::{JournalState, Record};
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

/// Everything that is written by hand, with long parts and short ones, and with what may be absent.
#[test]
fn what_is_written_is_what_prost_writes() {
    fn again<M: Message + Default>(bytes: &Bytes) -> Vec<u8> {
        M::decode(bytes.clone()).unwrap().encode_to_vec()
    }
    // How large it is does not travel with a job.
    let blob = Payload::Blob { id: BlobId::trusted("blob_1"), bytes: 0 };
    let bodies = [0, 1, 100, 127, 128, 200, 16_383, 16_384, 70_000]
        .map(|length| Some(Payload::Inline(Bytes::from(vec![b'x'; length]))));
    for body in bodies.into_iter().chain([Some(blob), None]) {
        let mut job = Job { body: body.clone(), ..job() };
        let packed = encode_job(&job);
        assert_eq!(again::<wire::JobPack>(&packed), packed);
        assert_eq!(format!("{:?}", decode_jobs(packed).unwrap()), format!("{:?}", [&job]));
        (job.subject, job.operation, job.query, job.headers) = (None, None, Vec::new(), Vec::new());
        let letter = encode_dead_letter(&job, "started 5 times", 5, Millis(-1));
        assert_eq!(again::<wire::DeadLetter>(&letter), letter);
        let mut done = crate::testing::outcome(&job.execution_id, b"{}");
        done.data = body;
        let outcomes = encode_outcomes(std::slice::from_ref(&done));
        assert_eq!(again::<wire::OutcomePack>(&outcomes), outcomes);
        assert_eq!(decode_outcomes(outcomes).unwrap(), [done.clone()]);
        let news = ExpressNews {
            outcomes: vec![done.clone()],
            running: vec![job.execution_id.clone(); 2],
            refused: vec![job.execution_id.clone()],
        };
        let packet = encode_express_news(&news);
        assert_eq!(again::<wire::ExpressNews>(&packet), packet);
        assert_eq!(format!("{:?}", decode_express_news(packet).unwrap()), format!("{news:?}"));
        let intent = Record::intent(&job, &InstanceId::generate(), Millis(1));
        for record in [intent.ended(JournalState::Done, done, Millis(2)), intent] {
            let entry = record.encode();
            assert_eq!(again::<wire::JournalRecord>(&entry), entry);
            assert_eq!(format!("{:?}", Record::decode(entry).unwrap()), format!("{record:?}"));
        }
    }
}

#[test]
fn a_job_comes_back_as_it_was_and_takes_less_room() {
    let bytes = encode_job(&job());
    assert_eq!(format!("{:?}", decode_jobs(bytes.clone()).unwrap()), format!("{:?}", [job()]));
    assert!(bytes.len() + 100 < JOBS_1.len(), "{} and {}", bytes.len(), JOBS_1.len());
    let later = wire::JobPack { format: JOB_FORMAT + 1, jobs: Vec::new() };
    assert!(matches!(decode_jobs(later.encode_to_vec().into()), Err(QueueError::Unreadable(_))));
}
