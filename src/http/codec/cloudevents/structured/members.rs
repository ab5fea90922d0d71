//! The members of an event's JSON object: the data as text, and all others as attributes.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::http::codec::cloudevents::attribute::AttributeValue;

/// More attributes than the headers of a message may have.
const MOST_ATTRIBUTES: usize = 64 * 1024;
const DATA: &str = "data";
const DATA_BASE64: &str = "data_base64";

/// The members that are given. An attribute that is null is not given; `data` that is null is JSON.
#[derive(Debug, Default)]
pub(super) struct Members<'a> {
    pub(super) attributes: BTreeMap<String, AttributeValue>,
    pub(super) data: Option<&'a RawValue>,
    pub(super) data_base64: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut attributes = BTreeMap::new();
        let (mut data, mut data_base64) = (None, None);
        while let Some(name) = map.next_key::<String>()? {
            let is_repeated = match name.as_str() {
                DATA => data.replace(map.next_value::<&RawValue>()?).is_some(),
                DATA_BASE64 => data_base64.replace(map.next_value::<&RawValue>()?).is_some(),
                _ if attributes.len() == MOST_ATTRIBUTES => {
                    return Err(A::Error::custom(format!(
                        "has more than {MOST_ATTRIBUTES} attributes: send fewer"
                    )));
                }
                _ => attributes.insert(name.clone(), map.next_value::<Given>()?.0).is_some(),
            };
            if is_repeated {
                return Err(A::Error::custom(format!("duplicate field `{name}`")));
            }
        }
        let attributes = attributes.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        Ok(Members { attributes, data, data_base64: data_base64.filter(|json| json.get() != "null") })
    }
}

/// The value of an attribute, or null.
struct Given(Option<AttributeValue>);

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(GivenVisitor)
    }
}

struct GivenVisitor;

impl GivenVisitor {
    fn integer<E: Error>(number: impl TryInto<i32>) -> Result<Given, E> {
        let number = number.try_into().map_err(|_| not_an_integer())?;
        Ok(Given(Some(AttributeValue::Integer(number))))
    }
}

fn not_an_integer<E: Error>() -> E {
    E::custom(
        "must be a whole number from -2147483648 to 2147483647, without fraction or exponent: write another number as a string",
    )
}

fn nested<E: Error>(kind: &str) -> E {
    E::custom(format!("must be a string, true, false or a whole number, not {kind}: put it into data"))
}

impl<'de> Visitor<'de> for GivenVisitor {
    type Value = Given;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value of an attribute")
    }

    fn visit_unit<E>(self) -> Result<Given, E> {
        Ok(Given(None))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Given, E> {
        Ok(Given(Some(AttributeValue::Boolean(value))))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Given, E> {
        Self::integer(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Given, E> {
        Self::integer(value)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Given, E> {
        Err(not_an_integer())
    }

    fn visit_str<E>(self, value: &str) -> Result<Given, E> {
        Ok(Given(Some(AttributeValue::Text(value.to_owned()))))
    }

    fn visit_string<E>(self, value: String) -> Result<Given, E> {
        Ok(Given(Some(AttributeValue::Text(value))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Given, A::Error> {
        Err(nested("an array"))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Given, A::Error> {
        Err(nested("an object"))
    }
}
