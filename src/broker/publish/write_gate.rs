//! Decides whether a message is written, when another task may forbid it at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const OPEN: u8 = 0;
const PASSED: u8 = 1;
const SHUT: u8 = 2;

/// Lets a message pass to a channel, or shuts before that. Clones are the same gate.
#[derive(Debug, Clone, Default)]
pub(in crate::broker) struct WriteGate(Arc<AtomicU8>);

impl WriteGate {
    /// Shuts the gate. False if the message has passed already, and may be written.
    pub(in crate::broker) fn shut(&self) -> bool {
        !matches!(self.change(OPEN, SHUT), Err(PASSED))
    }

    /// Lets the message pass. False if the gate is shut.
    pub(super) fn pass(&self) -> bool {
        !matches!(self.change(OPEN, PASSED), Err(SHUT))
    }

    /// The channel has handed the message back unwritten.
    pub(super) fn take_back(&self) {
        // The gate is not shut after a pass.
        let _shut = self.change(PASSED, OPEN);
    }

    fn change(&self, from: u8, to: u8) -> Result<u8, u8> {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_passes_or_its_gate_is_shut_and_one_that_is_handed_back_may_pass_again() {
        let gate = WriteGate::default();
        assert!(gate.pass() && gate.pass() && !gate.shut());
        gate.take_back();
        assert!(gate.shut() && gate.shut() && !gate.pass());
        gate.take_back();
        assert!(!gate.pass());
    }
}
