//! Tokens for RabbitMQ's OAuth 2 plugin: JSON web tokens with an HMAC (HS256), whose key the test gives to the plugin.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The name of the key, and that of the server for which the tokens are.
pub const KEY_NAME: &str = "differential";
pub const AUDIENCE: &str = "rabbitmq";
/// As long as a block of SHA-256 is at the most, so that it needs no hash of its own.
pub const SECRET: &[u8] = b"the secret of the differential test";
/// The bytes of a block of SHA-256.
const BLOCK: usize = 64;

/// The token with these scopes, which have no prefix yet. It has no end.
pub fn with_scopes(scopes: &[String]) -> String {
    let scopes: Vec<_> = scopes.iter().map(|scope| format!("{AUDIENCE}.{scope}")).collect();
    let header = json!({"alg": "HS256", "typ": "JWT", "kid": KEY_NAME});
    let claims = json!({"sub": "tester", "aud": [AUDIENCE], "scope": scopes});
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let signature = URL_SAFE_NO_PAD.encode(hmac(SECRET, signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// RFC 2104, for a key of at most a block.
fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let keyed = |pad: u8| {
        let mut block = [pad; BLOCK];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        Sha256::new().chain_update(block)
    };
    let inner = keyed(0x36).chain_update(text).finalize();
    keyed(0x5c).chain_update(inner).finalize().into()
}

/// RFC 4231, test case 2.
#[test]
fn the_hmac_is_that_of_the_standard() {
    let hex: String = hmac(b"Jefe", b"what do ya want for nothing?").map(|it| format!("{it:02x}")).concat();
    assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}
