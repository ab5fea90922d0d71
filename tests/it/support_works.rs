//! The tests' own tools work as they promise. A faulty tool could make every other test report a false result.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests too")]
#![expect(clippy::print_stdout, reason = "a child process prints its address for its parent")]

use std::{
    io::ErrorKind,
    pin::pin,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use lapin::{BasicProperties, ExchangeKind};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::support::{
    book::{Book, Lies, Outcome},
    broker::Broker,
    figures::{Figures, Window, longest_gap},
    link::{Link, Mode, Way},
    load::Answer,
    observer::Observer,
    pika,
    poll::{eventually, within},
    raw::Raw,
};

/// Deadline of waits that test no time limit of the gateway.
const SOON: Duration = Duration::from_secs(30);

/// Short enough for a test, long enough for a byte to arrive over loopback.
const QUIET: Duration = Duration::from_millis(100);

/// A proxy with its two ends.
async fn wire() -> (Link, TcpStream, TcpStream) {
    let broker = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let link = Link::to(broker.local_addr().unwrap()).await;
    let near = TcpStream::connect(link.addr()).await.unwrap();
    let (far, _) = within(SOON, "the link connects", broker.accept()).await.unwrap();
    (link, near, far)
}

async fn carries(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) -> bool {
    arrive_within(SOON, from, to, bytes).await
}

async fn holds_back(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) -> bool {
    !arrive_within(QUIET, from, to, bytes).await
}

async fn arrive_within(deadline: Duration, from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) -> bool {
    from.write_all(bytes).await.unwrap();
    let mut seen = vec![0; bytes.len()];
    let read = tokio::time::timeout(deadline, to.read_exact(&mut seen)).await;
    matches!(read, Ok(Ok(_))) && seen == bytes
}

async fn sees_reset(stream: &mut TcpStream) -> bool {
    let read = within(SOON, "the end of the stream", stream.read(&mut [0; 8])).await;
    read.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

#[tokio::test]
async fn link_forwards_bytes_and_counts_connections() {
    let (link, mut near, mut far) = wire().await;
    assert!(carries(&mut near, &mut far, b"there").await);
    assert!(carries(&mut far, &mut near, b"back").await);
    assert_eq!((link.accepted(), link.open()), (1, 1));
    drop((near, far));
    eventually(SOON, "the link forgets the connection", || async { link.open() == 0 }).await;
}

#[tokio::test]
async fn link_reset_closes_both_ends() {
    let (link, mut near, mut far) = wire().await;
    link.cut();
    assert!(sees_reset(&mut near).await);
    assert!(sees_reset(&mut far).await);
}

#[tokio::test]
async fn link_black_hole_drops_bytes_of_one_direction_only() {
    let (link, mut near, mut far) = wire().await;
    link.set(Mode::BlackHole(Way::ToBroker));
    assert!(holds_back(&mut near, &mut far, b"lost").await);
    assert!(carries(&mut far, &mut near, b"back").await);
    link.mend();
    assert!(carries(&mut near, &mut far, b"there").await);
}

#[tokio::test]
async fn link_stall_keeps_the_bytes_until_it_ends() {
    let (link, mut near, mut far) = wire().await;
    link.set(Mode::Stall(Way::Both));
    assert!(holds_back(&mut near, &mut far, b"kept").await);
    link.mend();
    let mut seen = [0; 4];
    within(SOON, "the kept bytes", far.read_exact(&mut seen)).await.unwrap();
    assert_eq!(&seen, b"kept");
}

#[tokio::test]
async fn link_half_close_ends_one_direction_only() {
    let (link, mut near, mut far) = wire().await;
    link.set(Mode::HalfClose(Way::ToBroker));
    assert_eq!(within(SOON, "the end", far.read(&mut [0; 8])).await.unwrap(), 0);
    assert!(carries(&mut far, &mut near, b"back").await);
}

#[tokio::test]
async fn link_delays_bytes_and_splits_packets() {
    let (link, mut near, mut far) = wire().await;
    link.set(Mode::Delay(QUIET * 3));
    let start = Instant::now();
    near.write_all(b"x").await.unwrap();
    within(SOON, "the delayed byte", far.read_u8()).await.unwrap();
    assert!(start.elapsed() >= QUIET * 3);
    link.set(Mode::Slice);
    assert!(carries(&mut near, &mut far, b"byte by byte").await);
}

#[tokio::test]
async fn link_refuses_connections_and_accepts_them_again() {
    let (link, ..) = wire().await;
    link.set(Mode::Refuse);
    let refused = || async { TcpStream::connect(link.addr()).await.is_err() };
    eventually(SOON, "the link refuses", refused).await;
    link.mend();
    let accepted = || async { TcpStream::connect(link.addr()).await.is_ok() };
    eventually(SOON, "the link accepts", accepted).await;
}

#[tokio::test]
async fn link_silence_accepts_connections_and_sends_nothing_until_it_resets_them() {
    let link = Link::to(Broker::shared().await.address()).await;
    link.set(Mode::Silence);
    let mut client = TcpStream::connect(link.addr()).await.unwrap();
    client.write_all(b"AMQP\0\0\x09\x01").await.unwrap();
    assert!(tokio::time::timeout(QUIET, client.read_u8()).await.is_err());
    link.cut();
    assert!(sees_reset(&mut client).await);
}

/// The general mode, and the mode of one name; the connection has reported the name "observer".
#[tokio::test]
async fn link_breaks_only_connections_of_the_given_name() {
    let link = Link::to(Broker::shared().await.address()).await;
    let url = format!("amqp://guest:guest@{}/", link.addr());
    let one = Observer::connect(&url).await;
    assert_eq!(
        (link.names(), link.open_named("obs*"), link.open_named("publish-0")),
        (vec!["observer".into()], 1, 0)
    );
    link.set_named("publish-0", Mode::BlackHole(Way::Both));
    link.cut_named("publish-0");
    assert_eq!(one.count("missing").await, None);

    link.set_named("observer", Mode::BlackHole(Way::Both));
    let mut count = pin!(one.count("missing"));
    assert!(tokio::time::timeout(QUIET, &mut count).await.is_err());
    assert!(one.is_connected());
    let mut raw = TcpStream::connect(link.addr()).await.unwrap();
    raw.write_all(b"AMQP\0\0\x09\x01").await.unwrap();
    assert_eq!(within(SOON, "another connection is answered", raw.read_u8()).await.unwrap(), 1);

    link.mend_named("observer");
    link.cut_named("observer");
    eventually(SOON, "the connection is reset", || async { !one.is_connected() }).await;
    link.set_named("observer", Mode::Refuse);
    assert!(Observer::try_connect(&url).await.is_err(), "the link resets a connection by its name");
    link.mend();
    let lost = Observer::connect(&url).await;
    link.lose_named("observer");
    let mut count = pin!(lost.count("missing"));
    assert!(tokio::time::timeout(QUIET, &mut count).await.is_err());
    assert_eq!(Observer::connect(&url).await.count("missing").await, None);
    assert_eq!((link.accepted_named("observer"), lost.is_connected()), (4, true));
}

#[tokio::test]
async fn suspended_queue_answers_nothing_until_it_is_resumed_and_other_queues_answer() {
    let vhost = Broker::shared().await.vhost("suspended").await;
    let observer = Observer::connect(&vhost.url).await;
    observer.declare_queue("stuck").await;
    observer.declare_queue("well").await;
    for by_drop in [false, true] {
        let stuck = vhost.suspend_queue("stuck").await;
        let mut publish = pin!(observer.publish("", "stuck", b"held", BasicProperties::default()));
        assert!(tokio::time::timeout(QUIET * 3, &mut publish).await.is_err());
        observer.publish("", "well", b"passes", BasicProperties::default()).await;
        if by_drop {
            drop(stuck);
        } else {
            stuck.resume().await;
        }
        within(SOON, "the held publish is confirmed", publish).await;
    }
    assert_eq!((observer.take_ids("stuck").await.len(), observer.take_ids("well").await.len()), (2, 2));
    observer.publish("", "well", b"stays", BasicProperties::default()).await;
    assert_eq!(observer.count("well").await, Some(1));
}

#[test]
fn figures_count_only_the_answers_in_the_window() {
    let start = Instant::now();
    let at = |milliseconds| start + Duration::from_millis(milliseconds);
    let answer = |sent, came, outcome: &str| Answer {
        id: String::new(),
        status: reqwest::StatusCode::OK,
        has_retry_after: false,
        text: String::new(),
        body: serde_json::json!({ "outcome": outcome }),
        sent: at(sent),
        at: at(came),
    };
    let mut answers: Vec<_> =
        (1..=99).map(|number| answer(number * 10, number * 10 + 2, "confirmed")).collect();
    answers.push(answer(0, 995, "confirmed"));
    answers.extend([answer(0, 500, "unknown"), answer(2_000, 2_500, "confirmed")]);
    let figures = Figures::of(&answers, Window { from: at(0), to: at(1_000) });
    assert_eq!((figures.confirmed, figures.others, figures.p99), (100, 1, Duration::from_millis(2)));
    assert!((figures.rate - 100.0).abs() < 0.001, "{figures}");
    let gap = longest_gap(&answers, Window { from: at(0), to: at(3_000) });
    assert_eq!(gap, Duration::from_millis(1_505));
    assert_eq!(longest_gap(&[], Window { from: at(0), to: at(3_000) }), Duration::from_secs(3));
}

#[tokio::test]
async fn observer_reads_the_messages_that_were_routed_through_a_link() {
    let vhost = Broker::shared().await.vhost("drain").await;
    let link = Link::to(Broker::shared().await.address()).await;
    let observer = Observer::connect(&vhost.url_by(link.addr())).await;
    observer.declare_exchange("events", ExchangeKind::Topic).await;
    observer.declare_queue("all").await;
    observer.bind("all", "events", "#").await;
    for id in ["a", "b"] {
        let properties = BasicProperties::default().with_message_id(id.into());
        observer.publish("events", "some.key", id.as_bytes(), properties).await;
    }
    assert_eq!(observer.count("all").await, Some(2));
    assert_eq!(observer.drain_ids("all").await, ["a", "b"]);
    assert_eq!(observer.count("missing").await, None);
    assert_eq!(link.accepted(), 1);
}

#[tokio::test]
async fn vhosts_are_separate_and_their_connections_are_closed_separately() {
    let broker = Broker::shared().await;
    let (one, other) = (broker.vhost("one").await, broker.vhost("other").await);
    let observers = (Observer::connect(&one.url).await, Observer::connect(&other.url).await);
    observers.0.declare_queue("q").await;
    assert_eq!(observers.1.count("q").await, None);
    one.close_connections().await;
    let only_other = || async { one.connection_count().await == 0 && other.connection_count().await == 1 };
    eventually(SOON, "one connection is closed", only_other).await;
}

#[tokio::test]
async fn users_have_only_the_permissions_that_the_test_gave() {
    let broker = Broker::shared().await;
    let vhost = broker.vhost("users").await;
    broker.add_user("reader", "secret").await;
    vhost.permit("reader", "", "", ".*").await;
    Observer::connect(&vhost.url).await.declare_queue("q").await;
    let observer = Observer::connect(&vhost.url_as("reader", "secret")).await;
    assert_eq!(observer.count("q").await, Some(0));
    assert!(broker.ctl(&["list_users"]).await.contains("reader"));
}

#[tokio::test]
async fn pika_reads_the_message_that_the_observer_published() {
    let vhost = Broker::shared().await.vhost("pika").await;
    let observer = Observer::connect(&vhost.url).await;
    observer.declare_queue("q").await;
    observer.publish("", "q", b"hello", BasicProperties::default()).await;
    let code = "import os, pika\n\
                channel = pika.BlockingConnection(pika.URLParameters(os.environ['AMQP_URL'])).channel()\n\
                print(channel.basic_get('q', auto_ack=True)[2].decode())";
    assert_eq!(pika::run(&vhost.url, code).await, "hello\n");
}

#[tokio::test]
async fn own_rabbitmq_keeps_its_messages_after_kill_and_restart() {
    let broker = Broker::own().await;
    let observer = Observer::connect(&broker.url()).await;
    observer.declare_queue("kept").await;
    let persistent = BasicProperties::default().with_delivery_mode(2);
    observer.publish("", "kept", b"1", persistent).await;
    broker.sync_topology().await;
    broker.kill().await;
    assert!(TcpStream::connect(broker.address()).await.is_err());
    broker.start().await;
    assert_eq!(Observer::connect(&broker.url()).await.count("kept").await, Some(1));
    broker.restart().await;
    assert_eq!(Observer::connect(&broker.url()).await.count("kept").await, Some(1));
    broker.give_back().await;
}

#[tokio::test]
async fn own_rabbitmq_can_be_paused_stopped_blocked_and_can_close_connections() {
    let broker = Broker::own().await;
    broker.pause().await;
    let hello = TcpStream::connect(broker.address());
    let mut paused = within(SOON, "the kernel still accepts", hello).await.unwrap();
    paused.write_all(b"AMQP\0\0\x09\x01").await.unwrap();
    assert!(tokio::time::timeout(QUIET, paused.read_u8()).await.is_err());
    broker.resume().await;
    assert_eq!(within(SOON, "the answer", paused.read_u8()).await.unwrap(), 1);

    broker.stop_app().await;
    assert!(TcpStream::connect(broker.address()).await.is_err());
    broker.start_app().await;

    let observer = Observer::connect(&broker.url()).await;
    observer.declare_queue("q").await;
    broker.alarm_on().await;
    let mut publish = pin!(observer.publish("", "q", b"held", BasicProperties::default()));
    assert!(tokio::time::timeout(QUIET * 3, &mut publish).await.is_err());
    broker.alarm_off().await;
    within(SOON, "the held publish is confirmed", publish).await;
    observer.get_one("q", SOON).await;

    broker.close_all_connections("enough").await;
    let closed = || async { !observer.is_connected() };
    eventually(SOON, "the observer is disconnected", closed).await;
    broker.give_back().await;
}

#[tokio::test]
async fn own_rabbitmq_that_a_test_gives_back_is_empty_for_the_next_test() {
    let broker = Broker::own().await;
    let observer = Observer::connect(&broker.url()).await;
    observer.declare_queue("left").await;
    broker.give_back().await;
    eventually(SOON, "the observer is disconnected", || async { !observer.is_connected() }).await;
    let next = Broker::own().await;
    assert_eq!(Observer::connect(&next.url()).await.count("left").await, None);
    next.give_back().await;
}

#[tokio::test]
async fn raw_reads_lengths_chunks_and_whole_streams() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let answers = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi\
                   HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n\
                   HTTP/1.1 400 Bad\r\n\r\nrest";
    tokio::spawn(async move {
        let (mut client, _) = server.accept().await.unwrap();
        client.write_all(answers.as_bytes()).await.unwrap();
    });
    let mut raw = Raw::connect(address).await;
    let mut read = Vec::new();
    for _ in 0..3 {
        let response = raw.response(SOON).await;
        read.push((response.status, response.text()));
    }
    assert_eq!(read, [(200, "hi".into()), (503, "abcde".into()), (400, "rest".into())]);
}

#[test]
fn book_reports_each_kind_of_false_answer() {
    let book = Book::default();
    let ids = |ids: &[&str]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    book.note("kept", Outcome::Confirmed);
    book.note("lost", Outcome::Accepted);
    book.note("ghost", Outcome::NotSent);
    book.note("absent", Outcome::Unroutable);
    book.note("unrefused", Outcome::Rejected);
    book.note("elsewhere", Outcome::Rejected);
    book.note("either", Outcome::Unknown);
    let lies = book.compare(&ids(&["kept", "ghost", "elsewhere", "stranger"]), &ids(&["unrefused"]));
    let expected = Lies {
        lost: ids(&["lost"]),
        ghosts: ids(&["ghost"]),
        unrefused: ids(&["unrefused"]),
        strangers: ids(&["stranger"]),
    };
    assert_eq!(lies, expected);
}

/// Run by the next test in a process of its own.
#[tokio::test]
async fn watchdog_survivor() {
    if std::env::var_os("WATCHDOG_SURVIVOR").is_some() {
        println!("node at {}", Broker::shared().await.address());
        std::process::abort();
    }
}

#[tokio::test]
async fn shared_rabbitmq_ends_with_its_test_process_even_when_the_process_aborts() {
    let child = tokio::task::spawn_blocking(|| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["support_works::watchdog_survivor", "--exact", "--nocapture"]);
        command.env("WATCHDOG_SURVIVOR", "1").stderr(Stdio::null()).output().unwrap()
    });
    let output = child.await.unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let address = text.split("node at ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
    let gone = || async { TcpStream::connect(address).await.is_err() };
    eventually(SOON, "the abandoned node ends", gone).await;
}
