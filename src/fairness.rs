//! Fair share: a principal that asks for much leaves room for the others.
//!
//! It applies as soon as the gateway knows more than one principal. A [`SharedLimit`] refuses a principal that holds too much of a
//! resource. [`Turns`] never refuses: where requests wait for a resource, the principal that holds least of it goes first.

mod holdings;
mod limit;
mod turns;

use std::sync::Arc;

pub use self::holdings::Held;
pub use self::limit::{NoRoom, OverShare, Permit, Promised, SharedLimit, Shares};
pub use self::turns::{Turn, Turns};

/// The principal that a part of a resource is held for. There is none for the gateway's own work, and where no fair share applies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Holder(Option<Arc<str>>);

impl Holder {
    /// The principal with this name.
    #[must_use]
    pub fn principal(name: &Arc<str>) -> Self {
        Self(Some(Arc::clone(name)))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    fn name(&self) -> Option<&Arc<str>> {
        self.0.as_ref()
    }
}
