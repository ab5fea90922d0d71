//! Messages with the headers `CC` and `BCC`.

use super::*;
use crate::domain::field::FieldValue;

/// A publish with further routing keys.
fn publish_also_to(name: &str, routing_key: &str, further: &[&str]) -> Publish {
    let mut publish = publish(name, routing_key);
    let further = FieldValue::Array(further.iter().map(|key| FieldValue::from(*key)).collect());
    publish.message.headers.0.insert(ShortText::parse("CC").expect("short"), further);
    publish
}

#[tokio::test(start_paused = true)]
async fn a_further_routing_key_that_does_not_answer_makes_no_destination_of_others_slow() {
    let destinations = destinations(2);
    let (plain, both) = (publish("x", "k"), publish_also_to("x", "k", &["stuck"]));
    destinations.learn_now(&plain, &Ok(()));
    assert_eq!((destinations.way(&plain), destinations.way(&both)), ("shared", "shared"));
    let (destination, _) = destinations.route(&both, false).expect("a route");
    destinations.mark_slow(&destination);
    assert_eq!(destinations.way(&publish_also_to("x", "k", &["stuck"])), "slow");
    for other in [plain, publish_also_to("x", "k", &["other"]), publish_also_to("x", "stuck", &["k"])] {
        assert_eq!(destinations.way(&other), "shared", "{other:?}");
    }
    // RabbitMQ answers in time again.
    destinations.learn_now(&both, &Ok(()));
    assert_eq!(destinations.way(&both), "shared");
}
