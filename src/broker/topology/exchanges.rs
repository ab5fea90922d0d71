//! Exchanges and bindings.

use tokio::time::Instant;

use super::answer_too_long::explain_look_at_exchange;
use super::argument_at_fault::attribute_to_argument;
use super::exchange_methods::{bind, declare, delete, look_at, unbind};
use super::frame_size::{check_binding, check_exchange};
use super::{Topology, is_there};
use crate::broker::error::Error;
use crate::broker::overflow;
use crate::domain::names::ExchangeName;
use crate::domain::topology::exchange::{Binding, BindingTarget, ExchangeDeclaration};

impl Topology {
    /// Checks that an exchange exists.
    ///
    /// # Errors
    /// `Refusal::ExchangeMissing` and others.
    pub async fn inspect_exchange(&self, name: &ExchangeName, deadline: Instant) -> Result<(), Error> {
        let (is_alone, owned) = (overflow::of_name(name.as_str()), name.clone());
        let looked = self.repeat(deadline, is_alone, move |channel| look_at(channel, owned.clone())).await;
        looked.map_err(|error| explain_look_at_exchange(error, name))
    }

    /// Declares an exchange. True when it was not there before.
    ///
    /// # Errors
    /// `Refusal::Differs` if it exists with another type or other arguments, `Refusal::TypeUnknown`, and others.
    pub async fn declare_exchange(
        &self,
        exchange: &ExchangeDeclaration,
        deadline: Instant,
    ) -> Result<bool, Error> {
        check_exchange(exchange, self.connections.wait(deadline).await?.frame_max())?;
        let is_alone = !exchange.is_known() || overflow::of_exchange(exchange);
        let is_there = self.is_exchange_there(&exchange.name, deadline).await?;
        let owned = exchange.clone();
        let declared = self.repeat(deadline, is_alone, move |channel| declare(channel, owned.clone())).await;
        declared.map_err(|error| attribute_to_argument(error, &exchange.arguments))?;
        self.destinations.declared(&exchange.name);
        Ok(!is_there)
    }

    /// Deletes an exchange with its bindings.
    ///
    /// # Errors
    /// `Refusal::ExchangeMissing`, `Refusal::InUse` if it has bindings and `if_unused` is set, and others.
    pub async fn delete_exchange(
        &self,
        name: &ExchangeName,
        if_unused: bool,
        deadline: Instant,
    ) -> Result<(), Error> {
        // RabbitMQ answers the deletion of a missing exchange with success.
        self.inspect_exchange(name, deadline).await?;
        // Publishes to it travel alone from now on: RabbitMQ closes their channel.
        self.destinations.deleted(name);
        let is_alone = overflow::of_name(name.as_str());
        let owned = name.clone();
        self.repeat(deadline, is_alone, move |channel| delete(channel, owned.clone(), if_unused)).await
    }

    /// Binds. Binding again changes nothing.
    ///
    /// # Errors
    /// `Refusal::ExchangeMissing`, `Refusal::QueueMissing` if an end is missing, and others.
    pub async fn bind(&self, binding: &Binding, deadline: Instant) -> Result<(), Error> {
        check_binding(binding, self.connections.wait(deadline).await?.frame_max())?;
        let (is_alone, owned) = (overflow::of_binding(binding), binding.clone());
        if is_alone {
            self.look_at_ends(binding, deadline).await?;
        }
        self.repeat(deadline, is_alone, move |channel| bind(channel, owned.clone())).await
    }

    /// Unbinds. A binding that does not exist is no error: AMQP cannot tell.
    ///
    /// # Errors
    /// As [`Self::bind`].
    pub async fn unbind(&self, binding: &Binding, deadline: Instant) -> Result<(), Error> {
        check_binding(binding, self.connections.wait(deadline).await?.frame_max())?;
        // RabbitMQ answers with success also when an end is missing.
        self.look_at_ends(binding, deadline).await?;
        let (is_alone, owned) = (overflow::of_binding(binding), binding.clone());
        self.repeat(deadline, is_alone, move |channel| unbind(channel, owned.clone())).await
    }

    /// Checks that both ends of a binding exist.
    async fn look_at_ends(&self, binding: &Binding, deadline: Instant) -> Result<(), Error> {
        self.inspect_exchange(&binding.source, deadline).await?;
        match &binding.target {
            BindingTarget::Queue(queue) => self.inspect(queue, deadline).await.map(|_| ()),
            BindingTarget::Exchange(exchange) => self.inspect_exchange(exchange, deadline).await,
        }
    }

    /// Whether an exchange exists.
    pub(super) async fn is_exchange_there(
        &self,
        name: &ExchangeName,
        deadline: Instant,
    ) -> Result<bool, Error> {
        is_there(self.inspect_exchange(name, deadline).await)
    }
}
