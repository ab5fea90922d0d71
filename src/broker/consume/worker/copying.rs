//! Settles leases by a copy or a reply: RabbitMQ confirms it first, and then the worker acks the original.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Worker;
use super::copies::{CopyId, Copying};
use super::requests::Place;
use crate::broker::consume::copy;
use crate::broker::consume::copy_order::{Copied, CopyOrder, CopyTarget};
use crate::broker::consume::lease_table::Step;
use crate::broker::consume::reply;
use crate::broker::consume::settle::{Action, Final, NotSettled, Settled};
use crate::broker::error::{Cause, Error};
use crate::broker::publish::WriteGate;
use crate::domain::message::MessageId;

impl Worker {
    pub(super) fn act_by_copy(
        &mut self,
        place: Place,
        serial: u64,
        action: Action,
        (now, deadline): (Instant, Instant),
    ) {
        let Some(how) = action.how() else { return };
        let held = self.leases.message(serial).filter(|_| how == Final::Replied);
        if let Some(Err(why)) = held.map(|kept| reply::queue(&kept.delivery).map(drop)) {
            return self.requests.set(place, Err(NotSettled::NoReplyTo(why)));
        }
        let step = self.leases.begin_copy(serial, how, now);
        if !matches!(step, Step::Begin(_)) {
            return self.join(place, serial, step, how);
        }
        let cancelled = CancellationToken::new();
        let (guard, gate) = (cancelled.clone().drop_guard(), WriteGate::default());
        let reply = (how == Final::Replied).then(|| gate.clone());
        self.copies.insert(serial, Copying { places: vec![place], cancel: guard, reply });
        if let Some(order) = self.order(serial, action, (deadline, cancelled, gate)) {
            self.shared.order_copy(order);
        }
    }

    fn order(
        &mut self,
        serial: u64,
        action: Action,
        (deadline, cancelled, gate): (Instant, CancellationToken, WriteGate),
    ) -> Option<CopyOrder> {
        let user = self.shared.user.clone();
        let answer = self.copied.0.clone();
        let (queue, longest) = (self.queue.clone(), Instant::now() + self.shared.settings.lease_max);
        let kept = self.leases.message(serial)?;
        let delivery = Arc::clone(&kept.delivery);
        let mut copy_id = || {
            let new = || CopyId {
                id: MessageId::given_or_generated(delivery.message.id.clone()),
                may_exist: false,
            };
            kept.copy_id.get_or_insert_with(new).clone()
        };
        let (message, target, may_exist) = match action {
            Action::Reply(given) => {
                let target = CopyTarget::Reply { queue: reply::queue(&delivery).ok()?.clone() };
                (reply::message(&given, &delivery), target, false)
            }
            Action::Retry { step, reason } => {
                let CopyId { id, may_exist } = copy_id();
                let message = copy::retry(&delivery, id, reason.as_deref(), user.as_deref());
                (message, CopyTarget::Again { queue, step }, may_exist)
            }
            Action::DeadLetter { exchange, routing_key, reason } => {
                let CopyId { id, may_exist } = copy_id();
                let message = copy::copy(&delivery, id, reason.as_deref(), user.as_deref());
                (message, CopyTarget::DeadLetters { exchange, routing_key }, may_exist)
            }
            Action::Ack | Action::Release | Action::Reject | Action::Extend(_) => return None,
        };
        Some(CopyOrder { serial, message, target, may_exist, deadline, longest, gate, cancelled, answer })
    }

    /// A further request waits for the copy.
    pub(super) fn join_copy(&mut self, place: Place, serial: u64) {
        if let Some(copying) = self.copies.get_mut(&serial) {
            copying.places.push(place);
        }
    }

    /// A copy has its answer.
    pub(super) fn on_copied(&mut self, copied: Copied) {
        let Copied { serial, result, may_exist } = copied;
        let Some(Copying { places, .. }) = self.copies.remove(&serial) else { return };
        match result {
            Ok(settled) => match self.leases.end_copy(serial, Some(settled.clone())) {
                Some(tag) => self.ack_original(places, serial, tag, &settled),
                None => self.fail(places, &NotSettled::Failed(Error::gone())),
            },
            Err(why) => {
                self.leases.end_copy(serial, None);
                if let Some(copy_id) = self.leases.message(serial).and_then(|kept| kept.copy_id.as_mut()) {
                    copy_id.may_exist |= may_exist;
                }
                self.fail(places, &why);
            }
        }
    }

    /// The leases of these copies are gone.
    pub(super) fn lose_copies(&mut self, serials: impl IntoIterator<Item = u64>, error: &Error) {
        for serial in serials {
            if let Some(Copying { places, .. }) = self.copies.remove(&serial) {
                self.fail(places, &NotSettled::Failed(error.clone()));
            }
        }
    }

    /// The leases of all copies are gone. When the gateway stops, its channel is still open: the message of a reply that may be written
    /// is then acked, since a second server would send a second reply.
    pub(super) fn lose_all_copies(&mut self, error: &Error) {
        if *error == Error::Unknown(Cause::Stopped) {
            self.ack_replied();
        }
        let serials: Vec<_> = self.copies.keys().copied().collect();
        self.lose_copies(serials, error);
    }

    /// Acks the messages whose replies may be written and have no answer. The replies are still finished.
    fn ack_replied(&mut self) {
        let may_be_written = |copying: &Copying| copying.reply.as_ref().is_some_and(|gate| !gate.shut());
        let replied: Vec<_> = self.copies.extract_if(|_, copying| may_be_written(copying)).collect();
        for (serial, Copying { places, cancel, .. }) in replied {
            cancel.disarm();
            let settled = Settled::Replied { delivered: None };
            if let Some(tag) = self.leases.end_copy(serial, Some(settled.clone())) {
                self.ack_original(places, serial, tag, &settled);
            }
        }
    }

    fn fail(&mut self, places: Vec<Place>, why: &NotSettled) {
        for place in places {
            self.requests.set(place, Err(why.clone()));
        }
    }
}
