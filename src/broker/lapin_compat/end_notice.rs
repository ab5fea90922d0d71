//! lapin learns of the end of a channel after the channel's owner.
//!
//! Dropped before that, lapin (4.12) closes a channel that RabbitMQ has closed already, and RabbitMQ's answer is taken for one to
//! the next channel of the same number.

use std::time::Duration;

use lapin::Channel;
use tokio::time::{sleep, timeout};

/// How often lapin is asked, and for how long.
const PAUSE: Duration = Duration::from_millis(1);
const TIMEOUT: Duration = Duration::from_secs(5);

/// Ends when lapin has noticed the end of a channel that has ended, at the latest after 5 s: lapin's own end ends its channels too.
pub(in crate::broker) async fn until_noticed(channel: &Channel) {
    let noticed = async {
        while channel.status().connected() {
            sleep(PAUSE).await;
        }
    };
    let _hangs = timeout(TIMEOUT, noticed).await;
}
