//! Messages over which RabbitMQ may close the connection.

use super::*;

#[tokio::test]
async fn a_hazardous_message_travels_apart_although_its_exchange_is_good() {
    let (all, hazardous) = (destinations(1), publish(&"ü".repeat(60), ""));
    all.learn_now(&hazardous, &Ok(()));
    assert_eq!(all.way(&hazardous), "hazardous");
}

#[tokio::test]
async fn a_direct_reply_over_which_rabbitmq_closes_the_connection_changes_nothing_for_others() {
    let (all, other) = (destinations(1), publish("", "other"));
    let reply = publish("", "amq.rabbitmq.reply-to.AAAA.x");
    all.learn_now(&other, &Ok(()));
    assert_eq!(all.way(&reply), "hazardous");
    all.learn_now(&reply, &Err(Error::lost("INTERNAL_ERROR")));
    assert_eq!(all.way(&other), "shared");
}
