//! One caller's mistakes, fast requests or early disconnect do not affect another caller.

#![expect(clippy::print_stdout, reason = "the figures of the long forms")]

use std::{
    env,
    time::{Duration, Instant},
};

use lapin::{ExchangeKind, options::ExchangeDeclareOptions, types::FieldTable};

use crate::support::{
    broker::{Broker, Vhost},
    gateway::TestGateway,
    link::{Link, Mode, Way},
    load::{Answer, Answers, Load, prove, publish},
    observer::Observer,
    poll::{eventually, within},
    raw::Raw,
    stage::Stage,
};

const SOON: Duration = Duration::from_secs(10);

fn to_q(_: usize) -> String {
    "amq.default?routing_key=q".to_owned()
}

async fn with_queue<'a>(name: &str, settings: &[(&str, &str)]) -> (Vhost<'a>, Observer, TestGateway) {
    let vhost = Broker::shared().await.vhost(name).await;
    let observer = Observer::connect(&vhost.url).await;
    observer.declare_queue("q").await;
    let gateway = TestGateway::start(&[&[("AMQP_URL", vhost.url.as_str())], settings].concat()).await;
    (vhost, observer, gateway)
}

/// Checks that no message is in flight and that the gateway has the pool's channels in RabbitMQ and no others.
async fn no_channel_is_lost(vhost: &Vhost<'_>, gateway: &TestGateway) {
    let same = || async {
        let (in_use, late) =
            (gateway.observes("publishes:in_flight").await, gateway.observes("publishes:overdue").await);
        let open = gateway.observes("channels:open").await;
        (in_use, late) == (0, 0) && vhost.confirm_channel_count().await.to_string() == open.to_string()
    };
    eventually(SOON, "RabbitMQ has the channels of the pool and no others", same).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_of_exchanges_that_fail_do_not_affect_good_callers() {
    let (vhost, observer, gateway) = with_queue("bad-neighbours", &[]).await;
    let internal = ExchangeDeclareOptions { internal: true, ..ExchangeDeclareOptions::default() };
    #[expect(clippy::disallowed_types, reason = "by try_new, as it must be")]
    let name = lapin::types::ShortString::try_new("internal").unwrap();
    let declare = observer.channel().await;
    declare.exchange_declare(name, ExchangeKind::Fanout, internal, FieldTable::default()).await.unwrap();

    let missing = Load::start(&gateway, "missing", 4, |_| "no.such?routing_key=q".to_owned());
    let forbidden = Load::start(&gateway, "forbidden", 4, |_| "internal?routing_key=q".to_owned());
    let good = Load::of(&gateway, "good", 8, 100, to_q).end().await;
    let (missing, forbidden) = (missing.stop().await, forbidden.stop().await);

    good.assert_all_confirmed();
    good.assert_agree_with(&observer.drain_ids("q").await);
    assert!(
        good.0.iter().all(|answer| answer.body["attempts"] == 1),
        "a publish of a good caller needed a second attempt"
    );
    for (answers, status, problem) in [(&missing, 404, "exchange-not-found"), (&forbidden, 403, "forbidden")]
    {
        assert!(answers.len() > 20, "only {}", answers.len());
        for answer in &answers.0 {
            assert_eq!(
                (answer.status.as_u16(), answer.problem(), answer.outcome()),
                (status, problem, "not_sent")
            );
        }
    }
    drop(declare);
    no_channel_is_lost(&vhost, &gateway).await;
    gateway.stop().await;
}

/// Callers that wait at the same time get the same answer, and no caller gets an old answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_of_a_missing_exchange_are_confirmed_as_soon_as_it_exists() {
    let (_vhost, observer, gateway) = with_queue("comes-late", &[]).await;
    for round in 0..10 {
        let exchange = format!("late-{round}");
        let target = exchange.clone();
        let load = Load::start(&gateway, &exchange, 8, move |_| target.clone());
        eventually(SOON, "the gateway finds that the exchange is missing", || async {
            load.answered() >= 16
        })
        .await;
        observer.declare_exchange(&exchange, ExchangeKind::Fanout).await;
        observer.bind("q", &exchange, "").await;
        let there = Instant::now();
        load.flows(16, SOON).await;
        let answers = load.stop().await;
        let late = answers.0.iter().filter(|answer| answer.sent >= there);
        late.for_each(Answer::assert_confirmed);
        answers.assert_agree_with(&observer.drain_ids("q").await);
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_publish_to_an_exchange_that_was_deleted_is_404_and_other_publishes_are_confirmed() {
    let (_vhost, observer, gateway) = with_queue("deleted", &[]).await;
    observer.declare_queue("theirs").await;
    let load = Load::start(&gateway, "good", 8, to_q);
    for round in 0..10 {
        let exchange = format!("deleted-{round}");
        observer.declare_exchange(&exchange, ExchangeKind::Fanout).await;
        observer.bind("theirs", &exchange, "").await;
        prove(&gateway, &exchange).await;
        publish(&gateway, &exchange, "shares-a-channel").await.assert_confirmed();
        observer.delete_exchange(&exchange).await;
        let answer = publish(&gateway, &exchange, "too-late").await;
        let told = (answer.status.as_u16(), answer.problem(), answer.outcome());
        assert_eq!(told, (404, "exchange-not-found", "not_sent"), "{answer:?}");
        load.flows(8, SOON).await;
    }
    let good = load.stop().await;
    good.assert_all_confirmed();
    good.assert_agree_with(&observer.drain_ids("q").await);
    assert!(!observer.drain_ids("theirs").await.contains(&"too-late".to_owned()));
    gateway.stop().await;
}

/// RabbitMQ cuts its text at 255 bytes, and the rest of the name can look like another name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_caller_gets_404_because_of_a_deleted_exchange_whose_name_begins_like_the_end_of_another() {
    let (_vhost, observer, gateway) = with_queue("cut-name", &[]).await;
    observer.declare_exchange("theirs", ExchangeKind::Fanout).await;
    observer.bind("q", "theirs", "").await;
    observer.declare_queue("lost").await;
    let name = format!("theirs' in vhost '{:x<1$}", "", 237);
    let encoded = name.replace('\'', "%27").replace(' ', "%20");
    let mut answers = Vec::new();
    for round in 0..10 {
        observer.declare_exchange(&name, ExchangeKind::Fanout).await;
        observer.bind("lost", &name, "").await;
        publish(&gateway, &encoded, &format!("proof-{round}")).await.assert_confirmed();
        answers.push(publish(&gateway, "theirs", &format!("before-{round}")).await);
        observer.delete_exchange(&name).await;
        let (theirs, lost) = (format!("theirs-{round}"), format!("lost-{round}"));
        let (theirs, lost) =
            tokio::join!(publish(&gateway, "theirs", &theirs), publish(&gateway, &encoded, &lost));
        assert!(["not_sent", "unknown"].contains(&lost.outcome()), "{lost:?}");
        answers.push(theirs);
    }
    let answers = Answers(answers);
    answers.assert_all_confirmed();
    answers.assert_agree_with(&observer.drain_ids("q").await);
    gateway.stop().await;
}

/// They get the earlier answer, and callers with a longer deadline do not wait for them.
#[tokio::test]
async fn callers_of_a_missing_exchange_with_short_deadlines_do_not_delay_other_callers() {
    let (_vhost, _observer, gateway) = with_queue("no-time", &[]).await;
    let (mut sent, mut told) = (0, 0);
    // A busy machine may take longer than the deadline to open a channel.
    within(SOON * 6, "some callers get the answer", async {
        while sent < 200 || told <= 20 {
            let answer = publish(&gateway, "no.such?timeout=5ms", &sent.to_string()).await;
            (sent, told) = (sent + 1, told + usize::from(answer.problem() == "exchange-not-found"));
        }
    })
    .await;
    let patient = publish(&gateway, "no.such", "patient").await;
    assert_eq!(patient.problem(), "exchange-not-found", "{patient:?}");
    assert!(patient.took() < Duration::from_secs(1), "{patient:?}");
    gateway.stop().await;
}

/// Only RabbitMQ knows its limit, and it closes the channel when a body is larger.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_rabbitmq_finds_too_large_do_not_affect_good_callers() {
    let broker = Broker::own().await;
    // RabbitMQ 3.10 reads the first setting when a channel opens, RabbitMQ 4.x the second.
    broker.eval("application:set_env(rabbit, max_message_size, 1000)").await;
    broker.eval("persistent_term:put(max_message_size, 1000)").await;
    let observer = Observer::connect(&broker.url()).await;
    observer.declare_queue("q").await;
    let gateway = TestGateway::start(&[("AMQP_URL", &broker.url())]).await;
    let large = async {
        for _ in 0..30 {
            let answer = gateway.publish("amq.default", "q", vec![0; 200_000]).await;
            let answer = Answer::of("large", Instant::now(), answer).await;
            let told = (answer.status.as_u16(), answer.problem(), answer.outcome());
            assert_eq!(told, (413, "payload-too-large", "not_sent"), "{answer:?}");
        }
    };
    let good = Load::of(&gateway, "good", 8, 60, to_q);
    let ((), good) = tokio::join!(large, good.end());
    good.assert_all_confirmed();
    good.assert_agree_with(&observer.drain_ids("q").await);
    assert!(
        good.0.iter().all(|answer| answer.body["attempts"] == 1),
        "a publish of a good caller needed a second attempt"
    );
    gateway.stop().await;
}

