//! The messages of one batch or stream: each is read when its turn comes, and published in the order of its destination.

mod counts;
mod result;
mod tally;

use axum::http::HeaderMap;
use bytes::Bytes;
use prometheus::IntGauge;
use tokio::time::Instant;

pub(super) use self::counts::Counts;
pub(super) use self::result::{Failure, ItemResult, Settled};
pub(super) use self::tally::Tally;
use super::destination::destination;
use super::failure;
use crate::broker::{Place, Publish, PublishSequence};
use crate::domain::names::{ExchangeName, ShortText};
use crate::domain::outcome::Outcome;
use crate::http::codec::{self, ItemForm, KeyAdvice, TraceContext, WrongItem};
use crate::http::problem::Problem;
use crate::http::request::Query;
use crate::http::state::{AppState, PermittedBroker, PermittedPublish};

/// The parts of a request that all its messages share.
pub(super) struct Bulk<'a> {
    state: AppState,
    broker: PermittedBroker,
    exchange: ExchangeName,
    routing_key: Option<ShortText>,
    mandatory: Option<bool>,
    resend: bool,
    form: ItemForm<'a>,
    trace: TraceContext,
    sequence: PublishSequence,
}

impl<'a> Bulk<'a> {
    /// Reads them from the query and the header. Headers for a single message are refused. The items are envelopes.
    ///
    /// # Errors
    /// 400 naming the parameter or the header.
    pub(super) fn of(
        (state, broker): (AppState, PermittedBroker),
        exchange: ExchangeName,
        query: &mut Query,
        headers: &HeaderMap,
    ) -> Result<Self, Problem> {
        codec::refuse_idempotency_key(headers, KeyAdvice::MessageIds)?;
        codec::refuse_property_headers(headers)?;
        Ok(Self {
            resend: query.flag("retry")?.unwrap_or(true),
            routing_key: query.text("routing_key")?,
            mandatory: query.flag("mandatory")?,
            form: ItemForm::Envelope,
            trace: TraceContext::of(headers),
            sequence: PublishSequence::default(),
            state,
            broker,
            exchange,
        })
    }

    /// The routing key of the query.
    pub(super) fn routing_key(&self) -> Option<&ShortText> {
        self.routing_key.as_ref()
    }

    /// The same for items of this form.
    pub(super) fn of_form(self, form: ItemForm<'a>) -> Self {
        Self { form, ..self }
    }

    /// Reads the item with this number and publishes its message. The message takes its place in the order at once.
    pub(super) fn publish(
        &self,
        index: u64,
        json: &Bytes,
        deadline: Instant,
    ) -> impl Future<Output = Settled> + use<'_, 'a> {
        let read = self.read(json, deadline);
        async move {
            match read {
                Ok((id, publish, place)) => self.settle(index, id, publish, place).await,
                Err(WrongItem { id, problem }) => Settled::refused(index, id, problem),
            }
        }
    }

    fn read(
        &self,
        json: &Bytes,
        deadline: Instant,
    ) -> Result<(Option<String>, PermittedPublish, Place), WrongItem> {
        let codec::Item { id, mut parsed } = codec::read_item(json, &self.form, &self.trace, &self.state)?;
        let (exchange, routing_key) = (self.exchange.clone(), self.routing_key.clone());
        let reply_to = parsed.reply_to_field();
        let permitted = destination(exchange, routing_key, self.mandatory, &mut parsed).and_then(|to| {
            self.broker.permit(Publish::new(parsed.message, to, deadline, self.resend), reply_to)
        });
        match permitted {
            Ok(publish) => {
                let place = self.sequence.place(&publish);
                Ok((id, publish, place))
            }
            Err(problem) => Err(WrongItem { id, problem }),
        }
    }

    async fn settle(
        &self,
        index: u64,
        id: Option<String>,
        publish: PermittedPublish,
        place: Place,
    ) -> Settled {
        let _in_flight = InFlight::count(&self.state.metric_sources.metrics.bulk.in_flight);
        let answer = publish.send_in_order(&place).await.map_err(|failed| Failure {
            outcome: failed.outcome,
            attempts: failed.attempts,
            problem: failure::problem(&publish, failed),
        });
        if let Err(failure) = &answer {
            self.broker.note_refusal(&failure.problem);
        }
        Settled { index, id, message_id: Some(publish.message.id.clone()), answer }
    }
}

/// A message that is published now. Dropping it ends the count.
struct InFlight<'a>(&'a IntGauge);

impl<'a> InFlight<'a> {
    fn count(gauge: &'a IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Settled {
    /// An item that is not published.
    pub(super) fn refused(index: u64, id: Option<String>, problem: Problem) -> Self {
        let failure = Failure { outcome: Outcome::NotSent, attempts: 0, problem };
        Self { index, id, message_id: None, answer: Err(failure) }
    }
}
