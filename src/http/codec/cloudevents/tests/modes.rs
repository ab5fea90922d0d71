//! An event in structured mode and the same event in binary mode become the same message.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// Data in JSON, its content type, and its bytes.
type Data = (&'static str, Option<&'static str>, Value, Vec<u8>);

fn any_data() -> impl Strategy<Value = Data> {
    let json = prop_oneof![
        any::<i64>().prop_map(Value::from),
        "\\PC{0,9}".prop_map(Value::from),
        Just(json!({"a": [null, true]}))
    ];
    prop_oneof![
        json.prop_map(|data| ("data", Some("application/json"), data.clone(), data.to_string().into_bytes())),
        "\\PC{1,20}".prop_map(|text| ("data", Some("text/plain"), json!(text), text.into_bytes())),
        proptest::collection::vec(any::<u8>(), 1..20).prop_map(|bytes| {
            let base64 = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, &bytes);
            ("data_base64", Some("image/png"), json!(base64), bytes)
        }),
        Just(("data_base64", None, Value::Null, Vec::new())),
    ]
}

/// Attributes that are not empty, some of them not strings.
fn any_attributes() -> impl Strategy<Value = BTreeMap<String, Value>> {
    let text = "[^\\p{C}]{1,12}".prop_map(Value::from);
    let value =
        prop_oneof![text.clone(), any::<i32>().prop_map(Value::from), any::<bool>().prop_map(Value::from)];
    let extensions = proptest::collection::btree_map("ext[a-z0-9]{1,8}", value, 0..4);
    let core = proptest::collection::vec(text, 4);
    (extensions, core).prop_map(|(mut attributes, core)| {
        attributes.extend(["id", "source", "type", "subject"].map(str::to_owned).into_iter().zip(core));
        attributes.insert("specversion".to_owned(), json!("1.0"));
        attributes.insert("time".to_owned(), json!("2018-04-05T17:31:00.5+02:00"));
        attributes
    })
}

fn canonical(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn in_structured_mode(
    attributes: &BTreeMap<String, Value>,
    (member, content_type, data, _): &Data,
) -> String {
    let mut document: Map<_, _> = attributes.clone().into_iter().collect();
    document.insert((*member).to_owned(), data.clone());
    document.insert("datacontenttype".to_owned(), json!(content_type));
    Value::from(document).to_string()
}

fn in_binary_mode(attributes: &BTreeMap<String, Value>, (_, content_type, _, body): &Data) -> Event {
    let header = |(name, value): (&String, &Value)| {
        let value = utf8_percent_encode(&canonical(value), ENCODED).to_string();
        (format!("ce-{name}"), value)
    };
    let mut pairs: Vec<_> = attributes.iter().map(header).collect();
    pairs.extend(content_type.map(|content_type| ("content-type".to_owned(), content_type.to_owned())));
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    event(&pairs, body).unwrap_or_else(|problem| panic!("{}", problem.detail()))
}

/// The headers with all values as texts: binary mode has only strings.
fn as_texts(headers: &FieldTable) -> FieldTable {
    let as_text = |value: &FieldValue| match value {
        FieldValue::I32(number) => text(&number.to_string()),
        FieldValue::Bool(value) => text(&value.to_string()),
        other => other.clone(),
    };
    FieldTable(headers.0.iter().map(|(name, value)| (name.clone(), as_text(value))).collect())
}

proptest! {
    #[test]
    fn an_event_becomes_the_same_message_in_both_modes(attributes in any_attributes(), data in any_data()) {
        let structured = read(&in_structured_mode(&attributes, &data));
        let structured = structured.unwrap_or_else(|problem| panic!("{}", problem.detail()));
        let binary = in_binary_mode(&attributes, &data).into_binary(AmqpHeaders::default(), &mapping(None));
        let binary = binary.expect("a message");
        let (content_type, headers, body) = parts(&structured);
        prop_assert_eq!((content_type, &as_texts(headers), body), parts(&binary));
        prop_assert_eq!(headers.0.len(), attributes.len());
    }

    #[test]
    fn the_document_of_an_event_in_binary_mode_becomes_the_same_message(attributes in any_attributes(), data in any_data()) {
        let document = document::write(&in_binary_mode(&attributes, &data)).expect("a document");
        let read = read(std::str::from_utf8(&document).expect("UTF-8"));
        let binary = in_binary_mode(&attributes, &data).into_binary(AmqpHeaders::default(), &mapping(None));
        let (read, binary) = (read.expect("a message"), binary.expect("a message"));
        prop_assert_eq!(parts(&read), parts(&binary));
    }
}
