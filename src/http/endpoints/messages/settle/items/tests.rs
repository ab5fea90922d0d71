use super::*;

fn id(serial: usize) -> String {
    format!("1.owner.{serial:x}.0000000000000007")
}

fn read(body: &str) -> Result<Vec<(String, Action)>, (&'static str, String)> {
    let items =
        SettleItems::read(body.as_bytes(), &QueueName::parse("q").expect("a name"), Duration::from_hours(24));
    let items =
        items.map(|items| items.actions().into_iter().map(|(id, action)| (id.to_string(), action)).collect());
    items.map_err(|problem| (problem.kind().name(), problem.detail().to_owned()))
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
            "body has no items: name at least one lease in ack, release, reject, extend, retry, dead_letter",
        ),
        (
            r#"{"ack":[]}"#.to_owned(),
            "body has no items: name at least one lease in ack, release, reject, extend, retry, dead_letter",
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
            "later is not a known member; known are ack, release, reject, extend, retry, dead_letter, dead_letter_to",
        ),
        (item("0"), "extend[0].lease must be a duration above 0"),
        (item("null"), "extend[0].lease must be a duration above 0"),
        (item("{}"), "extend[0].lease must be a duration such as 500ms, 5s or 1m30s, not an object"),
        (format!(r#"{{"extend":[{{"lease_id":"{one}"}}]}}"#), "extend[0].lease is missing"),
        (
            r#"{"extend":[{"lease_id":"x","lease":5}]}"#.to_owned(),
            "extend[0].lease_id is no lease id: copy the lease_id of a pulled message",
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
