//! How the link treats bytes and connections, for all connections and for those with a given name.

/// How the link treats bytes and connections; may change at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// All bytes are forwarded.
    Pass,
    /// Bytes are read and dropped.
    BlackHole(Way),
    /// Bytes are not read, so the sender's buffers fill; they are forwarded when the mode changes.
    Stall(Way),
    /// Each piece is held for this time.
    Delay(std::time::Duration),
    /// Each byte travels in a packet of its own.
    Slice,
    /// The receiving end sees the end of the stream; the other direction works.
    HalfClose(Way),
    /// New connections are offered this number of channels, as with RabbitMQ's setting `channel_max`.
    Channels(u16),
    /// New connections are refused; open ones work. Connections chosen by name are accepted, and reset when they send their name.
    Refuse,
    /// New connections are accepted and never answered, until they are reset or close; open ones work. Not for connections chosen
    /// by name: use [`Mode::BlackHole`].
    Silence,
}

/// A direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    ToBroker,
    ToClient,
    Both,
}

impl Way {
    pub(super) fn covers(self, one: Self) -> bool {
        self == Self::Both || self == one
    }
}

/// The mode of each connection, by its name. A connection whose name has no mode of its own follows the general mode.
#[derive(Debug, Clone)]
pub(super) struct Modes {
    pub(super) general: Mode,
    named: Vec<(String, Mode)>,
}

impl Modes {
    pub(super) fn passing() -> Self {
        Self { general: Mode::Pass, named: Vec::new() }
    }

    pub(super) fn set_named(&mut self, pattern: &str, mode: Mode) {
        self.mend_named(pattern);
        self.named.push((pattern.to_owned(), mode));
    }

    pub(super) fn mend_named(&mut self, pattern: &str) {
        self.named.retain(|(known, _)| known != pattern);
    }

    /// The mode of a connection that may not have sent its name yet.
    pub(super) fn of(&self, name: Option<&str>) -> Mode {
        name.and_then(|name| self.of_name(name)).unwrap_or(self.general)
    }

    pub(super) fn of_name(&self, name: &str) -> Option<Mode> {
        let own = self.named.iter().rev().find(|(pattern, _)| matches(pattern, name));
        own.map(|(_, mode)| *mode)
    }
}

/// Whether a connection's name ends with this word: `publish-0`, or `slow-*` for all that begin with `slow-`.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |head| name.starts_with(head))
}
