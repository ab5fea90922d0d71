//! How the wire behaves, for all connections and for those of some names.

/// How the wire behaves; may change at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As a good wire.
    Pass,
    /// Bytes are taken and lost.
    BlackHole(Way),
    /// Bytes are not taken, so the sender's buffers fill; they flow when the mode changes.
    Stall(Way),
    /// Every piece is held for this long.
    Delay(std::time::Duration),
    /// Every byte travels in a packet of its own.
    Slice,
    /// The receiving end sees the end of the stream; the other direction flows.
    HalfClose(Way),
    /// New connections are offered so few channels, as by RabbitMQ's setting `channel_max`.
    Channels(u16),
    /// New connections are refused; open ones pass. Connections chosen by name are accepted, and reset when they tell
    /// their name.
    Refuse,
    /// New connections are accepted and never answered, until they are cut or leave; open ones pass. Has no meaning
    /// for connections chosen by name: take [`Mode::BlackHole`].
    Silence,
}

/// A direction on the wire.
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

/// The mode of each connection, by its name: names that have no mode of their own follow the general one.
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

    /// Of a connection that may not have told its name yet.
    pub(super) fn of(&self, name: Option<&str>) -> Mode {
        name.and_then(|name| self.of_name(name)).unwrap_or(self.general)
    }

    pub(super) fn of_name(&self, name: &str) -> Option<Mode> {
        let own = self.named.iter().rev().find(|(pattern, _)| matches(pattern, name));
        own.map(|(_, mode)| *mode)
    }
}

/// Whether a connection's name ends with this word: `publish-0`, or `slow-*` for all that begin so.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |head| name.starts_with(head))
}
