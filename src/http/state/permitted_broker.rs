//! The broker side, as far as the caller of a request may use it. Handlers have no other way to RabbitMQ.
//!
//! Each method checks the permissions of the caller before RabbitMQ is asked, so a refusal tells nothing about what exists there.

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::Extensions;
use axum::http::request::Parts;
use tokio::time::Instant;

use super::AppState;
use crate::broker::{
    Action, Broker, Call, LeaseScope, NotSettled, Place, Publish, PublishFailure, Pull, Pulled, Receipt,
    Settled, Topology,
};
use crate::domain::access::{Key, Need, Needed, Principal};
use crate::domain::field::FieldValue;
use crate::domain::lease::LeaseId;
use crate::domain::message::{Message, ReceivedMessage};
use crate::domain::names::{ExchangeName, QueueName, ShortText};
use crate::domain::reserved;
use crate::http::audit::AuditNotes;
use crate::http::caller::{Caller, Known};
use crate::http::problem::Problem;

/// The broker side for one caller.
#[derive(Clone)]
pub(in crate::http) struct PermittedBroker {
    broker: Broker,
    caller: Caller,
    audit: Option<AuditNotes>,
    /// Whether messages have the name of their principal.
    stamps: bool,
}

impl AppState {
    /// The broker side for the caller of the request with these extensions.
    ///
    /// # Errors
    /// 500 when the request was not authenticated: its route is then declared as open by mistake.
    pub(in crate::http) fn permitted(&self, extensions: &Extensions) -> Result<PermittedBroker, Problem> {
        let caller = self.authentication.common_caller().or_else(|| extensions.get::<Caller>().cloned());
        let caller = caller.ok_or_else(|| Problem::internal("the request was not authenticated"))?;
        let audit = extensions.get::<AuditNotes>().cloned();
        Ok(PermittedBroker { broker: self.broker.clone(), caller, audit, stamps: self.stamps })
    }
}

impl FromRequestParts<AppState> for PermittedBroker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        state.permitted(&parts.extensions)
    }
}

impl PermittedBroker {
    /// The caller.
    pub(in crate::http) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The same publish, which can be done then. `reply_to` is the name under which the request gives this property.
    ///
    /// # Errors
    /// 401, 403, with the id of the message.
    pub(in crate::http) fn permit(
        &self,
        mut publish: Publish,
        reply_to: &'static str,
    ) -> Result<PermittedPublish, Problem> {
        let permitted = self.caller.require(publish.needs());
        let problem = match permitted {
            Ok(Known { principal, holder }) => {
                publish.holder = holder;
                self.stamp(&mut publish.message, &principal);
                return Ok(PermittedPublish { broker: self.broker.clone(), publish });
            }
            Err(problem) => problem,
        };
        let problem =
            if self.lacks_only_replies(&publish) { problem.with("field", reply_to) } else { problem };
        self.note_refusal(&problem);
        Err(problem.message_id(publish.message.id))
    }

    /// Whether only the queue for replies is refused.
    fn lacks_only_replies(&self, publish: &Publish) -> bool {
        let Some(queue) = &publish.message.properties.reply_to else { return false };
        let replies = Need::replies_at(queue.as_str());
        self.caller.require(publish.needs().filter(|needed| *needed != replies)).is_ok()
    }

    /// Notes for the audit log that an item of a request with many items is refused, or all that follow. The log learns of other
    /// refusals by the answer.
    pub(in crate::http) fn note_refusal(&self, problem: &Problem) {
        if let Some(audit) = &self.audit {
            audit.refused(problem);
        }
    }

    /// Notes the routing key of a binding for the audit log.
    pub(in crate::http) fn note_routing_key(&self, key: &str) {
        if let Some(audit) = &self.audit {
            audit.set_routing_key(key);
        }
    }

    /// Whether RabbitMQ takes messages now.
    pub(in crate::http) fn takes_messages(&self) -> bool {
        self.broker.takes_messages()
    }

    /// Resolves when RabbitMQ takes messages.
    pub(in crate::http) async fn until_takes_messages(&self) {
        self.broker.until_takes_messages().await;
    }

    /// Calls the server of a queue.
    ///
    /// # Errors
    /// 401, 403; and within the result the failure of the call.
    pub(in crate::http) async fn call(
        &self,
        mut call: Call,
    ) -> Result<Result<ReceivedMessage, PublishFailure>, Problem> {
        let Known { principal, holder } = self.caller.require([Need::call_or_write(call.queue.as_str())])?;
        call.holder = holder;
        self.stamp(&mut call.message, &principal);
        Ok(self.broker.call(call).await)
    }