/// RabbitMQ closes the connection over a content header that is larger than a frame. In earlier versions the other callers on the
/// connection got 504.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_that_do_not_fit_a_frame_of_rabbitmq_are_431_and_do_not_affect_other_callers() {
    let broker = Broker::own().await;
    broker.eval("application:set_env(rabbit, frame_max, 8192)").await;
    let observer = Observer::connect(&broker.url()).await;
    observer.declare_queue("q").await;
    let gateway = TestGateway::start(&[("AMQP_URL", &broker.url())]).await;
    let headers: serde_json::Map<_, _> =
        (0..12).map(|n| (format!("h{n}"), "x".repeat(1_000).into())).collect();
    let envelope = serde_json::json!({"routing_key": "q", "headers": headers, "body": 1}).to_string();
    let arguments = serde_json::json!({"arguments": {"x-wide": "x".repeat(12_000)}}).to_string();
    let wide = async {
        for _ in 0..20 {
            for (request, body) in
                [(gateway.post("/publish/amq.default"), &envelope), (gateway.put("/queues/wide"), &arguments)]
            {
                let media_type =
                    if *body == envelope { "application/vnd.amqp.message+json" } else { "application/json" };
                let answer = request.header("content-type", media_type).body(body.clone()).send().await;
                let answer = Answer::of("wide", Instant::now(), answer.unwrap()).await;
                let told = (answer.status.as_u16(), answer.problem());
                assert_eq!(told, (431, "headers-too-large"), "{answer:?}");
                assert_eq!(answer.body["limit"], 8192, "{answer:?}");
            }
        }
    };
    let good = Load::of(&gateway, "good", 8, 60, to_q);
    let ((), good) = tokio::join!(wide, good.end());
    good.assert_all_confirmed();
    good.assert_agree_with(&observer.drain_ids("q").await);
    assert!(good.0.iter().all(|answer| answer.body["attempts"] == 1), "a connection was lost");
    gateway.stop().await;
}

