//! Waiting with a deadline, without a runtime.

use std::thread;
use std::time::{Duration, Instant};

/// Generous, because a machine that compiles at the same time needs four times the usual 3 s.
pub const START_DEADLINE: Duration = Duration::from_secs(90);

const INTERVAL: Duration = Duration::from_millis(50);

/// Asks `probe` again and again; false when the deadline comes first.
#[expect(clippy::disallowed_methods, reason = "this program has no runtime thread that could stop")]
pub(crate) fn wait_until(deadline: Duration, mut probe: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + deadline;
    loop {
        if probe() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(INTERVAL);
    }
}
