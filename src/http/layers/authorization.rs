//! Finds the caller of a request, and refuses callers who cannot be permitted, before the gateway reads a body.
//!
//! The check is by the route and the name in the path. The handler checks again, with the routing keys and with the names in the body.

use axum::extract::Request;
use axum::http::header::AUTHORIZATION;

use crate::domain::access::{Key, Need, Principal};
use crate::domain::permission::Permission;
use crate::fairness::Holder;
use crate::http::caller::{Authentication, Caller, Known};
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
    let Known { principal, holder } = caller.known()?;
    check(caller, &principal, permission, request.uri().path())?;
    request.extensions_mut().insert(caller.clone());
    Ok(holder)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::body::Body;
    use tokio::sync::watch;

    use super::*;
    use crate::domain::access::{ApiKey, Permissions, Principals, Verb};

    /// Authentication with `shop`, which has this key and one grant.
    fn with_shop(key: &ApiKey, verb: Verb, pattern: &str) -> Authentication {
        let mut permissions = Permissions::default();
        permissions.grant(verb, pattern, "shop").expect("a pattern");
        let mut principals = Principals::default();
        let shop = principals.add(Principal { name: "shop".into(), permissions }).expect("the first");
        assert_eq!(principals.add_key(key.digest(), &shop, None), None);
        Authentication::new(Some(watch::channel(Arc::new(principals)).1), "/")
    }

    /// The status of a refusal; `None` if the request goes on.
    fn status(authentication: &Authentication, key: Option<&ApiKey>, to: (Permission, &str)) -> Option<u16> {
        let (permission, path) = to;
        let mut request = Request::get(path).body(Body::empty()).expect("a request");
        if let Some(key) = key {
            let value = format!("Bearer {}", key.reveal()).parse().expect("a header");
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let mut known = None;
        let authorized = authorize(authentication, &mut request, permission, &mut known);
        assert!(request.headers().is_empty(), "the credentials are removed");
        let has_caller = request.extensions().get::<Caller>().is_some();
        let is_open = permission == Permission::Open || authentication.common_caller().is_some();
        assert_eq!((has_caller, known.is_some()), (authorized.is_ok() && !is_open, !is_open));
        authorized.err().map(|problem| problem.kind().status().as_u16())
    }

    #[test]
    fn a_request_goes_on_with_a_permission_that_could_be_enough_for_its_route() {
        let key = ApiKey::generate();
        for (verb, pattern, permission, path, expected) in [
            (Verb::Write, "orders/eu", Permission::Write, "/publish/orders", None),
            (Verb::Write, "orders/eu", Permission::Bind, "/queues/orders/bindings/x", None),
            (Verb::Write, "orders/eu", Permission::Write, "/publish/%6Fther", Some(403)),
            (Verb::Read, "q", Permission::Read, "/queues/q/messages/pull", None),
            (Verb::Read, "q/k", Permission::Read, "/queues/q/messages/pull", Some(403)),
            (Verb::Read, "q", Permission::Configure, "/queues/q", Some(403)),
            (Verb::Configure, "q", Permission::Configure, "/queues/%71", None),
            (Verb::Configure, "q", Permission::Any, "/queues/q", None),
            (Verb::Call, "q", Permission::Any, "/queues/q", Some(403)),
            (Verb::Call, "q", Permission::Call, "/rpc/q", None),
            (Verb::Write, "amq.default/q", Permission::Call, "/rpc/q", None),
            (Verb::Write, "amq.default/q", Permission::Call, "/rpc/p", Some(403)),
            (Verb::Call, "q", Permission::Document, "/topology", Some(403)),
            (Verb::Read, "q", Permission::Document, "/topology", None),
            (Verb::Read, "q", Permission::Monitoring, "/metrics", Some(403)),
            (Verb::Read, "q", Permission::Authenticated, "/whoami", None),
            (Verb::Read, "q", Permission::Open, "/health/live", None),
        ] {
            let authentication = with_shop(&key, verb, pattern);
            let found = status(&authentication, Some(&key), (permission, path));
            assert_eq!(found, expected, "{verb:?} {pattern} {path}");
        }
    }

    #[test]
    fn only_open_routes_need_no_key_and_without_authentication_none_needs_one() {
        let key = ApiKey::generate();
        let authentication = with_shop(&key, Verb::Read, "*");
        for (key, expected) in [(None, Some(401)), (Some(&ApiKey::generate()), Some(401)), (Some(&key), None)]
        {
            assert_eq!(status(&authentication, key, (Permission::Read, "/queues/q/messages/next")), expected);
            assert_eq!(status(&authentication, key, (Permission::Open, "/health/live")), None);
            let none = Authentication::new(None, "/");
            assert_eq!(status(&none, key, (Permission::Monitoring, "/metrics")), None);
        }
    }
}
