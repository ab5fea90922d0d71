//! Keeps one slot filled: dials, watches the connection, and dials again when it is gone.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::Event;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::alarms::{AlarmFollower, Alarms};
use super::connections::SlotState;
use super::dialler::Dialler;
use super::link::{Link, NUMBERS_USED_UP};
use super::outage_log::ConnectionLog;

/// How long a retired connection may be used: longer than callers wait. The publishes in flight on it end with their
/// callers' deadlines, and it is closed then.
const RETIREMENT: Duration = Duration::from_hours(1);
/// Longest time that publishes may be in flight without any answer before their connection is replaced.
const MAX_PATIENCE: Duration = Duration::from_mins(1);
/// A connection that ends sooner counts as a failed dial, so that a broker that hangs up on everybody
/// is not dialled in a hot loop.
const LASTING: Duration = Duration::from_secs(2);
/// A second look at the connection, should an event be missed.
const RECHECK: Duration = Duration::from_millis(250);

/// The writing side of a slot.
pub(super) struct Slot {
    pub(super) state: watch::Sender<SlotState>,
    pub(super) changes: Arc<watch::Sender<()>>,
    pub(super) alarms: Arc<Alarms>,
    pub(super) stop: CancellationToken,
    /// After so long without an answer a lane is silent; a connection after twice as long.
    pub(super) slow_after: Duration,
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
    let mut patience = Patience::new(slot.slow_after);
    let mut replacement = None;
    loop {
        let dial = if let Some(link) = replacement.take() {
            Ok(link)
        } else {
            tokio::select! {
                () = slot.stop.cancelled() => return,
                dial = dialler.dial(patience.now) => dial,
            }
        };
        let link = match dial {
            Ok(link) => Arc::new(link),
            Err(pause) => {
                slot.set(SlotState::Down);
                slot.pause(pause).await;
                continue;
            }
        };
        let since = Instant::now();
        slot.set(SlotState::Up(Arc::clone(&link)));
        let mut follower = AlarmFollower::new(&link, Arc::clone(&slot.alarms), Arc::clone(&slot.changes));
        let end = tokio::select! {
            end = watch_link(&link, blocked_timeout, &slot.stop, &mut follower) => end,
            (next, why) = replace(&link, &mut dialler, &patience) => {
                link.retire(why);
                patience.now = next.patience();
                replacement = Some(next);
                End::Retired(why)
            }
        };
        if end == End::Stopped {
            return link.close().await;
        }
        if replacement.is_none() {
            slot.set(SlotState::Dialling);
            if link.has_answered() {
                patience.now = patience.least;
            }
        }
        after(end, &link, dialler.log(), follower);
        if since.elapsed() >= LASTING {
            dialler.lasted();
        } else if replacement.is_none() {
            slot.pause(dialler.failed_at_once(link.wire().end_reason())).await;
        }
    }
}

/// Why a silent connection is replaced.
const SILENT: &str = "RabbitMQ answers no publish on it";

/// How long publishes may be in flight without any answer before their connection is replaced.
struct Patience {
    least: Duration,
    now: Duration,
}

impl Patience {
    fn new(slow_after: Duration) -> Self {
        Self { least: 2 * slow_after, now: 2 * slow_after }
    }

    /// Of the connection after this one: while RabbitMQ answers nothing at all, connections are replaced ever more slowly.
    fn next(&self, link: &Link) -> Duration {
        if link.has_answered() { self.least } else { MAX_PATIENCE.min(self.now * 2) }
    }
}

/// The successor of a connection that should not be used much longer, and why. It is dialled beside that one.
async fn replace(link: &Link, dialler: &mut Dialler, patience: &Patience) -> (Link, &'static str) {
    tokio::select! {
        () = link.until_numbers_run_out() => {}
        next = replace_silent(link, dialler, patience) => return (next, SILENT),
    }
    loop {
        match dialler.dial(patience.now).await {
            Ok(next) => return (next, NUMBERS_USED_UP),
            Err(pause) => sleep(pause).await,
        }
    }
}

/// A connection in place of one that has become silent; never, while that one is not.
async fn replace_silent(link: &Link, dialler: &mut Dialler, patience: &Patience) -> Link {
    loop {
        link.until_silent(true).await;
        dialler.leave_node();
        let dial = tokio::select! {
            () = link.until_silent(false) => continue,
            dial = dialler.dial(patience.next(link)) => dial,
        };
        match dial {
            // An alarm explains the silence, and only this connection knows of it.
            Ok(unneeded) if link.is_blocked() => {
                unneeded.close().await;
                link.until_unblocked().await;
            }
            Ok(replacement) => return replacement,
            Err(pause) => sleep(pause).await,
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

fn after(end: End, link: &Arc<Link>, log: &ConnectionLog, mut follower: AlarmFollower) {
    match end {
        End::Lost(reason) => {
            log.lost(&reason);
            link.kill();
        }
        End::BlockedTooLong => {
            log.replaced("RabbitMQ has blocked it for too long");
            link.kill();
        }
        End::Retired(why) => {
            log.replaced(why);
            let link = Arc::clone(link);
            tokio::spawn(async move {
                let follow = async {
                    loop {
                        follower.changed().await;
                    }
                };
                tokio::select! {
                    () = link.users().wait() => {}
                    () = follow => {}
                    () = sleep(RETIREMENT) => {}
                }
                link.close().await;
            });
        }
        End::Stopped => {}
    }
}

async fn watch_link(
    link: &Link,
    blocked_timeout: Option<Duration>,
    stop: &CancellationToken,
    follower: &mut AlarmFollower,
) -> End {
    let mut events = pin!(link.connection().events_listener());
    let mut blocked_until: Option<Instant> = None;
    let mut last_error = "closed".to_owned();
    loop {
        if !link.is_connected() {
            return End::Lost(link.wire().end_reason().map_or(last_error, str::to_owned));
        }
        tokio::select! {
            () = stop.cancelled() => return End::Stopped,
            why = link.retired() => return if stop.is_cancelled() { End::Stopped } else { End::Retired(why) },
            () = sleep_until(blocked_until.unwrap_or_else(Instant::now)), if blocked_until.is_some() => {
                return End::BlockedTooLong;
            }
            () = sleep(RECHECK) => {}
            is_blocked = follower.changed() => {
                blocked_until = blocked_timeout.filter(|_| is_blocked).map(|limit| Instant::now() + limit);
            }
            event = events.next() => match event {
                // Channels report here too; whether the connection is gone is asked above.
                Some(Event::Error(error)) => last_error = error.to_string(),
                Some(_) => {}
                None => return End::Lost(last_error),
            }
        }
    }
}
