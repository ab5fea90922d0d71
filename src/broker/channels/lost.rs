//! The results of written publishes when their channel or connection is lost.

use super::in_flight::{Finished, WriteResult};
use crate::broker::error::{Cause, Error};
use crate::broker::wire::End;

/// Tells the callers of written publishes that RabbitMQ will not answer them any more.
///
/// A returned message is unroutable, even if its ack did not arrive. RabbitMQ's close text refers to one message if that
/// message travelled alone, or if the text names its exchange and no other message for that exchange waits.
pub(super) fn tell_lost(written: Vec<Finished>, end: &End, is_blocked: bool) {
    let error = match end {
        End::ChannelClosed(close) => Error::of_channel_close(close.code, &close.text),
        End::ConnectionClosed(close) => Error::of_connection_close(close.code, &close.text),
        End::CloseOk => Error::lost("the gateway closed the channel"),
        End::ConnectionLost => Error::gone(),
    };
    let is_named = |it: &Finished| error.is_over(it.pending.destination.exchange().as_str());
    let has_no_return = |it: &&Finished| it.returned.is_none();
    let is_known = written.iter().filter(has_no_return).filter(|it| is_named(it)).count() == 1;
    for lost in written {
        let told = match lost.returned {
            Some(reason) => Error::Unroutable { reason },
            None if lost.pending.is_isolated || (is_known && is_named(&lost)) => error.clone(),
            None => Error::lost(&error.to_string()),
        };
        lost.pending.tell(WriteResult::Written(Err(told.unless_blocked(is_blocked))));
    }
}

impl Error {
    /// The gateway does not repeat a message that was lost on a blocked connection.
    fn unless_blocked(self, is_blocked: bool) -> Self {
        match self {
            Self::Unknown(Cause::Lost { reason, repeatable }) => {
                Self::Unknown(Cause::Lost { reason, repeatable: repeatable && !is_blocked })
            }
            other => other,
        }
    }
}
