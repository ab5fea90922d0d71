//! The methods of a consumer: `basic.qos`, `consume`, `cancel`, `ack`, `nack` and `reject`, `tx.select` and `commit`.

use super::{METHOD, frame, push_short};

/// `basic.qos`, and a prefetch size of 0, which means no limit on bytes.
const QOS: [u8; 8] = [0, 60, 0, 10, 0, 0, 0, 0];
/// `basic.consume` and its two reserved bytes.
const CONSUME: [u8; 6] = [0, 60, 0, 20, 0, 0];
const CANCEL: [u8; 4] = [0, 60, 0, 30];
const ACK: [u8; 4] = [0, 60, 0, 80];
const REJECT: [u8; 4] = [0, 60, 0, 90];
const NACK: [u8; 4] = [0, 60, 0, 120];
const TX_SELECT: [u8; 4] = [0, 90, 0, 10];
const TX_COMMIT: [u8; 4] = [0, 90, 0, 20];
/// `no_ack` and `exclusive`; `no_local` is the first bit and `no_wait` the fourth.
const NO_ACK_EXCLUSIVE: u8 = 0b0110;
/// The bit `requeue` of a nack; the first is `multiple`.
const NACK_REQUEUE: u8 = 0b10;

/// The two kinds of consumers that the gateway has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::broker) enum ConsumerKind {
    /// The gateway acks each message, and other consumers may share the queue.
    WithAcks,
    /// RabbitMQ counts a message as acked when it has sent it, and no other consumer may use the queue.
    ExclusiveWithoutAcks,
}

/// Appends a `basic.qos`: each later consumer of the channel gets at most `count` unacknowledged messages. 0 means no limit.
pub(in crate::broker) fn push_qos(out: &mut Vec<u8>, channel: u16, count: u16) {
    frame(out, METHOD, channel, |out| {
        out.extend_from_slice(&QOS);
        out.extend_from_slice(&count.to_be_bytes());
        // Not for all consumers of the channel together.
        out.push(0);
    });
}

/// Appends a `basic.consume` without arguments.
pub(in crate::broker) fn push_consume(
    out: &mut Vec<u8>,
    channel: u16,
    queue: &str,
    tag: &str,
    kind: ConsumerKind,
) {
    frame(out, METHOD, channel, |out| {
        out.extend_from_slice(&CONSUME);
        push_short(out, queue);
        push_short(out, tag);
        out.push(match kind {
            ConsumerKind::WithAcks => 0,
            ConsumerKind::ExclusiveWithoutAcks => NO_ACK_EXCLUSIVE,
        });
        out.extend_from_slice(&[0; 4]);
    });
}

/// Appends a `basic.cancel`. RabbitMQ ends the connection if the consumer does not exist yet.
pub(in crate::broker) fn push_cancel(out: &mut Vec<u8>, channel: u16, tag: &str) {
    frame(out, METHOD, channel, |out| {
        out.extend_from_slice(&CANCEL);
        push_short(out, tag);
        out.push(0);
    });
}

/// Appends a `basic.ack` of one message.
pub(in crate::broker) fn push_ack(out: &mut Vec<u8>, channel: u16, delivery_tag: u64) {
    push_answer(out, channel, ACK, delivery_tag, 0);
}

/// Appends a `basic.nack` of one message, which goes back to its queue.
pub(in crate::broker) fn push_nack(out: &mut Vec<u8>, channel: u16, delivery_tag: u64) {
    push_answer(out, channel, NACK, delivery_tag, NACK_REQUEUE);
}

/// Appends a `basic.reject` of one message.
pub(in crate::broker) fn push_reject(out: &mut Vec<u8>, channel: u16, delivery_tag: u64, requeue: bool) {
    push_answer(out, channel, REJECT, delivery_tag, u8::from(requeue));
}

