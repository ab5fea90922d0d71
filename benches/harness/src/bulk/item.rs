//! An item of a batch or stream, and its result. Each item has an id of its own, which its result repeats: so a result of another
//! item is found.

use serde::Deserialize;
use serde_json::json;

use crate::dialect::{body, routing_key, stamp};
use crate::recorder::Answer;
use crate::spec::{Ask, Traffic};

/// The field of the id comes first in the envelope.
const BEFORE_ID: &str = r#"{"id":""#;

/// The envelope of every item, written before the run.
#[derive(Clone)]
pub struct Item(Vec<u8>);

impl Item {
    /// The envelope of messages of this traffic.
    #[must_use]
    pub fn new(traffic: &Traffic) -> Self {
        let key = routing_key(traffic, Ask::Routed);
        let mode = if traffic.persistent { "persistent" } else { "transient" };
        let properties = json!({"content_type": "application/octet-stream", "delivery_mode": mode});
        let body = String::from_utf8_lossy(&body(traffic.size)).into_owned();
        let digits = "0".repeat(16);
        let text = format!(
            r#"{BEFORE_ID}{digits}","routing_key":"{key}","properties":{properties},"body_text":"{body}"}}"#
        );
        Self(text.into_bytes())
    }

    /// The item with this number as its id.
    pub fn numbered(&mut self, number: u64) -> &[u8] {
        stamp(&mut self.0[BEFORE_ID.len()..], number);
        &self.0
    }

    /// Writes the number over the id of an item at the beginning of these bytes.
    pub fn number(item: &mut [u8], number: u64) {
        stamp(&mut item[BEFORE_ID.len()..], number);
    }

    /// Its length in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.0.len()
    }
}

/// The result of an item.
#[derive(Debug, Deserialize)]
pub struct ItemResult<'a> {
    /// The item's place in the request.
    pub index: u64,
    #[serde(borrow)]
    id: Option<&'a str>,
    #[serde(borrow)]
    outcome: &'a str,
}

impl ItemResult<'_> {
    /// The meaning of the result for the item with this number.
    #[must_use]
    pub fn answer(&self, number: u64) -> Answer {
        let is_own = self.id.and_then(|id| u64::from_str_radix(id, 16).ok()) == Some(number);
        match self.outcome {
            _ if !is_own => Answer::WrongReply,
            "confirmed" => Answer::Confirmed,
            "unroutable" => Answer::Unroutable,
            "rejected" => Answer::Rejected,
            other => Answer::Failed(other.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn an_item_is_an_envelope_with_its_number_as_id() {
        let mut item = Item::new(&Traffic::base());
        let length = item.length();
        let text = item.numbered(0xabc).to_vec();
        let envelope: Value = serde_json::from_slice(&text).expect("it is JSON");
        assert_eq!((&envelope["id"], text.len()), (&"0000000000000abc".into(), length));
        assert_eq!(envelope["body_text"].as_str().map(str::len), Some(1024));
    }

    #[test]
    fn a_result_with_the_id_of_another_item_or_without_an_id_is_wrong() {
        let answer =
            |text, number| serde_json::from_str::<ItemResult>(text).expect("it is a result").answer(number);
        let confirmed = r#"{"index":0,"id":"000000000000000c","outcome":"confirmed","attempts":1}"#;
        assert_eq!(answer(confirmed, 12), Answer::Confirmed);
        assert_eq!(answer(confirmed, 13), Answer::WrongReply);
        assert_eq!(answer(r#"{"index":0,"outcome":"confirmed"}"#, 0), Answer::WrongReply);
        let unknown = r#"{"index":0,"id":"c","outcome":"unknown"}"#;
        assert_eq!(answer(unknown, 12), Answer::Failed("unknown".to_owned()));
    }
}
