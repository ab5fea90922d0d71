//! The deadlines of one connection: which step of the client the gateway waits for, and until when.
//!
//! The socket and the bodies report here; [`Activity::expired`] ends when the client has missed its deadline. While no request is
//! in flight, the deadline is fixed when the wait begins, so a client that sends single bytes does not extend it. While a request
//! is in flight, the only deadline here is for taking the answer: the reader of the request's body has its own deadline.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::limits::ConnectionLimits;

/// How long the gateway keeps a socket open, after it has ended its own side, for a client that is still sending. Closing earlier
/// would reset the connection, and the client could lose the answer.
const LINGER: Duration = Duration::from_secs(1);

/// How long a client is silent before the gateway frees the buffers for its next request.
const REST: Duration = Duration::from_secs(1);

/// The deadlines of one connection, and the state that they depend on.
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
    /// Requests whose answer is not finished.
    requests: usize,
    /// HTTP/2 answers whose next bytes are ready and wait for the client, by the number of the request, and since when.
    offered: HashMap<u64, Instant>,
    /// Whether the socket takes no bytes.
    blocked: bool,
    /// When the client last took bytes from the socket.
    progress: Instant,
    http1: Http1Request,
    /// The connection's task. On HTTP/2, other tasks write the answers, and they have to wake this one.
    task: Option<Waker>,
}

/// The HTTP/1 request that was read last.
#[derive(Debug, Default)]
struct Http1Request {
    /// Its number on the connection, from 1 on.
    number: u64,
    /// Whether its body, or that of a later request, has begun to arrive and is not complete.
    unread: bool,
    /// Whether the application finishes it also when its client has left.
    finishes_without_client: bool,
    /// Whether the client has ended its side, and the socket has not told hyper.
    keeps_end: bool,
    /// The number of the request whose chunks are larger than the limit of a body.
    large: Option<u64>,
    /// The number of the last request whose body has no limit.
    endless: Option<u64>,
    /// The task that reads its body.
    reader: Option<Waker>,
}

/// The step of the client that an idle connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    FirstByte,
    Header,
    NextRequest,
    /// The end of the client's side, after the gateway has ended its own.
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
            offered: HashMap::new(),
            blocked: false,
            progress: now,
            http1: Http1Request::default(),
            task: None,
        };
        Self { limits, state: Mutex::new(state) }
    }

    /// Reports that bytes arrived. `is_within_body`: the body of an HTTP/1 request has begun and is not complete.
    pub fn received(&self, is_within_body: bool) {
        let mut state = self.state();
        state.http1.unread = is_within_body;
        // On HTTP/2 they may be a ping or a window update, so they do not begin a header.
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

    /// Reports that the socket took bytes.
    pub fn wrote(&self) {
        let mut state = self.state();
        state.blocked = false;
        // On HTTP/2, a client that takes frames may still give no window for an answer.
        if !state.http2 {
            state.progress = Instant::now();
        }
    }

    /// Reports that the socket is full.
    pub fn blocked(&self) {
        let mut state = self.state();
        if !state.blocked {
            state.blocked = true;
            state.progress = Instant::now();
        }
    }

    /// Whether the socket hides the client's end from hyper, which would drop the connection. The client may have closed only its
    /// side, and wait for the answer to a request that the gateway finishes in any case. [`Self::end`] wakes the connection,
    /// which then looks again.
    pub fn keep_end(&self) -> bool {
        let mut state = self.state();
        state.http1.keeps_end =
            state.http1.finishes_without_client && state.requests > 0 && !state.http1.unread;
        state.http1.keeps_end
    }

    /// Reports that a request begins, and returns its number on the connection.
    pub fn begin(&self, http2: bool) -> u64 {
        let mut state = self.state();
        state.http2 = http2;
        state.requests += 1;
        state.http1.finishes_without_client = false;
        state.http1.number += 1;
        state.http1.number
    }

    /// Reports that the application finishes the request that has just begun also when its client has left.
    pub fn finishes_without_client(&self) {
        let mut state = self.state();
        state.http1.finishes_without_client = !state.http2;
    }

    /// Reports that the body of the request with this number has no limit.
    pub fn expects_endless_body(&self, number: u64) {
        self.state().http1.endless = Some(number);
    }

    /// Reports that the body of the HTTP/1 request with this number has chunks larger than the limit of a body.
    pub fn large_chunk(&self, number: u64) {
        let mut state = self.state();
        state.http1.large = Some(number);
        if let Some(reader) = state.http1.reader.take() {
            reader.wake();
        }
    }

    /// Whether the request with this number has such chunks. Wakes `reader` when they arrive later.
    pub fn has_large_chunk(&self, number: u64, reader: &Waker) -> bool {
        let mut state = self.state();
        let is_limited = state.http1.endless != Some(number) && !state.http2;
        let is_large = is_limited && state.http1.large == Some(number);
        if !is_large {
            state.http1.reader = Some(reader.clone());
        }
        is_large
    }

    /// Reports whether the answer to the request with this number waits for the client to take its next bytes. Each answer has its
    /// own deadline: a client that takes some answers does not keep the others.
    pub fn offer(&self, number: u64, is_offered: bool) {
        let mut state = self.state();
        if is_offered {
            state.offered.insert(number, Instant::now());
        } else {
            state.offered.remove(&number);
        }
        state.wake();
    }

    /// Reports that a request's answer is finished or given up.
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

    /// Reports that the gateway has ended its side. Returns whether the socket has to stay open because the client may still
    /// send.
    pub fn linger(&self) -> bool {
        let mut state = self.state();
        state.begin_wait(Wait::End);
        state.http1.unread
    }

    /// Ends when the client has missed its deadline. The task that drives the connection has to poll it.
    pub async fn expired(&self) {
        self.reached(|state| state.deadline(&self.limits)).await;
    }

    /// Ends when the client of an HTTP/1 connection has been silent for a while. The same task has to poll it.
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
                // A later deadline is read when the timer fires, so a busy connection does not reset the timer.
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
        (is_idle && self.untaken_since().is_none()).then(|| self.since + REST)
    }

    fn deadline(&self, limits: &ConnectionLimits) -> Option<Instant> {
        match self.wait {
            Wait::End => Some(self.since + LINGER),
            wait => match (self.untaken_since(), wait) {
                (Some(since), _) => Some(since + limits.write_timeout),
                _ if self.requests > 0 => None,
                (None, Wait::FirstByte) => Some(self.since + limits.first_byte_timeout),
                (None, Wait::Header) => Some(self.since + limits.header_timeout),
                (None, _) => Some(self.since + limits.keep_alive_timeout),
            },
        }
    }

    /// Since when the client has taken no bytes, of the socket or of one of its answers.
    fn untaken_since(&self) -> Option<Instant> {
        let socket = self.blocked.then_some(self.progress);
        self.offered.values().copied().chain(socket).min()
    }
}
