//! Plain values, parsed once and valid ever after. No I/O, no axum, no lapin.

pub mod access;
pub mod direct_reply_to;
pub mod duration;
pub mod field;
pub mod guarded;
pub mod lease;
pub mod listen;
pub mod message;
pub mod names;
pub mod outcome;
pub mod path_prefix;
pub mod permission;
pub mod reserved;
pub mod retry_step;
pub mod sender_selected;
pub mod topology;
