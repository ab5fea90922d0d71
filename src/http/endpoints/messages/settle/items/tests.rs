use serde_json::Value;

use super::*;
use crate::domain::field::FieldTable;
use crate::domain::lease::NoLeaseId;
use crate::domain::message::{MessageId, Properties};
use crate::http::problem::ITEM;

fn id(serial: usize) -> String {
    format!("1.owner.{serial:x}.0000000000000007")
}

/// Reads a body. A reply is its lease and its body as text.
fn read(body: &str) -> Result<Vec<(String, Action)>, (&'static str, String)> {
    let queue = QueueName::parse("q").expect("a name");
    let read_reply = |json: &Bytes| {
        let reply: Value = serde_json::from_slice(json).expect("valid JSON");
        if !reply.is_object() {
            return Err(Problem::malformed(ITEM, format!("must be an object, not {reply}")));
        }
        let id = reply["lease_id"].as_str().unwrap_or_default().parse();
        let id = id.map_err(|error: NoLeaseId| Problem::malformed("lease_id", error))?;
        Ok((id, reply_with(&reply["body"].to_string())))
    };
    let reading = Reading { queue: &queue, max_delay: Duration::from_hours(24), read_reply };
    let items = reading.items(&Bytes::from(body.to_owned()));
    let items =
        items.map(|items| items.actions().into_iter().map(|(id, action)| (id.to_string(), action)).collect());
    items.map_err(|problem| (problem.kind().name(), problem.detail().to_owned()))
}

fn reply_with(body: &str) -> Message {
    Message {
        id: MessageId::from("reply".to_owned()),
        properties: Properties::default(),
        headers: FieldTable::default(),
        body: Bytes::from(body.to_owned()),
    }
}

#[test]
fn items_have_the_order_of_the_document() {
    let body = format!(
        r#"{{"release": ["{}"], "extend": [{{"lease_id": "{}", "lease": "2m"}}], "ack": ["{}", "{}"], "reject": null}}"#,
        id(3),
        id(2),
        id(4),
        id(1)
    );
    let expected = [
        (id(3), Action::Release),
        (id(2), Action::Extend(Duration::from_mins(2))),
        (id(4), Action::Ack),
        (id(1), Action::Ack),
    ];
    assert_eq!(read(&body), Ok(expected.to_vec()));
}

#[test]
fn a_wrong_item_is_named_by_its_place() {
    let (one, two) = (id(1), id(2));
    let item = |lease: &str| format!(r#"{{"extend":[{{"lease_id":"{one}","lease":{lease}}}]}}"#);
    for (body, detail) in [
        (
            "{}".to_owned(),
            "body has no items: name at least one lease in ack, release, reject, extend, retry, dead_letter, reply",
        ),
        (
            r#"{"ack":[]}"#.to_owned(),
            "body has no items: name at least one lease in ack, release, reject, extend, retry, dead_letter, reply",
        ),
        (r#"{"ack":["x"]}"#.to_owned(), "ack[0] is no lease id: copy the lease_id of a pulled message"),
        (format!(r#"{{"ack":["{one}",5]}}"#), "ack[1] must be a string, not 5"),
        (format!(r#"{{"ack":"{one}"}}"#), &format!(r#"ack must be an array, not "{one}""#)),
        (
            format!(r#"{{"ack":["{two}","{one}"],"release":["{one}"]}}"#),
            "release[0] names the lease of ack[1] again: name each lease once",
        ),
        (format!(r#"{{"ack":["{one}"],"ack":["{two}"]}}"#), "ack is given more than once: give it once"),
        (
            r#"{"later":[]}"#.to_owned(),
            "later is not a known member; known are ack, release, reject, extend, retry, dead_letter, reply, dead_letter_to",
        ),
        (item("0"), "extend[0].lease must be a duration above 0"),
        (item("null"), "extend[0].lease must be a duration above 0"),
        (item("{}"), "extend[0].lease must be a duration such as 500ms, 5s or 1m30s, not an object"),
        (format!(r#"{{"extend":[{{"lease_id":"{one}"}}]}}"#), "extend[0].lease is missing"),
        (
            r#"{"extend":[{"lease_id":"x","lease":5}]}"#.to_owned(),
            "extend[0].lease_id is no lease id: copy the lease_id of a pulled message",
        ),
        (
            format!(r#"{{"ack":["{one}"],"dead_letter_to":{{"exchange":""}}}}"#),
            "dead_letter_to.exchange must not be empty",
        ),
        (format!(r#"{{"extend":["{one}"]}}"#), &format!(r#"extend[0] must be an object, not "{one}""#)),
        (format!(r#"{{"extend":[["{one}",5]]}}"#), "extend[0] must be an object, not an array"),
        ("[]".to_owned(), "body must be an object, not an array"),
        ("null".to_owned(), "body must be an object, not null"),
    ] {
        assert_eq!(read(&body), Err(("malformed-request", detail.to_owned())), "{body}");
    }
}

#[test]
fn a_request_has_at_most_1000_items_in_all() {
    let ids = |from: usize, to: usize| {
        (from..to).map(|serial| format!("\"{}\"", id(serial))).collect::<Vec<_>>().join(",")
    };
    let body = |last| format!(r#"{{"ack":[{}],"release":[{}]}}"#, ids(0, 600), ids(600, last));
    assert_eq!(read(&body(1_000)).map(|items| items.len()), Ok(1_000));
    let detail = "the request has 1002 items, and the limit is 1000: split it".to_owned();
    assert_eq!(read(&body(1_002)), Err(("payload-too-large", detail)));
}

#[test]
fn a_reply_is_an_item_like_others_and_a_mistake_in_it_is_named_by_its_place() {
    let (one, two) = (id(1), id(2));
    let body = format!(r#"{{"ack":["{one}"],"reply":[{{"lease_id":"{two}","body":{{"sum":30}}}}]}}"#);
    let reply = Action::Reply(reply_with(r#"{"sum":30}"#).into());
    assert_eq!(read(&body), Ok(vec![(one.clone(), Action::Ack), (two, reply)]));
    let twice = format!(r#"{{"ack":["{one}"],"reply":[{{"lease_id":"{one}","body":1}}]}}"#);
    for (body, detail) in [
        (r#"{"reply":[5]}"#, "reply[0] must be an object, not 5"),
        (
            r#"{"reply":[{"lease_id":"x"}]}"#,
            "reply[0].lease_id is no lease id: copy the lease_id of a pulled message",
        ),
        (&twice, "reply[0] names the lease of ack[0] again: name each lease once"),
    ] {
        assert_eq!(read(body), Err(("malformed-request", detail.to_owned())), "{body}");
    }
}
