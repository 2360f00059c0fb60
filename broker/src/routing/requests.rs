//! Every request from its arrival until its answer.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use super::ids::{PeerId, RequestId, ServiceKey};
use super::workers::WorkerKey;
use crate::dialect::{ServiceName, SessionId};
use crate::mdp::Version;
use crate::net::Frames;

/// Who asked.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// An MDP client; `asked` is the service as it named it.
    Mdp { peer: PeerId, version: Version, asked: ServiceName },
    /// A dialect client; `asked` and `number` name the request within its session.
    Dialect { session: SessionId, asked: ServiceName, number: u64 },
}

/// Where the request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the queue of its service.
    Queued,
    /// With a worker.
    Held(WorkerKey),
}

/// What names a request in the dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct RequestKey {
    pub session: SessionId,
    pub service: ServiceKey,
    pub number: u64,
}

/// A request.
#[derive(Debug)]
pub(super) struct Request {
    pub origin: Origin,
    pub service: ServiceKey,
    /// Given to dialect requests at arrival, to others when a dialect worker first gets them.
    pub key: Option<RequestKey>,
    pub flags: u8,
    pub lowest: u64,
    pub body: Frames,
    pub bytes: usize,
    pub deadline: Instant,
    /// The instant in the table of expiries; not after the deadline.
    pub expiry: Option<Instant>,
    pub place: Place,
    /// How often it left for a worker.
    pub deliveries: u32,
    /// Parts of the answer that came; a client of MDP/0.1 gets them with the last one.
    pub parts: Frames,
    pub parts_bytes: usize,
    pub answered_partly: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Requests {
    by_id: HashMap<RequestId, Request>,
    by_key: HashMap<RequestKey, RequestId>,
    expiries: BTreeSet<(Instant, RequestId)>,
    bytes: usize,
    last: RequestId,
}

impl Requests {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Body bytes, and bytes of collected parts.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&self, id: RequestId) -> Option<&Request> {
        self.by_id.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: RequestId) -> Option<&mut Request> {
        self.by_id.get_mut(&id)
    }

    pub(super) fn find(&self, key: &RequestKey) -> Option<RequestId> {
        self.by_key.get(key).copied()
    }

    pub(super) fn insert(&mut self, request: Request) -> RequestId {
        self.last.0 += 1;
        let id = self.last;
        self.bytes += request.bytes;
        if let Some(key) = request.key {
            self.by_key.insert(key, id);
        }
        if let Some(expiry) = request.expiry {
            self.expiries.insert((expiry, id));
        }
        self.by_id.insert(id, request);
        id
    }

    pub(super) fn remove(&mut self, id: RequestId) -> Option<Request> {
        let request = self.by_id.remove(&id)?;
        self.bytes -= request.bytes + request.parts_bytes;
        if let Some(key) = request.key {
            self.by_key.remove(&key);
        }
        if let Some(expiry) = request.expiry {
            self.expiries.remove(&(expiry, id));
        }
        Some(request)
    }

    /// Gives a request of an MDP client the name that a dialect worker will answer to.
    pub(super) fn assign_key(&mut self, id: RequestId, session: SessionId) {
        if let Some(request) = self.by_id.get_mut(&id)
            && request.key.is_none()
        {
            let key = RequestKey { session, service: request.service, number: id.0 };
            request.key = Some(key);
            self.by_key.insert(key, id);
        }
    }

    /// Keeps a part of an answer for later.
    pub(super) fn collect(&mut self, id: RequestId, body: Frames, bytes: usize) {
        if let Some(request) = self.by_id.get_mut(&id) {
            request.parts.extend(body);
            request.parts_bytes += bytes;
            self.bytes += bytes;
        }
    }

    /// Has the request come up at this instant, or never.
    pub(super) fn set_expiry(&mut self, id: RequestId, expiry: Option<Instant>) {
        let Some(request) = self.by_id.get_mut(&id) else {
            return;
        };
        if let Some(old) = request.expiry {
            self.expiries.remove(&(old, id));
        }
        request.expiry = expiry;
        if let Some(new) = expiry {
            self.expiries.insert((new, id));
        }
    }

    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.expiries.first().map(|(expiry, _)| *expiry)
    }

    /// Takes one request whose instant has come off the table of expiries.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<RequestId> {
        let (expiry, id) = *self.expiries.first()?;
        if expiry > now {
            return None;
        }
        self.set_expiry(id, None);
        Some(id)
    }

    pub(super) fn ids(&self) -> Vec<RequestId> {
        let mut ids: Vec<RequestId> = self.by_id.keys().copied().collect();
        ids.sort_unstable();
        ids
    }
}
