//! The body of a request, read whole under its deadline, its limit and the budget of all bodies.
//!
//! Promises that the bytes it gives keep the request's place and their share of the budget for as long as they
//! live, so that memory is bounded even when callers hang up and their messages do not.

use std::error::Error;
use std::future::{Ready, ready};
use std::iter::successors;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::Extensions;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either, lazy};
use http_body_util::BodyExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::http::middleware::{Admission, too_large};
use crate::http::problem::{Problem, ProblemType};

/// Memory that a body gets on its word alone, before its bytes have come.
const TRUSTED_LENGTH: usize = 64 * 1024;

/// Up to so many bytes are copied out of the connection's buffer, which is larger and nobody's share: it is
/// used for the next request.
const SMALL: usize = 4 * 1024;

/// The whole body. Needs a route whose requests have admission, see [`crate::http::routes::Traits`].
#[derive(Debug, Clone)]
pub struct ReadBody {
    /// The bytes; the last clone or slice frees what they hold.
    pub bytes: Bytes,
    admission: Admission,
}

/// The error of a body that announces a chunk larger than the limit: the client would be waited for in vain.
#[derive(Debug, thiserror::Error)]
#[error("a chunk is larger than a body may be")]
pub struct ChunkTooLarge;

/// A share of the budget of all bodies, for an answer. It travels in the answer's extensions.
#[derive(Debug, Clone)]
pub struct Share(Arc<OwnedSemaphorePermit>);

impl Share {
    /// `data` as bytes that hold the share.
    #[must_use]
    pub fn hold(&self, data: Bytes) -> Bytes {
        Bytes::from_owner(Owning { bytes: data, _owner: Arc::clone(&self.0) })
    }
}

/// A body that is here already, as most are; or what waits for it.
type Begun = Either<Ready<Result<ReadBody, Problem>>, BoxFuture<'static, Result<ReadBody, Problem>>>;

impl ReadBody {
    /// Begins to read a request's body, whose place among those in flight is in these extensions.
    fn begin(extensions: &mut Extensions, mut body: Body) -> Begun {
        let Some(admission) = extensions.remove::<Admission>() else {
            return Either::Left(ready(Err(Problem::internal("a route that reads bodies has no admission"))));
        };
        let mut reading = Reading::new(admission, &body);
        match reading.read(&mut body).now_or_never() {
            Some(read) => Either::Left(ready(read.map(|()| reading.end()))),
            None => Either::Right(reading.end_in_time(body).boxed()),
        }
    }

    /// A share of the budget for an answer of so many bytes.
    ///
    /// # Errors
    /// `overloaded`, at once, when there is none.
    pub fn share(&self, bytes: usize) -> Result<Share, Problem> {
        self.admission.reserve(bytes).map(|share| Share(Arc::new(share)))
    }

    /// `made` out of the body (a decoded payload) as bytes that hold what the body holds.
    #[must_use]
    pub fn derive(&self, made: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        Bytes::from_owner(Owning { bytes: made, _owner: self.bytes.clone() })
    }
}

/// Checks the rest of a request, reads its body, and hands both on. It holds neither after that: memory that each waiting
/// caller holds is no longer in the processor's cache when RabbitMQ answers.
pub fn with_body<T: Send + 'static>(
    request: Request,
    check: impl FnOnce(&Parts) -> Result<T, Problem> + Send + 'static,
    then: impl FnOnce(&Parts, T, Result<ReadBody, Problem>) -> BoxFuture<'static, Response> + Send + 'static,
) -> BoxFuture<'static, Response> {
    let begin = |_: &mut Context<'_>| {
        let (mut parts, body) = request.into_parts();
        let checked = match check(&parts) {
            Ok(checked) => checked,
            Err(problem) => return ready(problem.into_response()).boxed(),
        };
        match ReadBody::begin(&mut parts.extensions, body) {
            Either::Left(body) => then(&parts, checked, body.into_inner()),
            Either::Right(body) => async move { then(&parts, checked, body.await).await }.boxed(),
        }
    };
    // hyper puts the body into the request after it has handed it on, and before its answer is polled first.
    lazy(begin).flatten().boxed()
}

impl<S: Send + Sync> FromRequest<S> for ReadBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        Self::begin(&mut parts.extensions, body).await
    }
}

fn too_late(deadline: Duration) -> Problem {
    let detail = format!("the body was not complete within {} ms", deadline.as_millis());
    Problem::new(ProblemType::RequestTimeout, detail)
}

