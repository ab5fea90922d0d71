//! The examples of the JSON Event Format and of the HTTP Protocol Binding, version 1.0.2: a request, and the AMQP message that it
//! becomes.

use super::*;

/// The attributes that all examples of section 3.2 of the JSON Event Format have, beside `id`.
fn common(id: &str, number: FieldValue) -> FieldTable {
    FieldTable::of(&[
        ("cloudEvents_specversion", text("1.0")),
        ("cloudEvents_type", text("com.example.someevent")),
        ("cloudEvents_source", text("/mycontext")),
        ("cloudEvents_id", text(id)),
        ("cloudEvents_time", text("2018-04-05T17:31:00Z")),
        ("cloudEvents_comexampleextension1", text("value")),
        ("cloudEvents_comexampleothervalue", number),
    ])
}

const COMMON: &str = r#""specversion" : "1.0", "type" : "com.example.someevent", "source" : "/mycontext",
    "time" : "2018-04-05T17:31:00Z", "comexampleextension1" : "value", "comexampleothervalue" : 5"#;

const OBJECT: &str =
    "{\n        \"appinfoA\" : \"abc\",\n        \"appinfoB\" : 123,\n        \"appinfoC\" : true\n    }";

/// The id, the other members, and the content type and the body of the message.
fn json_format() -> Vec<(&'static str, String, Option<&'static str>, Vec<u8>)> {
    let with = |members: &str| members.to_owned();
    let thrift = Some("application/vnd.apache.thrift.binary");
    vec![
        (
            "A234-1234-1234",
            with(r#""datacontenttype" : "application/vnd.apache.thrift.binary", "data_base64" : "AP8K""#),
            thrift,
            vec![0, 255, 10],
        ),
        (
            "B234-1234-1234",
            with(
                r#""unsetextension": null, "datacontenttype" : "application/xml", "data" : "<much wow=\"xml\"/>""#,
            ),
            Some("application/xml"),
            br#"<much wow="xml"/>"#.to_vec(),
        ),
        (
            "C234-1234-1234",
            format!(r#""subject": null, "datacontenttype" : "application/json", "data" : {OBJECT}"#),
            Some("application/json"),
            OBJECT.as_bytes().to_vec(),
        ),
        (
            "D234-1234-1234",
            with(r#""subject": null, "data" : "I'm just a string""#),
            Some("application/json"),
            br#""I'm just a string""#.to_vec(),
        ),
        ("E", with(r#""data" : 5.0"#), Some("application/json"), b"5.0".to_vec()),
        ("F", with(r#""data" : null"#), Some("application/json"), b"null".to_vec()),
        (
            "G",
            with(r#""datacontenttype" : "a/b+json", "data" : "\ud83d\ude00""#),
            Some("a/b+json"),
            br#""\ud83d\ude00""#.to_vec(),
        ),
        (
            "H",
            with(r#""datacontenttype" : "text/plain", "data" : "\ud83d\ude00""#),
            Some("text/plain"),
            "😀".into(),
        ),
        (
            "I",
            with(r#""datacontenttype" : "application/json", "data_base64" : "AP8K""#),
            Some("application/json"),
            vec![0, 255, 10],
        ),
        ("J", with(r#""data_base64" : "AP8K""#), None, vec![0, 255, 10]),
        (
            "K",
            with(r#""datacontenttype" : "application/json", "data_base64" : null"#),
            Some("application/json"),
            vec![],
        ),
        ("L", with(r#""datacontenttype" : null"#), None, vec![]),
        (
            "M",
            with(r#""datacontenttype" : "text/plain; charset=iso-8859-1", "data" : "abc""#),
            Some("text/plain; charset=iso-8859-1"),
            b"abc".to_vec(),
        ),
    ]
}

#[test]
fn the_examples_of_the_json_format_become_these_messages() {
    for (id, members, content_type, body) in json_format() {
        let document = format!(r#"{{"id" : "{id}", {COMMON}, {members}}}"#);
        let parsed = read(&document).unwrap_or_else(|problem| panic!("{id}: {}", problem.detail()));
        let headers = common(id, FieldValue::I32(5));
        assert_eq!(parts(&parsed), (content_type, &headers, body.as_slice()), "{id}");
        assert_eq!((&parsed.routing_key, parsed.mandatory), (&None, None));
    }
}

#[test]
fn the_examples_of_the_json_format_in_binary_mode_become_the_same_messages_with_texts() {
    for (id, _, content_type, body) in json_format() {
        let mut pairs = vec![
            ("ce-specversion", "1.0"),
            ("ce-type", "com.example.someevent"),
            ("ce-source", "/mycontext"),
            ("ce-id", id),
            ("ce-time", "2018-04-05T17:31:00Z"),
            ("ce-comexampleextension1", "value"),
            ("ce-comexampleothervalue", "5"),
            ("user-agent", "example"),
        ];
        pairs.extend(content_type.map(|content_type| ("content-type", content_type)));
        let parsed = read_binary(&pairs, &body).expect("an event");
        assert_eq!(parts(&parsed), (content_type, &common(id, text("5")), body.as_slice()), "{id}");
    }
}

#[test]
fn the_values_of_headers_are_decoded() {
    for (value, decoded) in [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("%e2%82%ac", "€"),
        (r#""Euro \"€\"""#, r#"Euro "€""#),
    ] {
        let pairs = [
            ("ce-specversion", "1.0"),
            ("ce-id", "1"),
            ("ce-source", "/s"),
            ("ce-type", "t"),
            ("ce-subject", value),
        ];
        let parsed = read_binary(&pairs, b"").expect("an event");
        assert_eq!(parsed.message.headers.get("cloudEvents_subject"), Some(&text(decoded)), "{value}");
    }
}

#[test]
fn a_value_keeps_its_type() {
    let document = r#"{"specversion":"1.0","id":"1","source":"s","type":"t",
        "least":-2147483648,"most":2147483647,"yes":true,"no":false,"text":"5","empty":""}"#;
    let parsed = read(document).expect("an event");
    for (name, value) in [
        ("least", FieldValue::I32(i32::MIN)),
        ("most", FieldValue::I32(i32::MAX)),
        ("yes", FieldValue::Bool(true)),
        ("no", FieldValue::Bool(false)),
        ("text", text("5")),
        ("empty", text("")),
    ] {
        assert_eq!(parsed.message.headers.get(&format!("cloudEvents_{name}")), Some(&value), "{name}");
    }
}

#[test]
fn the_routing_key_comes_from_an_attribute() {
    let document =
        r#"{"specversion":"1.0","id":"1","source":"s","type":"order.new","subject":"7","partitionkey":5}"#;
    for (key, routing_key) in
        [(KeyAttribute::Type, "order.new"), (KeyAttribute::Subject, "7"), (KeyAttribute::PartitionKey, "5")]
    {
        let parsed = read_as(document, &mapping(Some(key))).expect("an event");
        assert_eq!(parsed.routing_key.as_ref().map(ShortText::as_str), Some(routing_key));
    }
}

#[test]
fn structured_mode_keeps_the_document_and_gives_the_routing_key() {
    let document =
        "\n{\"specversion\":\"1.0\", \"id\":\"1\",\"source\":\"s\",\"type\":\"t\",\"data\":[1, 2]} ";
    let mapping = EventMapping::new("cloudEvents_", Some(ContentMode::Structured), Some(KeyAttribute::Type));
    let parsed = read_as(document, &mapping).expect("an event");
    let none = FieldTable::default();
    assert_eq!(parts(&parsed), (Some("application/cloudevents+json"), &none, document.as_bytes()));
    assert_eq!(parsed.routing_key.as_ref().map(ShortText::as_str), Some("t"));
}

#[test]
fn an_event_in_binary_mode_becomes_the_document_of_the_json_format() {
    for (content_type, body, member) in [
        (Some("application/json"), &b"{\"a\": 1.0}"[..], r#""data":{"a": 1.0}"#),
        (Some("a/b+json; charset=utf-8"), b" \"x\"\n", r#""data":"x""#),
        (Some("application/json"), b"{", r#""data_base64":"ew==""#),
        (Some("application/json; charset=utf-16"), b"{}", r#""data_base64":"e30=""#),
        (Some("text/plain"), "a\"é".as_bytes(), r#""data":"a\"é""#),
        (Some("application/xml"), b"<a/>", r#""data":"<a/>""#),
        (Some("text/plain; charset=latin1"), b"a", r#""data_base64":"YQ==""#),
        (Some("text/plain"), b"\xff", r#""data_base64":"/w==""#),
        (Some("text/plain"), b"\r\n\t", r#""data":"\r\n\t""#),
        (Some("text/plain"), b"\0", r#""data_base64":"AA==""#),
        (Some("image/png"), b"a", r#""data_base64":"YQ==""#),
        (None, b"{}", r#""data_base64":"e30=""#),
        (Some("text/plain"), b"", ""),
    ] {
        let mut pairs =
            vec![("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "s"), ("ce-type", "t%20u")];
        pairs.extend(content_type.map(|content_type| ("content-type", content_type)));
        let written = document::write(&event(&pairs, body).expect("an event")).expect("a document");
        let content_type = content_type.map(|it| format!(r#""datacontenttype":"{it}""#));
        let members = [
            r#"{"id":"1","source":"s","specversion":"1.0","type":"t u""#,
            content_type.as_deref().unwrap_or_default(),
            member,
        ];
        let members: Vec<_> = members.into_iter().filter(|member| !member.is_empty()).collect();
        assert_eq!(String::from_utf8(written).expect("UTF-8"), members.join(",") + "}");
    }
}
