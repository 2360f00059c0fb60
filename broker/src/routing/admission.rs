//! What happens to a request before it waits: limits, duplicates, and which queue it joins.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::RoutingTable;
use super::answers::Failure;
use super::ids::{RequestId, ServiceKey};
use super::requests::{Origin, Place, Request, RequestKey};
use super::services::ServiceKind;
use super::stores::Meaning;
use crate::dialect::{ServiceName, SessionId};
use crate::error_code::ErrorCode;
use crate::net::Frames;

/// When a client that was told BUSY should come back.
const BUSY_RETRY: Duration = Duration::from_millis(100);

/// A request at the door.
#[derive(Debug)]
pub(super) struct Arrival {
    pub origin: Origin,
    /// The service whose queue it joins.
    pub service: ServiceName,
    pub flags: u8,
    pub lowest: u64,
    pub body: Frames,
    pub time_left: Duration,
}

impl RoutingTable {
    /// Keeps a request until it is answered, or refuses it at once.
    pub(super) fn admit(&mut self, arrival: Arrival) {
        let bytes = arrival.body.iter().map(Bytes::len).sum();
        match self.place_for(&arrival, bytes) {
            Ok(service) => self.keep(arrival, service, bytes),
            Err(failure) => {
                if failure.code == ErrorCode::BUSY {
                    self.counters.busy += 1;
                }
                self.refuse(&arrival.origin, failure);
            }
        }
    }

    /// The queue for a request, if every limit allows one more.
    fn place_for(&mut self, arrival: &Arrival, bytes: usize) -> Result<ServiceKey, Failure> {
        if self.draining {
            return Err(busy("the broker is stopping: use another one"));
        }
        let limits = &self.settings.limits;
        if bytes > limits.message_bytes {
            let text = format!("{bytes} body bytes; {} is the most", limits.message_bytes);
            return Err(Failure::new(ErrorCode::BATCH_TOO_LARGE, text));
        }
        if self.requests.len() >= limits.requests
            || self.requests.bytes() + bytes > limits.request_bytes
        {
            return Err(busy("the broker holds as many unanswered requests as it may"));
        }
        if let Origin::Dialect { session, .. } = &arrival.origin
            && self.sessions.get(session).is_some_and(|session| {
                session.requests.len() >= limits.session_requests
                    || session.bytes + bytes > limits.session_request_bytes
            })
        {
            return Err(busy("this client has as many unanswered requests as it may"));
        }
        let Some(key) = self.find_or_add_service(&arrival.service) else {
            return Err(busy("the broker knows as many services as it may"));
        };
        let limits = &self.settings.limits;
        let full = self.services.get(key).is_some_and(|service| {
            service.requests >= limits.service_requests
                || service.bytes + bytes > limits.service_request_bytes
        });
        if full {
            return Err(busy("the queue of this service is full"));
        }
        Ok(key)
    }

    /// The service's record, with the kind that the known stores give to its name.
    pub(super) fn find_or_add_service(&mut self, name: &ServiceName) -> Option<ServiceKey> {
        if let Some(key) = self.services.find(name) {
            return Some(key);
        }
        let key = self.services.find_or_add(name, self.settings.limits.services)?;
        if self.stores.meaning(name) == Meaning::Partition
            && let Some(service) = self.services.get_mut(key)
        {
            service.kind = ServiceKind::Partition(Default::default());
            service.offered = true;
        }
        Some(key)
    }

    fn keep(&mut self, arrival: Arrival, service: ServiceKey, bytes: usize) {
        let deadline = self.now + arrival.time_left;
        let key = match &arrival.origin {
            Origin::Mdp { .. } => None,
            Origin::Dialect { session, number, .. } => {
                Some(RequestKey { session: *session, service, number: *number })
            }
        };
        let expiry = self.first_expiry(&arrival.origin, service, deadline);
        let origin = arrival.origin.clone();
        let id = self.requests.insert(Request {
            origin: arrival.origin,
            service,
            key,
            flags: arrival.flags,
            lowest: arrival.lowest,
            body: arrival.body,
            bytes,
            deadline,
            expiry: Some(expiry),
            place: Place::Queued,
            deliveries: 0,
            parts: Frames::new(),
            parts_bytes: 0,
            answered_partly: false,
        });
        self.enter(id, &origin, service, bytes);
    }

    /// Makes the request known to its queue and to its client.
    fn enter(&mut self, id: RequestId, origin: &Origin, service: ServiceKey, bytes: usize) {
        if let Some(service) = self.services.get_mut(service) {
            service.queue.insert(id);
            service.requests += 1;
            service.bytes += bytes;
        }
        match origin {
            Origin::Mdp { peer, .. } => {
                self.clients.entry(peer.clone()).or_default().insert(id);
            }
            Origin::Dialect { session, .. } => {
                if let Some(session) = self.sessions.get_mut(session) {
                    session.requests.insert(id);
                    session.bytes += bytes;
                }
            }
        }
        self.due.push(service);
    }

    /// A dialect client hears early that nobody offers what it asks for.
    fn first_expiry(&self, origin: &Origin, service: ServiceKey, deadline: Instant) -> Instant {
        let offered = self.services.get(service).is_some_and(|service| service.offered);
        match origin {
            Origin::Dialect { .. } if !offered => {
                deadline.min(self.now + self.settings.service_wait)
            }
            _ => deadline,
        }
    }

    /// Whether a dialect request is one that is still kept. Then it is not delivered again: the
    /// answer goes to the session, wherever that is connected now.
    pub(super) fn is_kept(&mut self, key: RequestKey, lowest: u64, time_left: Duration) -> bool {
        let Some(id) = self.requests.find(&key) else {
            return false;
        };
        let deadline = self.now + time_left;
        let Some(request) = self.requests.get_mut(id) else {
            return false;
        };
        request.lowest = request.lowest.max(lowest);
        if deadline > request.deadline {
            request.deadline = deadline;
            self.requests.set_expiry(id, Some(deadline));
        }
        true
    }

    /// The session under which requests of MDP clients travel to dialect workers.
    pub(super) fn own_session(&self) -> SessionId {
        self.identity.broker.into()
    }
}

fn busy(message: &str) -> Failure {
    Failure { code: ErrorCode::BUSY, message: message.to_owned(), retry_after: BUSY_RETRY }
}
