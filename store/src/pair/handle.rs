//! How the other loops of the process speak to the pair loop.

use std::sync::{Arc, Mutex, PoisonError};

use broker::net::{Endpoint, Queue, Waker};
use crossbeam_channel::Receiver;

use super::status::PairStatus;

/// Told whether a handover came about, and in a sentence why not.
pub(crate) type HandOverReply = Box<dyn FnOnce(Result<(), String>) + Send>;
/// Told whether this node still led after the question was asked.
pub(crate) type ConfirmReply = Box<dyn FnOnce(bool) + Send>;

/// What other loops want of the pair loop.
pub(super) enum Wish {
    /// A broker has work that nobody takes.
    Vote,
    /// Whether any broker knows this process.
    Brokers(bool),
    /// The other node shall lead.
    HandOver(HandOverReply),
    /// Prove that this node still leads.
    Confirm(ConfirmReply),
}

/// The pair loop, seen from another thread. Nothing here waits.
#[derive(Clone)]
pub(crate) struct PairHandle {
    wishes: Queue<Wish>,
    shared: Arc<Shared>,
}

struct Shared {
    listen: Endpoint,
    status: Mutex<PairStatus>,
}

impl PairHandle {
    /// A handle, and the end that the loop keeps.
    pub(super) fn new(listen: Endpoint, waker: &Waker) -> (Self, Receiver<Wish>) {
        let (wishes, received) = Queue::new(waker.clone());
        let status = Mutex::default();
        (Self { wishes, shared: Arc::new(Shared { listen, status }) }, received)
    }

    /// Where the other node reaches this one: the endpoint that was really bound.
    pub(crate) fn listen(&self) -> &Endpoint {
        &self.shared.listen
    }

    /// A broker has work for a partition that nobody leads.
    pub(crate) fn vote(&self) {
        self.wishes.send(Wish::Vote);
    }

    /// Whether any broker knows this process; called when that changes.
    pub(crate) fn brokers(&self, any: bool) {
        self.wishes.send(Wish::Brokers(any));
    }

    /// Asks for the other node to lead. The reply comes once it does, or with the reason why not.
    pub(crate) fn hand_over(&self, reply: HandOverReply) {
        self.wishes.send(Wish::HandOver(reply));
    }

    /// Asks for a proof, younger than this call, that this node leads.
    pub(crate) fn confirm(&self, reply: ConfirmReply) {
        self.wishes.send(Wish::Confirm(reply));
    }

    /// How the pair was at the last heartbeat.
    pub(crate) fn status(&self) -> PairStatus {
        self.shared.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_status(&self, status: PairStatus) {
        *self.shared.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }
}
