//! Panics: the code that catches a panic reports it with its place; the hook logs every other panic.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::thread;

use tokio::task_local;

task_local! {
    /// Set while panics are caught: the place of the last one.
    static PLACE: RefCell<Option<String>>;
}

/// A panic that was caught.
#[derive(Debug)]
pub struct Caught {
    /// The message of the panic.
    pub message: String,
    /// Its file and line, if [`log_panic`] is the hook.
    pub place: Option<String>,
}

impl Caught {
    fn new(panic: &(dyn Any + Send)) -> Self {
        let text =
            panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
        Self { message: text.unwrap_or("no text").to_owned(), place: PLACE.with(RefCell::take) }
    }
}

/// Does work, and catches its panic.
///
/// # Errors
/// The panic.
pub fn catch<T>(work: impl FnOnce() -> T) -> Result<T, Caught> {
    PLACE.sync_scope(RefCell::default(), || {
        catch_unwind(AssertUnwindSafe(work)).map_err(|panic| Caught::new(&*panic))
    })
}

/// Logs a panic that is not caught, and records the place of one that is caught.
pub fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    if PLACE.try_with(|kept| kept.replace(place.clone())).is_ok() {
        return;
    }
    let message = panic.payload_as_str().unwrap_or("no message");
    let thread = thread::current();
    tracing::error!(panic = ?message, place, thread = thread.name(), "a task panicked");
}
