//! Reads the whole body of a request, within its deadline, its limit and the budget of all bodies.
//!
//! Guarantees that the bytes hold the request's permit and their own permit of the budget until they are dropped. So memory is
//! bounded also when callers close their connections while their messages are in flight.

use std::error::Error;
use std::future::{Ready, ready};
use std::iter::successors;
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

use crate::domain::guarded::guarded;
use crate::http::admission::RequestPermit;
use crate::http::problem::{Problem, ProblemType};
use crate::http::server::ChunkTooLarge;

/// The most memory that a body reserves for its announced length before its bytes arrive.
const TRUSTED_LENGTH: usize = 64 * 1024;

/// The gateway copies bodies of up to this size out of the connection's buffer. The buffer is larger and does not count against
/// the budget; the connection uses it for the next request.
const SMALL: usize = 4 * 1024;

/// The whole body. Needs a route whose requests are admitted, see [`crate::http::routes::Traits`].
#[derive(Debug, Clone)]
pub struct ReadBody {
    /// The bytes. Dropping the last clone or slice frees the permits of the request and of the bytes.
    pub bytes: Bytes,
    permit: RequestPermit,
}

/// A body that has already arrived, as most have; or the future that waits for it.
type Begun = Either<Ready<Result<ReadBody, Problem>>, BoxFuture<'static, Result<ReadBody, Problem>>>;

impl ReadBody {
    /// Begins to read the body of a request. These extensions hold the request's permit.
    fn begin(extensions: &mut Extensions, mut body: Body) -> Begun {
        let Some(permit) = extensions.remove::<RequestPermit>() else {
            return Either::Left(ready(Err(Problem::internal(
                "a route that reads bodies does not admit its requests",
            ))));
        };
        let mut reading = Reading::new(permit, &body);
        match reading.read(&mut body).now_or_never() {
            Some(read) => Either::Left(ready(read.map(|()| reading.end()))),
            None => Either::Right(reading.end_in_time(body).boxed()),
        }
    }

    /// The permit of the request, without the bytes: for a request that waits after it was read.
    #[must_use]
    pub fn into_permit(self) -> RequestPermit {
        self.permit
    }

    /// Refuses a body, which a caller may mean as parameters. `why` says where these belong.
    ///
    /// # Errors
    /// 400.
    pub(in crate::http) fn expect_empty(&self, why: &str) -> Result<(), Problem> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        Err(Problem::malformed("body", format!("must be empty: {why}")))
    }

    /// A permit for an answer of at most this number of bytes, before the gateway does what the answer tells.
    ///
    /// # Errors
    /// `overloaded`, at once, when the budget has no room.
    pub fn reserve_answer(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        self.permit.reserve(bytes)
    }

    /// The bytes of an answer, which hold their permit in the budget of all bodies until the client has taken them.
    ///
    /// # Errors
    /// `overloaded`, at once, when the budget has no room.
    pub fn within_budget(&self, answer: Bytes) -> Result<Bytes, Problem> {
        let permit = self.permit.reserve(answer.len())?;
        Ok(guarded(answer, permit))
    }
}

/// Turns `decoded`, which was decoded from a part of a body, into bytes that hold the body's permits too.
#[must_use]
pub fn derive(part: &Bytes, decoded: impl AsRef<[u8]> + Send + 'static) -> Bytes {
    guarded(decoded, part.clone())
}

/// Checks the rest of a request, reads its body, and passes both to `then`. Keeps neither after that: memory that each waiting
/// caller holds falls out of the processor's cache until RabbitMQ answers.
pub fn with_body<S: Send + 'static, T: Send + 'static>(
    state: S,
    request: Request,
    check: impl FnOnce(&S, &Parts) -> Result<T, Problem> + Send + 'static,
    then: impl FnOnce(S, &Parts, T, Result<ReadBody, Problem>) -> BoxFuture<'static, Response> + Send + 'static,
) -> BoxFuture<'static, Response> {
    let begin = |_: &mut Context<'_>| {
        let (mut parts, body) = request.into_parts();
        let checked = match check(&state, &parts) {
            Ok(checked) => checked,
            Err(problem) => return ready(problem.into_response()).boxed(),
        };
        match ReadBody::begin(&mut parts.extensions, body) {
            Either::Left(body) => then(state, &parts, checked, body.into_inner()),
            Either::Right(body) => async move { then(state, &parts, checked, body.await).await }.boxed(),
        }
    };
    // Lazy: hyper fills the body after it has called the service, and before it polls the answer for the first time.
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
    Problem::new(ProblemType::ShuttingDown, "the gateway is stopping, and the body was not complete")
}

