//! Reads whole numbers in JSON. `5.0` is a whole number too, as in JSON Schema: some programs write all numbers in this form.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, Error, Visitor};

/// 2^53: up to this value, a floating point number represents every whole number exactly.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Reads a whole number, or null.
///
/// # Errors
/// When it has a fraction, or does not fit.
pub(in crate::http) fn whole<'de, D: Deserializer<'de>, T: TryFrom<i128>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    deserializer.deserialize_any(Whole(PhantomData))
}

struct Whole<T>(PhantomData<T>);

impl<T: TryFrom<i128>> Whole<T> {
    /// The least and the greatest number that fits.
    fn range() -> (i128, i128) {
        let half = 1_i128 << (size_of::<T>() * 8 - 1);
        if T::try_from(-1).is_ok() { (-half, half - 1) } else { (0, 2 * half - 1) }
    }

    fn fit<E: Error>(number: i128) -> Result<Option<T>, E> {
        T::try_from(number).map(Some).map_err(|_| {
            let (least, greatest) = Self::range();
            let is_widest = greatest == i128::from(u64::MAX);
            let range =
                if is_widest { format!("from {least} on") } else { format!("from {least} to {greatest}") };
            E::custom(format!("must be a whole number {range}, not {number}"))
        })
    }
}

impl<T: TryFrom<i128>> Visitor<'_> for Whole<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Self::fit(number.into())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Self::fit(number.into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        if number.fract() == 0.0 && number.abs() <= EXACT {
            #[expect(clippy::cast_possible_truncation, reason = "it has no fraction, and it is in range")]
            return Self::fit(number as i128);
        }
        Err(E::custom(format!("{number} is not a whole number")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> serde_json::Result<Option<u8>> {
        whole(&mut serde_json::Deserializer::from_str(json))
    }

    #[test]
    fn a_number_without_a_fraction_is_whole_in_every_notation() {
        for json in ["5", "5.0", "0.5e1", "50e-1"] {
            assert_eq!(read(json).expect(json), Some(5));
        }
        assert_eq!(read("null").expect("absent"), None);
        for json in ["5.5", "256", "-1", "1e300", "\"5\"", "true"] {
            assert!(read(json).is_err(), "{json}");
        }
        assert!(read("-1").is_err_and(|error| error.to_string().contains("from 0 to 255, not -1")));
    }
}
