//! Every caller gets the answer about its own message, with many in flight on one channel.
//!
//! A scripted broker says what a real one says only now and then; the real one says whether it is true under load.

mod alone;
mod burst;
mod full;
mod mixed;
mod same_id;
mod schedule;
mod schedules;
