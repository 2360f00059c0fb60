//! Workers of both protocols: what they offer, what they hold, how much more they take.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;

use super::agents::Agent;
use super::ids::{PeerId, RequestId, ServiceKey};
use crate::dialect::{PartitionRegistration, SessionId};
use crate::liveness::{Liveness, Pulse};
use crate::mdp::Version;

/// A worker's conversation; a new one gets a new key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct WorkerKey(pub u64);

/// A worker.
#[derive(Debug)]
pub(super) struct Worker {
    pub peer: PeerId,
    pub speech: Speech,
    /// What it calls itself; MDP has no word for that.
    pub agent: Option<Agent>,
    pub liveness: Liveness,
    pub pulse: Pulse,
    /// One entry for an MDP worker, any number for a dialect worker.
    pub offers: BTreeMap<ServiceKey, Offer>,
}

/// Which protocol it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speech {
    Mdp(Version),
    Dialect(SessionId),
}

/// A service as one worker offers it.
#[derive(Debug)]
pub(super) struct Offer {
    pub capacity: Capacity,
    /// Requests that it has and that still wait for an answer.
    pub held: BTreeSet<RequestId>,
    /// Whether it stands in its service's line.
    pub lined_up: bool,
    pub epoch: u64,
    pub partition: Option<PartitionRegistration>,
}

/// How much a worker takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Capacity {
    /// MDP: one request at a time. The request in hand is known by its client frame, and stays in
    /// hand until the worker answers, even if nobody waits for the answer any more.
    Single { in_hand: Option<InHand> },
    /// The dialect: cumulative counts of what may be sent and what was sent.
    Credit { granted: Amount, sent: Amount },
}

/// The request that an MDP worker works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InHand {
    pub id: RequestId,
    pub client: Bytes,
}

/// Requests and their body bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub messages: u64,
    pub bytes: u64,
}

impl Capacity {
    pub(super) fn has_room(&self) -> bool {
        match self {
            Capacity::Single { in_hand } => in_hand.is_none(),
            // Bytes are a threshold, so that a request larger than a whole window can pass.
            Capacity::Credit { granted, sent } => {
                sent.messages < granted.messages && sent.bytes < granted.bytes
            }
        }
    }

    /// Credit never goes back: an older message that comes late changes nothing.
    pub(super) fn grant(&mut self, amount: Amount) {
        if let Capacity::Credit { granted, .. } = self {
            granted.messages = granted.messages.max(amount.messages);
            granted.bytes = granted.bytes.max(amount.bytes);
        }
    }
}

impl Worker {
    /// Whether requests of a partition wait for its answer.
    pub(super) fn holds_of_partition(&self) -> bool {
        self.offers.values().any(|offer| offer.partition.is_some() && !offer.held.is_empty())
    }

    /// Whether it works on something; only asked of MDP workers.
    pub(super) fn in_hand(&self) -> Option<(ServiceKey, &InHand)> {
        self.offers.iter().find_map(|(service, offer)| match &offer.capacity {
            Capacity::Single { in_hand: Some(in_hand) } => Some((*service, in_hand)),
            _ => None,
        })
    }
}

/// All workers.
#[derive(Debug, Default)]
pub(super) struct Workers {
    by_key: HashMap<WorkerKey, Worker>,
    by_peer: HashMap<PeerId, WorkerKey>,
    by_session: HashMap<SessionId, WorkerKey>,
    last: WorkerKey,
}

impl Workers {
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(super) fn get(&self, key: WorkerKey) -> Option<&Worker> {
        self.by_key.get(&key)
    }

    pub(super) fn get_mut(&mut self, key: WorkerKey) -> Option<&mut Worker> {
        self.by_key.get_mut(&key)
    }

    pub(super) fn find(&self, peer: &PeerId) -> Option<WorkerKey> {
        self.by_peer.get(peer).copied()
    }

    pub(super) fn find_session(&self, session: &SessionId) -> Option<WorkerKey> {
        self.by_session.get(session).copied()
    }

    pub(super) fn offer_mut(&mut self, key: WorkerKey, service: ServiceKey) -> Option<&mut Offer> {
        self.by_key.get_mut(&key)?.offers.get_mut(&service)
    }

    pub(super) fn insert(&mut self, worker: Worker) -> WorkerKey {
        self.last.0 += 1;
        self.by_peer.insert(worker.peer.clone(), self.last);
        if let Speech::Dialect(session) = worker.speech {
            self.by_session.insert(session, self.last);
        }
        self.by_key.insert(self.last, worker);
        self.last
    }

    pub(super) fn remove(&mut self, key: WorkerKey) -> Option<Worker> {
        let worker = self.by_key.remove(&key)?;
        self.by_peer.remove(&worker.peer);
        if let Speech::Dialect(session) = worker.speech {
            self.by_session.remove(&session);
        }
        Some(worker)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Worker> {
        self.by_key.values()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (WorkerKey, &mut Worker)> {
        self.by_key.iter_mut().map(|(key, worker)| (*key, worker))
    }

    pub(super) fn keys(&self) -> Vec<WorkerKey> {
        let mut keys: Vec<WorkerKey> = self.by_key.keys().copied().collect();
        keys.sort_unstable();
        keys
    }
}
