//! The gateway forgets a slow destination after a minute without a publish.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use super::{SlowQueue, to, wired};
use crate::support::{load::Load, poll::eventually};

/// A minute after the last publish, and the time until the gateway notices.
const FORGOTTEN: Range<Duration> = Duration::from_secs(50)..Duration::from_secs(80);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "more than a minute: make test-cluster"]
async fn the_connection_of_a_slow_destination_without_a_publish_is_closed() {
    let (vhost, observer, link, gateway) = wired("forgotten", &[]).await;
    let SlowQueue { fault, healthy, stuck } = SlowQueue::with(20, &vhost, &observer, &link, &gateway).await;
    let answers = stuck.stop().await;
    let last = Instant::now();
    let healthy = healthy.stop().await;
    healthy.assert_agree_with(&observer.take_ids("q").await);
    let is_closed = || async { link.open_named("slow-*") == 0 };
    eventually(FORGOTTEN.end, "its connection is closed", is_closed).await;
    println!("closed {:?} after the last publish", last.elapsed());
    assert!(FORGOTTEN.contains(&last.elapsed()), "closed {:?} after the last publish", last.elapsed());
    fault.resume().await;

    let after = Load::of(&gateway, "after", 4, 10, |_| to("stuck", "10s")).end().await;
    after.assert_all_confirmed();
    let mut all = answers;
    all.0.extend(after.0);
    let mut there = observer.take_ids("stuck").await;
    there.retain(|id| id != "proof");
    all.assert_agree_with(&there);
    gateway.stop().await;
}
