//! What a client's threads ask its background thread to do.

use std::sync::Arc;
use std::time::Instant;

use broker::dialect::Topology;
use broker::net::Waker;
use bytes::Bytes;
use crossbeam_channel::Sender;
use store::names::StoreName;
use store::slot::PartitionNumber;
use store::wire::replay::{Block, Read, RequestNumber};
use store::wire::status::StatusReply;

use super::calls::Caller;
use super::hand_over::HandOverFailure;
use super::lane::Ticket;
use crate::append::coalescer::Waiting;
use crate::call::desk::Call;
use crate::error::{LookupError, Refusal};
use crate::pending::Promise;

/// One partition of one store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PartitionKey {
    pub(crate) store: Arc<StoreName>,
    pub(crate) partition: PartitionNumber,
}

/// A job for the background thread.
#[derive(Debug)]
pub(super) enum Command {
    /// Append; the bytes are the append as it stands in a message.
    Append { key: PartitionKey, append: Waiting<(Ticket, Bytes)> },
    /// Call a service.
    Call(Call, Caller),
    /// Ask the broker what it knows.
    Topology { deadline: Instant, promise: TopologyPromise },
    /// Start a read; its number is in it.
    Read { endpoint: String, read: Box<Read>, events: ReadSink },
    /// Let the store send more of a read, cumulative.
    Credit { request: RequestNumber, credit_bytes: u64 },
    /// Forget a read. `silent`: the store did not answer, so its socket is not to be trusted.
    Cancel { request: RequestNumber, silent: bool },
    /// Ask a store process how it is.
    Status { endpoint: String, request: RequestNumber, deadline: Instant, promise: StatusPromise },
    /// Ask the leader of a pair to let the other node lead.
    HandOver {
        endpoint: String,
        request: RequestNumber,
        deadline: Instant,
        promise: HandOverPromise,
    },
    /// End the thread.
    Close,
}

pub(super) type TopologyPromise = Promise<Arc<Topology>, LookupError>;
pub(super) type StatusPromise = Promise<StatusReply, String>;
pub(super) type HandOverPromise = Promise<(), HandOverFailure>;

/// What comes back for a read.
#[derive(Debug)]
pub(crate) enum ReadEvent {
    /// A part of the history.
    Block(Block),
    /// The store can't go on.
    Refused(Refusal),
}

/// Where a read's events go. When it is dropped the reader sees that the read is lost.
#[derive(Debug)]
pub(super) struct ReadSink {
    /// `None` only while it is dropped.
    events: Option<Sender<ReadEvent>>,
    /// Woken after each event, for a reader that sleeps in a poll set.
    waker: Option<Waker>,
}

impl ReadSink {
    pub(super) fn new(events: Sender<ReadEvent>, waker: Option<Waker>) -> Self {
        Self { events: Some(events), waker }
    }

    /// Hands an event over; whether the reader still is there.
    pub(super) fn send(&self, event: ReadEvent) -> bool {
        let there = self.events.as_ref().is_some_and(|events| events.send(event).is_ok());
        if let Some(waker) = &self.waker {
            waker.wake();
        }
        there
    }
}

impl Drop for ReadSink {
    fn drop(&mut self) {
        // First the channel is closed, then the reader woken to see it.
        self.events = None;
        if let Some(waker) = &self.waker {
            waker.wake();
        }
    }
}
