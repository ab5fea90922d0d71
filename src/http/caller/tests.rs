use std::time::Duration;

use axum::http::header::AUTHORIZATION;
use serde_json::Value;

use super::*;
use crate::domain::access::{ApiKey, Key, KeyDigest, Verb};

const BOUND: Duration = Duration::from_secs(10);

/// Principals of which `shop` has this key and may read `q` and write `orders/eu.*`.
fn of_shop(key: KeyDigest, until: Option<SystemTime>) -> Arc<Principals> {
    let mut permissions = Permissions::default();
    for (verb, pattern) in [(Verb::Read, "q"), (Verb::Write, "orders/eu.*")] {
        permissions.grant(verb, pattern, "shop").expect("a pattern");
    }
    let mut principals = Principals::default();
    let shop = principals.add(Principal { name: "shop".into(), permissions }).expect("the first");
    assert_eq!(principals.add_key(key, &shop, until), None);
    Arc::new(principals)
}

fn header(key: &ApiKey) -> HeaderMap {
    let value = format!("Bearer {}", key.reveal()).parse().expect("a header");
    [(AUTHORIZATION, value)].into_iter().collect()
}

fn body(problem: Problem) -> Value {
    serde_json::from_slice(&problem.render("x")).expect("a problem is JSON")
}

#[test]
fn without_authentication_every_client_may_do_everything_with_any_credentials() {
    let authentication = Authentication::new(None, "/");
    let mut headers = [(AUTHORIZATION, "Basic eDp5".parse().expect("a header"))].into_iter().collect();
    let caller = authentication.caller(&mut headers).expect("a caller");
    assert_eq!((caller.way(), caller.expires_at()), ("none", None));
    assert!(authentication.common_caller().is_some());
    assert!(caller.require([Need::read("amq.rabbitmq.trace", Key::Every).into()]).is_ok());
    assert!(caller.require_look(["q"]).is_ok() && caller.require_monitoring().is_ok());
}

#[test]
fn a_key_that_is_not_in_the_file_is_401_and_never_counts_as_no_credentials() {
    let (key, other) = (ApiKey::generate(), ApiKey::generate());
    let mut principals = Principals::clone(&of_shop(key.digest(), None));
    let anonymous = Principal { name: ANONYMOUS.into(), permissions: Permissions::all() };
    assert!(principals.add(anonymous).is_some());
    let (_sender, receiver) = watch::channel(Arc::new(principals));
    let authentication = Authentication::new(Some(receiver), "/");
    let name = |mut headers: HeaderMap| {
        let caller = authentication.caller(&mut headers)?;
        Ok::<_, Problem>((caller.principal()?.name.to_string(), caller.way()))
    };
    assert_eq!(name(header(&key)).expect("a caller"), ("shop".to_owned(), "key"));
    assert_eq!(name(HeaderMap::new()).expect("a caller"), (ANONYMOUS.to_owned(), "anonymous"));
    let refused = body(name(header(&other)).expect_err("another key"));
    assert_eq!((&refused["type"], &refused["status"]), (&"/problems/unauthorized".into(), &401.into()));
    assert!(!refused.to_string().contains("rgw_0"), "{refused}");
}

#[test]
fn a_caller_with_an_expired_key_learns_it_and_the_owner_of_a_key_is_known_after_its_end() {
    let [expired, revoked, unknown] = [(); 3].map(|()| ApiKey::generate());
    let mut principals = Principals::clone(&of_shop(expired.digest(), Some(SystemTime::UNIX_EPOCH)));
    let shop = Arc::clone(principals.named("shop").expect("shop"));
    assert_eq!(principals.add_key(revoked.digest(), &shop, Some(SystemTime::UNIX_EPOCH)), None);
    principals.revoke(revoked.digest());
    let (_sender, receiver) = watch::channel(Arc::new(principals));
    let authentication = Authentication::new(Some(receiver), "/");
    for (key, detail, owner) in [
        (&expired, EXPIRED, Some("shop")),
        (&revoked, NOT_ACCEPTED, Some("shop")),
        (&unknown, NOT_ACCEPTED, None),
    ] {
        let caller = authentication.caller(&mut header(key)).expect("one header");
        let refused = caller.principal().expect_err("not accepted");
        assert_eq!((refused.kind(), refused.detail()), (ProblemType::Unauthorized, detail));
        assert_eq!(caller.name().as_deref(), owner, "{detail}");
    }
}

