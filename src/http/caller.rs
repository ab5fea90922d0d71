//! The caller of a request, found by its credentials, and the permissions that the gateway checks.
//!
//! Without authentication every request has one principal, which may do everything: so no check has a second way around it.

mod credentials;

use std::sync::Arc;
use std::time::SystemTime;

use axum::http::HeaderMap;
use tokio::sync::watch;
use tokio::time::sleep;

use self::credentials::{Credentials, take};
use super::problem::{Problem, ProblemType};
use super::quote::{and_more, quoted};
use crate::domain::access::{ANONYMOUS, Key, Need, Needed, Permissions, Principal, Principals, Verb};
use crate::fairness::Holder;

/// How the gateway finds the principal of a request. It is cheap to clone.
#[derive(Debug, Clone)]
pub struct Authentication(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    way: Way,
    /// The virtual host, for the scopes in problems.
    vhost: String,
}

#[derive(Debug)]
enum Way {
    /// Every request has this principal, with any credentials.
    None(Arc<Principal>),
    /// The principals of the file. The gateway replaces them as a whole when the file has changed.
    Keys(watch::Receiver<Arc<Principals>>),
}

impl Authentication {
    /// Without `principals` every request may do everything.
    #[must_use]
    pub fn new(principals: Option<watch::Receiver<Arc<Principals>>>, vhost: &str) -> Self {
        let everyone = || Arc::new(Principal { name: "".into(), permissions: Permissions::all() });
        let way = principals.map_or_else(|| Way::None(everyone()), Way::Keys);
        Self(Arc::new(Inner { way, vhost: vhost.to_owned() }))
    }

    /// The caller of every request, without authentication.
    pub(super) fn common_caller(&self) -> Option<Caller> {
        let is_none = matches!(self.0.way, Way::None(_));
        is_none.then(|| Caller { authentication: self.clone(), credentials: Credentials::None })
    }

    /// The caller of a request with this header, which loses its credentials. Whether the gateway accepts them, [`Caller::principal`] tells.
    ///
    /// # Errors
    /// 400 when the header has two credentials.
    pub(super) fn caller(&self, headers: &mut HeaderMap) -> Result<Caller, Problem> {
        if let Some(common) = self.common_caller() {
            return Ok(common);
        }
        Ok(Caller { authentication: self.clone(), credentials: take(headers)? })
    }

    fn look_up(&self, credentials: &Credentials) -> Option<Known> {
        let principals = match &self.0.way {
            Way::None(everyone) => {
                return Some(Known { principal: Arc::clone(everyone), holder: Holder::default() });
            }
            Way::Keys(principals) => principals.borrow(),
        };
        let principal = match credentials {
            Credentials::None => principals.anonymous()?,
            Credentials::Key(digest) => principals.of_key(digest, SystemTime::now())?,
            Credentials::Wrong | Credentials::OtherScheme => return None,
        };
        let name = &principal.name;
        let is_only = principals.len() == 1;
        let holder = if is_only { Holder::only_principal(name) } else { Holder::principal(name) };
        Some(Known { principal: Arc::clone(principal), holder })
    }

    /// The principals of the file, if there is one.
    fn file(&self) -> Option<watch::Ref<'_, Arc<Principals>>> {
        match &self.0.way {
            Way::None(_) => None,
            Way::Keys(principals) => Some(principals.borrow()),
        }
    }
}

/// The principal of a caller at one moment.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) principal: Arc<Principal>,
    /// The holder of its share of the limits; none without authentication.
    pub(super) holder: Holder,
}

/// The caller of a request. The gateway looks the principal up at each question, since the file may change while the request runs.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    authentication: Authentication,
    credentials: Credentials,
}

impl Caller {
    /// Its principal at this moment.
    ///
    /// # Errors
    /// 401 when the gateway does not accept the credentials, or no longer.
    pub(super) fn principal(&self) -> Result<Arc<Principal>, Problem> {
        Ok(self.known()?.principal)
    }

    /// Its principal at this moment, and the holder of the principal's share of the limits.
    ///
    /// # Errors
    /// 401, as of [`Self::principal`].
    pub(super) fn known(&self) -> Result<Known, Problem> {
        self.authentication.look_up(&self.credentials).ok_or_else(|| self.unauthorized())
    }

    /// The name of its principal, also when its key has expired or is revoked.
    pub(super) fn name(&self) -> Option<Arc<str>> {
        if let Ok(principal) = self.principal() {
            return Some(Arc::clone(&principal.name));
        }
        let Credentials::Key(digest) = &self.credentials else { return None };
        self.authentication.file()?.owner(digest).map(|owner| Arc::clone(&owner.name))
    }

    /// The problem of credentials that the gateway does not accept. A caller with an expired key has the whole key, so it may know more.
    fn unauthorized(&self) -> Problem {
        let problem = |detail| Problem::new(ProblemType::Unauthorized, detail);
        match &self.credentials {
            Credentials::None => problem(NO_CREDENTIALS),
            Credentials::OtherScheme => problem(NOT_ACCEPTED),
            Credentials::Wrong => problem(NOT_ACCEPTED).invalid_token(),
            Credentials::Key(digest) => {
                let has_expired = self
                    .authentication
                    .file()
                    .is_some_and(|file| file.has_expired(digest, SystemTime::now()));
                problem(if has_expired { EXPIRED } else { NOT_ACCEPTED }).invalid_token()
            }
        }
    }

