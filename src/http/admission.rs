//! Admission control: limits the number of requests, and the bytes of their bodies, that the gateway holds at one time.
//!
//! There is no queue: the answer to a request that does not fit is 503, at once; or 429 if its principal has its fair share already.
//! A request holds its permit until its answer is ready and the last byte of its body is dropped. A caller that closes its connection
//! does not free the permit earlier. Publish streams and pulls each have a limit of their own.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::fairness::{Held, Holder, NoRoom, Permit, SharedLimit, Turns};
use crate::http::Limits;
use crate::http::error::over_share;
use crate::http::problem::{Problem, ProblemType};
use crate::lifecycle::Lifecycle;

/// The limits that all requests share. All clones have the same limits and counts.
#[derive(Debug, Clone)]
pub struct AdmissionControl(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    requests: SharedLimit,
    streams: SharedLimit,
    pulls: SharedLimit,
    bytes: Arc<Semaphore>,
    /// The part of the bytes that streams may hold together: a client may leave a long line unfinished for any time.
    stream_bytes: Arc<Semaphore>,
    /// The order of the streams that wait for bytes.
    stream_turns: Arc<Turns>,
    limits: Limits,
    lifecycle: Lifecycle,
}

impl AdmissionControl {
    /// Limits with nothing in flight.
    #[must_use]
    pub fn new(limits: &Limits, lifecycle: &Lifecycle) -> Self {
        let semaphore = |permits: usize| Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)));
        Self(Arc::new(Inner {
            requests: SharedLimit::new(limits.max_requests_in_flight),
            streams: SharedLimit::new(limits.max_publish_streams),
            pulls: SharedLimit::new(limits.pull.max_waiting),
            bytes: semaphore(limits.max_bytes_in_flight),
            stream_bytes: semaphore(stream_bytes(limits)),
            stream_turns: Turns::new(1),
            limits: limits.clone(),
            lifecycle: lifecycle.clone(),
        }))
    }

    /// Requests in flight.
    #[must_use]
    pub fn requests_in_flight(&self) -> usize {
        self.0.requests.taken()
    }

    /// Bytes of their bodies in memory.
    #[must_use]
    pub fn bytes_in_flight(&self) -> usize {
        self.0.limits.max_bytes_in_flight.saturating_sub(self.0.bytes.available_permits())
    }

    /// Open publish streams.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.0.streams.taken()
    }

    /// Waiting pulls.
    #[must_use]
    pub fn waiting_pulls(&self) -> usize {
        self.0.pulls.taken()
    }

    /// Admits a request for its holder. A second clone of its permit is in the extensions of the request: `request::body` takes it
    /// from there, and the bytes of the body hold it, also after the handler has ended.
    ///
    /// # Errors
    /// `overloaded`, at once, when all permits are taken; `rate-limited` when the holder has its fair share.
    pub fn admit(&self, request: &mut Request, holder: Holder) -> Result<RequestPermit, Problem> {
        let setting = "requests in flight, as many as GATEWAY_MAX_REQUESTS_IN_FLIGHT allows";
        self.admit_as(request, holder, &self.0.requests, setting)
    }

    /// Admits a publish stream, like [`Self::admit`], which is held until its last line has a result.
    ///
    /// # Errors
    /// `overloaded`, at once, when as many streams are open as the limit allows; `rate-limited`.
    pub fn admit_stream(&self, request: &mut Request, holder: Holder) -> Result<RequestPermit, Problem> {
        let setting = "open publish streams, as many as GATEWAY_MAX_PUBLISH_STREAMS allows";
        self.admit_as(request, holder, &self.0.streams, setting)
    }

    /// Admits a pull, like [`Self::admit`].
    ///
    /// # Errors
    /// `overloaded`, at once, when as many pulls wait as the limit allows; `rate-limited`.
    pub fn admit_pull(&self, request: &mut Request, holder: Holder) -> Result<RequestPermit, Problem> {
        let setting = "waiting pulls, as many as GATEWAY_MAX_WAITING_PULLS allows";
        self.admit_as(request, holder, &self.0.pulls, setting)
    }

    fn admit_as(
        &self,
        request: &mut Request,
        holder: Holder,
        limit: &SharedLimit,
        setting: &str,
    ) -> Result<RequestPermit, Problem> {
        let permit = limit.take(&holder, 1).map_err(|why| no_room(why, limit.limit(), setting))?;
        let permit = RequestPermit { admission: self.clone(), holder, _permit: Arc::new(permit) };
        request.extensions_mut().insert(permit.clone());
        Ok(permit)
    }
}