#[test]
fn a_document_needs_a_caller_who_could_apply_some_item() {
    let key = ApiKey::generate();
    for (verb, expected) in
        [(Verb::Configure, true), (Verb::Write, true), (Verb::Read, true), (Verb::Call, false)]
    {
        let mut permissions = Permissions::default();
        permissions.grant(verb, "x", "shop").expect("a pattern");
        permissions.allow_monitoring();
        let mut principals = Principals::default();
        let shop = principals.add(Principal { name: "shop".into(), permissions }).expect("the first");
        assert_eq!(principals.add_key(key.digest(), &shop, None), None);
        let (_sender, receiver) = watch::channel(Arc::new(principals));
        let caller = Authentication::new(Some(receiver), "/").caller(&mut header(&key)).expect("a caller");
        assert_eq!(caller.require_something().is_ok(), expected, "{verb:?}");
    }
}

#[test]
fn a_missing_permission_is_403_and_names_the_scope_that_would_be_enough() {
    let key = ApiKey::generate();
    let (_sender, receiver) = watch::channel(of_shop(key.digest(), None));
    let caller = Authentication::new(Some(receiver), "/").caller(&mut header(&key)).expect("a caller");
    let write = |key| Needed::from(Need::write("orders", Key::One(key)));
    assert!(caller.require([write("eu.new"), Need::read("q", Key::Every).into()]).is_ok());
    let refused = caller.require([write("us.new"), write("eu.new"), Need::configure("q").into()]);
    let refused = body(refused.expect_err("two are missing"));
    assert_eq!((&refused["status"], &refused["by"]), (&403.into(), &"gateway".into()));
    assert_eq!(refused["missing"], serde_json::json!(["write:%2F/orders/us.new", "configure:%2F/q"]));
    let detail = "\"shop\" lacks the permission to write \"orders\" with routing key \"us.new\", configure \"q\": \
                  add it in the file of principals, such as write = [\"orders/us.new\"], configure = [\"q\"]";
    assert_eq!(refused["detail"], detail);
    assert!(caller.require_look(["orders", "q"]).is_ok() && caller.require_look(["q", "other"]).is_err());
    assert_eq!(body(caller.require_monitoring().expect_err("no tag"))["missing"][0], "tag:monitoring");
}

#[tokio::test]
async fn a_request_that_runs_is_refused_when_its_key_is_removed() {
    let key = ApiKey::generate();
    let (sender, receiver) = watch::channel(of_shop(key.digest(), None));
    let caller = Authentication::new(Some(receiver), "/").caller(&mut header(&key)).expect("a caller");
    let needed = || vec![Need::read("q", Key::Every).into()];
    let refused = caller.until_refused(needed);
    tokio::pin!(refused);
    assert!(futures_util::poll!(&mut refused).is_pending());
    // The same permissions again change nothing.
    sender.send_replace(of_shop(key.digest(), None));
    assert!(futures_util::poll!(&mut refused).is_pending());
    sender.send_replace(Arc::default());
    let problem = tokio::time::timeout(BOUND, refused).await.expect("the key is gone");
    assert_eq!(problem.kind(), ProblemType::Unauthorized);
}

#[tokio::test]
async fn a_request_that_runs_is_refused_when_its_key_expires() {
    let key = ApiKey::generate();
    let (sender, receiver) = watch::channel(of_shop(key.digest(), None));
    let caller = Authentication::new(Some(receiver), "/").caller(&mut header(&key)).expect("a caller");
    let needed = || vec![Need::read("q", Key::Every).into()];
    let end = SystemTime::now() + Duration::from_millis(20);
    sender.send_replace(of_shop(key.digest(), Some(end)));
    assert_eq!(caller.expires_at(), Some(end));
    let problem = tokio::time::timeout(BOUND, caller.until_refused(needed)).await;
    assert_eq!(problem.expect("the key has ended").kind(), ProblemType::Unauthorized);
}

#[test]
fn a_principal_has_a_fair_share_as_soon_as_there_is_another_one() {
    let (key, shop) = (ApiKey::generate(), Arc::from("shop"));
    let holder = |principals| {
        let caller = Authentication::new(principals, "/").caller(&mut header(&key)).expect("a caller");
        caller.known().map(|known| known.holder).expect("a principal")
    };
    assert_eq!(holder(None), Holder::default());
    let mut principals = Principals::clone(&of_shop(key.digest(), None));
    let (sender, receiver) = watch::channel(Arc::new(principals.clone()));
    assert_eq!(holder(Some(receiver.clone())), Holder::only_principal(&shop));
    assert!(
        principals.add(Principal { name: "small".into(), permissions: Permissions::default() }).is_some()
    );
    sender.send_replace(Arc::new(principals));
    assert_eq!(holder(Some(receiver)), Holder::principal(&shop));
}
