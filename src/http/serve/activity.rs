//! What one connection is waiting for, and until when.
//!
//! The socket and the bodies report here; [`Activity::expired`] ends when the client has had its time. While no
//! request is in flight the deadline is fixed when the wait begins, so dripping bytes does not extend it. While
//! one is, only the taking of the answer is timed: the request's body has its own deadline where it is read.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::http::ConnectionLimits;

/// How long a closed connection waits for a client that is still sending what nobody will read. Closing under its
/// hands would reset the connection, and the answer with it.
const LINGER: Duration = Duration::from_secs(1);

/// How long a client is silent before nothing is kept ready for its next request.
const REST: Duration = Duration::from_secs(1);

/// The deadlines of one connection and what they depend on.
#[derive(Debug)]
pub struct Activity {
    limits: ConnectionLimits,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    wait: Wait,
    since: Instant,
    http2: bool,
    /// Requests whose answer's body is not finished.
    requests: usize,
    /// Answers whose next bytes wait for the client rather than for us.
    offered: usize,
    /// The socket does not take bytes.
    blocked: bool,
    /// When the client last took bytes.
    progress: Instant,
    http1: Http1Request,
    /// The connection's task. On HTTP/2 answers are written by tasks of their own, which must tell it.
    task: Option<Waker>,
}

/// The HTTP/1 request that was read last.
#[derive(Debug, Default)]
struct Http1Request {
    /// Its number on the connection, from 1 on.
    number: u64,
    /// Its body, or that of a later one, has begun to come and is not whole.
    unread: bool,
    /// It is finished although its client has gone.
    outlives: bool,
    /// The client has sent its end, and hyper is not told.
    keeps_end: bool,
    /// The request whose chunks are larger than a body may be.
    large: Option<u64>,
    /// Who reads its body.
    reader: Option<Waker>,
}

/// What an idle connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    FirstByte,
    Header,
    NextRequest,
    /// The end of what the client sends, after our own end.
    End,
}

impl Activity {
    /// A connection that has just been accepted.
    pub fn new(limits: ConnectionLimits) -> Self {
        let now = Instant::now();
        let state = State {
            wait: Wait::FirstByte,
            since: now,
            http2: false,
            requests: 0,
            offered: 0,
            blocked: false,
            progress: now,
            http1: Http1Request::default(),
            task: None,
        };
        Self { limits, state: Mutex::new(state) }
    }

    /// Bytes came in; whether the body of an HTTP/1 request has begun and is not whole.
    pub fn received(&self, is_within_body: bool) {
        let mut state = self.state();
        state.http1.unread = is_within_body;
        // On HTTP/2 they may be anything (a ping, a window update), so they begin no header.
        let begins = match state.wait {
            Wait::FirstByte => true,
            Wait::NextRequest => !state.http2,
            Wait::Header | Wait::End => false,
        };
        if begins && state.requests == 0 {
            state.begin_wait(Wait::Header);
        }
    }

    /// Whether the next byte belongs to the header of a first or next HTTP/1 request.
    pub fn expects_header(&self) -> bool {
        let state = self.state();
        state.requests == 0 && !state.http1.unread && !state.http2 && state.wait != Wait::End
    }

    /// The socket took bytes.
    pub fn wrote(&self) {
        let mut state = self.state();
        state.blocked = false;
        // On HTTP/2 a client that takes frames may still withhold the window for an answer.
        if !state.http2 {
            state.progress = Instant::now();
        }
    }

    /// The socket is full.
    pub fn blocked(&self) {
        let mut state = self.state();
        if !state.blocked {
            state.blocked = true;
            state.progress = Instant::now();
        }
    }

    /// Whether the client's end is to be kept from hyper, which would drop the connection over it. The client may have
    /// closed only its side, and wait for the answer to a request that is finished in any case. [`Self::end`] has the
    /// connection look again.
    pub fn keep_end(&self) -> bool {
        let mut state = self.state();
        state.http1.keeps_end = state.http1.outlives && state.requests > 0 && !state.http1.unread;
        state.http1.keeps_end
    }

