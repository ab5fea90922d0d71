//! lapin notices the end of a channel later than the channel's owner does.
//!
//! If the channel is dropped before that, lapin (4.12) closes a channel that RabbitMQ has closed already. It then takes
//! RabbitMQ's answer for an answer to the next channel of the same number.

use std::time::Duration;

use lapin::Channel;
use tokio::time::{sleep, timeout};

/// How often and how long the gateway checks lapin's state.
const PAUSE: Duration = Duration::from_millis(1);
const TIMEOUT: Duration = Duration::from_secs(5);

/// Resolves when lapin has noticed the end of a channel that has ended, after at most 5 s. The end of lapin's connection
/// ends its channels too.
pub(in crate::broker) async fn until_noticed(channel: &Channel) {
    let noticed = async {
        while channel.status().connected() {
            sleep(PAUSE).await;
        }
    };
    let _hangs = timeout(TIMEOUT, noticed).await;
}
