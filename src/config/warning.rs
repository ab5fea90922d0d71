//! A warning of a setting that is probably a mistake, with which the gateway can run.

use std::fmt;

/// One warning, about one name. It holds no value, so no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The name of the setting, or of the environment variable that is not a setting.
    pub name: String,
    /// Why it is probably a mistake, and what to do.
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Escaped, so that a line break in the name of a variable cannot forge a line.
        write!(f, "{}: {}", self.name.escape_debug(), self.text)
    }
}