fn stopping() -> Problem {
    Problem::new(ProblemType::ShuttingDown, "the gateway stops, and the body was not complete")
}

/// What the bytes of a body own.
struct Held {
    buffer: Buffer,
    _admission: Admission,
    _share: Option<OwnedSemaphorePermit>,
}

enum Buffer {
    /// The body came in one piece, which is kept as it is.
    Frame(Bytes),
    Copied(Vec<u8>),
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        self.buffer.as_ref()
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Frame(bytes) => bytes,
            Self::Copied(bytes) => bytes,
        }
    }
}

/// Bytes, and what lives as long as they do.
struct Owning<T, O> {
    bytes: T,
    _owner: O,
}

impl<T: AsRef<[u8]>, O> AsRef<[u8]> for Owning<T, O> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

/// A body that is being read.
struct Reading {
    admission: Admission,
    /// The length that the header states.
    announced: Option<usize>,
    buffer: Buffer,
    share: Option<OwnedSemaphorePermit>,
}

impl Reading {
    fn new(admission: Admission, body: &Body) -> Self {
        let announced = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
        Self { admission, announced, buffer: Buffer::Frame(Bytes::new()), share: None }
    }

    /// Reads on, to the end. When this is dropped before, the bytes that it has read stay.
    async fn read(&mut self, body: &mut Body) -> Result<(), Problem> {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.unreadable(&error))?;
            // Trailers carry nothing that the gateway knows.
            if let Ok(data) = frame.into_data() {
                self.take(data)?;
            }
        }
        Ok(())
    }

    /// Reads on until the body's deadline, or the gateway stops.
    async fn end_in_time(mut self, mut body: Body) -> Result<ReadBody, Problem> {
        let admission = self.admission.clone();
        let deadline = admission.body_timeout();
        tokio::select! {
            biased;
            read = timeout(deadline, self.read(&mut body)) => read.unwrap_or_else(|_| Err(too_late(deadline)))?,
            () = admission.aborting() => return Err(stopping()),
        }
        Ok(self.end())
    }

    fn end(mut self) -> ReadBody {
        match &mut self.buffer {
            Buffer::Copied(bytes) => bytes.shrink_to_fit(),
            Buffer::Frame(bytes) if bytes.len() <= SMALL => self.buffer = Buffer::Copied(bytes.to_vec()),
            Buffer::Frame(_) => {}
        }
        let admission = self.admission.clone();
        let held = Held { buffer: self.buffer, _admission: self.admission, _share: self.share };
        ReadBody { bytes: Bytes::from_owner(held), admission }
    }

    fn unreadable(&self, error: &axum::Error) -> Problem {
        // axum puts an error into another one where a body is put into another one.
        let mut errors = successors(Some(error as &dyn Error), |error| (*error).source());
        if errors.any(<dyn Error>::is::<ChunkTooLarge>) {
            return too_large(self.admission.max_body_bytes());
        }
        Problem::new(
            ProblemType::MalformedRequest,
            "the body ended before its Content-Length or last chunk, or a chunk is malformed",
        )
        .because(error)
    }

    fn take(&mut self, data: Bytes) -> Result<(), Problem> {
        let read = self.buffer.as_ref().len();
        let limit = self.admission.max_body_bytes();
        if data.len() > limit - read {
            return Err(too_large(limit));
        }
        let announced = self.announced;
        let share = self.admission.reserve(data.len())?;
        match &mut self.share {
            Some(whole) => whole.merge(share),
            none => *none = Some(share),
        }
        match &mut self.buffer {
            Buffer::Frame(first) if first.is_empty() => *first = data,
            Buffer::Frame(first) => {
                let mut bytes = Vec::new();
                grow(&mut bytes, first.len() + data.len(), announced);
                bytes.extend_from_slice(first);
                bytes.extend_from_slice(&data);
                self.buffer = Buffer::Copied(bytes);
            }
            Buffer::Copied(bytes) => {
                grow(bytes, data.len(), announced);
                bytes.extend_from_slice(&data);
            }
        }
        Ok(())
    }
}

/// Makes room for `more` bytes: by doubling, but not beyond the length that was announced.
fn grow(bytes: &mut Vec<u8>, more: usize, announced: Option<usize>) {
    let needed = bytes.len() + more;
    if needed > bytes.capacity() {
        let doubled = (2 * bytes.capacity()).max(TRUSTED_LENGTH).min(announced.unwrap_or(usize::MAX));
        bytes.reserve_exact(doubled.max(needed) - bytes.len());
    }
}