    /// A request begins; `outlives` says whether it is finished although its client has gone. Its number on the connection.
    pub fn begin(&self, http2: bool, outlives: bool) -> u64 {
        let mut state = self.state();
        state.http2 = http2;
        state.requests += 1;
        state.http1.outlives = outlives && !http2;
        state.http1.number += 1;
        state.http1.number
    }

    /// The body of the HTTP/1 request with this number has chunks that are larger than a body may be.
    pub fn large_chunk(&self, number: u64) {
        let mut state = self.state();
        state.http1.large = Some(number);
        if let Some(reader) = state.http1.reader.take() {
            reader.wake();
        }
    }

    /// Whether the request with this number has such chunks; `reader` is told when they come.
    pub fn has_large_chunk(&self, number: u64, reader: &Waker) -> bool {
        let mut state = self.state();
        let is_large = state.http1.large == Some(number) && !state.http2;
        if !is_large {
            state.http1.reader = Some(reader.clone());
        }
        is_large
    }

    /// An answer waits for the client to take its next bytes, or no longer does.
    pub fn offer(&self, before: bool, now: bool) {
        let mut state = self.state();
        state.offered = state.offered + usize::from(now) - usize::from(before);
        state.progress = Instant::now();
        state.wake();
    }

    /// A request's answer is finished or given up.
    pub fn end(&self) {
        let mut state = self.state();
        state.requests -= 1;
        if state.requests == 0 {
            state.begin_wait(Wait::NextRequest);
        }
        let keeps_end = std::mem::take(&mut state.http1.keeps_end);
        if let Some(task) = state.task.as_ref().filter(|_| keeps_end) {
            task.wake_by_ref();
        }
        state.wake();
    }

    /// Our side of the connection is closed. Whether it should stay open for what the client still sends.
    pub fn linger(&self) -> bool {
        let mut state = self.state();
        state.begin_wait(Wait::End);
        state.http1.unread
    }

    /// Ends when the client has had its time. To be polled by the task that drives the connection.
    pub async fn expired(&self) {
        self.reached(|state| state.deadline(&self.limits)).await;
    }

    /// Ends when the client of an HTTP/1 connection has been silent for a while. To be polled by the same task.
    pub async fn at_rest(&self) {
        self.reached(State::rest).await;
    }

    async fn reached(&self, deadline: impl Fn(&State) -> Option<Instant>) {
        let mut timer = pin!(sleep_until(deadline(&self.state()).unwrap_or_else(Instant::now)));
        poll_fn(|cx| {
            loop {
                let mut state = self.state();
                if !state.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
                    state.task = Some(cx.waker().clone());
                }
                let Some(deadline) = deadline(&state) else { return Poll::Pending };
                drop(state);
                // A deadline that moved back is looked at when the timer fires: a busy connection never touches it.
                if deadline < timer.deadline() {
                    timer.as_mut().reset(deadline);
                }
                std::task::ready!(Future::poll(timer.as_mut(), cx));
                if deadline <= Instant::now() {
                    return Poll::Ready(());
                }
                Sleep::reset(timer.as_mut(), deadline);
            }
        })
        .await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn begin_wait(&mut self, wait: Wait) {
        self.wait = wait;
        self.since = Instant::now();
    }

    fn wake(&self) {
        if let (true, Some(task)) = (self.http2, &self.task) {
            task.wake_by_ref();
        }
    }

    fn rest(&self) -> Option<Instant> {
        let is_idle = self.wait == Wait::NextRequest && self.requests == 0 && !self.http2;
        (is_idle && !self.blocked && self.offered == 0).then(|| self.since + REST)
    }

    fn deadline(&self, limits: &ConnectionLimits) -> Option<Instant> {
        match self.wait {
            Wait::End => Some(self.since + LINGER),
            _ if self.blocked || self.offered > 0 => Some(self.progress + limits.write_timeout),
            _ if self.requests > 0 => None,
            Wait::FirstByte => Some(self.since + limits.first_byte_timeout),
            Wait::Header => Some(self.since + limits.header_timeout),
            Wait::NextRequest => Some(self.since + limits.keep_alive_timeout),
        }
    }
}
