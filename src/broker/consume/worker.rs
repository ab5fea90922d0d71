//! The worker of a queue: it owns the channel, the waiting callers and the leases of the queue.
//!
//! One task runs it, so that the state of a lease has one owner. It fetches messages in rounds, see [`round`], and settles leases,
//! see [`settling`].

mod barrier;
mod callers;
mod copies;
mod copying;
mod requests;
mod round;
mod round_state;
mod settling;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, OptionFuture};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use self::barrier::{Answer, Barrier};
use self::callers::Callers;
use self::copies::{Copies, CopyId};
use self::requests::Requests;
use self::round_state::Round;
use super::command::Command;
use super::copy_order::Copied;
use super::counts::Held;
use super::lease_channel::Event;
use super::lease_table::{LeaseTable, Tag};
use super::link::{Link, next_event};
use super::pull::Pulled;
use super::shared::Shared;
use crate::broker::error::{Cause, Error, Refusal, Unavailable};
use crate::domain::message::Delivery;
use crate::domain::names::QueueName;
use crate::fairness;

/// A worker without callers and leases closes its channel after this time.
const IDLE: Duration = Duration::from_mins(1);
/// Pause before the channel is opened again after it was lost.
const REOPEN_PAUSE: Duration = Duration::from_millis(50);
/// How long a queue is not asked again after a message that is larger than the whole budget of leased bytes. Each try spends one
/// delivery of the message.
const TOO_LARGE_PAUSE: Duration = Duration::from_secs(30);

/// The worker of a queue.
pub(super) struct Worker {
    queue: QueueName,
    shared: Arc<Shared>,
    commands: UnboundedReceiver<Command>,
    /// The numbers of leases whose caller did not take them.
    returned: (UnboundedSender<u64>, UnboundedReceiver<u64>),
    callers: Callers,
    leases: LeaseTable<Kept>,
    /// Messages that have arrived and have no caller yet.
    ready: VecDeque<Ready>,
    link: Option<Link>,
    opening: Option<BoxFuture<'static, Result<Link, Error>>>,
    reopen_at: Instant,
    round: Round,
    barrier: Barrier,
    requests: Requests,
    copies: Copies,
    /// The answers to copies.
    copied: (UnboundedSender<Copied>, UnboundedReceiver<Copied>),
    idle_since: Instant,
    is_draining: bool,
    stopped: Option<oneshot::Sender<()>>,
}

/// A message while it is unacknowledged, with its share of the limits.
#[derive(Debug)]
struct Kept {
    delivery: Arc<Delivery>,
    _held: Held,
    _lease: OwnedSemaphorePermit,
    /// The share of the principal that has the lease.
    share: fairness::Held,
    _bytes: OwnedSemaphorePermit,
    copy_id: Option<CopyId>,
}

/// A message without a lease.
#[derive(Debug)]
struct Ready {
    tag: Tag,
    arrived: Instant,
    kept: Kept,
}

impl Worker {
    /// Starts the worker of a queue.
    pub(super) fn start(queue: QueueName, shared: Arc<Shared>) -> UnboundedSender<Command> {
        let (sender, commands) = unbounded_channel();
        let now = Instant::now();
        let worker = Self {
            queue,
            commands,
            returned: unbounded_channel(),
            callers: Callers::default(),
            leases: LeaseTable::new(shared.settings.lease_max),
            shared,
            ready: VecDeque::new(),
            link: None,
            opening: None,
            reopen_at: now,
            round: Round::default(),
            barrier: Barrier::default(),
            requests: Requests::default(),
            copies: Copies::new(),
            copied: unbounded_channel(),
            idle_since: now,
            is_draining: false,
            stopped: None,
        };
        tokio::spawn(worker.run());
        sender
    }

    async fn run(mut self) {
        let lifecycle = self.shared.lifecycle.clone();
        while !self.has_ended() {
            self.go_on();
            let wake = self.wake_at();
            tokio::select! {
                biased;
                event = next_event(&mut self.link) => self.on_event(event),
                Some(serial) = self.returned.1.recv() => self.take_back(serial),
                Some(copied) = self.copied.1.recv() => self.on_copied(copied),
                Some(command) = self.commands.recv() => self.on_command(command),
                Some(opened) = OptionFuture::from(self.opening.as_mut()) => self.on_opened(opened),
                () = lifecycle.draining(), if !self.is_draining => self.drain(),
                () = sleep_until(wake) => self.on_time(Instant::now()),
            }
            if !self.is_idle() {
                self.idle_since = Instant::now();
            }
        }
    }

    /// Whether the worker has nothing to do any more, and was removed from the list of workers.
    fn has_ended(&mut self) -> bool {
        let is_over = self.idle_since.elapsed() >= IDLE || self.stopped.is_some();
        let has_ended = is_over && self.is_idle() && self.shared.remove_worker(&self.queue, &self.commands);
        if has_ended && let Some(stopped) = self.stopped.take() {
            let _gone = stopped.send(());
        }
        has_ended
    }

    fn is_idle(&self) -> bool {
        let has_work = self.round.is_running() || self.barrier.is_waiting() || self.opening.is_some();
        !has_work && self.callers.is_empty() && self.ready.is_empty() && self.leases.is_empty()
    }

    /// Writes the next commit, and opens the channel or begins a round, if callers wait for it.
    fn go_on(&mut self) {
        self.commit();
        self.leave_retired_connection();
        if self.callers.is_empty() {
            return;
        }
        if self.link.is_some() {
            self.start_round();
        } else if self.opening.is_none() && Instant::now() >= self.reopen_at {
            self.opening = Some(Link::open(Arc::clone(&self.shared), self.queue.clone()).boxed());
        }
    }