/// The largest headers that the settings allow still fit in one frame. RabbitMQ would close the connection otherwise.
#[tokio::test]
async fn the_largest_allowed_headers_do_not_affect_other_callers() {
    let most = [("GATEWAY_MAX_AMQP_HEADER_BYTES", "24KiB"), ("GATEWAY_MAX_AMQP_HEADERS", "200")];
    let (_vhost, observer, gateway) = with_queue("headers", &most).await;
    let headers: serde_json::Map<_, _> =
        (0..23).map(|n| (format!("h{n}"), "x".repeat(1_000).into())).collect();
    let envelope = serde_json::json!({"routing_key": "q", "headers": headers, "body": 1});
    let request =
        gateway.post("/publish/amq.default").header("content-type", "application/vnd.amqp.message+json");
    let answer = request.body(envelope.to_string()).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    assert_eq!(observer.count("q").await, Some(1));
    gateway.stop().await;
}

/// `GATEWAY_TEST_REQUESTS=32000` in release mode is the long form.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_caller_gets_the_answer_of_another_when_half_of_the_messages_are_unroutable() {
    let requests = env::var("GATEWAY_TEST_REQUESTS").map_or(4_000, |count| count.parse().expect("a number"));
    let (vhost, observer, gateway) = with_queue("half", &[]).await;
    let half = |number: usize| format!("amq.default?routing_key={}", ["q", "nowhere"][number % 2]);
    let start = Instant::now();
    let answers = Load::of(&gateway, "half", 64, requests / 64, half).end().await;
    let took = start.elapsed();
    let mut wrong = Vec::new();
    for answer in &answers.0 {
        let number: usize = answer.id.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap();
        let expected = if number.is_multiple_of(2) { (200, "confirmed") } else { (422, "unroutable") };
        if (answer.status.as_u16(), answer.outcome()) != expected
            || answer.body["message_id"] != answer.id.as_str()
        {
            wrong.push(answer);
        }
    }
    println!("{} requests in {took:?}, {} wrong", answers.len(), wrong.len());
    assert!(
        wrong.is_empty(),
        "{} of {} are answers about another caller's message, the first {:?}",
        wrong.len(),
        answers.len(),
        wrong[0]
    );
    answers.assert_agree_with(&observer.drain_ids("q").await);
    no_channel_is_lost(&vhost, &gateway).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishes_of_callers_that_disconnect_are_finished_and_leave_no_channel_open() {
    let (vhost, observer, gateway) = with_queue("hang-up", &[]).await;
    let address = gateway.address();
    let leave = |id: String| async move {
        let mut raw = Raw::connect(address).await;
        let target = "/publish/amq.default?routing_key=q";
        let head = format!("POST {target} HTTP/1.1\r\nHost: {address}\r\nX-Amqp-Message-Id: {id}\r\n");
        raw.send(format!("{head}Content-Type: text/plain\r\nContent-Length: 1\r\n\r\nx")).await;
        raw
    };
    let ids: Vec<_> = (0..100).map(|number| format!("left-{number}")).collect();
    for (number, id) in ids.iter().enumerate() {
        let raw = leave(id.clone()).await;
        if number.is_multiple_of(2) { raw.reset() } else { drop(raw) }
    }
    let good = Load::of(&gateway, "stay", 8, 20, to_q).end().await;
    good.assert_all_confirmed();
    no_channel_is_lost(&vhost, &gateway).await;
    // A caller that left before the gateway read its request published nothing. No message is there twice.
    let there = observer.drain_ids("q").await;
    for id in &ids {
        assert!(there.iter().filter(|other| *other == id).count() <= 1, "{id} is there twice");
    }
    gateway.stop().await;
}

