//! Applies a whole topology, so that applying it again changes nothing.
//!
//! First the gateway looks at each queue and exchange. Then it declares those that exist: RabbitMQ changes nothing and refuses a
//! difference, so nothing was made by then. At last it creates the absent ones and the bindings.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;

use super::Topology;
use super::each::each;
use crate::broker::error::Error;
use crate::domain::topology::document::{ItemResult, Place, TopologyDocument};
use crate::domain::topology::exchange::BindingTarget;
use crate::domain::topology::{DeadLetterPair, QueueDeclaration};

/// The results of all items, in the order of the document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ItemResults {
    /// The exchanges.
    pub exchanges: Vec<ItemResult>,
    /// The queues.
    pub queues: Vec<ItemResult>,
    /// The bindings.
    pub bindings: Vec<ItemResult>,
}

impl ItemResults {
    /// The results of all items.
    pub fn all(&self) -> impl Iterator<Item = &ItemResult> {
        self.exchanges.iter().chain(&self.queues).chain(&self.bindings)
    }
}

/// Why a document was not applied.
#[derive(Debug)]
pub struct DocumentFailure {
    /// The item at which the gateway stopped.
    pub place: Place,
    /// Why.
    pub error: Error,
    /// The results of all items if objects were made; `None` if the gateway made no object.
    pub results: Option<ItemResults>,
}

/// Whether each queue and exchange exists, those for dead letters included.
struct Presence {
    exchanges: Vec<bool>,
    queues: Vec<bool>,
    /// The exchange and the queue of the dead-letter pair, for each queue that has one.
    pairs: Vec<Option<(bool, bool)>>,
}

type Failed = (Place, Error);

impl Topology {
    /// Looks at each queue and exchange of the document, and at those that its items name.
    ///
    /// # Errors
    /// `QueueMissing` or `ExchangeMissing` for a name of an item that neither the document nor RabbitMQ has, and others.
    pub async fn look_at(
        &self,
        document: &TopologyDocument,
        deadline: Instant,
    ) -> Result<ItemResults, DocumentFailure> {
        let presence = self.presence(document, deadline).await.map_err(nothing_made)?;
        let told = |is_there: bool| if is_there { ItemResult::Exists } else { ItemResult::Absent };
        let is_whole =
            |(queue, pair): (&bool, &Option<(bool, bool)>)| *queue && pair.is_none_or(|(a, b)| a && b);
        Ok(ItemResults {
            exchanges: presence.exchanges.iter().map(|is_there| told(*is_there)).collect(),
            queues: presence.queues.iter().zip(&presence.pairs).map(|it| told(is_whole(it))).collect(),
            bindings: vec![ItemResult::Unknown; document.bindings.len()],
        })
    }

    /// Applies the document.
    ///
    /// # Errors
    /// The first item that RabbitMQ refused, with the results of all items if objects were made by then.
    pub async fn apply(
        &self,
        document: &TopologyDocument,
        deadline: Instant,
    ) -> Result<ItemResults, DocumentFailure> {
        let presence = self.presence(document, deadline).await.map_err(nothing_made)?;
        self.confirm_existing(document, &presence, deadline).await.map_err(nothing_made)?;
        self.create(document, &presence, deadline).await
    }

    /// Looks at all objects.
    async fn presence(&self, document: &TopologyDocument, deadline: Instant) -> Result<Presence, Failed> {
        let references = document.references();
        each(references.iter(), |(place, end)| async move {
            self.expect_end(end, deadline).await.map_err(|error| (*place, error))
        })
        .await?;
        let exchanges = each(document.exchanges.iter().enumerate(), |(n, exchange)| async move {
            self.is_exchange_there(&exchange.name, deadline)
                .await
                .map_err(|error| (Place::Exchange(n), error))
        });
        let exchanges = exchanges.await?;
        let queues = each(document.queues.iter().enumerate(), |(n, queue)| async move {
            self.is_there(&queue.name, deadline).await.map_err(|error| (Place::Queue(n), error))
        });
        let queues = queues.await?;
        let pairs = each(document.queues.iter().enumerate(), |(n, queue)| async move {
            let Some(pair) = &queue.dead_letter_pair else { return Ok(None) };
            let found = self.is_pair_there(pair, deadline).await;
            found.map(Some).map_err(|error| (Place::Queue(n), error))
        });
        Ok(Presence { exchanges, queues, pairs: pairs.await? })
    }

