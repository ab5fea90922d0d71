//! The ports of a node: free ones below 32768, where Linux takes no port of an outgoing connection.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 20_000;
const END: u16 = 32_768;

/// Where a node listens, apart from its epmd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// For clients.
    pub amqp: u16,
    /// For other nodes and for programs that evaluate Erlang.
    pub distribution: u16,
    /// For the management API, where that plugin is enabled.
    pub management: Option<u16>,
}

impl Ports {
    /// Free ports for a node with these plugins.
    #[must_use]
    pub fn free(plugins: &str) -> Self {
        let management = has_management(plugins).then(free_port);
        Self { amqp: free_port(), distribution: free_port(), management }
    }

    /// Whether a node with these plugins can start on them.
    pub(crate) fn suit(self, plugins: &str) -> bool {
        let all = [Some(self.amqp), Some(self.distribution), self.management];
        self.management.is_some() == has_management(plugins) && all.into_iter().flatten().all(is_free)
    }
}

fn has_management(plugins: &str) -> bool {
    plugins.split(',').any(|plugin| plugin.trim() == "rabbitmq_management")
}

/// A port that is free and that this process has not given away before.
///
/// # Panics
/// When no port below 32768 is free.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| {
        let start = u16::try_from(random() % 10_000).expect("below 10,000");
        AtomicU16::new(FIRST + start)
    });
    loop {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(port < END, "no free port below {END}");
        if is_free(port) {
            return port;
        }
    }
}

pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_suit_while_they_are_free_and_the_plugins_need_no_other() {
        let ports = Ports::free("rabbitmq_shovel, rabbitmq_management");
        assert!(ports.management.is_some() && ports.suit("rabbitmq_management"));
        assert!(!ports.suit(""));
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, ports.distribution)).expect("it is free");
        assert!(!ports.suit("rabbitmq_management"));
    }

    #[test]
    fn only_the_management_plugin_has_a_port() {
        assert_eq!(Ports::free("rabbitmq_management_agent").management, None);
    }
}