/// The gateway's answer is delayed until the callers have left.
#[tokio::test]
async fn the_message_of_a_caller_that_disconnects_after_its_last_byte_is_published() {
    const CALLERS: u32 = 50;
    let (_vhost, observer, gateway) = with_queue("hang-up-at-once", &[]).await;
    for _ in 0..CALLERS {
        let mut raw = Raw::connect(gateway.address()).await;
        let head = "POST /publish/amq.default?routing_key=q HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx";
        raw.send(head).await;
        drop(raw);
    }
    let all = || async { observer.count("q").await == Some(CALLERS) };
    eventually(SOON, "every message is in the queue", all).await;
}

#[tokio::test]
async fn publish_in_flight_is_finished_when_its_caller_disconnects() {
    let broker = Broker::shared().await;
    let vhost = broker.vhost("in-flight").await;
    let observer = Observer::connect(&vhost.url).await;
    observer.declare_queue("q").await;
    let link = Link::to(broker.address()).await;
    let settings = [("AMQP_URL", &*vhost.url_by(link.addr()))];
    let gateway = TestGateway::start(&settings).await;
    Load::of(&gateway, "warm", 8, 5, to_q).end().await.assert_all_confirmed();
    observer.drain("q").await;
    link.set(Mode::Stall(Way::ToBroker));
    let leavers = Load::start(&gateway, "gone", 8, to_q);
    let all_wait = || async { gateway.observes("publishes:in_flight").await == 8 };
    eventually(SOON, "eight publishes are in flight", all_wait).await;
    drop(leavers);
    link.mend();
    eventually(SOON, "all eight messages are in the queue", || async {
        observer.count("q").await == Some(8)
    })
    .await;
    no_channel_is_lost(&vhost, &gateway).await;
    publish(&gateway, "amq.default?routing_key=q", "next").await.assert_confirmed();
    assert_eq!(observer.count("q").await, Some(9));
    gateway.stop().await;
}

