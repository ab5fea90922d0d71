//! The long tests of the fair share, with callers that take all they get. `make test-fair-share` runs them in release mode.

use std::{
    env, fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use rabbitmq_gateway::domain::access::ApiKey;
use reqwest::Client;
use tokio::{runtime, time::sleep};

use super::super::{ALL, SOON, part};
use crate::support::{broker::Broker, observer::Observer, poll::eventually, process::Process};

const GREEDY: usize = 20;
/// The callers of each greedy principal; all together are more than the gateway has requests in flight.
const CALLERS: usize = 256;
const SMALL: usize = 10;
const P99: Duration = Duration::from_millis(250);

fn client() -> Client {
    Client::builder().no_proxy().build().expect("a client without TLS")
}

/// A caller that publishes again and again until the end, and waits after a 429 as it says.
struct Caller {
    client: Client,
    url: String,
    key: String,
    refused: Arc<AtomicUsize>,
    published: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
}

impl Caller {
    /// Publishes once. Returns the status, and the seconds of `Retry-After`.
    async fn publish(&self) -> reqwest::Result<(u16, Option<u64>)> {
        let request = self.client.post(&self.url).bearer_auth(&self.key).body(vec![b'x'; 1024]);
        let answer = request.send().await?;
        let seconds = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let status = answer.status().as_u16();
        answer.bytes().await?;
        Ok((status, seconds))
    }

    async fn take_all(&self) {
        while !self.is_over.load(Relaxed) {
            match self.publish().await.expect("an answer") {
                (200, _) => drop(self.published.fetch_add(1, Relaxed)),
                (429, Some(seconds)) => {
                    self.refused.fetch_add(1, Relaxed);
                    sleep(Duration::from_secs(seconds)).await;
                }
                other => panic!("a greedy caller got {other:?}"),
            }
        }
    }

    /// The time of each publish.
    async fn measure(&self) -> Vec<Duration> {
        let mut times = Vec::new();
        while !self.is_over.load(Relaxed) {
            let begun = Instant::now();
            let (status, _) = self.publish().await.expect("an answer");
            assert_eq!(status, 200, "a caller of the small principal");
            times.push(begun.elapsed());
        }
        times
    }
}

/// Runs on a thread of its own, so that one load does not wait for the CPU time of the other.
fn on_a_thread<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> thread::JoinHandle<T> {
    thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(work)
    })
}

#[expect(clippy::print_stdout, reason = "a person reads the figures")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "some minutes, and wants --release: make test-fair-share"]
async fn twenty_greedy_principals_do_not_slow_one_that_keeps_ten_publishes_in_flight() {
    let number = |name: &str, default: usize| {
        env::var(name).map_or(default, |number| number.parse().expect("a number"))
    };
    let seconds = number("GATEWAY_TEST_SECONDS", 20) as u64;
    let each = number("GATEWAY_TEST_CALLERS", CALLERS);
    let keys: Vec<_> = (0..=GREEDY).map(|_| ApiKey::generate()).collect();
    let file: String = keys.iter().enumerate().map(|(n, key)| part(&format!("p{n}"), key, ALL)).collect();
    let vhost = Broker::shared().await.vhost("fair_proof").await;
    let observer = Observer::connect(&vhost.url).await;
    // Each principal has a queue of its own: RabbitMQ serves the messages of one queue in their order.
    for n in 0..=GREEDY {
        observer.declare_queue_with(&format!("q{n}"), &[("x-max-length", 1000.into())]).await;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("principals.toml");
    fs::write(&path, file).expect("the file is written");
    // The gateway has its own defaults, unless a person tries other numbers.
    let tried = [
        ("GATEWAY_MAX_REQUESTS_IN_FLIGHT", env::var("GATEWAY_TEST_LIMIT")),
        ("RABBITMQ_CHANNEL_WINDOW", env::var("GATEWAY_TEST_WINDOW")),
    ];
    let tried = tried.iter().filter_map(|(setting, number)| Some((*setting, number.as_deref().ok()?)));
    let settings = [
        ("AMQP_URL", vhost.url.as_str()),
        ("GATEWAY_PRINCIPALS", path.to_str().expect("a text")),
        ("GATEWAY_LOG", "warn,rabbitmq_gateway::app=info"),
    ];
    let process = Process::spawn(&settings.into_iter().chain(tried).collect::<Vec<_>>());
    let address = process.address().await;
    let keys_of_all = &keys;
    let (refused, published, is_over) = (Arc::default(), Arc::default(), Arc::new(AtomicBool::new(false)));
    let callers = |keys: &[ApiKey], count: usize| -> Vec<Caller> {
        let queue = |key: &ApiKey| keys_of_all.iter().position(|it| it == key).expect("a principal");
        let caller = |(key, client): (&ApiKey, &Client)| Caller {
            client: client.clone(),
            url: format!("http://{address}/publish/amq.default?routing_key=q{}&timeout=30s", queue(key)),
            key: key.reveal().to_owned(),
            refused: Arc::clone(&refused),
            published: Arc::clone(&published),
            is_over: Arc::clone(&is_over),
        };
        let client = client();
        keys.iter().flat_map(|key| (0..count).map(|_| caller((key, &client))).collect::<Vec<_>>()).collect()
    };
    let greedy = callers(&keys[1..], each);
    let greedy = on_a_thread(async move { drop(join_all(greedy.iter().map(Caller::take_all)).await) });
    eventually(SOON, "greedy callers publish", async || published.load(Relaxed) > 1000).await;
    let small = callers(&keys[..1], SMALL);
    let small = on_a_thread(async move { join_all(small.iter().map(Caller::measure)).await.concat() });
    sleep(Duration::from_secs(seconds)).await;
    is_over.store(true, Relaxed);
    let mut times = small.join().expect("no publish of the small principal fails");
    greedy.join().expect("no greedy caller gets another answer");
    times.sort();
    let at = |part: usize| times[times.len() * part / 1000];
    println!(
        "{seconds} s: {} publishes of greedy callers, {} refused; small: {} publishes, p50 {:?}, p99 {:?}, worst {:?}",
        published.load(Relaxed),
        refused.load(Relaxed),
        times.len(),
        at(500),
        at(990),
        times[times.len() - 1],
    );
    assert!(at(990) <= P99);
}