/// Appends a `tx.select`: from then on RabbitMQ keeps acks, nacks and rejects of the channel until the next commit.
pub(in crate::broker) fn push_tx_select(out: &mut Vec<u8>, channel: u16) {
    frame(out, METHOD, channel, |out| out.extend_from_slice(&TX_SELECT));
}

/// Appends a `tx.commit`.
pub(in crate::broker) fn push_tx_commit(out: &mut Vec<u8>, channel: u16) {
    frame(out, METHOD, channel, |out| out.extend_from_slice(&TX_COMMIT));
}

fn push_answer(out: &mut Vec<u8>, channel: u16, method: [u8; 4], delivery_tag: u64, bits: u8) {
    frame(out, METHOD, channel, |out| {
        out.extend_from_slice(&method);
        out.extend_from_slice(&delivery_tag.to_be_bytes());
        out.push(bits);
    });
}

#[cfg(test)]
mod tests {
    use amq_protocol::frame::{AMQPFrame, WriteContext, gen_frame};
    use amq_protocol::protocol::AMQPClass;
    use amq_protocol::protocol::basic::{AMQPMethod, Ack, Cancel, Consume, Nack, Qos, Reject};
    use amq_protocol::protocol::tx;
    use amq_protocol::types::FieldTable;

    use super::*;
    use crate::broker::convert::short_string;

    const CHANNEL: u16 = 513;

    fn expect(method: AMQPMethod, push: impl FnOnce(&mut Vec<u8>)) {
        expect_class(AMQPClass::Basic(method), push);
    }

    fn expect_class(class: AMQPClass, push: impl FnOnce(&mut Vec<u8>)) {
        let frame = AMQPFrame::Method(CHANNEL, class);
        let expected = gen_frame(&frame)(WriteContext::from(Vec::new())).expect("a vector takes all").write;
        let mut out = Vec::new();
        push(&mut out);
        assert_eq!(out, expected, "{frame:?}");
    }

    fn consume(with_acks: bool) -> AMQPMethod {
        AMQPMethod::Consume(Consume {
            queue: short_string("orders"),
            consumer_tag: short_string("pull"),
            no_local: false,
            no_ack: !with_acks,
            exclusive: !with_acks,
            nowait: false,
            arguments: FieldTable::default(),
        })
    }

    #[test]
    fn the_methods_are_the_bytes_of_amq_protocol() {
        let kinds = [(true, ConsumerKind::WithAcks), (false, ConsumerKind::ExclusiveWithoutAcks)];
        for (with_acks, kind) in kinds {
            expect(consume(with_acks), |out| push_consume(out, CHANNEL, "orders", "pull", kind));
        }
        expect(AMQPMethod::Qos(Qos { prefetch_count: 250, global: false }), |out| {
            push_qos(out, CHANNEL, 250);
        });
        let cancel = Cancel { consumer_tag: short_string("pull"), nowait: false };
        expect(AMQPMethod::Cancel(cancel), |out| push_cancel(out, CHANNEL, "pull"));
        let select = AMQPClass::Tx(tx::AMQPMethod::Select(tx::Select {}));
        expect_class(select, |out| push_tx_select(out, CHANNEL));
        let commit = AMQPClass::Tx(tx::AMQPMethod::Commit(tx::Commit {}));
        expect_class(commit, |out| push_tx_commit(out, CHANNEL));
        for delivery_tag in [1, 255, u64::MAX] {
            let ack = Ack { delivery_tag, multiple: false };
            expect(AMQPMethod::Ack(ack), |out| push_ack(out, CHANNEL, delivery_tag));
            let nack = Nack { delivery_tag, multiple: false, requeue: true };
            expect(AMQPMethod::Nack(nack), |out| push_nack(out, CHANNEL, delivery_tag));
            for requeue in [false, true] {
                let reject = Reject { delivery_tag, requeue };
                expect(AMQPMethod::Reject(reject), |out| push_reject(out, CHANNEL, delivery_tag, requeue));
            }
        }
    }
}