    async fn expect_end(&self, end: &BindingTarget, deadline: Instant) -> Result<(), Error> {
        match end {
            BindingTarget::Queue(queue) => self.inspect(queue, deadline).await.map(|_| ()),
            BindingTarget::Exchange(exchange) => self.inspect_exchange(exchange, deadline).await,
        }
    }

    async fn is_pair_there(&self, pair: &DeadLetterPair, deadline: Instant) -> Result<(bool, bool), Error> {
        Ok((
            self.is_exchange_there(&pair.exchange, deadline).await?,
            self.is_there(&pair.queue, deadline).await?,
        ))
    }

    /// Declares the objects that exist, so that RabbitMQ refuses one that differs before the gateway makes another one.
    async fn confirm_existing(
        &self,
        document: &TopologyDocument,
        presence: &Presence,
        deadline: Instant,
    ) -> Result<(), Failed> {
        let exchanges = document.exchanges.iter().enumerate().filter(|(n, _)| presence.exchanges[*n]);
        each(exchanges, |(n, exchange)| async move {
            self.declare_exchange(exchange, deadline).await.map_err(|error| (Place::Exchange(n), error))
        })
        .await?;
        let queues = document.queues.iter().enumerate();
        each(queues, |(n, queue)| async move {
            let confirmed = self.confirm_queue(queue, presence.queues[n], presence.pairs[n], deadline).await;
            confirmed.map_err(|error| (Place::Queue(n), error))
        })
        .await?;
        Ok(())
    }

    async fn confirm_queue(
        &self,
        queue: &QueueDeclaration,
        is_there: bool,
        pair_is_there: Option<(bool, bool)>,
        deadline: Instant,
    ) -> Result<(), Error> {
        if is_there {
            self.declare(&without_pair(queue), deadline).await?;
        }
        if let (Some(pair), Some((exchange, dead_letters))) = (&queue.dead_letter_pair, pair_is_there) {
            if exchange {
                self.declare_exchange(&pair.exchange_declaration(), deadline).await?;
            }
            if dead_letters {
                self.declare(&pair.queue_declaration(), deadline).await?;
            }
        }
        Ok(())
    }

    /// Creates the absent objects: exchanges, then queues, each after the objects for its dead letters, then bindings.
    async fn create(
        &self,
        document: &TopologyDocument,
        presence: &Presence,
        deadline: Instant,
    ) -> Result<ItemResults, DocumentFailure> {
        let steps = Steps::default();
        let mut exchanges = vec![ItemResult::NotDone; document.exchanges.len()];
        // RabbitMQ may not have a type that is not built in, so these are the first: then nothing was made.
        for is_known in [false, true] {
            let these = document.exchanges.iter().enumerate().filter(|(_, it)| it.is_known() == is_known);
            let results = steps.run(these.clone(), |(n, exchange)| async move {
                if presence.exchanges[n] {
                    return (Place::Exchange(n), Ok(ItemResult::Exists));
                }
                (Place::Exchange(n), self.declare_exchange(exchange, deadline).await.map(created))
            });
            for ((n, _), result) in these.zip(results.await) {
                exchanges[n] = result;
            }
        }
        let queues = steps.run(document.queues.iter().enumerate(), |(n, queue)| async move {
            let made = self.create_queue(queue, presence.queues[n], deadline).await;
            (Place::Queue(n), made)
        });
        let queues = queues.await;
        let bindings = steps.run(document.bindings.iter().enumerate(), |(n, binding)| async move {
            (Place::Binding(n), self.bind(binding, deadline).await.map(|()| ItemResult::Bound))
        });
        let results = ItemResults { exchanges, queues, bindings: bindings.await };
        match steps.failure.into_inner() {
            None => Ok(results),
            Some(failed @ (Place::Exchange(_), _)) if results.all().all(|it| it.made_nothing()) => {
                Err(nothing_made(failed))
            }
            Some((place, error)) => Err(DocumentFailure { place, error, results: Some(results) }),
        }
    }

