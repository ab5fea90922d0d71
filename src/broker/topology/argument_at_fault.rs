//! Finds the argument over which RabbitMQ closed the connection of a declaration that ran alone.

use crate::broker::error::{Cause, Error, Refusal};
use crate::domain::field::FieldTable;

/// The error of a declaration that ran alone on a connection which RabbitMQ then closed. If RabbitMQ's text names an
/// argument, that argument is wrong.
pub(super) fn attribute_to_argument(error: Error, arguments: &FieldTable) -> Error {
    match error {
        Error::Unknown(Cause::Lost { reason, repeatable: false })
            if words_of(&reason).any(|word| arguments.get(word).is_some()) =>
        {
            Error::Refused(Refusal::Invalid { reason })
        }
        other => other,
    }
}

/// The parts of RabbitMQ's text that may be names of arguments.
fn words_of(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '-')
        .filter(|word| word.starts_with("x-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::field::FieldValue;
    use crate::domain::names::ShortText;

    #[test]
    fn an_argument_is_wrong_if_the_text_of_the_close_names_it() {
        let mut arguments = FieldTable::default();
        arguments.insert(ShortText::parse("x-plugin").expect("short"), FieldValue::Void);
        arguments.insert(ShortText::default(), FieldValue::Void);
        let closed = |text: &str| Error::of_connection_close(541, text);
        let named = closed("INTERNAL_ERROR - invalid x-plugin");
        assert!(matches!(attribute_to_argument(named, &arguments), Error::Refused(Refusal::Invalid { .. })));
        for error in
            [closed("INTERNAL_ERROR - x-plugins"), Error::lost("x-plugin"), Error::Unknown(Cause::Silence)]
        {
            assert_eq!(attribute_to_argument(error.clone(), &arguments), error);
        }
    }
}