    /// Closes the channel if its connection is about to be replaced and nothing on it is in use.
    fn leave_retired_connection(&mut self) {
        let has_work = self.round.is_running() || self.barrier.is_waiting() || !self.leases.is_empty();
        if !has_work && self.ready.is_empty() && self.link.as_ref().is_some_and(Link::is_retired) {
            self.link = None;
        }
    }

    /// When the worker has something to do although nothing happens.
    fn wake_at(&self) -> Instant {
        let reopen = (self.link.is_none() && self.opening.is_none()).then_some(self.reopen_at);
        let reopen = reopen.filter(|_| !self.callers.is_empty());
        let (expiry, give_up) = (self.leases.next_expiry(), self.callers.first_give_up());
        let (settles, round, commit) =
            (self.requests.next_deadline(), self.round_wake_at(), self.barrier.wake_at());
        let times = [expiry, settles, reopen, give_up, round, commit];
        let idle = self.idle_since + IDLE;
        times
            .into_iter()
            .flatten()
            .min()
            .map_or(idle, |time| if self.is_idle() { time.min(idle) } else { time })
    }

    fn on_time(&mut self, now: Instant) {
        let expired = self.leases.expire(now);
        self.shared.metrics.consume.expired.inc_by(expired.len() as u64);
        for (serial, tag) in expired {
            self.barrier.answer(Answer::RejectBack, tag);
            self.lose_copies([serial], &Error::Unknown(Cause::Silence));
        }
        self.requests.on_time(now);
        for caller in self.callers.take_given_up(now) {
            let _gone = caller.answer.send(Err(Error::NotSent(Unavailable::NoConnection)));
        }
        self.round_on_time(now);
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Committed => self.on_committed(),
            Event::Closed(error) => self.on_closed(error),
            event => self.on_round_event(event),
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Pull(caller) if self.is_draining || self.stopped.is_some() => {
                let _gone = caller.answer.send(Err(Error::NotSent(Unavailable::ShuttingDown)));
            }
            Command::Pull(caller) => self.callers.add(caller),
            Command::Left(number) => {
                if self.callers.remove(number).is_some() || self.callers.is_empty() {
                    self.end_round();
                }
            }
            Command::Settle(request) => self.settle(request),
            Command::Stop(stopped) => self.stop(stopped),
        }
    }

    /// Takes back a lease whose caller never got it.
    fn take_back(&mut self, serial: u64) {
        if let Some((tag, arrived, mut kept)) = self.leases.take_back(serial, Instant::now()) {
            kept.share = fairness::Held::default();
            self.shared.metrics.consume.returned.inc();
            self.ready.push_back(Ready { tag, arrived, kept });
            self.deal();
            if self.callers.is_empty() {
                self.end_round();
            }
        }
    }

    fn on_opened(&mut self, opened: Result<Link, Error>) {
        self.opening = None;
        match opened {
            Ok(link) => self.link = Some(link),
            Err(
                error @ (Error::Unknown(_) | Error::NotSent(Unavailable::NoConnection | Unavailable::Busy)),
            ) => {
                tracing::debug!(queue = %self.queue, %error, "cannot open the channel of a queue yet");
                self.reopen_at = Instant::now() + REOPEN_PAUSE;
            }
            Err(error) => self.refuse(&error),
        }
    }

    /// The channel has ended, and RabbitMQ has put its messages back into the queue.
    fn on_closed(&mut self, error: Error) {
        let is_refused = matches!(error, Error::Refused(_));
        if let Some(link) = self.link.take() {
            link.forget(is_refused);
        }
        self.leases.lose();
        self.ready.clear();
        self.lose_barrier(&error);
        self.lose_all_copies(&Error::lost(&error.to_string()));
        self.reopen_at = Instant::now() + REOPEN_PAUSE;
        if self.round.close() && is_refused {
            self.refuse(&in_exclusive_use(error));
        }
    }

    /// Tells all callers that there are no messages for them, and why.
    fn refuse(&mut self, error: &Error) {
        for caller in self.callers.take_all() {
            let _gone = caller.answer.send(Err(error.clone()));
        }
    }

    /// The process begins to drain: no caller waits any longer, and leases can still be settled.
    fn drain(&mut self) {
        self.is_draining = true;
        self.opening = None;
        for caller in self.callers.take_all() {
            let _gone = caller.answer.send(Ok(Pulled::none()));
        }
        self.end_round();
    }

    /// Gives every message back, and waits until RabbitMQ has read it.
    fn stop(&mut self, stopped: oneshot::Sender<()>) {
        self.drain();
        self.lose_all_copies(&Error::Unknown(Cause::Stopped));
        for tag in self.leases.take_all() {
            self.barrier.answer(Answer::Nack, tag);
        }
        self.stopped = Some(stopped);
    }

    fn write(&self, push: impl FnOnce(&mut Vec<u8>, u16)) {
        if let Some(link) = &self.link {
            link.owner.write_frames(push);
        }
    }
}

/// RabbitMQ answers with "access refused" when another consumer has the queue for itself.
fn in_exclusive_use(error: Error) -> Error {
    match error {
        Error::Refused(Refusal::AccessRefused { reason }) if reason.contains("in exclusive use") => {
            Error::Refused(Refusal::InUse { reason })
        }
        error => error,
    }
}
