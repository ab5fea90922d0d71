//! Addresses of direct reply-to: the name by which RabbitMQ lets a reply reach a client that has no queue for replies.
//!
//! An address is `amq.rabbitmq.reply-to.`, the identifier of an Erlang process in base64, a full stop and a key in base64. RabbitMQ
//! closes the connection of a publisher over an address that it cannot decode, so the gateway checks what it can.
//! Sources: <https://www.rabbitmq.com/docs/direct-reply-to>, <https://www.erlang.org/doc/apps/erts/erl_ext_dist.html>.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const PREFIX: &str = "amq.rabbitmq.reply-to.";
/// The first byte of each Erlang term.
const VERSION: u8 = 131;
/// The kinds of terms.
const NEW_PID: u8 = 88;
const PID: u8 = 103;
const SMALL_ATOM_UTF8: u8 = 119;
const ATOM_UTF8: u8 = 118;
const ATOM: u8 = 100;
/// Bytes of the number and of the serial number of a process.
const NUMBERS: usize = 8;

/// An address that RabbitMQ may have made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirectReplyTo<'a> {
    /// The process of the client, in base64. Several addresses may have the same.
    pub client: &'a str,
}

impl<'a> DirectReplyTo<'a> {
    /// Reads an address; `None` if RabbitMQ cannot have made it.
    #[must_use]
    pub fn parse(address: &'a str) -> Option<Self> {
        let (client, key) = address.strip_prefix(PREFIX)?.split_once('.')?;
        let is_of_key = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
        let is_key = !key.is_empty() && key.bytes().all(is_of_key);
        (is_key && is_process(&STANDARD.decode(client).ok()?).is_some()).then_some(Self { client })
    }
}

/// `Some` if the bytes are the identifier of a process, with nothing behind it.
fn is_process(term: &[u8]) -> Option<()> {
    let (&[version, kind], rest) = term.split_first_chunk()?;
    let creation = match kind {
        NEW_PID => 4,
        PID => 1,
        _ => return None,
    };
    let rest = after_atom(rest)?;
    (version == VERSION && rest.len() == NUMBERS + creation).then_some(())
}

/// The bytes behind an atom that is not empty.
fn after_atom(term: &[u8]) -> Option<&[u8]> {
    let (&kind, rest) = term.split_first()?;
    let (length, rest) = match kind {
        SMALL_ATOM_UTF8 => rest.split_first().map(|(length, rest)| (usize::from(*length), rest))?,
        ATOM_UTF8 | ATOM => {
            rest.split_first_chunk().map(|(length, rest)| (usize::from(u16::from_be_bytes(*length)), rest))?
        }
        _ => return None,
    };
    let (atom, rest) = rest.split_at_checked(length)?;
    (!atom.is_empty()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: &str =
        "amq.rabbitmq.reply-to.g1h2AA5yZXBseUAyOTIyNjI5MgAABCcAAAAAaw1UZQ==.sPrl/2elaouzWZrB06HgaA==";

    fn address(term: &[u8]) -> String {
        format!("{PREFIX}{}.a2V5", STANDARD.encode(term))
    }

    /// The identifier of a process on a node with this atom.
    fn process(kind: u8, atom: &[&[u8]], creation: usize) -> Vec<u8> {
        [&[VERSION, kind][..], &atom.concat(), &[0; NUMBERS], &vec![7; creation]].concat()
    }

    #[test]
    fn an_address_of_rabbitmq_is_read_in_each_form_of_a_process() {
        let client = "g1h2AA5yZXBseUAyOTIyNjI5MgAABCcAAAAAaw1UZQ==";
        assert_eq!(DirectReplyTo::parse(REAL), Some(DirectReplyTo { client }));
        let atoms: [&[&[u8]]; 3] =
            [&[&[SMALL_ATOM_UTF8, 3], b"r@1"], &[&[ATOM_UTF8, 0, 3], b"r@1"], &[&[ATOM, 0, 3], b"r@1"]];
        for atom in atoms {
            for (kind, creation) in [(NEW_PID, 4), (PID, 1)] {
                let whole = process(kind, atom, creation);
                assert!(DirectReplyTo::parse(&address(&whole)).is_some(), "{whole:?}");
                for length in 0..whole.len() {
                    assert_eq!(DirectReplyTo::parse(&address(&whole[..length])), None, "{length} bytes");
                }
                let longer = [&whole[..], b"x"].concat();
                assert_eq!(DirectReplyTo::parse(&address(&longer)), None);
            }
        }
    }

    #[test]
    fn a_text_that_rabbitmq_cannot_have_made_is_no_address() {
        let atom: &[&[u8]] = &[&[SMALL_ATOM_UTF8, 1], b"r"];
        let mut other_version = process(PID, atom, 1);
        other_version[0] = 130;
        let terms = [
            address(&process(PID, atom, 4)),
            address(&process(NEW_PID, atom, 1)),
            address(&process(97, atom, 1)),
            address(&process(PID, &[&[SMALL_ATOM_UTF8, 0]], 1)),
            address(&other_version),
        ];
        let texts = ["", "amq.rabbitmq.reply-to", PREFIX, "amq.rabbitmq.reply-to.AAAA.x", "answers"];
        let (without_key, _) = REAL.rsplit_once('.').expect("a key");
        let cut = [without_key.to_owned(), format!("{without_key}."), format!("{REAL}.a2V5")];
        let wrong_key = [format!("{without_key}.***"), format!("{REAL}\u{1}")];
        let texts = texts.map(str::to_owned);
        for text in texts.into_iter().chain(terms).chain(cut).chain(wrong_key) {
            assert_eq!(DirectReplyTo::parse(&text), None, "{text}");
        }
    }
}
