//! Refusals name the attribute and say how to correct it.

use super::*;

fn detail(document: &str) -> String {
    read(document).expect_err(document).detail().to_owned()
}

/// An event with these members.
fn with(members: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t",{members}}}"#)
}

#[test]
fn a_wrong_member_is_named() {
    for (members, said) in [
        (r#""specversion":"1.0""#, "specversion is given more than once: give it once"),
        (r#""a":null,"a":null"#, "a is given more than once"),
        (r#""data":1,"data":1"#, "data is given more than once"),
        (r#""data_base64":"","data_base64":null"#, "data_base64 is given more than once"),
        (r#""data":1,"data_base64":"AA==""#, "data_base64 is given beside data: give only one of the two"),
        (r#""data":null,"data_base64":"AA==""#, "data_base64 is given beside data"),
        (r#""data_base64":5"#, "data_base64 must be a string with base64"),
        (r#""data_base64":"AAA""#, "data_base64 must be base64 with padding"),
        (r#""Subject":"x""#, "Subject is no name of an attribute: use lower-case letters and digits only"),
        (r#""a_b":"x""#, "a_b is no name of an attribute"),
        (r#""":"x""#, "\"\" is no name of an attribute"),
        (
            r#""a":{"b":1}"#,
            "a must be a string, true, false or a whole number, not an object: put it into data",
        ),
        (r#""a":[]"#, "a must be a string, true, false or a whole number, not an array"),
        (r#""a":1.0"#, "a must be a whole number from -2147483648 to 2147483647"),
        (r#""a":2147483648"#, "a must be a whole number from -2147483648"),
        (r#""a":-2147483649"#, "a must be a whole number from -2147483648"),
        (r#""a":99999999999999999999"#, "a must be a whole number from -2147483648"),
        (r#""a":"\u0007""#, "a must not contain control characters"),
        (r#""a":"\uffff""#, "a must not contain control characters or noncharacters"),
        (
            r#""time":"yesterday""#,
            "time must be an RFC 3339 time such as 2018-04-05T17:31:00Z, not \"yesterday\"",
        ),
        (r#""time":5"#, "time must be a string, not 5"),
        (r#""subject":"""#, "subject must not be empty: give a value or leave it out"),
        (r#""subject":true"#, "subject must be a string, not true"),
        (r#""datacontenttype":"","data":1"#, "datacontenttype must not be empty"),
        (
            r#""datacontenttype":"text/plain","data":{}"#,
            "data must be a string, because datacontenttype \"text/plain\" is not JSON",
        ),
        (r#""datacontenttype":"text/plain","data":null"#, "data must be a string, because"),
        (
            r#""datacontenttype":"text/plain","data":"\ud800""#,
            "data is a string with an escape that JSON does not know",
        ),
        (
            r#""datacontenttype":"text/plain; charset=utf-16","data":"a""#,
            "datacontenttype has the character set \"utf-16\"",
        ),
        (
            r#""datacontenttype":"text/plain; charset=iso-8859-1","data":"é""#,
            "datacontenttype has the character set",
        ),
    ] {
        let document = with(members);
        assert!(detail(&document).starts_with(said), "{members}: {}", detail(&document));
    }
    let long = with(&format!(r#""datacontenttype":"{}""#, "a".repeat(256)));
    assert!(detail(&long).starts_with("datacontenttype must be at most 255 bytes"), "{}", detail(&long));
}

#[test]
fn a_name_that_does_not_fit_a_header_is_refused() {
    let name = |length: usize| with(&format!("\"{}\":1", "a".repeat(length)));
    assert!(detail(&name(256)).contains("has a name of 256 bytes: use at most 255"));
    assert!(detail(&name(255)).contains("makes a header whose name must be at most 255 bytes"));
    assert!(read(&name(255 - "cloudEvents_".len())).is_ok());
}

#[test]
fn a_missing_or_empty_core_attribute_is_named() {
    let members = [("specversion", "1.0"), ("id", "1"), ("source", "s"), ("type", "t")];
    for (missing, _) in members {
        let others = members.iter().filter(|(name, _)| *name != missing);
        let others: Vec<_> = others.map(|(name, value)| format!(r#""{name}":"{value}""#)).collect();
        let others = others.join(",");
        let is_missing = format!("{missing} is missing: every CloudEvent needs it");
        assert_eq!(detail(&format!("{{{others}}}")), is_missing);
        assert_eq!(detail(&format!(r#"{{"{missing}":null,{others}}}"#)), is_missing);
        let empty = detail(&format!(r#"{{"{missing}":"",{others}}}"#));
        assert!(empty.starts_with(&format!("{missing} must ")), "{empty}");
        let number = detail(&format!(r#"{{"{missing}":1,{others}}}"#));
        assert_eq!(number, format!("{missing} must be a string, not 1"));
    }
    let old = detail(r#"{"specversion":"0.3","id":"1","source":"s","type":"t"}"#);
    assert_eq!(old, "specversion must be \"1.0\", not \"0.3\"");
}

#[test]
fn a_document_that_is_no_object_is_refused() {
    for document in ["", "[]", "5", "null", "{", "{} {}", "\u{feff}{}"] {
        assert!(detail(document).starts_with("body "), "{document}: {}", detail(document));
    }
}

#[test]
fn a_wrong_header_is_named() {
    let whole = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "s"), ("ce-type", "t")];
    for (further, said) in [
        (("ce-id", "2"), "ce-id is given more than once: give it once"),
        (("ce-datacontenttype", "a/b"), "ce-datacontenttype is not allowed: Content-Type is this attribute"),
        (("ce-data", "x"), "ce-data is no name of an attribute: the data of an event is the body"),
        (("ce-a_b", "x"), "ce-a_b is no name of an attribute"),
        (("ce-", "x"), "ce- is no name of an attribute"),
        (("ce-a", "%C0%A0"), "ce-a is not UTF-8 after percent-decoding"),
        (("ce-a", "100%"), "ce-a has a % without two hexadecimal digits after it: write % as %25"),
        (("ce-a", "\"a"), "ce-a begins with a quote and is no quoted string"),
        (("ce-a", "%0A"), "ce-a must not contain control characters"),
        (("ce-time", "now"), "ce-time must be an RFC 3339 time"),
        (("ce-subject", ""), "ce-subject must not be empty: give a value or leave it out"),
    ] {
        let read = read_binary(&[&whole[..], &[further]].concat(), b"");
        let problem = read.expect_err(said);
        assert!(problem.detail().starts_with(said), "{further:?}: {}", problem.detail());
    }
    for missing in 0..whole.len() {
        let mut others = whole.to_vec();
        let (name, _) = others.remove(missing);
        let problem = read_binary(&others, b"").expect_err(name);
        assert_eq!(problem.detail(), format!("{name} is missing: every CloudEvent needs it"));
    }
}

#[test]
fn a_routing_key_that_the_event_cannot_give_is_refused() {
    let missing = read_as(&with(r#""a":1"#), &mapping(Some(KeyAttribute::Subject)));
    assert_eq!(
        missing.expect_err("no subject").detail(),
        "subject is missing: routing_key_from=subject takes the routing key from it"
    );
    let long = with(&format!(r#""subject":"{}""#, "a".repeat(256)));
    let long = read_as(&long, &mapping(Some(KeyAttribute::Subject))).expect_err("256 bytes");
    assert!(long.detail().starts_with("subject is the routing key, which must be at most 255 bytes"));
}

#[test]
fn a_header_of_the_caller_cannot_replace_an_attribute() {
    let beside = AmqpHeaders {
        headers: FieldTable::of(&[("cloudevents_id", text("x")), ("tenant", text("acme"))]),
        ..AmqpHeaders::default()
    };
    let document = Bytes::from(with(r#""data":1"#));
    let problem = super::super::read(&document, beside, &mapping(None)).expect_err("a collision");
    assert_eq!(
        problem.detail(),
        "x-amqp-header-cloudevents_id is the header of the event's attribute id: leave it out"
    );
}
