//! The state of one connection, which its router's task shares with the connection's users and owners.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::greeting::Server;
use super::owner::{Close, End, Owner};

/// The state of one connection.
pub(super) struct ConnectionState {
    owners: Mutex<Owners>,
    /// The channels whose owners have frames to write, in the order in which they write.
    ready: Mutex<VecDeque<(u16, Arc<dyn Owner>)>>,
    /// Notified when there are bytes to write.
    pub(super) work: Notify,
    frame_max: AtomicUsize,
    is_blocked: AtomicBool,
    pub(super) blocked: watch::Sender<Option<String>>,
    pub(super) killed: CancellationToken,
    /// Cancelled before the owners are told.
    pub(super) ended: CancellationToken,
    pub(super) reason: OnceLock<String>,
    pub(super) server: OnceLock<Server>,
}

#[derive(Default)]
struct Owners {
    by_channel: HashMap<u16, Arc<dyn Owner>>,
    /// Why RabbitMQ closed the connection.
    close: Option<Close>,
    has_ended: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ConnectionState {
    pub(super) fn new(frame_limit: usize) -> Self {
        Self {
            owners: Mutex::default(),
            ready: Mutex::default(),
            work: Notify::new(),
            frame_max: AtomicUsize::new(frame_limit),
            is_blocked: AtomicBool::new(false),
            blocked: watch::Sender::new(None),
            killed: CancellationToken::new(),
            ended: CancellationToken::new(),
            reason: OnceLock::new(),
            server: OnceLock::new(),
        }
    }

    pub(super) fn frame_max(&self) -> usize {
        self.frame_max.load(Ordering::Relaxed)
    }

    pub(super) fn set_frame_max(&self, bytes: usize) {
        self.frame_max.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.is_blocked.load(Ordering::Acquire)
    }

    /// Records whether RabbitMQ blocks the connection, and tells the owners of a block.
    pub(super) fn set_blocked(&self, reason: Option<String>) {
        let is_blocked = reason.is_some();
        self.is_blocked.store(is_blocked, Ordering::Release);
        self.blocked.send_replace(reason);
        if is_blocked {
            let owners: Vec<_> = lock(&self.owners).by_channel.values().cloned().collect();
            for owner in owners {
                owner.blocked();
            }
        } else {
            self.work.notify_one();
        }
    }

    /// Sets the owner of a channel. Returns the owner if the connection has ended.
    pub(super) fn insert_owner(&self, channel: u16, owner: Arc<dyn Owner>) -> Result<(), Arc<dyn Owner>> {
        let mut owners = lock(&self.owners);
        if owners.has_ended {
            return Err(owner);
        }
        owners.by_channel.insert(channel, owner);
        Ok(())
    }

    pub(super) fn owner(&self, channel: u16) -> Option<Arc<dyn Owner>> {
        lock(&self.owners).by_channel.get(&channel).cloned()
    }

    /// Removes the owner of a channel, and tells it the end.
    pub(super) fn release(&self, channel: u16, end: &End) {
        let owner = lock(&self.owners).by_channel.remove(&channel);
        if let Some(owner) = owner {
            owner.closed(end);
        }
    }

    /// Records why RabbitMQ closes the connection.
    pub(super) fn note_close(&self, close: Close) {
        self.note_reason(close.text.clone());
        lock(&self.owners).close = Some(close);
    }

    /// Records product and version of the server.
    pub(super) fn note_server(&self, server: Server) {
        // The server sends them only once.
        let _again = self.server.set(server);
    }

    /// Records why the connection ends.
    pub(super) fn note_reason(&self, reason: String) {
        // Only the first reason is kept.
        let _later = self.reason.set(reason);
    }

    /// Records that the owner of a channel has frames to write, and wakes the writer.
    pub(super) fn has_work(&self, channel: u16, owner: Arc<dyn Owner>) {
        self.push_ready(channel, owner);
        self.work.notify_one();
    }

    /// Puts a channel at the end of the queue for the writer.
    pub(super) fn push_ready(&self, channel: u16, owner: Arc<dyn Owner>) {
        lock(&self.ready).push_back((channel, owner));
    }

    /// The channel that writes next, with its owner.
    pub(super) fn next_ready(&self) -> Option<(u16, Arc<dyn Owner>)> {
        lock(&self.ready).pop_front()
    }

    /// Ends the connection for its users, and tells its owners.
    pub(super) fn end(&self) {
        self.ended.cancel();
        let (owners, close) = {
            let mut owners = lock(&self.owners);
            owners.has_ended = true;
            (std::mem::take(&mut owners.by_channel), owners.close.take())
        };
        let end = close.map_or(End::ConnectionLost, End::ConnectionClosed);
        for owner in owners.into_values() {
            owner.closed(&end);
        }
        lock(&self.ready).clear();
    }
}
