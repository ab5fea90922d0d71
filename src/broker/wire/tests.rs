//! The router between a socket, lapin and owners. The tests play all three.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, sleep, timeout};

use super::frame::{BODY, CHANNEL_CLOSE, CHANNEL_CLOSE_OK, END_MARK, HEADER, HEARTBEAT, METHOD, push_head};
use super::owner::Close;
use super::{BASIC_DELIVER, Batch, End, Malformed, Owner, Router, Step, start};

const FRAME_LIMIT: usize = 8 * 1024;
const SOON: Duration = Duration::from_secs(5);

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    push_head(&mut frame, kind, channel, payload.len());
    frame.extend_from_slice(payload);
    frame.push(END_MARK);
    frame
}

fn deliver(channel: u16) -> Vec<u8> {
    frame(METHOD, channel, &[&BASIC_DELIVER[..], b"arguments"].concat())
}

fn channel_close(channel: u16) -> Vec<u8> {
    let reason = b"NOT_FOUND - no exchange";
    let length = [u8::try_from(reason.len()).expect("short")];
    let payload = [&CHANNEL_CLOSE[..], &404_u16.to_be_bytes(), &length, reason, &[0; 4]].concat();
    frame(METHOD, channel, &payload)
}

/// An owner that records its calls, and writes the frames that the test gives it.
#[derive(Default)]
struct Recorder {
    calls: Mutex<Vec<Call>>,
    frames: Mutex<VecDeque<(Vec<u8>, Step)>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Call {
    Method(Vec<u8>),
    Header(Vec<u8>),
    Body(Vec<u8>),
    Blocked,
    Closed(End),
}

impl Recorder {
    fn note(&self, call: Call) {
        self.calls.lock().expect("no panic").push(call);
    }

    fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("no panic").clone()
    }

    async fn wait_for(&self, what: impl Fn(&[Call]) -> bool) {
        let found = async {
            while !what(&self.calls()) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(SOON, found).await.unwrap_or_else(|_| panic!("{:?}", self.calls()));
    }

    async fn wait_for_end(&self) -> End {
        self.wait_for(|calls| matches!(calls.last(), Some(Call::Closed(_)))).await;
        match self.calls().pop() {
            Some(Call::Closed(end)) => end,
            other => panic!("{other:?}"),
        }
    }
}

impl Owner for Recorder {
    fn method(&self, frame: &mut [u8]) -> Result<(), Malformed> {
        self.note(Call::Method(frame.to_vec()));
        Ok(())
    }

    fn header(&self, frame: &[u8]) -> Result<(), Malformed> {
        self.note(Call::Header(frame.to_vec()));
        Ok(())
    }

    fn body(&self, payload: &[u8]) -> Result<(), Malformed> {
        self.note(Call::Body(payload.to_vec()));
        Ok(())
    }

    fn write(&self, batch: &mut Batch) -> Step {
        let Some((bytes, step)) = self.frames.lock().expect("no panic").pop_front() else {
            return Step::Done;
        };
        batch.buffer().extend_from_slice(&bytes);
        step
    }

    fn blocked(&self) {
        self.note(Call::Blocked);
    }

