//! The fence around lapin 4.12: all workarounds for its defects are in this folder. The heartbeat in the last row makes up
//! for the frames that the router keeps from lapin, so its code is in the router, in `wire/inbound.rs`.
//!
//! | defect | reported upstream | workaround of the gateway | delete when |
//! |---|---|---|---|
//! | A dial that fails leaves two tasks running for ever; no dial has a deadline; deadpool-lapin takes a URI only, and prints it | not reported | [`open_stream`] gives lapin an open stream, with a loopback address in the URI | lapin connects over a given stream |
//! | amq-protocol ends the connection on a text that is not UTF-8, and the process on a deeply nested table | not reported | [`sanitise`] makes such bytes readable before lapin reads them | amq-protocol reads texts as bytes and bounds the depth |
//! | lapin answers requests on a channel with the error that closed an earlier channel of the same number | not reported | [`channel_numbers`] counts the unusable numbers; the gateway replaces the connection before lapin reuses them | each channel keeps only its own errors |
//! | A request that is made while the connection is being lost gets no answer | not reported | [`lost_answers`] ends the wait when the connection is gone | each request ends with its connection |
//! | When a channel is dropped while RabbitMQ closes it, lapin ends the connection | not reported | [`lost_answers`] finishes each operation in a task; [`end_notice`] keeps a channel until lapin has noticed its end | lapin accepts a close-ok for a channel that it closed too |
//! | RabbitMQ sends no heartbeat while it sends other frames, and lapin does not see the frames of owned channels | not a defect of lapin | the router gives lapin a heartbeat ([`wire`](super::wire)) | lapin no longer needs the socket's bytes |
//!
//! The gateway does not use lapin's returns, confirms and recovery: see `docs/decisions/`.

mod channel_numbers;
mod end_notice;
mod lost_answers;
mod open_stream;
pub(super) mod sanitise;

pub(super) use self::channel_numbers::ChannelNumbers;
pub(super) use self::end_notice::until_noticed;
pub(super) use self::lost_answers::{Gone, finish};
pub(super) use self::open_stream::{SocketKit, placeholder_uri};
