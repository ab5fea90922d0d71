//! A confirm channel over a router. The tests play the socket and RabbitMQ.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::owner::{BASIC_ACK, BASIC_NACK};
use super::*;
use crate::broker::channels::WindowPermit;
use crate::broker::error::Refusal;
use crate::broker::wire::{BASIC_RETURN, Router, publish_frames, start};
use crate::domain::field::FieldTable;
use crate::domain::message::{Destination, Message, MessageId, Properties};
use crate::domain::names::{ExchangeName, ShortText};

const CHANNEL: u16 = 1;
const FRAME_LIMIT: usize = 8 * 1024;
const SOON: Duration = Duration::from_secs(5);
/// The size of a body that the writer does not copy into the batch.
const LARGE: usize = 20 * 1024;

fn text(text: &str) -> ShortText {
    ShortText::parse(text).expect("short")
}

fn exchange(name: &str) -> ExchangeName {
    ExchangeName::from_path(name).expect("a name")
}

struct Sent {
    /// Number of bytes of its frames.
    bytes: Vec<u8>,
    ended: oneshot::Receiver<WriteResult>,
}

/// Hands in a message with this body size.
fn hand_in(
    channel: &Arc<PublishChannel>,
    id: &str,
    to: &str,
    size: usize,
    is_isolated: bool,
) -> Result<Sent, NotWritten> {
    let message = Message {
        id: MessageId::from(text(id)),
        properties: Properties::default(),
        headers: FieldTable::default(),
        body: Bytes::from(vec![b'x'; size]),
    };
    let destination = Destination { exchange: exchange(to), routing_key: text("k"), mandatory: true };
    let encoded =
        publish_frames(channel.frame_target(), &message, &destination, None).expect("a small header");
    let bytes = all_bytes(&encoded);
    let (caller, ended) = oneshot::channel();
    let now = Instant::now();
    let pending = Pending {
        id: message.id,
        destination: KnownDestination::new(destination.exchange, destination.routing_key),
        since: now,
        deadline: now + SOON,
        is_isolated,
        permit: WindowPermit::only(),
        caller,
    };
    channel.hand_in(pending, encoded)?;
    Ok(Sent { bytes, ended })
}

fn all_bytes(encoded: &Encoded) -> Vec<u8> {
    let mut bytes = encoded.frames.clone();
    for piece in encoded.body.chunks(FRAME_LIMIT - 8) {
        bytes.extend_from_slice(&frame(3, piece));
    }
    bytes
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).expect("small").to_be_bytes();
    [&[kind][..], &CHANNEL.to_be_bytes(), &size, payload, &[0xCE]].concat()
}

fn on_channel_0(payload: &[u8]) -> Vec<u8> {
    let mut frame = frame(1, payload);
    frame[1..3].copy_from_slice(&[0, 0]);
    frame
}

fn ack(tag: u64, multiple: bool) -> Vec<u8> {
    frame(1, &[&BASIC_ACK[..], &tag.to_be_bytes(), &[u8::from(multiple)]].concat())
}

fn nack(tag: u64) -> Vec<u8> {
    frame(1, &[&BASIC_NACK[..], &tag.to_be_bytes(), &[0]].concat())
}

fn short(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).expect("short")][..], text.as_bytes()].concat()
}

fn channel_close(code: u16, reason: &str) -> Vec<u8> {
    frame(1, &[&[0, 20, 0, 40][..], &code.to_be_bytes(), &short(reason), &[0; 4]].concat())
}

/// A return of the message with this id and an empty body.
fn returned(id: &str) -> Vec<u8> {
    let arguments = [&312_u16.to_be_bytes()[..], &short("NO_ROUTE"), &short("e"), &short("k")].concat();
    let method = frame(1, &[&BASIC_RETURN[..], &arguments].concat());
    // Flag 7 is the message id.
    let header = frame(2, &[&[0, 60, 0, 0][..], &[0; 8], &[0, 0x80], &short(id)].concat());
    [method, header].concat()
}

struct Parts {
    _wire: Router,
    _lapin: DuplexStream,
    rabbitmq: DuplexStream,
    channel: Arc<PublishChannel>,
}

fn on(socket: impl AsyncRead + AsyncWrite + Send + 'static) -> (Router, DuplexStream, Arc<PublishChannel>) {
    let (wire, lapin) = start(socket, FRAME_LIMIT);
    let channel = PublishChannel::new(wire.outlet(CHANNEL));
    wire.register(CHANNEL, Arc::clone(&channel) as _);
    (wire, lapin, channel)
}

fn parts() -> Parts {
    let (rabbitmq, socket) = duplex(64 * 1024);
    let (wire, lapin, channel) = on(socket);
    Parts { _wire: wire, _lapin: lapin, rabbitmq, channel }
}