    /// Checks that its principal has all these permissions. Returns the principal.
    ///
    /// # Errors
    /// 401; 403 naming all that are missing.
    pub(super) fn require<'a>(&self, needed: impl IntoIterator<Item = Needed<'a>>) -> Result<Known, Problem> {
        let known = self.known()?;
        self.check(&known.principal, needed)?;
        Ok(known)
    }

    /// Checks that its principal, which was looked up before, has all these permissions.
    ///
    /// # Errors
    /// 403 naming all that are missing.
    pub(super) fn check<'a>(
        &self,
        principal: &Principal,
        needed: impl IntoIterator<Item = Needed<'a>>,
    ) -> Result<(), Problem> {
        let missing = principal.permissions.missing(needed);
        if missing.is_empty() { Ok(()) } else { Err(self.forbidden(principal, &missing)) }
    }

    /// Checks that its principal may look at these queues and exchanges: any permission on each is enough.
    ///
    /// # Errors
    /// 401; 403 naming all that are missing.
    pub(super) fn require_look<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<(), Problem> {
        let principal = self.principal()?;
        let missing = names.into_iter().filter(|name| !principal.permissions.allow_look(name));
        let missing: Vec<_> = missing.map(|name| Need::read(name, Key::Every)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let problem = self.forbidden(&principal, &missing);
        let detail = format!("{}; to look, any of configure, write and read is enough", problem.detail());
        Err(problem.with_detail(detail))
    }

    /// Checks that its principal may do something with queues or exchanges, so that a document can have items that it may apply.
    ///
    /// # Errors
    /// 401, 403.
    pub(super) fn require_something(&self) -> Result<(), Problem> {
        let principal = self.principal()?;
        let verbs = [Verb::Configure, Verb::Write, Verb::Read];
        if verbs.into_iter().any(|verb| !principal.permissions.grants(verb).is_empty()) {
            return Ok(());
        }
        let detail = format!(
            "{} lacks every permission to configure, write or read: add those that the document needs in the file of principals",
            quoted(&principal.name)
        );
        Err(Problem::new(ProblemType::Forbidden, detail).with("by", "gateway"))
    }

    /// Checks that its principal may see the state of the whole gateway.
    ///
    /// # Errors
    /// 401, 403.
    pub(super) fn require_monitoring(&self) -> Result<(), Problem> {
        let principal = self.principal()?;
        if principal.permissions.may_monitor() {
            return Ok(());
        }
        let detail = format!("{} needs the tag \"monitoring\" for this", quoted(&principal.name));
        Err(by_gateway(detail, vec!["tag:monitoring".to_owned()]))
    }

    /// Resolves with the problem when the principal no longer has the permissions.
    pub(super) async fn until_refused<'a>(&self, needed: impl Fn() -> Vec<Needed<'a>>) -> Problem {
        let Way::Keys(principals) = &self.authentication.0.way else { return std::future::pending().await };
        let mut principals = principals.clone();
        loop {
            let until = match &self.credentials {
                Credentials::Key(digest) => principals.borrow_and_update().end_of_key(digest),
                Credentials::None | Credentials::Wrong | Credentials::OtherScheme => None,
            };
            if let Err(problem) = self.require(needed()) {
                return problem;
            }
            let left = until.map(|until| until.duration_since(SystemTime::now()).unwrap_or_default());
            let expiry = async {
                match left {
                    Some(left) => sleep(left).await,
                    None => std::future::pending().await,
                }
            };
            let change = async {
                if principals.changed().await.is_err() {
                    // The file does not change any more.
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = change => {}
                () = expiry => {}
            }
        }
    }

    /// How the gateway knows the principal.
    pub(super) fn way(&self) -> &'static str {
        match (&self.authentication.0.way, &self.credentials) {
            (Way::None(_), _) => "none",
            (Way::Keys(_), Credentials::Key(_)) => "key",
            (Way::Keys(_), _) => "anonymous",
        }
    }

    /// When the gateway no longer accepts its key, if it is known.
    pub(super) fn expires_at(&self) -> Option<SystemTime> {
        match (&self.authentication.0.way, &self.credentials) {
            (Way::Keys(principals), Credentials::Key(digest)) => principals.borrow().end_of_key(digest),
            _ => None,
        }
    }

    fn forbidden(&self, principal: &Principal, missing: &[Need<'_>]) -> Problem {
        let shown = || missing.iter().take(SHOWN);
        let joined = |texts: Vec<String>| texts.join(", ");
        let what = joined(shown().map(ToString::to_string).collect());
        let lines = joined(shown().map(Need::in_file).collect());
        let more = and_more(missing.len(), SHOWN);
        let (name, advice) = (
            quoted(&principal.name),
            if &*principal.name == ANONYMOUS { "send an API key, or " } else { "" },
        );
        let detail = format!(
            "{name} lacks the permission to {what}{more}: {advice}add it in the file of principals, such as {lines}"
        );
        by_gateway(detail, missing.iter().map(|need| need.scope(&self.authentication.0.vhost)).collect())
    }
}

const NO_CREDENTIALS: &str = "the request has no credentials: send an API key as Authorization: Bearer rgw_…";
const NOT_ACCEPTED: &str =
    "the gateway does not accept the credentials in Authorization: send a valid API key as Bearer rgw_…";
const EXPIRED: &str =
    "the API key has expired: send another one, or ask the operator of the gateway for a new one";

/// The permissions that the description of a problem names; the member `missing` has all.
const SHOWN: usize = 3;

fn by_gateway(detail: String, missing: Vec<String>) -> Problem {
    Problem::new(ProblemType::Forbidden, detail).with("by", "gateway").with("missing", missing)
}

#[cfg(test)]
mod tests;