    /// Creates a queue and the objects for its dead letters. The item was created if one of them is new.
    async fn create_queue(
        &self,
        queue: &QueueDeclaration,
        is_there: bool,
        deadline: Instant,
    ) -> Result<ItemResult, Error> {
        let mut made = Vec::new();
        if let Some(pair) = &queue.dead_letter_pair
            && let Err(error) = self.create_pair(pair, &mut made, deadline).await
        {
            return Err(naming(error, &made));
        }
        if !is_there {
            match self.declare(&without_pair(queue), deadline).await {
                Ok((is_new, _)) if is_new || !made.is_empty() => return Ok(ItemResult::Created),
                Ok(_) => return Ok(ItemResult::Exists),
                Err(error) => return Err(naming(error, &made)),
            }
        }
        Ok(created(!made.is_empty()))
    }

    /// Creates the objects for dead letters. Adds those to `made` that were absent.
    async fn create_pair(
        &self,
        pair: &DeadLetterPair,
        made: &mut Vec<String>,
        deadline: Instant,
    ) -> Result<(), Error> {
        if self.declare_exchange(&pair.exchange_declaration(), deadline).await? {
            made.push(format!("exchange \"{}\"", pair.exchange));
        }
        if self.declare(&pair.queue_declaration(), deadline).await?.0 {
            made.push(format!("queue \"{}\"", pair.queue));
        }
        self.bind(&pair.binding(), deadline).await
    }
}

/// The steps of a document. After the first failure no further step begins.
#[derive(Default)]
struct Steps {
    has_failed: AtomicBool,
    failure: tokio::sync::OnceCell<Failed>,
}

impl Steps {
    async fn run<T, F>(&self, items: impl Iterator<Item = T>, step: impl Fn(T) -> F) -> Vec<ItemResult>
    where
        F: Future<Output = (Place, Result<ItemResult, Error>)>,
    {
        let results = each(items, |item| {
            let step = step(item);
            async move { Ok::<_, Infallible>(self.unless_failed(step).await) }
        });
        results.await.unwrap_or_else(|never| match never {})
    }

    async fn unless_failed(
        &self,
        step: impl Future<Output = (Place, Result<ItemResult, Error>)>,
    ) -> ItemResult {
        if self.has_failed.load(Ordering::Acquire) {
            return ItemResult::NotDone;
        }
        match step.await {
            (_, Ok(result)) => result,
            (place, Err(error)) => {
                self.has_failed.store(true, Ordering::Release);
                let is_unknown = matches!(error, Error::Unknown(_));
                // The first failure is the one that the caller gets.
                let _later = self.failure.set((place, error));
                if is_unknown { ItemResult::Unknown } else { ItemResult::Failed }
            }
        }
    }
}

/// The refusal of a queue, which also names the objects for its dead letters that the gateway has made.
fn naming(error: Error, made: &[String]) -> Error {
    match error {
        Error::Refused(refusal) => Error::Refused(refusal.with_remains(made)),
        other => other,
    }
}

fn nothing_made((place, error): Failed) -> DocumentFailure {
    DocumentFailure { place, error, results: None }
}

fn created(is_new: bool) -> ItemResult {
    if is_new { ItemResult::Created } else { ItemResult::Exists }
}

/// The queue alone: the gateway declares the objects for its dead letters one by one.
fn without_pair(queue: &QueueDeclaration) -> QueueDeclaration {
    QueueDeclaration { dead_letter_pair: None, ..queue.clone() }
}
