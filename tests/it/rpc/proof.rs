//! The long test of RPC: a tenth of many calls gets no reply and the callers of another tenth disconnect, while the test deletes
//! reply queues and resets connections. No reply reaches another caller, no call is pending at the end, and memory does not grow.
//!
//! Run the long form by hand; it takes some minutes:
//! `scripts/test --release --test it -- --ignored --nocapture a_million_calls`

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{StreamExt, future::join_all};
use lapin::{Channel, message::Delivery};
use reqwest::{Client, Response};
use serde_json::Value;
use tokio::time::{interval, timeout};

use super::SOON;
use crate::support::{
    broker::{Broker, Vhost},
    echo::{answer, echo},
    link::Link,
    observer::Observer,
    poll::{eventually, within},
    process::Process,
};

const QUEUE: &str = "work";
/// Much longer than a reply takes, and much shorter than the reply to a held request takes.
const PATIENCE: Duration = Duration::from_millis(50);
/// The server answers requests of callers that disconnect after this number of further requests.
const HELD: usize = 50;
const SAMPLE: Duration = Duration::from_millis(250);

/// The end of a call, chosen by its number.
#[derive(PartialEq)]
enum Plan {
    IsAnswered,
    TimesOut,
    IsHungUp,
}

impl Plan {
    fn of(number: usize) -> Self {
        match number % 10 {
            3 => Self::TimesOut,
            7 => Self::IsHungUp,
            _ => Self::IsAnswered,
        }
    }
}

/// The plan of each request is in its body.
async fn serve(channel: Channel, mut requests: lapin::Consumer) {
    let mut held = VecDeque::<Delivery>::new();
    while let Some(Ok(request)) = requests.next().await {
        let text = std::str::from_utf8(&request.data).unwrap();
        match Plan::of(text.trim_end().parse().unwrap()) {
            Plan::IsAnswered => answer(&channel, &request, echo).await,
            Plan::TimesOut => {}
            Plan::IsHungUp => held.push_back(request),
        }
        if held.len() > HELD {
            answer(&channel, &held.pop_front().unwrap(), echo).await;
        }
    }
}

/// The calls of one run and how they ended.
struct Calls {
    count: usize,
    next: AtomicUsize,
    endings: Mutex<BTreeMap<String, usize>>,
    client: Client,
    url: String,
}

impl Calls {
    async fn make(&self) {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.count {
                return;
            }
            let ending = self.call(number).await;
            *self.endings.lock().unwrap().entry(ending).or_default() += 1;
        }
    }

    async fn call(&self, number: usize) -> String {
        let plan = Plan::of(number);
        // The sizes are from a few bytes to a kilobyte.
        let body = format!("{number:<width$}", width = number % 1000);
        let deadline = if plan == Plan::TimesOut { "300ms" } else { "20s" };
        let url = format!("{}/rpc/{QUEUE}?timeout={deadline}", self.url);
        let exchange = self.client.post(url).header("content-type", "text/plain").body(body.clone()).send();
        if plan != Plan::IsHungUp {
            return ending(within(Duration::from_secs(30), "an answer", exchange).await.unwrap(), &body)
                .await;
        }
        match timeout(PATIENCE, exchange).await {
            Err(_) => "hung up".to_owned(),
            Ok(response) => ending(response.unwrap(), &body).await,
        }
    }

    fn ended(&self, ending: &str) -> usize {
        self.endings.lock().unwrap().get(ending).copied().unwrap_or_default()
    }

    /// Waits until this part of the calls has begun.
    async fn reach(&self, number: usize) {
        let reached = || async { self.next.load(Ordering::Relaxed) >= number };
        eventually(Duration::from_mins(20), "the calls go on", reached).await;
    }
}

async fn ending(response: Response, body: &str) -> String {
    let status = response.status();
    let answer = response.bytes().await.unwrap();
    if status == 200 {
        return if answer == body { "replied" } else { "crossed" }.to_owned();
    }
    let problem: Value = serde_json::from_slice(&answer).unwrap();
    problem["type"].as_str().unwrap().replace("/problems/", "")
}

