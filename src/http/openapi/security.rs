//! The security scheme of the contract: an API key as a bearer token (RFC 6750).

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, RefOr};

/// The name of the scheme.
const SCHEME: &str = "apiKey";

/// Whether an operation needs a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protection {
    /// It does not.
    Open,
    /// It does.
    Closed,
}

/// Adds the scheme to the document.
pub(super) fn add_scheme(components: &mut Components) {
    let said = "API key, which the operator of the gateway makes with `rabbitmq-gateway key new`. A gateway without authentication needs none.";
    let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(said)).build();
    components.security_schemes.insert(SCHEME.to_owned(), RefOr::T(SecurityScheme::Http(scheme)));
}

/// The credentials of an operation that needs a permission: a key, or none where the gateway has no authentication or allows
/// anonymous callers.
pub(super) fn requirement() -> Vec<SecurityRequirement> {
    let no_scopes = [""; 0];
    vec![SecurityRequirement::new(SCHEME, no_scopes), SecurityRequirement::default()]
}
