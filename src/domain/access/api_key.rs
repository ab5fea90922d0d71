//! API keys: `rgw_`, 43 letters of 256 random bits, and 6 letters of a checksum.
//!
//! Programs that search for leaked secrets find keys by their beginning, and the checksum tells a mistyped key from an unknown one. The gateway
//! stores a SHA-256 of the whole text only: 256 random bits cannot be guessed, so the hash needs no salt and no stretching.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The beginning of each key.
const START: &str = "rgw_";
/// The digits of base 62.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// The digits of 256 bits.
const SECRET: usize = 43;
/// The digits of 32 bits.
const CHECK: usize = 6;
/// The beginning of a digest as text.
const ALGORITHM: &str = "sha256:";

/// A key, as its caller has it. It is never shown again, and `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

/// The text is no API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no API key")]
pub struct NoApiKey;

impl ApiKey {
    /// A new key of 256 random bits.
    #[must_use]
    pub fn generate() -> Self {
        // A UUID has 122 random bits; the hash of three has 256.
        let mut hash = Sha256::new();
        for _ in 0..3 {
            hash.update(Uuid::new_v4().as_bytes());
        }
        Self::of_secret(hash.finalize().into())
    }

    fn of_secret(secret: [u8; 32]) -> Self {
        let mut text = START.to_owned();
        push_base62(&mut text, secret, SECRET);
        let check = crc32fast::hash(text.as_bytes());
        let mut padded = [0; 32];
        padded[28..].copy_from_slice(&check.to_be_bytes());
        push_base62(&mut text, padded, CHECK);
        Self(text)
    }

    /// The key, to be shown to its owner once.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Its digest, by which the gateway knows it.
    #[must_use]
    pub fn digest(&self) -> KeyDigest {
        KeyDigest(Sha256::digest(self.0.as_bytes()).into())
    }

    /// Whether a text may have a key in it, and must not be shown.
    #[must_use]
    pub fn is_like(text: &str) -> bool {
        text.contains(START)
    }
}

impl FromStr for ApiKey {
    type Err = NoApiKey;

    fn from_str(text: &str) -> Result<Self, NoApiKey> {
        let digits = text.strip_prefix(START).ok_or(NoApiKey)?;
        if digits.len() != SECRET + CHECK || !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(NoApiKey);
        }
        let (signed, check) = text.split_at(START.len() + SECRET);
        let is_right = number_of(check) == Some(crc32fast::hash(signed.as_bytes()).into());
        if is_right { Ok(Self(text.to_owned())) } else { Err(NoApiKey) }
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

/// The SHA-256 of a key. It is no secret: no program can find a key for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyDigest([u8; 32]);

/// The text is no digest of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoKeyDigest {
    /// It is a key itself, which a file must not have. The text must not be shown.
    #[error(
        "is a key: store its hash instead, which `rabbitmq-gateway key hash` prints, and replace the key"
    )]
    Key,
    /// It has another form.
    #[error("must be sha256: and 64 hexadecimal digits, as `rabbitmq-gateway key hash` prints it")]
    Malformed,
}

impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ALGORITHM)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyDigest {
    type Err = NoKeyDigest;

    fn from_str(text: &str) -> Result<Self, NoKeyDigest> {
        if ApiKey::is_like(text) {
            return Err(NoKeyDigest::Key);
        }
        let hex = text.strip_prefix(ALGORITHM).map(str::as_bytes).unwrap_or_default();
        let (pairs, []) = hex.as_chunks::<2>() else { return Err(NoKeyDigest::Malformed) };
        let digits: Option<Vec<u8>> =
            pairs.iter().map(|[high, low]| Some(hex_digit(*high)? << 4 | hex_digit(*low)?)).collect();
        digits.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(NoKeyDigest::Malformed)
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// The number of a few digits of base 62.
fn number_of(digits: &str) -> Option<u64> {
    digits.bytes().try_fold(0, |number, digit| {
        let value = DIGITS.iter().position(|it| *it == digit)?;
        Some(number * 62 + u64::try_from(value).ok()?)
    })
}

/// Appends this many digits of a number, the highest first.
fn push_base62(out: &mut String, mut number: [u8; 32], digits: usize) {
    let mut text = vec![DIGITS[0]; digits];
    for place in text.iter_mut().rev() {
        let mut remainder = 0_u16;
        for byte in &mut number {
            let value = remainder << 8 | u16::from(*byte);
            // Below 62 * 256, so the quotient is a byte.
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            remainder = value % 62;
        }
        *place = DIGITS[usize::from(remainder)];
    }
    out.extend(text.into_iter().map(char::from));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_made_and_has_one_digest() {
        let (key, other) = (ApiKey::generate(), ApiKey::generate());
        assert_eq!(key.reveal().len(), 53);
        assert_eq!(key.reveal().parse(), Ok(key.clone()));
        assert_ne!((key.reveal(), key.digest()), (other.reveal(), other.digest()));
        assert_eq!(key.digest().to_string().parse(), Ok(key.digest()));
        assert_eq!(format!("{key:?}"), "ApiKey(…)");
    }

    /// A key with known text, digest and checksum, so that keys stay valid over versions.
    #[test]
    fn the_form_of_a_key_stays() {
        let key = ApiKey::of_secret([0xff; 32]);
        assert!(key.reveal().starts_with("rgw_"), "{}", key.reveal());
        let zero = ApiKey::of_secret([0; 32]);
        assert!(zero.reveal().starts_with(&format!("rgw_{}", "0".repeat(43))));
        let sum = Sha256::digest(zero.reveal().as_bytes());
        assert_eq!(zero.digest(), KeyDigest(sum.into()));
    }

    #[test]
    fn a_mistyped_key_is_none() {
        let key = ApiKey::generate();
        let text = key.reveal();
        for at in 4..text.len() {
            let changed = if &text[at..=at] == "a" { "b" } else { "a" };
            let wrong = format!("{}{changed}{}", &text[..at], &text[at + 1..]);
            assert_eq!(wrong.parse::<ApiKey>(), Err(NoApiKey), "{at}");
        }
        for wrong in ["", "rgw_", &text[1..], &text[..52], &format!("{text}0"), &format!(" {text}")] {
            assert_eq!(wrong.parse::<ApiKey>(), Err(NoApiKey));
        }
    }

    #[test]
    fn a_digest_has_one_algorithm_and_is_never_a_key() {
        let key = ApiKey::generate();
        assert_eq!(key.reveal().parse::<KeyDigest>(), Err(NoKeyDigest::Key));
        let digest = key.digest().to_string();
        assert_eq!(format!("{:?}", key.digest()), digest);
        assert!(digest.to_uppercase().replace("SHA", "sha").parse() == Ok(key.digest()));
        for wrong in [
            "",
            "sha256:",
            "md5:00",
            &digest[..70],
            &format!("{digest}0"),
            &digest.replace(':', "="),
            "sha256:ü",
        ] {
            assert_eq!(wrong.parse::<KeyDigest>(), Err(NoKeyDigest::Malformed), "{wrong}");
        }
    }
}
