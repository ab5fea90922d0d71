//! `can`: tells whether the file of principals allows a principal something, and which pattern does.

use std::process::ExitCode;

use clap::ArgMatches;

use super::output::{print, refuse_usage};
use crate::config::PrincipalsFile;
use crate::domain::access::{Key, Need, Needed, Verb};
use crate::domain::names::ExchangeName;

/// A question about the permissions of a principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    principal: String,
    verb: Verb,
    name: String,
    routing_key: Option<String>,
}

impl Question {
    pub(super) fn of(matches: &ArgMatches) -> Self {
        let text = |name| matches.get_one::<String>(name).cloned();
        let word = text("permission").unwrap_or_default();
        let verb = Verb::ALL.into_iter().find(|verb| verb.word() == word).unwrap_or(Verb::Call);
        Self {
            principal: text("principal").unwrap_or_default(),
            verb,
            name: text("name").unwrap_or_default(),
            routing_key: text("routing_key"),
        }
    }

    fn needed(&self) -> Needed<'_> {
        let key = self.routing_key.as_deref().map_or(Key::Every, Key::One);
        let name = if self.name.is_empty() { ExchangeName::DEFAULT_IN_PATH } else { &self.name };
        match self.verb {
            Verb::Call => Need::call_or_write(name),
            verb => Need { verb, name, key }.into(),
        }
    }
}

/// Prints the answer. The exit code is 0 for yes, 1 for no, and 64 where the question has no answer.
#[must_use]
pub fn can(question: &Question, file: Option<&PrincipalsFile>) -> ExitCode {
    let Some(file) = file else {
        return refuse_usage("GATEWAY_PRINCIPALS names no file, so there is nothing to ask");
    };
    let Some(principal) = file.principals.named(&question.principal) else {
        return refuse_usage(&format!("the file has no principal {:?}", question.principal));
    };
    let (name, Needed { need, or }) = (&principal.name, question.needed());
    let covering = [Some(need), or].into_iter().flatten().find_map(|need| {
        let pattern = principal.permissions.covering(&need)?;
        Some(format!("{} \"{pattern}\"", need.verb.word()))
    });
    let (answer, code) = match covering {
        Some(pattern) => (format!("yes: {name} may {need}, by {pattern}\n"), ExitCode::SUCCESS),
        None => (format!("no: {name} has no pattern that allows to {need}\n"), ExitCode::FAILURE),
    };
    let printed = print(&answer);
    if printed == ExitCode::SUCCESS { code } else { printed }
}