/// The problem of a request that a limit has no room for. `setting` names what is limited, and its setting.
fn no_room(why: NoRoom, limit: usize, setting: &str) -> Problem {
    match why {
        NoRoom::Full => {
            let detail = format!("the gateway already has {limit} {setting}");
            Problem::new(ProblemType::Overloaded, detail).with("limit", limit)
        }
        NoRoom::OverShare(share) => over_share(share, setting),
    }
}

/// Half of the bytes in flight, and at least the longest line with its line break.
fn stream_bytes(limits: &Limits) -> usize {
    let longest_line = limits.max_body_bytes + 1;
    (limits.max_bytes_in_flight / 2).max(longest_line).min(limits.max_bytes_in_flight)
}

/// The permit of one request to be in flight; dropping the last clone frees it. It is in the extensions of an admitted request.
#[derive(Debug, Clone)]
pub struct RequestPermit {
    admission: AdmissionControl,
    holder: Holder,
    _permit: Arc<Permit>,
}

impl RequestPermit {
    /// Reserves room for `bytes` more bytes of a body.
    ///
    /// No fair share applies: an answer may need room for a result that exists already, such as messages that a pull has taken.
    ///
    /// # Errors
    /// `overloaded`, at once, when there is no room.
    pub fn reserve(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let Inner { bytes: all, limits, .. } = &*self.admission.0;
        let room = u32::try_from(bytes).ok().and_then(|n| Arc::clone(all).try_acquire_many_owned(n).ok());
        room.ok_or_else(|| {
            let limit = limits.max_bytes_in_flight;
            let detail = format!("the bodies of the requests in flight fill the limit of {limit} bytes");
            Problem::new(ProblemType::Overloaded, detail).with("limit", limit)
        })
    }

    /// The bytes that all streams may hold together.
    #[must_use]
    pub fn stream_bytes(&self) -> usize {
        stream_bytes(&self.admission.0.limits)
    }

    /// Waits until there is room for `bytes` more bytes of a stream; without end if that is more than all streams may hold.
    pub async fn wait_for_room(&self, bytes: usize) -> Option<StreamRoom> {
        let Inner { stream_turns, stream_bytes, bytes: all, .. } = &*self.admission.0;
        let count = u32::try_from(bytes).ok()?;
        let _turn = stream_turns.wait(&self.holder).await;
        let share = Arc::clone(stream_bytes).acquire_many_owned(count).await.ok()?;
        let room = Arc::clone(all).acquire_many_owned(count).await.ok()?;
        Some(StreamRoom { share, room, held: stream_turns.hold(&self.holder, bytes) })
    }

    /// The most bytes of one body.
    #[must_use]
    pub fn max_body_bytes(&self) -> usize {
        self.admission.0.limits.max_body_bytes
    }

    /// Ends when the process aborts. From then on the gateway does not wait for the rest of a body.
    pub async fn aborting(&self) {
        self.admission.0.lifecycle.aborting().await;
    }

    /// Ends when the process begins to drain. From then on the gateway reads no further lines of a stream.
    pub async fn draining(&self) {
        self.admission.0.lifecycle.draining().await;
    }

    /// Time for the whole body.
    #[must_use]
    pub fn body_timeout(&self) -> Duration {
        self.admission.0.limits.body_timeout
    }
}

/// The permit for bytes of a stream: in the budget of all bodies, and in the half of it that streams may hold.
#[derive(Debug)]
pub struct StreamRoom {
    share: OwnedSemaphorePermit,
    room: OwnedSemaphorePermit,
    held: Held,
}

impl StreamRoom {
    /// Adds the permit for further bytes.
    pub fn merge(&mut self, more: Self) {
        self.share.merge(more.share);
        self.room.merge(more.room);
        self.held.merge(more.held);
    }

    /// Splits off the permit for this number of bytes, or for all.
    pub fn split(&mut self, bytes: usize) -> Option<Self> {
        let bytes = bytes.min(self.room.num_permits());
        let (share, room) = (self.share.split(bytes)?, self.room.split(bytes)?);
        Some(Self { share, room, held: self.held.split(bytes) })
    }
}
