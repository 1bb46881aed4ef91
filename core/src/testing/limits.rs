//! What every [`Limiter`] does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::limits::{Bucket, Limiter, Turn};

fn bucket(interval: i64, burst: u32) -> Bucket {
    Bucket { key: uuid::Uuid::new_v4().simple().to_string(), interval, burst }
}

/// Runs all checks, in real time.
pub async fn limits_contract(limiter: Arc<dyn Limiter>) {
    a_burst_goes_at_once_and_the_next_waits(limiter.as_ref()).await;
    turns_are_reserved_in_order(limiter.as_ref()).await;
    buckets_are_apart(limiter.as_ref()).await;
    a_vendor_is_left_alone(limiter.as_ref()).await;
    racing_askers_get_no_more_than_the_limit(limiter).await;
}

async fn take(limiter: &dyn Limiter, bucket: &Bucket, patience: Duration) -> Turn {
    limiter.take(bucket, 1, patience).await.unwrap()
}

async fn a_burst_goes_at_once_and_the_next_waits(limiter: &dyn Limiter) {
    let bucket = bucket(10_000_000, 3);
    for remaining in [2, 1, 0] {
        assert_eq!(take(limiter, &bucket, Duration::ZERO).await, Turn::Now { remaining });
    }
    let Turn::TooLate(wait) = take(limiter, &bucket, Duration::from_secs(1)).await else { panic!("it went") };
    assert!(wait > Duration::from_secs(9) && wait <= Duration::from_secs(10), "{wait:?}");
}

async fn turns_are_reserved_in_order(limiter: &dyn Limiter) {
    let bucket = bucket(1_000_000, 1);
    assert_eq!(take(limiter, &bucket, Duration::ZERO).await, Turn::Now { remaining: 0 });
    let mut waits = Vec::new();
    for _ in 0..3 {
        let Turn::After(wait) = take(limiter, &bucket, Duration::from_secs(60)).await else { panic!("not reserved") };
        waits.push(wait.as_secs_f64());
    }
    for (number, wait) in waits.iter().enumerate() {
        let expected = (number + 1) as f64;
        assert!((expected - 0.5..=expected).contains(wait), "{waits:?}");
    }
    // What is too late for one asker is not reserved: the next one is not put off by it.
    assert!(matches!(take(limiter, &bucket, Duration::from_secs(1)).await, Turn::TooLate(_)));
    let Turn::After(wait) = take(limiter, &bucket, Duration::from_secs(60)).await else { panic!("not reserved") };
    assert!(wait.as_secs_f64() <= 4.0, "{wait:?}");
}

async fn buckets_are_apart(limiter: &dyn Limiter) {
    let (one, other) = (bucket(10_000_000, 1), bucket(10_000_000, 1));
    assert!(matches!(take(limiter, &one, Duration::ZERO).await, Turn::Now { .. }));
    assert!(matches!(take(limiter, &other, Duration::ZERO).await, Turn::Now { .. }));
}

async fn a_vendor_is_left_alone(limiter: &dyn Limiter) {
    let bucket = bucket(1_000, 1_000);
    limiter.rest(&bucket, Duration::from_secs(30)).await.unwrap();
    let Turn::TooLate(wait) = take(limiter, &bucket, Duration::from_secs(1)).await else { panic!("it went") };
    assert!(wait > Duration::from_secs(28), "{wait:?}");
}

async fn racing_askers_get_no_more_than_the_limit(limiter: Arc<dyn Limiter>) {
    // 50 a second and 20 at once, as measured elsewhere with eight racing clients.
    let bucket = bucket(20_000, 20);
    let (began, lasts) = (Instant::now(), Duration::from_millis(700));
    let askers: Vec<_> = (0..8)
        .map(|_| {
            let (limiter, bucket) = (limiter.clone(), bucket.clone());
            tokio::spawn(async move {
                let mut went = 0_u32;
                while began.elapsed() < lasts {
                    went +=
                        u32::from(matches!(take(limiter.as_ref(), &bucket, Duration::ZERO).await, Turn::Now { .. }));
                    tokio::task::yield_now().await;
                }
                went
            })
        })
        .collect();
    let mut went = 0;
    for asker in askers {
        went += asker.await.unwrap();
    }
    let allowed = 20 + (began.elapsed().as_millis() / 20) as u32 + 1;
    assert!(went <= allowed, "{went} of {allowed}");
    assert!(went >= 20, "{went}: the burst at least");
}