impl Parts {
    async fn say(&mut self, bytes: &[u8]) {
        self.rabbitmq.write_all(bytes).await.expect("the router reads");
    }

    /// Reads the bytes of written messages.
    async fn read(&mut self, sent: &[&Sent]) {
        for sent in sent {
            let mut bytes = vec![0; sent.bytes.len()];
            timeout(SOON, self.rabbitmq.read_exact(&mut bytes)).await.expect("in time").expect("bytes");
            assert!(bytes == sent.bytes, "other bytes are written");
        }
    }

    fn publish(&self, id: &str, to: &str) -> Sent {
        hand_in(&self.channel, id, to, 3, false).expect("it is handed in")
    }
}

async fn result(sent: Sent) -> WriteResult {
    timeout(SOON, sent.ended).await.expect("in time").expect("its caller is told")
}

async fn answer(sent: Sent) -> Result<(), Error> {
    match result(sent).await {
        WriteResult::Written(answer) => answer,
        result @ WriteResult::NotWritten(_) => panic!("{result:?}"),
    }
}

fn is_lost(answer: &Result<(), Error>) -> bool {
    matches!(answer, Err(Error::Unknown(Cause::Lost { repeatable: true, .. })))
}

#[tokio::test]
async fn acks_nacks_and_returns_reach_their_callers_in_any_order() {
    let mut parts = parts();
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|id| parts.publish(id, "e"));
    parts.read(&[&a, &b, &c, &d]).await;
    parts.say(&[nack(3), returned("b"), ack(2, true), ack(4, true)].concat()).await;
    assert_eq!(answer(c).await, Err(Error::Rejected));
    assert_eq!(answer(a).await, Ok(()));
    assert_eq!(answer(b).await, Err(Error::Unroutable { reason: "NO_ROUTE".to_owned() }));
    assert_eq!(answer(d).await, Ok(()));
    parts.channel.until_empty().await;
}

#[tokio::test]
async fn a_second_message_with_an_id_in_flight_is_not_written() {
    let mut parts = parts();
    let first = parts.publish("same", "e");
    assert_eq!(hand_in(&parts.channel, "same", "e", 3, false).err(), Some(NotWritten::SameId));
    parts.read(&[&first]).await;
    parts.say(&ack(1, false)).await;
    assert_eq!(answer(first).await, Ok(()));
    parts.publish("same", "e");
}

#[tokio::test]
async fn confirm_of_a_message_not_in_flight_ends_the_connection() {
    for wrong in [ack(2, false), ack(2, true), ack(0, false), returned("other")] {
        let mut parts = parts();
        let sent = parts.publish("a", "e");
        parts.read(&[&sent]).await;
        parts.say(&wrong).await;
        assert!(is_lost(&answer(sent).await));
        assert_eq!(hand_in(&parts.channel, "b", "e", 3, false).err(), Some(NotWritten::Closed));
    }
    // RabbitMQ answers one publish twice.
    let mut parts = parts();
    let [a, b] = ["a", "b"].map(|id| parts.publish(id, "e"));
    parts.read(&[&a, &b]).await;
    parts.say(&[ack(1, false), ack(1, false)].concat()).await;
    assert_eq!(answer(a).await, Ok(()));
    assert!(is_lost(&answer(b).await));
}

#[tokio::test]
async fn a_close_is_the_answer_to_the_only_message_that_it_can_refer_to() {
    let reason = "NOT_FOUND - no exchange 'missing' in vhost '/'";
    let missing = Err(Error::Refused(Refusal::ExchangeMissing { reason: reason.to_owned() }));
    // One message for the named exchange: the close is its answer. The others are lost, except one that was returned.
    let mut parts = parts();
    let [a, b, c] = [("a", "e"), ("b", "missing"), ("c", "e")].map(|(id, to)| parts.publish(id, to));
    parts.read(&[&a, &b, &c]).await;
    parts.say(&[returned("c"), channel_close(404, reason)].concat()).await;
    assert!(is_lost(&answer(a).await));
    assert_eq!(answer(b).await, missing);
    assert!(matches!(answer(c).await, Err(Error::Unroutable { .. })));
    // Two messages for the named exchange: the close may refer to either.
    let mut parts = self::parts();
    let both = ["a", "b"].map(|id| parts.publish(id, "missing"));
    parts.read(&[&both[0], &both[1]]).await;
    parts.say(&channel_close(404, reason)).await;
    for sent in both {
        assert!(is_lost(&answer(sent).await));
    }
    // A message that travels alone caused the close, with any close text.
    let mut parts = self::parts();
    let alone = hand_in(&parts.channel, "a", "e", 3, true).expect("it is handed in");
    parts.read(&[&alone]).await;
    parts.say(&channel_close(406, "PRECONDITION_FAILED - invalid expiration 'soon'")).await;
    assert!(matches!(answer(alone).await, Err(Error::Refused(Refusal::Invalid { .. }))));
}

