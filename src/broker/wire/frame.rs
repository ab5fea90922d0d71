//! The layout of AMQP 0-9-1 frames: type, channel, size, payload, end mark.

/// Bytes before the payload: type, channel and size.
pub(super) const HEAD: usize = 7;
/// The byte after each payload.
pub(super) const END_MARK: u8 = 0xCE;
/// Bytes of a frame beside its payload.
pub(super) const OVERHEAD: usize = HEAD + 1;

/// Frame types.
pub(super) const METHOD: u8 = 1;
pub(super) const HEADER: u8 = 2;
pub(super) const BODY: u8 = 3;
/// The first byte with which a TLS server answers bytes that are not TLS.
pub(super) const TLS_ALERT: u8 = 21;
/// A whole heartbeat frame.
pub(super) const HEARTBEAT: [u8; OVERHEAD] = [8, 0, 0, 0, 0, 0, 0, END_MARK];

/// Class and method of the methods that the router knows.
pub(super) const CONNECTION_START: [u8; 4] = [0, 10, 0, 10];
pub(super) const CONNECTION_TUNE_OK: [u8; 4] = [0, 10, 0, 31];
pub(super) const CONNECTION_CLOSE: [u8; 4] = [0, 10, 0, 50];
pub(super) const CONNECTION_BLOCKED: [u8; 4] = [0, 10, 0, 60];
pub(super) const CONNECTION_UNBLOCKED: [u8; 4] = [0, 10, 0, 61];
pub(super) const CHANNEL_CLOSE: [u8; 4] = [0, 20, 0, 40];
pub(super) const CHANNEL_CLOSE_OK: [u8; 4] = [0, 20, 0, 41];
/// Class `basic`.
pub(super) const BASIC: [u8; 2] = [0, 60];
/// Class `tx`.
pub(super) const TX: [u8; 2] = [0, 90];

/// RabbitMQ sent bytes that AMQP does not allow, so the gateway ends the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::broker) enum Malformed {
    /// A frame that is larger than the agreed size.
    #[error("RabbitMQ sent a frame of {size} bytes, more than the agreed {limit}")]
    TooLarge {
        /// Bytes of the whole frame.
        size: usize,
        /// The agreed size in bytes.
        limit: usize,
    },
    /// The answer to the greeting is TLS.
    #[error("the port speaks TLS: write amqps:// or RABBITMQ_SSL_ENABLED=true")]
    Tls,
    /// The answer to the greeting is not a frame of AMQP 0-9-1.
    #[error("the port does not speak AMQP 0-9-1: check host and port")]
    NotAmqp,
    /// A frame that cannot be read.
    #[error("RabbitMQ sent a malformed frame: {0}")]
    Frame(&'static str),
    /// A confirm for a publish that the gateway never wrote, or that already has its answer.
    #[error("RabbitMQ confirmed delivery tag {0}, which is not in flight")]
    UnknownTag(u64),
    /// A returned message that is not in flight on its channel.
    #[error("RabbitMQ returned a message that is not in flight on its channel")]
    UnknownReturn,
}

/// The head of a frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) kind: u8,
    pub(super) channel: u16,
    size: usize,
}

impl Head {
    /// Reads a head; `None` if it has not arrived whole.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let head: &[u8; HEAD] = bytes.first_chunk()?;
        let [kind, high, low, size @ ..] = *head;
        Some(Self { kind, channel: u16::from_be_bytes([high, low]), size: u32::from_be_bytes(size) as usize })
    }

    /// Bytes of the whole frame.
    pub(super) fn frame_len(self) -> usize {
        self.size.saturating_add(OVERHEAD)
    }
}

/// Appends the head of a frame with a payload of `size` bytes.
pub(super) fn push_head(out: &mut Vec<u8>, kind: u8, channel: u16, size: usize) {
    out.push(kind);
    out.extend_from_slice(&channel.to_be_bytes());
    out.extend_from_slice(&u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes());
}

/// The payload of a whole frame.
pub(super) fn payload_mut(frame: &mut [u8]) -> &mut [u8] {
    let end = frame.len().saturating_sub(1);
    frame.get_mut(HEAD..end).unwrap_or_default()
}

/// Class and method of a whole method frame.
pub(in crate::broker) fn method_of(frame: &[u8]) -> Option<[u8; 4]> {
    frame.get(HEAD..)?.first_chunk().copied()
}
