//! Keeps one slot filled: dials, watches the connection, and dials again when it is gone.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::Event;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::connections::SlotState;
use super::dialler::Dialler;
use super::link::Link;

/// How long a retired connection may take to settle what is in flight on it: longer than any
/// publish may wait by default.
const RETIREMENT: Duration = Duration::from_mins(1);
/// A connection that ends sooner counts as a failed dial, so that a broker that hangs up on everybody
/// is not dialled in a hot loop.
const LASTING: Duration = Duration::from_secs(2);
/// A second look at the connection, should an event be missed.
const RECHECK: Duration = Duration::from_millis(250);

/// The writing side of a slot.
pub(super) struct Slot {
    pub(super) state: watch::Sender<SlotState>,
    pub(super) changes: Arc<watch::Sender<()>>,
    pub(super) stop: CancellationToken,
}

impl Slot {
    fn set(&self, state: SlotState) {
        self.state.send_replace(state);
        self.changes.send_replace(());
    }

    async fn pause(&self, pause: Duration) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = sleep(pause) => {}
        }
    }
}

/// Runs until the slot is stopped.
pub(super) async fn keep(slot: Slot, mut dialler: Dialler, blocked_timeout: Option<Duration>) {
    loop {
        let dial = tokio::select! {
            () = slot.stop.cancelled() => return,
            dial = dialler.dial() => dial,
        };
        match dial {
            Ok(link) => {
                let since = Instant::now();
                let link = Arc::new(link);
                slot.set(SlotState::Up(Arc::clone(&link)));
                let end = watch_link(&link, blocked_timeout, &slot).await;
                slot.set(SlotState::Dialling);
                if end == End::Stopped {
                    return link.close().await;
                }
                after(end, &link, dialler.name());
                if since.elapsed() >= LASTING {
                    dialler.lasted();
                } else {
                    slot.pause(dialler.pause()).await;
                }
            }
            Err(failure) => {
                slot.set(SlotState::Down { refused: failure.refused });
                slot.pause(failure.pause).await;
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    Lost(String),
    Retired(&'static str),
    BlockedTooLong,
    Stopped,
}

fn after(end: End, link: &Arc<Link>, name: &str) {
    match end {
        End::Lost(reason) => {
            warn!(connection = name, "connection lost: {reason}");
            link.kill();
        }
        End::BlockedTooLong => {
            warn!(connection = name, "connection blocked for too long, replaced");
            link.kill();
        }
        End::Retired(why) => {
            warn!(connection = name, "connection replaced: {why}");
            let link = Arc::clone(link);
            tokio::spawn(async move {
                let end = Instant::now() + RETIREMENT;
                while link.is_connected() && Instant::now() < end {
                    sleep(RECHECK).await;
                }
                link.close().await;
            });
        }
        End::Stopped => {}
    }
}

async fn watch_link(link: &Link, blocked_timeout: Option<Duration>, slot: &Slot) -> End {
    let mut events = pin!(link.connection().events_listener());
    let mut blocked_until: Option<Instant> = None;
    let mut last_error = "closed".to_owned();
    loop {
        if !link.is_connected() {
            return End::Lost(last_error);
        }
        tokio::select! {
            () = slot.stop.cancelled() => return End::Stopped,
            why = link.retired() => return End::Retired(why),
            () = sleep_until(blocked_until.unwrap_or_else(Instant::now)), if blocked_until.is_some() => {
                return End::BlockedTooLong;
            }
            () = sleep(RECHECK) => {}
            event = events.next() => match event {
                Some(Event::ConnectionBlocked(reason)) => {
                    warn!(reason, "the broker blocks publishers");
                    link.set_blocked_reason(Some(reason));
                    blocked_until = blocked_timeout.map(|limit| Instant::now() + limit);
                    slot.changes.send_replace(());
                }
                Some(Event::ConnectionUnblocked) => {
                    info!("the broker takes messages again");
                    link.set_blocked_reason(None);
                    blocked_until = None;
                    slot.changes.send_replace(());
                }
                // Channels report here too; whether the connection is gone is asked above.
                Some(Event::Error(error)) => last_error = error.to_string(),
                Some(_) => {}
                None => return End::Lost(last_error),
            }
        }
    }
}
