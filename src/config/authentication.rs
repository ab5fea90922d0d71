//! How callers authenticate. Beyond loopback the operator has to say it: by a file of principals, or by `GATEWAY_AUTH=none`.

use super::forms;
use super::principals::{PrincipalsFile, read_file};
use super::reader::Reader;
use super::table::PRINCIPALS_FILE;
use crate::domain::listen::is_loopback;
use crate::http::Settings;

const AUTH: &str = "GATEWAY_AUTH";

/// Reads the file of principals, if there is one.
pub(super) fn read(from: &mut Reader<'_>, http: &Settings) -> Option<PrincipalsFile> {
    let is_none = from.read_optional(AUTH, forms::none).is_some();
    let has_file = from.is_given(PRINCIPALS_FILE);
    from.refuse_if(
        is_none && has_file,
        [AUTH, PRINCIPALS_FILE],
        "the first switches the second off: set one of them",
    );
    let is_local = is_loopback(http.listen.ip());
    if !is_local && !is_none && !has_file && !from.mistakes.concern(AUTH) {
        let why = format!(
            "{} can be reached from other hosts, and every client there could use RabbitMQ with the gateway's rights: set GATEWAY_PRINCIPALS \
             to a file with the API keys of the callers (`rabbitmq-gateway key new NAME` prints a part of it), or set GATEWAY_AUTH=none \
             if every client that reaches the port may do everything",
            http.listen
        );
        from.mistakes.about("GATEWAY_LISTEN", &why);
    }
    read_file(from)
}
