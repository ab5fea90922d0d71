use lapin::protocol::AMQPError;

use super::*;
use crate::broker::convert::short_string;

/// The exact texts of RabbitMQ 3.10.8 and 4.0.5, which are the same.
#[test]
fn the_text_of_a_failed_precondition_tells_its_kind() {
    let precondition = |words: &str| from_precondition(format!("PRECONDITION_FAILED - {words}"));
    for words in ["queue 'q' in vhost '/' in use", "queue 'q' in vhost '/' not empty", "queue 'mmm..."] {
        assert!(matches!(precondition(words), Refusal::InUse { .. }), "{words}");
    }
    for words in [
        "inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but current is 'true'",
        "inequivalent arg 'x-max-length' for queue 'not empty' in vhost '/': received the value '5' of type \
         'signedint' but current is none",
    ] {
        let argument = words.split('\'').nth(1);
        assert_eq!(Error::from(precondition(words)).differing_argument(), argument, "{words}");
    }
    let words = "message size 17825792 is larger than configured max size 16777216";
    assert!(matches!(precondition(words), Refusal::TooLarge { .. }));
    for words in [
        "invalid expiration 'soon': no_integer",
        "invalid arg 'x-max-length' for queue 'in use' in vhost '/': {value_negative,-1}",
        "invalid property 'non-durable' for queue 'q' in vhost '/'",
        "user_id property set to 'bob' but authenticated user was 'guest'",
    ] {
        assert!(matches!(precondition(words), Refusal::Invalid { .. }), "{words}");
    }
}

/// A name may contain the text that follows it in RabbitMQ's message.
#[test]
fn a_refusal_names_its_exchange_only_if_the_text_is_unambiguous() {
    let missing = |words: &str| Error::of_channel_close(404, &format!("NOT_FOUND - {words}"));
    let refused = |words: &str| Error::of_channel_close(403, &format!("ACCESS_REFUSED - {words}"));
    for error in [
        missing("no exchange 'e' in vhost '/'"),
        refused("access to exchange 'e' in vhost '/' refused for user 'guest'"),
        refused("write access to exchange 'e' in vhost '/' refused for user 'guest'"),
        refused("cannot publish to internal exchange 'e' in vhost '/'"),
        refused("access to topic 'key' in exchange 'e' in vhost '/' refused for user 'guest'"),
    ] {
        assert!(error.is_over("e") && !error.is_over("f"), "{error}");
        assert_eq!(error.refuses_the_exchange(), !error.to_string().contains("topic"), "{error}");
    }
    let error = refused("access to exchange 'amq.default' in vhost '/' refused for user 'guest'");
    assert!(error.is_over("") && !error.is_over("e"), "{error}");
    // The end is cut off, so 'e' may be only the start of a name.
    let (exchange, topic) = ("no exchange 'e' in vhost '", "access to topic '' in exchange 'e' in vhost '");
    for error in [
        missing("no exchange 'e' in vhost 'x' in vhost '/'"),
        missing("no queue 'e' in vhost '/'"),
        refused("access to topic 'exchange 'f' in exchange 'e' in vhost '/' refused for user 'guest'"),
        refused("operation not permitted on the default exchange"),
        Error::from(from_precondition("PRECONDITION_FAILED - no exchange 'e' in vhost '/'".to_owned())),
        missing(&format!("{exchange}{:x<1$}...", "", 240 - exchange.len())),
        refused(&format!("{topic}{:x<1$}...", "", 235 - topic.len())),
    ] {
        assert!(error.exchange().is_none() && !error.is_over("e"), "{error}");
    }
}

#[test]
fn the_text_distinguishes_a_missing_exchange_from_a_missing_queue() {
    let missing = |words: &str| Error::of_channel_close(404, &format!("NOT_FOUND - {words}"));
    assert!(matches!(
        missing("no exchange 'e' in vhost '/'"),
        Error::Refused(Refusal::ExchangeMissing { .. })
    ));
    assert!(matches!(
        missing("no queue 'no exchange ' in vhost '/'"),
        Error::Refused(Refusal::QueueMissing { .. })
    ));
}
/// The codes of a close: RabbitMQ refuses, the loss may pass, or the same message may end the next connection.
#[test]
fn a_close_is_classified_by_its_code_and_a_connection_answers_no_single_message() {
    let is_refused = |error: &Error| matches!(error, Error::Refused(_));
    let is_repeatable = |error: &Error| matches!(error, Error::Unknown(Cause::Lost { repeatable: true, .. }));
    for (code, refused, repeatable) in [
        (200, false, true),
        (311, true, false),
        (312, false, false),
        (320, false, true),
        (403, true, false),
        (404, true, false),
        (405, true, false),
        (406, true, false),
        (501, false, false),
        (504, false, false),
        (530, false, false),
        (540, true, false),
        (541, false, false),
    ] {
        let of_channel = Error::of_channel_close(code, "words");
        let told = (is_refused(&of_channel), is_repeatable(&of_channel));
        assert_eq!(told, (refused, repeatable), "{code}: {of_channel:?}");
        let lost = Cause::Lost { reason: "words".to_owned(), repeatable: code == 320 };
        assert_eq!(Error::of_connection_close(code, "words"), Error::Unknown(lost), "{code}");
    }
}

#[test]
fn an_error_of_lapin_is_classified_as_the_close_that_it_reports() {
    for code in [312, 320, 403, 404, 406, 530, 540] {
        let error = AMQPError::from_id(code, short_string("words")).expect("it is an error's code");
        let error = lapin::Error::from(ErrorKind::ProtocolError(error));
        assert_eq!(Error::from(error), Error::of_channel_close(code, "words"));
    }
}

/// RabbitMQ 3.10 closes the connection over it, RabbitMQ 4.0 the channel.
#[test]
fn an_unknown_exchange_type_is_refused_by_either_close() {
    for text in ["COMMAND_INVALID - unknown exchange type 'x'", "COMMAND_INVALID - invalid exchange type ''"]
    {
        assert!(matches!(of_close(503, text), Error::Refused(Refusal::TypeUnknown { .. })), "{text}");
    }
    let text = "PRECONDITION_FAILED - unknown exchange type 'x'";
    assert!(matches!(of_close(406, text), Error::Refused(Refusal::TypeUnknown { .. })));
    let other = "COMMAND_INVALID - unknown exchange";
    assert!(matches!(of_close(503, other), Error::Unknown(_)));
}

#[test]
fn an_exchange_with_bindings_is_in_use() {
    let text = "PRECONDITION_FAILED - exchange 'e' in vhost '/' in use";
    assert!(matches!(of_close(406, text), Error::Refused(Refusal::InUse { .. })));
}
