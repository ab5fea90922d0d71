//! The supervisor of one connection: when the connection counts as lost, and when the gateway dials a successor beside
//! it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::Event;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Connection;
use super::alarms::{AlarmFollower, Alarms};
use super::dialler::Dialler;
use super::live::NUMBERS_USED_UP;
use crate::broker::Settings;
use crate::broker::supervised::{Reopen, Supervised};

/// How long a retired connection may stay in use: longer than callers wait. The publishes in flight on it end with their
/// callers' deadlines, and then the gateway closes it.
const RETIREMENT: Duration = Duration::from_hours(1);
/// Longest time that publishes may be in flight without any answer before the gateway replaces their connection.
const MAX_PATIENCE: Duration = Duration::from_mins(1);
/// A connection that ends sooner counts as a failed dial, so that the gateway does not dial in a hot loop when RabbitMQ
/// closes every connection at once.
const LASTING: Duration = Duration::from_secs(2);
/// Interval of a second check of the connection, in case an event is missed.
const RECHECK: Duration = Duration::from_millis(250);

/// One supervised connection.
pub(super) struct SupervisedConnection {
    dialler: Dialler,
    patience: Patience,
    blocked_timeout: Option<Duration>,
    alarms: Arc<Alarms>,
    changes: Arc<watch::Sender<()>>,
    stop: CancellationToken,
}

impl SupervisedConnection {
    /// A lane is silent after `slow_after` without an answer, and a connection after twice that time. Changes of the
    /// connection's alarm notify `changes`.
    pub(super) fn new(
        dialler: Dialler,
        settings: &Settings,
        (alarms, changes): (&Arc<Alarms>, &Arc<watch::Sender<()>>),
        stop: &CancellationToken,
    ) -> Self {
        Self {
            dialler,
            patience: Patience::new(settings.publish.slow_after),
            blocked_timeout: settings.blocked_timeout,
            alarms: Arc::clone(alarms),
            changes: Arc::clone(changes),
            stop: stop.clone(),
        }
    }
}

/// How a connection ended, when it began, and its alarm.
pub(super) struct Ended {
    how: End,
    has_successor: bool,
    since: Instant,
    follower: AlarmFollower,
}

impl Supervised for SupervisedConnection {
    type Part = Arc<Connection>;
    type End = Ended;

    async fn open(&mut self) -> Result<Arc<Connection>, Reopen> {
        let connection = self.dialler.dial(self.patience.now).await;
        connection.map(Arc::new).map_err(Reopen::After)
    }

    async fn until_ended(&mut self, connection: &Arc<Connection>) -> (Ended, Option<Arc<Connection>>) {
        let since = Instant::now();
        let mut follower =
            AlarmFollower::new(connection, Arc::clone(&self.alarms), Arc::clone(&self.changes));
        let (how, successor) = tokio::select! {
            how = until_over(connection, self.blocked_timeout, &self.stop, &mut follower) => (how, None),
            (successor, why) = replace(connection, &mut self.dialler, &self.patience) => {
                connection.retire(why);
                (End::Retired(why), Some(Arc::new(successor)))
            }
        };
        match &successor {
            Some(successor) => self.patience.now = successor.patience(),
            None if connection.has_answered() => self.patience.now = self.patience.least,
            None => {}
        }
        (Ended { how, has_successor: successor.is_some(), since, follower }, successor)
    }

    async fn after(&mut self, connection: Arc<Connection>, end: Ended) -> Reopen {
        let Ended { how, has_successor, since, follower } = end;
        let log = self.dialler.log();
        match how {
            End::Stopped => {
                connection.close().await;
                return Reopen::Never;
            }
            End::Lost(reason) => {
                log.lost(&reason);
                connection.kill();
            }
            End::BlockedTooLong => {
                log.replaced("RabbitMQ has blocked it for too long");
                connection.kill();
            }
            End::Retired(why) => {
                if why == NUMBERS_USED_UP {
                    log.renewed(why);
                } else {
                    log.replaced(why);
                }
                tokio::spawn(close_unused(Arc::clone(&connection), follower));
            }
        }
        Reopen::After(if since.elapsed() >= LASTING {
            self.dialler.lasted();
            Duration::ZERO
        } else if has_successor {
            Duration::ZERO
        } else {
            self.dialler.failed_at_once(connection.router().end_reason())
        })
    }
}

