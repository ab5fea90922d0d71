//! Admission control: limits the number of requests, and the bytes of their bodies, that the gateway holds at one time.
//!
//! There is no queue: the answer to a request that does not fit is 503, at once. A request holds its permit until its answer is
//! ready and the last byte of its body is dropped. A caller that closes its connection does not free the permit earlier. Publish
//! streams and pulls each have a limit of their own.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::Limits;
use crate::http::problem::{Problem, ProblemType};
use crate::lifecycle::Lifecycle;

/// The limits that all requests share. All clones have the same limits and counts.
#[derive(Debug, Clone)]
pub struct AdmissionControl(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    requests: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    pulls: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    /// The part of the bytes that streams may hold together: a client may leave a long line unfinished for any time.
    stream_bytes: Arc<Semaphore>,
    limits: Limits,
    lifecycle: Lifecycle,
}

impl AdmissionControl {
    /// Limits with nothing in flight.
    #[must_use]
    pub fn new(limits: &Limits, lifecycle: &Lifecycle) -> Self {
        let semaphore = |permits: usize| Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)));
        Self(Arc::new(Inner {
            requests: semaphore(limits.max_requests_in_flight),
            streams: semaphore(limits.max_publish_streams),
            pulls: semaphore(limits.pull.max_waiting),
            bytes: semaphore(limits.max_bytes_in_flight),
            stream_bytes: semaphore(stream_bytes(limits)),
            limits: limits.clone(),
            lifecycle: lifecycle.clone(),
        }))
    }

    /// Requests in flight.
    #[must_use]
    pub fn requests_in_flight(&self) -> usize {
        self.0.limits.max_requests_in_flight.saturating_sub(self.0.requests.available_permits())
    }

    /// Bytes of their bodies in memory.
    #[must_use]
    pub fn bytes_in_flight(&self) -> usize {
        self.0.limits.max_bytes_in_flight.saturating_sub(self.0.bytes.available_permits())
    }

    /// Open publish streams.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.0.limits.max_publish_streams.saturating_sub(self.0.streams.available_permits())
    }

    /// Waiting pulls.
    #[must_use]
    pub fn waiting_pulls(&self) -> usize {
        self.0.limits.pull.max_waiting.saturating_sub(self.0.pulls.available_permits())
    }

    /// Admits a request. A second clone of its permit is in the extensions of the request: `request::body` takes it from there, and
    /// the bytes of the body hold it, also after the handler has ended.
    ///
    /// # Errors
    /// `overloaded`, at once, when all permits are taken.
    pub fn admit(&self, request: &mut Request) -> Result<RequestPermit, Problem> {
        let limit = self.0.limits.max_requests_in_flight;
        self.admit_as(request, &self.0.requests, limit, "requests in flight, its limit")
    }

    /// Admits a publish stream, like [`Self::admit`], which is held until its last line has a result.
    ///
    /// # Errors
    /// `overloaded`, at once, when as many streams are open as the limit allows.
    pub fn admit_stream(&self, request: &mut Request) -> Result<RequestPermit, Problem> {
        let limit = self.0.limits.max_publish_streams;
        let limit_name = "open publish streams, as many as GATEWAY_MAX_PUBLISH_STREAMS allows";
        self.admit_as(request, &self.0.streams, limit, limit_name)
    }

    /// Admits a pull, like [`Self::admit`].
    ///
    /// # Errors
    /// `overloaded`, at once, when as many pulls wait as the limit allows.
    pub fn admit_pull(&self, request: &mut Request) -> Result<RequestPermit, Problem> {
        let limit = self.0.limits.pull.max_waiting;
        let limit_name = "waiting pulls, as many as GATEWAY_MAX_WAITING_PULLS allows";
        self.admit_as(request, &self.0.pulls, limit, limit_name)
    }

    fn admit_as(
        &self,
        request: &mut Request,
        permits: &Arc<Semaphore>,
        limit: usize,
        limit_name: &str,
    ) -> Result<RequestPermit, Problem> {
        let permit = permits.clone().try_acquire_owned().map_err(|_| {
            let detail = format!("the gateway already has {limit} {limit_name}");
            Problem::new(ProblemType::Overloaded, detail).with("limit", limit)
        })?;
        let permit = RequestPermit { admission: self.clone(), _permit: Arc::new(permit) };
        request.extensions_mut().insert(permit.clone());
        Ok(permit)
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
    _permit: Arc<OwnedSemaphorePermit>,
}

impl RequestPermit {
    /// Reserves room for `bytes` more bytes of a body.
    ///
    /// # Errors
    /// `overloaded`, at once, when there is no room.
    pub fn reserve(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let room = u32::try_from(bytes)
            .ok()
            .and_then(|n| self.admission.0.bytes.clone().try_acquire_many_owned(n).ok());
        room.ok_or_else(|| {
            let limit = self.admission.0.limits.max_bytes_in_flight;
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
        let bytes = u32::try_from(bytes).ok()?;
        let share = self.admission.0.stream_bytes.clone().acquire_many_owned(bytes).await.ok()?;
        let room = self.admission.0.bytes.clone().acquire_many_owned(bytes).await.ok()?;
        Some(StreamRoom { share, room })
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
}

impl StreamRoom {
    /// Adds the permit for further bytes.
    pub fn merge(&mut self, more: Self) {
        self.share.merge(more.share);
        self.room.merge(more.room);
    }

    /// Splits off the permit for this number of bytes, or for all.
    pub fn split(&mut self, bytes: usize) -> Option<Self> {
        let bytes = bytes.min(self.room.num_permits());
        Some(Self { share: self.share.split(bytes)?, room: self.room.split(bytes)? })
    }
}
