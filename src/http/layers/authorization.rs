//! Finds the caller of a request, and refuses callers who cannot be permitted, before the gateway reads a body.
//!
//! The check is by the route and the name in the path. The handler checks again, with the routing keys and with the names in the body.

use axum::extract::Request;
use axum::http::header::AUTHORIZATION;

use crate::domain::access::{Key, Need, Principal};
use crate::domain::permission::Permission;
use crate::fairness::Holder;
use crate::http::caller::{Authentication, Caller};
use crate::http::problem::Problem;
use crate::http::request::first_name;

/// Puts the caller into `known`, and into the extensions of a request to an operation that needs this permission. Returns the holder
/// of its share of the limits.
///
/// # Errors
/// 400 for two credentials; 401; 403 when the caller has no permission that could be enough.
pub fn authorize(
    authentication: &Authentication,
    request: &mut Request,
    permission: Permission,
    known: &mut Option<Caller>,
) -> Result<Holder, Problem> {
    if permission == Permission::Open || authentication.common_caller().is_some() {
        // No part of the gateway uses or shows them.
        request.headers_mut().remove(AUTHORIZATION);
        return Ok(Holder::default());
    }
    let caller = known.insert(authentication.caller(request.headers_mut())?);
    let principal = caller.principal()?;
    check(caller, &principal, permission, request.uri().path())?;
    request.extensions_mut().insert(caller.clone());
    Ok(caller.holder(&principal))
}

fn check(caller: &Caller, principal: &Principal, permission: Permission, path: &str) -> Result<(), Problem> {
    // The handler refuses a path without a valid name.
    let name = || first_name(path).unwrap_or_default();
    let need = |need: Need<'_>| caller.check(principal, [need.into()]);
    match permission {
        Permission::Open | Permission::Authenticated => Ok(()),
        // The body names the objects of a document.
        Permission::Document => caller.require_something(),
        Permission::Monitoring => caller.require_monitoring(),
        Permission::Configure => need(Need::configure(&name())),
        Permission::Write | Permission::Bind => need(Need::write(&name(), Key::Some)),
        Permission::Read => need(Need::read(&name(), Key::Every)),
        Permission::Call => caller.check(principal, [Need::call_or_write(&name())]),
        Permission::Any => caller.require_look([&*name()]),
    }
}
