//! Finds stalls of the machine itself: a virtual machine may be paused, and then the contestant is not the cause.
//!
//! A thread that only reads the clock detects stalls. The behaviour of a contestant does not count.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A thread that wakes with this delay was not merely waiting for a core.
pub const TOO_LONG: Duration = Duration::from_millis(300);
const GLANCE: Duration = Duration::from_millis(20);

/// Watches until the process ends.
pub struct Watch(Arc<AtomicU64>);

impl Watch {
    /// Starts to watch.
    #[must_use]
    pub fn start() -> Self {
        let longest = Arc::new(AtomicU64::new(0));
        let kept = Arc::clone(&longest);
        thread::spawn(move || {
            loop {
                let begun = Instant::now();
                thread::park_timeout(GLANCE);
                let late = begun.elapsed().saturating_sub(GLANCE).as_millis();
                kept.fetch_max(u64::try_from(late).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
        });
        Self(longest)
    }

    /// The longest delay of the thread.
    #[must_use]
    pub fn longest(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}
