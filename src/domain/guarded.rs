//! Bytes that hold a share of a limit.

use bytes::Bytes;

/// Bytes that hold a guard, such as their permit in a budget, until they and all their slices are dropped.
#[must_use]
pub fn guarded(bytes: impl AsRef<[u8]> + Send + 'static, guard: impl Send + 'static) -> Bytes {
    Bytes::from_owner(Guarded { bytes, _guard: guard })
}

/// Bytes, and a guard that is dropped with them.
struct Guarded<T, G> {
    bytes: T,
    _guard: G,
}

impl<T: AsRef<[u8]>, G> AsRef<[u8]> for Guarded<T, G> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}