/// By turns, the test deletes the reply queue and resets all connections, at equal distances over the run.
async fn disturb(calls: &Calls, vhost: &Vhost<'_>, link: &Link, times: usize) {
    for time in 1..=times {
        calls.reach(calls.count * time / (times + 1)).await;
        if time % 2 == 1 {
            let deleted = || async { vhost.delete_generated_queues().await == 1 };
            eventually(SOON, "the reply queue is deleted", deleted).await;
        } else {
            link.cut();
        }
    }
}

/// Samples of the gateway's memory in KiB, until all calls have begun.
async fn sample(calls: &Calls, gateway: &Process) -> Vec<usize> {
    let mut samples = Vec::new();
    let mut clock = interval(SAMPLE);
    while calls.next.load(Ordering::Relaxed) < calls.count {
        clock.tick().await;
        samples.push(gateway.resident_kib());
    }
    samples
}

fn median(samples: &[usize]) -> usize {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

async fn metric(calls: &Calls, name: &str) -> String {
    let text = calls.client.get(format!("{}/metrics", calls.url)).send().await.unwrap().text().await.unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    value.unwrap_or_else(|| panic!("{name} in {text}")).to_owned()
}

#[expect(clippy::print_stdout, reason = "a person reads the figures")]
async fn prove(name: &str, count: usize, callers: usize, disturbances: usize, growth_kib: usize) {
    let broker = Broker::shared().await;
    let (vhost, link) = (broker.vhost(name).await, Link::to(broker.address()).await);
    let server = Observer::connect(&vhost.url).await;
    server.declare_queue(QUEUE).await;
    let serving = tokio::spawn(serve(server.channel().await, server.consume(QUEUE).await));
    let gateway = Process::spawn(&[("AMQP_URL", &vhost.url_by(link.addr()))]);
    let url = format!("http://{}", gateway.address().await);
    let client = Client::builder().no_proxy().build().unwrap();
    let calls = Calls { count, next: AtomicUsize::new(0), endings: Mutex::default(), client, url };

    let begun = Instant::now();
    let work = join_all((0..callers).map(|_| calls.make()));
    let (_, (), memory) =
        tokio::join!(work, disturb(&calls, &vhost, &link, disturbances), sample(&calls, &gateway));
    let took = begun.elapsed();
    let quarter = memory.len() / 4;
    let (early, late) = (median(&memory[quarter..2 * quarter]), median(&memory[3 * quarter..]));
    let (unmatched, most) =
        (metric(&calls, "gateway_rpc_unmatched_replies_total").await, memory.iter().max());
    println!(
        "{count} calls by {callers} callers in {took:?}, {disturbances} disturbances: {:?}; unmatched replies \
         {unmatched}; KiB: second quarter {early}, last {late}, most {most:?}",
        calls.endings.lock().unwrap()
    );

    assert_eq!(calls.ended("crossed"), 0);
    assert!(
        calls.ended("replied") + disturbances * callers >= count / 10 * 8,
        "the other calls are answered"
    );
    assert!(calls.ended("rpc-timeout") + disturbances * callers >= count / 10, "a tenth timed out");
    assert!(
        calls.ended("hung up") + disturbances * callers >= count / 10,
        "the callers of a tenth disconnected"
    );
    for gauge in ["gateway_rpc_pending_replies", "gateway_http_requests_in_flight"] {
        let none = || async { metric(&calls, gauge).await == "0" };
        eventually(SOON, gauge, none).await;
    }
    assert!(late <= early + growth_kib, "memory grows: {memory:?}");
    assert!(!serving.is_finished(), "the server still runs at the end");
}

#[tokio::test]
async fn five_thousand_calls_during_losses_never_get_a_foreign_reply_and_leave_no_pending_reply() {
    // The run is too short for flat memory: the first new connections allocate heaps of their own.
    prove("rpc-proof", 5_000, 64, 4, 64 << 10).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "some minutes, and wants --release: run by hand"]
async fn a_million_calls_during_losses_never_get_a_foreign_reply_and_leave_no_pending_reply() {
    prove("rpc-proof-long", 1_000_000, 256, 20, 8 << 10).await;
}
