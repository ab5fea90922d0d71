//! Settings that the gateway can run with although they are probably a mistake.

use std::fmt;

/// One warning, about one name. It holds no value, so no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The setting, or the environment variable that is none.
    pub name: String,
    /// Why it is probably a mistake, and what to do.
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A line break in the name of a variable does not forge a line.
        write!(f, "{}: {}", self.name.escape_debug(), self.text)
    }
}