enum Buffer {
    /// The body arrived in one piece, and the gateway does not copy it.
    Frame(Bytes),
    Copied(Vec<u8>),
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Frame(bytes) => bytes,
            Self::Copied(bytes) => bytes,
        }
    }
}

/// A body while the gateway reads it.
struct Reading {
    permit: RequestPermit,
    /// The length that the header states.
    announced: Option<usize>,
    buffer: Buffer,
    bytes_permit: Option<OwnedSemaphorePermit>,
}

impl Reading {
    fn new(permit: RequestPermit, body: &Body) -> Self {
        let announced = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
        Self { permit, announced, buffer: Buffer::Frame(Bytes::new()), bytes_permit: None }
    }

    /// Reads to the end. When this future is dropped earlier, the bytes that it has read are kept.
    async fn read(&mut self, body: &mut Body) -> Result<(), Problem> {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.unreadable(&error))?;
            // The gateway ignores trailers.
            if let Ok(data) = frame.into_data() {
                self.take(data)?;
            }
        }
        Ok(())
    }

    /// Reads to the end, until the body's deadline passes or the gateway stops.
    async fn end_in_time(mut self, mut body: Body) -> Result<ReadBody, Problem> {
        let permit = self.permit.clone();
        let deadline = permit.body_timeout();
        tokio::select! {
            biased;
            read = timeout(deadline, self.read(&mut body)) => read.unwrap_or_else(|_| Err(too_late(deadline)))?,
            () = permit.aborting() => return Err(stopping()),
        }
        Ok(self.end())
    }

    fn end(mut self) -> ReadBody {
        match &mut self.buffer {
            Buffer::Copied(bytes) => bytes.shrink_to_fit(),
            Buffer::Frame(bytes) if bytes.len() <= SMALL => self.buffer = Buffer::Copied(bytes.to_vec()),
            Buffer::Frame(_) => {}
        }
        let permit = self.permit.clone();
        ReadBody { bytes: guarded(self.buffer, (self.permit, self.bytes_permit)), permit }
    }

    fn unreadable(&self, error: &axum::Error) -> Problem {
        // axum wraps the error each time when it wraps the body.
        let mut errors = successors(Some(error as &dyn Error), |error| (*error).source());
        if errors.any(<dyn Error>::is::<ChunkTooLarge>) {
            return Problem::too_large(self.permit.max_body_bytes());
        }
        Problem::new(
            ProblemType::MalformedRequest,
            "the body ended before its Content-Length or last chunk, or a chunk is malformed",
        )
        .caused_by(error)
    }

    fn take(&mut self, data: Bytes) -> Result<(), Problem> {
        let read = self.buffer.as_ref().len();
        let limit = self.permit.max_body_bytes();
        if data.len() > limit - read {
            return Err(Problem::too_large(limit));
        }
        let announced = self.announced;
        let more = self.permit.reserve(data.len())?;
        match &mut self.bytes_permit {
            Some(permit) => permit.merge(more),
            none => *none = Some(more),
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

/// Makes room for `more` bytes. Doubles the buffer, but not beyond the announced length.
fn grow(bytes: &mut Vec<u8>, more: usize, announced: Option<usize>) {
    let needed = bytes.len() + more;
    if needed > bytes.capacity() {
        let doubled = (2 * bytes.capacity()).max(TRUSTED_LENGTH).min(announced.unwrap_or(usize::MAX));
        bytes.reserve_exact(doubled.max(needed) - bytes.len());
    }
}
