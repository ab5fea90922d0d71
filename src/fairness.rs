//! Fair share: a principal that asks for much leaves room for the others.
//!
//! It applies as soon as the gateway knows more than one principal; the parts that the only one holds are counted, so that they count when
//! there is another one. A [`SharedLimit`] refuses a principal that holds too much of a resource. [`Turns`] never refuses: where requests
//! wait for a resource, the principal that holds least of it goes first.

mod holdings;
mod limit;
mod turns;

use std::sync::Arc;

pub use self::holdings::Held;
pub use self::limit::{NoRoom, OverShare, Permit, Promised, SharedLimit, Shares};
pub use self::turns::{Turn, Turns};

/// The principal that a part of a resource is held for. There is none for the gateway's own work, and without authentication.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Holder {
    name: Option<Arc<str>>,
    is_only: bool,
}

impl Holder {
    /// The principal with this name.
    #[must_use]
    pub fn principal(name: &Arc<str>) -> Self {
        Self { name: Some(Arc::clone(name)), is_only: false }
    }

    /// The principal with this name while the gateway knows no other one. No fair share limits it.
    #[must_use]
    pub fn only_principal(name: &Arc<str>) -> Self {
        Self { is_only: true, ..Self::principal(name) }
    }

    /// Whether a fair share limits it.
    #[must_use]
    pub fn has_share(&self) -> bool {
        self.shared_name().is_some()
    }

    /// The name of the principal that parts are counted for.
    #[must_use]
    pub fn name(&self) -> Option<&Arc<str>> {
        self.name.as_ref()
    }

    /// The name of a principal that a fair share limits.
    fn shared_name(&self) -> Option<&Arc<str>> {
        self.name().filter(|_| !self.is_only)
    }
}