#[tokio::test]
async fn a_blocked_connection_hands_back_the_unwritten_messages() {
    let (mut rabbitmq, socket) = duplex(1024);
    let (_wire, _lapin, channel) = on(socket);
    // The socket does not take the whole first message.
    let begun = hand_in(&channel, "begun", "e", LARGE, false).expect("it is handed in");
    let mut head = [0; 64];
    timeout(SOON, rabbitmq.read_exact(&mut head)).await.expect("in time").expect("bytes");
    let waits = hand_in(&channel, "waits", "e", LARGE, false).expect("it is handed in");
    let blocked = on_channel_0(&[&[0, 10, 0, 60][..], &short("low on memory")].concat());
    rabbitmq.write_all(&blocked).await.expect("the router reads");
    assert!(matches!(result(waits).await, WriteResult::NotWritten(NotWritten::Blocked)));
    assert_eq!(hand_in(&channel, "later", "e", 3, false).err(), Some(NotWritten::Blocked));
    let mut rest = vec![0; begun.bytes.len() - head.len()];
    rabbitmq.write_all(&on_channel_0(&[0, 10, 0, 61])).await.expect("the router reads");
    timeout(SOON, rabbitmq.read_exact(&mut rest)).await.expect("in time").expect("bytes");
    assert!([&head[..], &rest].concat() == begun.bytes, "the rest of the message is written");
    let unblocked = async {
        while let Err(NotWritten::Blocked) = hand_in(&channel, "again", "e", 3, false).map(drop) {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(SOON, unblocked).await.expect("publishes are taken again");
    rabbitmq.write_all(&ack(1, false)).await.expect("the router reads");
    assert_eq!(answer(begun).await, Ok(()));
}

/// A socket that takes this many bytes, and then fails or panics.
struct Faulty {
    left: usize,
    panics: bool,
    taken: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Faulty {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Faulty {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.left == 0 {
            assert!(!self.panics, "a defect");
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::BrokenPipe)));
        }
        let count = bytes.len().min(self.left);
        self.left -= count;
        self.taken.lock().expect("no panic holds it").extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Writes three messages to a socket that ends after this many bytes. Each caller gets a result, and the
/// result `not written` is true. Returns how many callers get that result.
async fn end_at(offset: usize, panics: bool, sizes: [usize; 3]) -> usize {
    let taken = Arc::<Mutex<Vec<u8>>>::default();
    let (_wire, _lapin, channel) = on(Faulty { left: offset, panics, taken: Arc::clone(&taken) });
    let sent = [("a", sizes[0]), ("b", sizes[1]), ("c", sizes[2])];
    let sent = sent.map(|(id, size)| hand_in(&channel, id, "e", size, false).expect("it is handed in"));
    let (mut begin, mut not_written) = (0, 0);
    for sent in sent {
        let end = begin + sent.bytes.len();
        match result(sent).await {
            WriteResult::Written(answer) => assert!(is_lost(&answer), "{answer:?}"),
            WriteResult::NotWritten(why) => {
                assert_eq!(why, NotWritten::Closed);
                let taken = taken.lock().expect("no panic holds it").len();
                assert!(taken <= begin, "{taken} bytes were written, and the message begins at {begin}");
                not_written += 1;
            }
        }
        begin = end;
    }
    not_written
}

/// Total bytes of three messages of these sizes.
fn bytes_of(sizes: [usize; 3]) -> usize {
    let Parts { channel, .. } = parts();
    let sizes = [("a", sizes[0]), ("b", sizes[1]), ("c", sizes[2])];
    let sent = sizes.map(|(id, size)| hand_in(&channel, id, "e", size, false).expect("it is handed in"));
    sent.iter().map(|sent| sent.bytes.len()).sum()
}

#[tokio::test(start_paused = true)]
async fn each_caller_gets_a_result_when_the_socket_ends_at_any_offset_of_three_small_messages() {
    for panics in [false, true] {
        // One write takes all three messages.
        for offset in 0..bytes_of([3, 40, 3]) {
            assert_eq!(end_at(offset, panics, [3, 40, 3]).await, 0, "offset {offset}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_caller_gets_a_result_when_the_socket_ends_at_any_offset_around_a_large_message() {
    for panics in [false, true] {
        let all = bytes_of([3, LARGE, 3]);
        let around = (0..all).step_by(97).chain((FRAME_LIMIT - 40)..(FRAME_LIMIT + 300));
        for offset in around {
            let not_written = end_at(offset, panics, [3, LARGE, 3]).await;
            // The gateway does not begin the last message before it has written the large one.
            assert!(not_written <= 1, "offset {offset}: {not_written}");
            if offset < LARGE {
                assert_eq!(not_written, 1, "offset {offset}");
            }
        }
    }
}