    fn closed(&self, end: &End) {
        self.note(Call::Closed(end.clone()));
    }
}

/// A router with a socket to RabbitMQ, a stream to lapin and an owner of channel 1.
struct Parts {
    wire: Router,
    rabbitmq: DuplexStream,
    lapin: DuplexStream,
    owner: Arc<Recorder>,
}

fn parts() -> Parts {
    let (rabbitmq, socket) = duplex(64 * 1024);
    let (wire, lapin) = start(socket, FRAME_LIMIT);
    let owner = Arc::<Recorder>::default();
    wire.register(1, Arc::clone(&owner) as _);
    Parts { wire, rabbitmq, lapin, owner }
}

async fn expect(stream: &mut DuplexStream, bytes: &[u8]) {
    let mut read = vec![0; bytes.len()];
    timeout(SOON, stream.read_exact(&mut read)).await.expect("in time").expect("bytes");
    assert_eq!(read, bytes);
}

async fn expect_end(stream: &mut DuplexStream) {
    let mut rest = Vec::new();
    timeout(SOON, stream.read_to_end(&mut rest)).await.expect("in time").expect("an end");
    assert_eq!(rest, [0; 0]);
}

async fn send(stream: &mut DuplexStream, bytes: &[u8]) {
    stream.write_all(bytes).await.expect("the router reads");
}

#[tokio::test]
async fn frames_of_class_basic_go_to_the_owner_and_all_others_to_lapin() {
    let Parts { wire: _wire, mut rabbitmq, mut lapin, owner } = parts();
    let header = frame(HEADER, 1, &[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0]);
    let body = frame(BODY, 1, b"ab");
    let all = [deliver(1), header.clone(), body, deliver(2), channel_close(1), deliver(1)].concat();
    // Cut at an arbitrary byte.
    for piece in all.chunks(5) {
        send(&mut rabbitmq, piece).await;
    }
    expect(&mut lapin, &[deliver(2), channel_close(1), deliver(1)].concat()).await;
    let close = Close { code: 404, text: "NOT_FOUND - no exchange".to_owned() };
    let body = Call::Body(b"ab".to_vec());
    let end = Call::Closed(End::ChannelClosed(close));
    assert_eq!(owner.calls(), [Call::Method(deliver(1)), Call::Header(header), body, end]);
}

#[tokio::test]
async fn a_number_has_its_owner_until_close_ok_and_then_a_new_one() {
    let Parts { wire, mut rabbitmq, mut lapin, owner } = parts();
    let close_ok = frame(METHOD, 1, &CHANNEL_CLOSE_OK);
    send(&mut rabbitmq, &[deliver(1), close_ok.clone(), deliver(1)].concat()).await;
    expect(&mut lapin, &[close_ok, deliver(1)].concat()).await;
    assert_eq!(owner.calls(), [Call::Method(deliver(1)), Call::Closed(End::CloseOk)]);
    let second = Arc::<Recorder>::default();
    wire.register(1, Arc::clone(&second) as _);
    send(&mut rabbitmq, &deliver(1)).await;
    second.wait_for(|calls| calls == [Call::Method(deliver(1))]).await;
}

#[tokio::test]
async fn a_frame_larger_than_agreed_ends_the_connection_before_its_bytes_are_kept() {
    let Parts { wire, mut rabbitmq, mut lapin, owner } = parts();
    let mut head = Vec::new();
    push_head(&mut head, BODY, 1, 1 << 30);
    send(&mut rabbitmq, &head).await;
    expect_end(&mut lapin).await;
    assert_eq!(owner.wait_for_end().await, End::ConnectionLost);
    assert!(wire.end_reason().is_some_and(|reason| reason.contains("1073741832 bytes")));
    expect_end(&mut rabbitmq).await;
}

#[tokio::test]
async fn the_version_that_rabbitmq_wants_in_place_of_a_first_frame_goes_to_lapin() {
    let Parts { wire: _wire, mut rabbitmq, mut lapin, .. } = parts();
    send(&mut rabbitmq, b"AMQP\0\0\x09\x01").await;
    expect(&mut lapin, b"AMQP\0\0\x09\x01").await;
}

#[tokio::test(start_paused = true)]
async fn lapin_is_handed_heartbeats_while_only_owners_get_frames() {
    let Parts { wire: _wire, mut rabbitmq, mut lapin, .. } = parts();
    let read_heartbeats = async {
        let mut bytes = Vec::new();
        let mut buffer = [0; 1024];
        let until = Instant::now() + Duration::from_secs(30);
        while let Ok(count) = tokio::time::timeout_at(until, lapin.read(&mut buffer)).await {
            bytes.extend_from_slice(&buffer[..count.expect("the connection lives")]);
        }
        bytes
    };
    let traffic = async {
        for _ in 0..200 {
            send(&mut rabbitmq, &deliver(1)).await;
            sleep(Duration::from_millis(100)).await;
        }
        // After that, 10 s of silence.
        sleep(Duration::from_secs(10)).await;
    };
    let (bytes, ()) = tokio::join!(read_heartbeats, traffic);
    let heartbeats = bytes.len() / HEARTBEAT.len();
    assert_eq!(bytes, HEARTBEAT.repeat(heartbeats));
    // One heartbeat a second for 20 s. While the socket is silent, lapin gets no heartbeat.
    assert!((18..=20).contains(&heartbeats), "{heartbeats}");
}

#[tokio::test]
async fn a_frame_of_lapin_waits_for_the_end_of_the_message_on_its_channel_only() {
    let Parts { wire, mut rabbitmq, mut lapin, owner } = parts();
    send(&mut lapin, b"AMQP\0\0\x09\x01").await;
    expect(&mut rabbitmq, b"AMQP\0\0\x09\x01").await;
    let (begin, end) = (frame(METHOD, 1, b"publish"), frame(BODY, 1, b"body"));
    owner.frames.lock().expect("no panic").push_back((begin.clone(), Step::Inside));
    let outlet = wire.outlet(1);
    // The router asks the owner again at once, so the test provides the end of the message later.
    owner.frames.lock().expect("no panic").push_back((Vec::new(), Step::Inside));
    owner.frames.lock().expect("no panic").push_back((end.clone(), Step::Done));
    let close_ok = frame(METHOD, 1, &CHANNEL_CLOSE_OK);
    let other = frame(METHOD, 2, b"other");
    send(&mut lapin, &[close_ok.clone(), other.clone()].concat()).await;
    outlet.has_work(Arc::clone(&owner) as _);
    let mut read = vec![0; begin.len() + end.len() + close_ok.len() + other.len()];
    timeout(SOON, rabbitmq.read_exact(&mut read)).await.expect("in time").expect("bytes");
    let at = |part: &[u8]| {
        read.windows(part.len()).position(|window| window == part).expect("the frame is written whole")
    };
    let is_inside = at(&begin) < at(&close_ok) && at(&close_ok) < at(&end);
    assert!(!is_inside, "{read:?}");
    at(&other);
}

#[tokio::test]
async fn a_kill_waits_for_no_write() {
    let (mut rabbitmq, socket) = duplex(16);
    let (wire, mut lapin) = start(socket, FRAME_LIMIT);
    let owner = Arc::<Recorder>::default();
    wire.register(1, Arc::clone(&owner) as _);
    owner.frames.lock().expect("no panic").push_back((vec![0; 1_000], Step::Done));
    wire.outlet(1).has_work(Arc::clone(&owner) as _);
    // The socket takes 16 bytes and no more.
    expect(&mut rabbitmq, &[0; 8]).await;
    wire.kill();
    assert_eq!(owner.wait_for_end().await, End::ConnectionLost);
    expect_end(&mut lapin).await;
}

#[tokio::test]
async fn last_bytes_of_lapin_are_written_before_the_socket_is_closed() {
    let Parts { wire: _wire, mut rabbitmq, mut lapin, owner } = parts();
    let goodbye = [&b"AMQP\0\0\x09\x01"[..], &frame(METHOD, 0, b"close-ok")].concat();
    send(&mut lapin, &goodbye).await;
    drop(lapin);
    expect(&mut rabbitmq, &goodbye).await;
    expect_end(&mut rabbitmq).await;
    assert_eq!(owner.wait_for_end().await, End::ConnectionLost);
}

#[tokio::test]
async fn an_owner_registered_after_the_end_is_told_of_the_end() {
    let Parts { wire, owner, .. } = parts();
    wire.kill();
    owner.wait_for_end().await;
    let late = Arc::<Recorder>::default();
    wire.register(2, Arc::clone(&late) as _);
    assert_eq!(late.calls(), [Call::Closed(End::ConnectionLost)]);
}

#[tokio::test]
async fn a_panic_of_an_owner_ends_the_connection_and_tells_the_others() {
    struct Panics;
    impl Owner for Panics {
        fn method(&self, _: &mut [u8]) -> Result<(), Malformed> {
            panic!("a defect")
        }
        fn header(&self, _: &[u8]) -> Result<(), Malformed> {
            Ok(())
        }
        fn body(&self, _: &[u8]) -> Result<(), Malformed> {
            Ok(())
        }
        fn write(&self, _: &mut Batch) -> Step {
            Step::Done
        }
        fn blocked(&self) {}
        fn closed(&self, _: &End) {}
    }
    let Parts { wire, mut rabbitmq, mut lapin, owner } = parts();
    wire.register(2, Arc::new(Panics));
    send(&mut rabbitmq, &deliver(2)).await;
    assert_eq!(owner.wait_for_end().await, End::ConnectionLost);
    expect_end(&mut lapin).await;
    expect_end(&mut rabbitmq).await;
}

proptest! {
    /// Arbitrary bytes from RabbitMQ end the connection or reach lapin or an owner, and no code panics or waits for ever.
    #[test]
    fn arbitrary_bytes_of_rabbitmq_at_most_end_the_connection(
        pieces in proptest::collection::vec(hostile(), 1..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let Parts { wire: _wire, mut rabbitmq, mut lapin, owner } = parts();
            let reads = async {
                let mut all = Vec::new();
                // The router ends when the socket ends.
                let _reset = lapin.read_to_end(&mut all).await;
            };
            let writes = async {
                for piece in pieces {
                    if rabbitmq.write_all(&piece).await.is_err() {
                        break;
                    }
                }
                drop(rabbitmq);
            };
            timeout(SOON, async { tokio::join!(reads, writes) }).await.expect("it ends");
            // A closed channel is told of its end before the connection ends, and never twice.
            owner.wait_for_end().await;
            let ends = owner.calls().iter().filter(|call| matches!(call, Call::Closed(_))).count();
            assert_eq!(ends, 1);
        });
    }
}

/// Arbitrary bytes, or a frame of any kind with an arbitrary payload.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let payload = proptest::collection::vec(any::<u8>(), 0..200);
    let class = prop_oneof![
        Just(vec![0, 60, 0, 80]),
        Just(vec![0, 60, 0, 50]),
        Just(vec![0, 20, 0, 40]),
        Just(vec![0, 10, 0, 50]),
        Just(vec![0, 10, 0, 60]),
        Just(vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 255, 255]),
    ];
    let framed = (0..9_u8, 0..3_u16, class, payload.clone())
        .prop_map(|(kind, channel, class, rest)| frame(kind, channel, &[class, rest].concat()));
    prop_oneof![1 => payload, 9 => framed]
}
