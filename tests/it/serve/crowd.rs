//! Thousands of half-open requests: they end at their deadline, use little memory, and do not slow other clients.

use std::time::{Duration, Instant};

use super::toy::*;

const CROWD: usize = 3000;

fn resident_kb() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim_end_matches("kB").trim().parse().unwrap()
}

async fn p99_of_good_requests(toy: &Toy, client: &mut Client) -> Duration {
    let mut times = Vec::new();
    for _ in 0..300 {
        let begun = Instant::now();
        client.send(get_request("/hello", "")).await;
        client.answer().await;
        times.push(begun.elapsed());
    }
    assert!(!toy.task.is_finished());
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

/// Many clients that have sent `request`, and have read the answer if the request was whole.
async fn crowd(toy: &Toy, request: &str, whole: bool) -> Vec<Client> {
    let mut crowd = Vec::with_capacity(CROWD);
    for _ in 0..CROWD {
        let mut client = Client::to(toy).await;
        client.send(request).await;
        if whole {
            client.answer().await;
        }
        crowd.push(client);
    }
    crowd
}

#[expect(clippy::print_stdout, reason = "a person reads the figures")]
async fn measure(before: usize, at_most: usize, what: &str, request: &str, whole: bool) {
    let mut limits = connection_limits();
    let deadline = Duration::from_secs(5);
    (limits.first_byte_timeout, limits.header_timeout, limits.keep_alive_timeout) =
        (deadline, deadline, deadline);
    let toy = toy_with(limits, &super::toy::limits()).await;
    let mut good = Client::to(&toy).await;
    let alone = p99_of_good_requests(&toy, &mut good).await;

    let mut crowd = crowd(&toy, request, whole).await;
    let begun = Instant::now();
    let beside = p99_of_good_requests(&toy, &mut good).await;
    let each_bytes = resident_kb().saturating_sub(before) * 1024 / CROWD;
    for client in &mut crowd {
        client.closed().await;
    }
    let took = begun.elapsed();
    println!(
        "{CROWD} {what}: p99 {beside:?} (alone {alone:?}), {each_bytes} bytes each, all cut after {took:?}"
    );
    assert!(each_bytes < at_most && took < deadline + Duration::from_secs(3));
    assert!(beside < alone.max(Duration::from_millis(5)) * 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs 6,100 file descriptors and a quiet machine"]
async fn three_thousand_idle_clients_use_little_memory_and_do_not_slow_others() {
    let before = resident_kb();
    measure(before, 8_000, "silent", "", false).await;
    measure(before, 8_000, "half-open", "POST /echo HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", false).await;
    // hyper keeps a read and a write buffer of 8 KiB each.
    measure(before, 28_000, "idle", &get_request("/hello", ""), true).await;
}
