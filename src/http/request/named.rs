//! Reads an object that has one more member than another type: a `name`, an `id`, or a `lease_id`.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Error, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// An object with a member `name`. All its other members are those of `T`.
#[derive(Debug)]
pub(in crate::http) struct Named<T> {
    pub(in crate::http) name: String,
    pub(in crate::http) rest: T,
}

/// An object that may have a member `id`. All its other members are those of `T`.
#[derive(Debug)]
pub(in crate::http) struct Identified<T> {
    pub(in crate::http) id: Option<String>,
    pub(in crate::http) rest: T,
}

/// An object with a member `lease_id`. All its other members are those of `T`.
#[derive(Debug)]
pub(in crate::http) struct Leased<T> {
    pub(in crate::http) lease_id: String,
    pub(in crate::http) rest: T,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (name, rest) = deserializer.deserialize_map(BesideVisitor("name", PhantomData))?;
        let name = name.ok_or_else(|| D::Error::missing_field("name"))?;
        Ok(Self { name, rest })
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Identified<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (id, rest) = deserializer.deserialize_map(BesideVisitor("id", PhantomData))?;
        Ok(Self { id, rest })
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Leased<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (lease_id, rest) = deserializer.deserialize_map(BesideVisitor("lease_id", PhantomData))?;
        let lease_id = lease_id.ok_or_else(|| D::Error::missing_field("lease_id"))?;
        Ok(Self { lease_id, rest })
    }
}

/// Reads the member with this name, and the members of `T`.
struct BesideVisitor<T>(&'static str, PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for BesideVisitor<T> {
    type Value = (Option<String>, T);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let mut value = None;
        let rest = Without { map, name: self.0, value: &mut value };
        let rest = T::deserialize(MapAccessDeserializer::new(rest))?;
        Ok((value, rest))
    }
}

/// The members of a map without the one with this name, whose value goes to the variable.
struct Without<'a, A> {
    map: A,
    name: &'static str,
    value: &'a mut Option<String>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Without<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, mut seed: K) -> Result<Option<K::Value>, A::Error> {
        loop {
            match self.map.next_key_seed(KeySeed(self.name, seed))? {
                None => return Ok(None),
                Some(Key::Other(key)) => return Ok(Some(key)),
                Some(Key::Own(unused)) => seed = unused,
            }
            if self.value.replace(self.map.next_value()?).is_some() {
                return Err(A::Error::duplicate_field(self.name));
            }
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

/// Reads a key by its own seed, unless it is this name. The error of an unknown key arises where the key is read, so its path is
/// known.
struct KeySeed<K>(&'static str, K);

/// A key, or the unused seed.
enum Key<K, V> {
    Own(K),
    Other(V),
}

impl<'de, K: DeserializeSeed<'de>> DeserializeSeed<'de> for KeySeed<K> {
    type Value = Key<K, K::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de, K: DeserializeSeed<'de>> Visitor<'de> for KeySeed<K> {
    type Value = Key<K, K::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        let Self(name, seed) = self;
        if key == name {
            Ok(Key::Own(seed))
        } else {
            let key = seed.deserialize(key.into_deserializer());
            key.map(Key::Other).map_err(|error: E| E::custom(with_name(name, &error.to_string())))
        }
    }
}

/// The error about an unknown member, which also lists this name.
fn with_name(name: &str, said: &str) -> String {
    said.replacen("`, expected ", &format!("`, expected `{name}`, "), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Rest {
        size: u8,
    }

    fn read(json: &str) -> Result<(String, u8), String> {
        let named: Result<Named<Rest>, _> = serde_json::from_str(json);
        named.map(|named| (named.name, named.rest.size)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_name_may_stand_anywhere_among_the_other_members() {
        for json in [r#"{"name":"a","size":5}"#, r#"{"size":5,"name":"a"}"#] {
            assert_eq!(read(json), Ok(("a".to_owned(), 5)));
        }
    }

    #[test]
    fn an_id_may_be_missing() {
        let read = |json| serde_json::from_str::<Identified<Rest>>(json).map(|it| (it.id, it.rest.size));
        assert_eq!(read(r#"{"size":5}"#).expect("no id"), (None, 5));
        assert_eq!(read(r#"{"size":5,"id":"a"}"#).expect("an id"), (Some("a".to_owned()), 5));
        let said = read(r#"{"id":"a","colour":1}"#).expect_err("unknown").to_string();
        assert!(said.contains("expected `id`, `size`"), "{said}");
    }

    #[test]
    fn a_missing_or_repeated_name_and_unknown_members_are_errors() {
        for (json, said) in [
            (r#"{"size":5}"#, "missing field `name`"),
            (r#"{"name":"a","name":"b","size":5}"#, "duplicate field `name`"),
            (r#"{"name":"a","size":5,"colour":1}"#, "unknown field `colour`, expected `name`, `size`"),
            (r#"{"name":5,"size":5}"#, "invalid type"),
        ] {
            assert!(read(json).expect_err(json).contains(said), "{json}");
        }
    }
}