#[tokio::test]
async fn a_publish_that_gets_no_permit_before_its_deadline_is_503_overloaded() {
    let broker = Broker::shared().await;
    let vhost = broker.vhost("full").await;
    let observer = Observer::connect(&vhost.url).await;
    observer.declare_queue("q").await;
    let link = Link::to(broker.address()).await;
    let settings = [
        ("AMQP_URL", &*vhost.url_by(link.addr())),
        ("RABBITMQ_POOL_SIZE", "1"),
        ("RABBITMQ_CHANNEL_WINDOW", "1"),
    ];
    let gateway = TestGateway::start(&settings).await;
    prove(&gateway, "amq.default?routing_key=q").await;
    observer.drain("q").await;
    publish(&gateway, "amq.default?routing_key=q", "warm").await.assert_confirmed();
    link.set(Mode::Stall(Way::ToBroker));
    let long = publish(&gateway, "amq.default?routing_key=q&timeout=20s", "long");
    let short = async {
        let taken = || async { gateway.observes("publishes:in_flight").await == 1 };
        eventually(SOON, "the only permit is in use", taken).await;
        let answer = publish(&gateway, "amq.default?routing_key=q&timeout=1s", "short").await;
        answer.assert_refused("overloaded");
        assert!((1.0..2.0).contains(&answer.took().as_secs_f64()), "{answer:?}");
        link.mend();
    };
    let (long, ()) = tokio::join!(long, short);
    long.assert_confirmed();
    assert_eq!(observer.drain_ids("q").await, ["warm", "long"]);
    gateway.stop().await;
}

/// Topic permissions: a confirmed message shows that its exchange is good, but says nothing about another routing key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_with_a_forbidden_routing_key_do_not_affect_good_callers_of_the_same_exchange() {
    let stage = Stage::with_queue("topic").await;
    stage.observer.declare_exchange("events", ExchangeKind::Topic).await;
    stage.observer.bind("q", "events", "#").await;
    let gateway = stage.gateway_as("topical", ".*", ".*", ".*").await;
    stage.vhost.permit_topic("topical", "events", "^open$").await;
    let open = |_: usize| "events?routing_key=open".to_owned();
    let secret = |_: usize| "events?routing_key=secret".to_owned();
    publish(&gateway, &open(0), "first").await.assert_confirmed();
    // A channel that other messages may share gets RabbitMQ's first refusal.
    let first = publish(&gateway, &secret(0), "refused").await;
    assert_eq!((first.problem(), first.outcome()), ("forbidden", "not_sent"), "{first:?}");

    let forbidden = Load::start(&gateway, "forbidden", 2, secret);
    let good = Load::of(&gateway, "good", 8, 50, open).end().await;
    let forbidden = forbidden.stop().await;
    good.assert_all_confirmed();
    assert!(good.0.iter().all(|answer| !answer.is_duplicate_possible()));
    assert!(forbidden.0.iter().all(|answer| answer.problem() == "forbidden"));
    assert_eq!(stage.observer.drain_ids("q").await.len(), 1 + 400);
    gateway.stop().await;
}

/// RabbitMQ 4.0 closes the connection instead of the channel, since its text for the missing exchange is too long; 3.10 cuts the
/// text.
#[tokio::test]
async fn missing_exchange_with_a_long_name_in_another_alphabet_closes_no_connection_of_others() {
    let broker = Broker::shared().await;
    let vhost = broker.vhost("alphabets").await;
    let link = Link::to(broker.address()).await;
    let gateway = TestGateway::start(&[("AMQP_URL", &vhost.url_by(link.addr()))]).await;
    let dials = || ["publish-*", "isolated-*"].map(|name| link.accepted_named(name));
    eventually(SOON, "all roles are connected", || async { dials() == [2, 2] }).await;
    let exchange = "%C3%BC".repeat(120);
    for _ in 0..3 {
        let answer = publish(&gateway, &format!("{exchange}?timeout=5s"), "lost").await;
        assert!(!answer.is_confirmed(), "{answer:?}");
        println!("{} {}", answer.status, answer.problem());
    }
    assert_eq!(dials(), [2, 2], "no connection that others use was closed");
    assert!(link.accepted_named("slow-*") >= 1, "the publishes had a connection of their own");
    gateway.stop().await;
}
