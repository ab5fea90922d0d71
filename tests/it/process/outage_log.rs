//! The log of an outage: a few lines for the whole gateway, for any number of connections and any length of the outage.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::{SOON, Served};
use crate::support::{broker::Broker, link::Link, poll::eventually};

/// Two for shared messages, two for isolated ones, and one each for topology, replies and probes.
const CONNECTIONS: usize = 7;

/// The lines from this number on that are not about a request.
fn lines(served: &Served, from: usize) -> Vec<Value> {
    let log = served.process.stderr();
    let whole = &log[..log.rfind('\n').map_or(0, |end| end + 1)];
    let lines = whole.lines().skip(from).map(|line| serde_json::from_str(line).expect("a line is JSON"));
    lines.filter(|line: &Value| line["span"].is_null()).collect()
}

fn saying<'a>(lines: &'a [Value], words: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["message"].as_str().is_some_and(|it| it.contains(words))).collect()
}

/// Earlier versions wrote 409 lines in an outage of 20 s.
#[tokio::test]
async fn an_outage_of_rabbitmq_makes_a_few_log_lines_and_one_when_it_is_back() {
    let broker = Broker::shared().await;
    let vhost = broker.vhost("quiet").await;
    let link = Link::to(broker.address()).await;
    let served = Served::start_ready(&[("AMQP_URL", &vhost.url_by(link.addr()))]).await;
    eventually(SOON, "all roles are connected", || async { link.names().len() == CONNECTIONS }).await;
    let before = lines(&served, 0).len();
    let down = Instant::now();
    link.refuse().await;
    link.cut();
    let is_reminded = || async { saying(&lines(&served, before), "cannot connect").len() >= 2 };
    eventually(SOON, "a reminder", is_reminded).await;
    assert!(down.elapsed() >= Duration::from_secs(9), "a reminder after {:?}", down.elapsed());
    link.mend();
    served.logs("up again").await;
    let lines = lines(&served, before);
    assert!(lines.len() <= 6, "{lines:#?}");
    for (words, count) in [("is lost, the gateway connects again", 1), ("up again", 1), ("cannot connect", 2)]
    {
        assert_eq!(saying(&lines, words).len(), count, "{words}: {lines:#?}");
    }
    let back = saying(&lines, "up again")[0];
    let lasted = down.elapsed().as_secs_f64();
    assert!(back["after_s"].as_f64().is_some_and(|after| (9.0..=lasted + 0.1).contains(&after)), "{back}");
}

#[tokio::test]
async fn a_wrong_password_is_logged_once_for_all_connections_and_again_after_a_while() {
    let broker = Broker::shared().await;
    let vhost = broker.vhost("quiet-password").await;
    let link = Link::to(broker.address()).await;
    let url = vhost.url_by(link.addr()).replace("guest:guest", "guest:wrong");
    let served = Served::start(&[("AMQP_URL", &url)]).await;
    let again = || async { link.accepted() > CONNECTIONS };
    eventually(SOON, "a second dial", again).await;
    let lines = lines(&served, 0);
    let told = saying(&lines, "cannot connect");
    let [first] = told[..] else { panic!("one line: {told:#?}") };
    assert!(first["message"].as_str().is_some_and(|it| it.contains("ACCESS_REFUSED")), "{first}");
    assert!(lines.len() <= 4, "{lines:#?}");
}

/// Each refusal has another name of the queue in RabbitMQ's text, and was a line; so was the connection that the gateway closed itself.
#[tokio::test]
async fn a_refused_reply_queue_is_told_once_and_no_connection_counts_as_lost() {
    let broker = Broker::shared().await;
    let vhost = broker.vhost("quiet-replies").await;
    broker.add_user("no-replies", "secret").await;
    vhost.permit("no-replies", "^$", ".*", ".*").await;
    let link = Link::to(broker.address()).await;
    let url = vhost.url_by(link.addr()).replace("guest:guest", "no-replies:secret");
    let served = Served::start_ready(&[("AMQP_URL", &url), ("RABBITMQ_REFUSED_DELAY", "100ms")]).await;
    eventually(SOON, "several refusals", || async { link.accepted_named("reply-*") >= 5 }).await;
    let lines = lines(&served, 0);
    assert_eq!(saying(&lines, "cannot declare the reply queue").len(), 1, "{lines:#?}");
    assert!(saying(&lines, "is lost").is_empty() && saying(&lines, "up again").is_empty(), "{lines:#?}");
}