/// Closes a retired connection when it has no users any more.
async fn close_unused(connection: Arc<Connection>, mut follower: AlarmFollower) {
    let follow = async {
        loop {
            follower.changed().await;
        }
    };
    tokio::select! {
        () = connection.users().wait() => {}
        () = follow => {}
        () = sleep(RETIREMENT) => {}
    }
    connection.close().await;
}

/// The reason for replacing a silent connection.
const SILENT: &str = "RabbitMQ does not answer the publishes on it";

/// How long publishes may be in flight without any answer before the gateway replaces their connection.
struct Patience {
    least: Duration,
    now: Duration,
}

impl Patience {
    fn new(slow_after: Duration) -> Self {
        Self { least: 2 * slow_after, now: 2 * slow_after }
    }

    /// The patience for the next connection. While RabbitMQ answers no publish at all, the gateway replaces connections less
    /// and less often.
    fn next(&self, connection: &Connection) -> Duration {
        if connection.has_answered() { self.least } else { MAX_PATIENCE.min(self.now * 2) }
    }
}

/// Dials a successor beside a connection that should not be used much longer. Returns the successor and the reason.
async fn replace(
    connection: &Connection,
    dialler: &mut Dialler,
    patience: &Patience,
) -> (Connection, &'static str) {
    tokio::select! {
        () = connection.numbers().until_run_out() => {}
        next = replace_silent(connection, dialler, patience) => return (next, SILENT),
    }
    loop {
        match dialler.dial(patience.now).await {
            Ok(next) => return (next, NUMBERS_USED_UP),
            Err(pause) => sleep(pause).await,
        }
    }
}

/// Dials a replacement of a silent connection. Does not resolve while the connection is not silent.
async fn replace_silent(connection: &Connection, dialler: &mut Dialler, patience: &Patience) -> Connection {
    loop {
        connection.until_silent(true).await;
        dialler.leave_node();
        let dial = tokio::select! {
            () = connection.until_silent(false) => continue,
            dial = dialler.dial(patience.next(connection)) => dial,
        };
        match dial {
            // An alarm explains the silence, and only this connection knows of the alarm.
            Ok(unneeded) if connection.is_blocked() => {
                unneeded.close().await;
                connection.until_unblocked().await;
            }
            Ok(replacement) => return replacement,
            Err(pause) => sleep(pause).await,
        }
    }
}

/// How a connection ended.
enum End {
    Lost(String),
    Retired(&'static str),
    BlockedTooLong,
    Stopped,
}

/// Waits until the connection is lost, retired, blocked for too long, or stopped.
async fn until_over(
    connection: &Connection,
    blocked_timeout: Option<Duration>,
    stop: &CancellationToken,
    follower: &mut AlarmFollower,
) -> End {
    let mut events = pin!(connection.lapin().events_listener());
    let mut blocked_until: Option<Instant> = None;
    let mut last_error = "closed".to_owned();
    loop {
        if !connection.is_connected() {
            if let Some(why) = connection.retired_for() {
                return End::Retired(why);
            }
            return End::Lost(connection.router().end_reason().map_or(last_error, str::to_owned));
        }
        tokio::select! {
            () = stop.cancelled() => return End::Stopped,
            why = connection.retired() => return if stop.is_cancelled() { End::Stopped } else { End::Retired(why) },
            () = sleep_until(blocked_until.unwrap_or_else(Instant::now)), if blocked_until.is_some() => {
                return End::BlockedTooLong;
            }
            () = sleep(RECHECK) => {}
            is_blocked = follower.changed() => {
                blocked_until = blocked_timeout.filter(|_| is_blocked).map(|limit| Instant::now() + limit);
            }
            event = events.next() => match event {
                // Channels report errors here too; the check above tells whether the connection is gone.
                Some(Event::Error(error)) => last_error = error.to_string(),
                Some(_) => {}
                None => return End::Lost(last_error),
            }
        }
    }
}