    /// The topology, for an operation that needs these permissions.
    ///
    /// # Errors
    /// 401, 403.
    pub(in crate::http) fn topology<'a>(
        &self,
        needed: impl IntoIterator<Item = impl Into<Needed<'a>>>,
    ) -> Result<&Topology, Problem> {
        self.caller.require(needed.into_iter().map(Into::into))?;
        Ok(self.broker.topology())
    }

    /// The topology, to look at these queues and exchanges.
    ///
    /// # Errors
    /// 401, 403.
    pub(in crate::http) fn topology_to_look_at<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<&Topology, Problem> {
        self.caller.require_look(names)?;
        Ok(self.broker.topology())
    }

    /// Takes messages for the caller. Ends when the caller may no longer take them.
    ///
    /// # Errors
    /// 401, 403, and RabbitMQ's refusal or the reason why RabbitMQ could not be asked.
    pub(in crate::http) async fn pull(&self, pull: Pull) -> Result<Pulled, Problem> {
        let queue = pull.queue.clone();
        let needed = || vec![Need::read(queue.as_str(), Key::Every).into()];
        let Known { principal, holder } = self.caller.require(needed())?;
        let owner = (Arc::clone(&principal.name), holder);
        tokio::select! {
            biased;
            problem = self.caller.until_refused(needed) => Err(problem),
            pulled = self.broker.consuming().pull(pull, owner) => Ok(pulled?),
        }
    }

    /// Settles leases of the caller. `reply_to` is the name under which the request gives this property of the reply with an index.
    ///
    /// # Errors
    /// 401; 403 when one of the actions is not permitted: then none is done.
    pub(in crate::http) async fn settle(
        &self,
        queue: &QueueName,
        mut actions: Vec<(LeaseId, Action)>,
        deadline: Instant,
        reply_to: impl Fn(usize) -> String,
    ) -> Result<Vec<Result<Settled, NotSettled>>, Problem> {
        let read = Needed::from(Need::read(queue.as_str(), Key::Every));
        let others = actions.iter().filter_map(|(_, action)| beyond_reading(queue, action));
        let principal = self.caller.require([read].into_iter().chain(others));
        let Known { principal, .. } =
            principal.map_err(|problem| match self.only_reply_refused(queue, &actions) {
                Some(index) => problem.with("field", reply_to(index)),
                None => problem,
            })?;
        for (_, action) in &mut actions {
            if let Action::Reply(reply) = action {
                self.stamp(Arc::make_mut(reply), &principal);
            }
        }
        let scope = LeaseScope { queue, principal: &principal.name };
        Ok(self.broker.settle(scope, actions, deadline).await)
    }

    /// The index of the first reply whose queue for replies is refused, if the caller may do everything else.
    fn only_reply_refused(&self, queue: &QueueName, actions: &[(LeaseId, Action)]) -> Option<usize> {
        let is_reply = |action: &Action| matches!(action, Action::Reply(_));
        let others = actions.iter().filter(|(_, action)| !is_reply(action));
        let read = Needed::from(Need::read(queue.as_str(), Key::Every));
        let others = others.filter_map(|(_, action)| beyond_reading(queue, action));
        self.caller.require([read].into_iter().chain(others)).ok()?;
        let is_refused = |needed: Needed<'_>| self.caller.require([needed]).is_err();
        actions
            .iter()
            .position(|(_, action)| is_reply(action) && beyond_reading(queue, action).is_some_and(is_refused))
    }
}

impl PermittedBroker {
    /// Gives a message the name of its principal, if the gateway is set to do so.
    fn stamp(&self, message: &mut Message, principal: &Principal) {
        if self.stamps
            && let Ok(header) = ShortText::parse(reserved::PRINCIPAL_HEADER)
        {
            message.headers.0.insert(header, FieldValue::from(&*principal.name));
        }
    }
}

/// The permission that an action needs beside reading the queue: to write to the target of a copy; for replies to a reply, that of a publish.
/// To read a queue includes to send its messages to its own dead letters, and replies to the queues that they name.
fn beyond_reading<'a>(queue: &QueueName, action: &'a Action) -> Option<Needed<'a>> {
    if let Action::Reply(reply) = action {
        // An empty name is that of no queue.
        let queue = reply.properties.reply_to.as_ref().map(ShortText::as_str);
        return queue.filter(|queue| !queue.is_empty()).map(Need::replies_at);
    }
    let Action::DeadLetter { exchange, routing_key, .. } = action else { return None };
    let is_own = routing_key.as_str() == queue.as_str()
        && ExchangeName::for_dead_letters_of(queue).is_ok_and(|own| own == *exchange);
    (!is_own).then(|| Need::write(exchange.in_path(), Key::One(routing_key.as_str())).into())
}

/// A publish that its caller may do.
pub(in crate::http) struct PermittedPublish {
    broker: Broker,
    publish: Publish,
}

impl Deref for PermittedPublish {
    type Target = Publish;

    fn deref(&self) -> &Publish {
        &self.publish
    }
}

impl PermittedPublish {
    /// Notes whether an earlier publish may have left a copy of the message.
    pub(in crate::http) fn note_earlier_copy(&mut self, is_possible: bool) {
        self.publish.earlier_copy_possible = is_possible;
    }

    /// Publishes the message, see [`Broker::publish`].
    pub(in crate::http) async fn send(&self) -> Result<Receipt, PublishFailure> {
        self.broker.publish(&self.publish).await
    }

    /// Publishes the message after the earlier ones of its sequence, see [`Broker::publish_in_order`].
    pub(in crate::http) async fn send_in_order(&self, place: &Place) -> Result<Receipt, PublishFailure> {
        self.broker.publish_in_order(&self.publish, place).await
    }
}
