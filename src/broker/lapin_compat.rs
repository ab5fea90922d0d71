//! The fence around lapin 4.12: each workaround for it, in one place.
//!
//! | defect | reported upstream | the gateway's way around it | can go when |
//! |---|---|---|---|
//! | A dial that fails keeps two tasks for ever; no dial has a deadline; deadpool-lapin takes a URI only, and prints it | not reported | [`open_stream`] hands lapin an open stream, with a loopback address in the URI | lapin connects over a stream that it is given |
//! | amq-protocol ends the connection over a text that is not UTF-8, and the process over a table nested deep | not reported | [`sanitise`] makes such bytes readable before lapin reads them | amq-protocol reads texts as bytes and bounds the depth |
//! | lapin answers a later channel of a number with the error that closed an earlier one | not reported | [`channel_numbers`] counts the lost numbers; the connection gets a successor before they come round | a channel has its errors to itself |
//! | A request that is made while the connection is being lost gets no answer | not reported | [`lost_answers`] ends the wait when the connection is gone | each request ends with its connection |
//! | A channel that is dropped while RabbitMQ closes it ends the connection | not reported | [`lost_answers`] finishes each operation in a task; [`end_notice`] keeps a channel until lapin has noticed its end | lapin takes a close-ok for a channel that it closed too |
//! | RabbitMQ sends no heartbeat while it sends other frames, and lapin does not see the frames of owned channels | not a defect of lapin | the router hands lapin a heartbeat ([`wire`](super::wire)) | lapin does without the socket's bytes |
//!
//! lapin's return of messages, its confirms and its recovery are not used: see `docs/decisions/`.

mod channel_numbers;
mod end_notice;
mod lost_answers;
mod open_stream;
pub(super) mod sanitise;

pub(super) use self::channel_numbers::ChannelNumbers;
pub(super) use self::end_notice::until_noticed;
pub(super) use self::lost_answers::{Gone, finish};
pub(super) use self::open_stream::{SocketKit, placeholder_uri};
