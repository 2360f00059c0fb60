//! From the queue to a worker, and back again when the worker is lost.

use bytes::Bytes;

use super::RoutingTable;
use super::answers::Failure;
use super::ids::{RequestId, ServiceKey};
use super::requests::{Origin, Place, Request};
use super::services::ServiceKind;
use super::workers::{Capacity, InHand, Speech, WorkerKey};
use crate::dialect::{Header, Kind, SessionId, flags};
use crate::error_code::ErrorCode;
use crate::mdp::Version;
use crate::mdp::message::ToWorker;
use crate::net::Frames;

/// A request of a plain service leaves for a worker at most this often: once, and twice more.
const DELIVERIES_MAX: u32 = 3;

impl RoutingTable {
    /// Hands out what can be handed out, in every service where something has changed.
    pub(super) fn dispatch_due(&mut self) {
        while let Some(service) = self.due.pop() {
            self.dispatch(service);
        }
    }

    fn dispatch(&mut self, service: ServiceKey) {
        while let Some(id) = self.oldest_waiting(service) {
            let Some(worker) = self.pick_worker(service) else {
                self.ask_for_votes(service);
                return;
            };
            self.deliver(id, service, worker);
        }
        self.services.forget_if_idle(service);
    }

    fn oldest_waiting(&self, service: ServiceKey) -> Option<RequestId> {
        self.services.get(service)?.queue.first().copied()
    }

    /// The worker whose turn it is. Dead ones are found here and not only by the clock, so that a
    /// worker that fell silent is never used because another one behind it is alive.
    fn pick_worker(&mut self, service: ServiceKey) -> Option<WorkerKey> {
        loop {
            let key = match &mut self.services.get_mut(service)?.kind {
                ServiceKind::Plain { ready } => ready.pop_front()?,
                ServiceKind::Partition(partition) => {
                    let leader = partition.leader?;
                    let offer = self.workers.offer_mut(leader, service)?;
                    return offer.capacity.has_room().then_some(leader);
                }
            };
            if let Some(offer) = self.workers.offer_mut(key, service) {
                offer.lined_up = false;
            }
            let expired =
                self.workers.get(key).is_none_or(|worker| worker.liveness.is_expired(self.now));
            if !expired {
                return Some(key);
            }
            self.lose_worker(key, "fell silent");
        }
    }

    fn deliver(&mut self, id: RequestId, service: ServiceKey, key: WorkerKey) {
        if let Some(service) = self.services.get_mut(service) {
            service.queue.remove(&id);
        }
        let Some(speech) = self.workers.get(key).map(|worker| worker.speech) else {
            return;
        };
        if let Speech::Dialect(_) = speech {
            self.requests.assign_key(id, self.own_session());
        }
        let Some(request) = self.requests.get_mut(id) else {
            return;
        };
        request.place = Place::Held(key);
        request.deliveries += 1;
        let frames = match speech {
            Speech::Mdp(version) => self.hand_to_mdp(id, service, key, version),
            Speech::Dialect(_) => self.hand_to_dialect(id, service, key),
        };
        if let Some(offer) = self.workers.offer_mut(key, service) {
            offer.held.insert(id);
        }
        self.line_up_if_ready(key, service);
        if let Some(frames) = frames {
            self.send_to_worker(key, frames);
        }
    }

    fn hand_to_mdp(
        &mut self,
        id: RequestId,
        service: ServiceKey,
        key: WorkerKey,
        version: Version,
    ) -> Option<Frames> {
        let request = self.requests.get(id)?;
        let is_mdp = matches!(request.origin, Origin::Mdp { .. });
        let client = match &request.origin {
            Origin::Mdp { peer, .. } => peer.0.clone(),
            Origin::Dialect { session, .. } => Bytes::copy_from_slice(&session.0),
        };
        let body = request.body.clone();
        let worker = self.workers.get_mut(key)?;
        worker.liveness.set_patience(self.settings.busy_expiry);
        worker.offers.get_mut(&service)?.capacity =
            Capacity::Single { in_hand: Some(InHand { id, client: client.clone() }) };
        if is_mdp {
            // From here on the worker's life decides: MDP sets no time for an answer.
            self.requests.set_expiry(id, None);
        }
        Some(ToWorker::Request { client, body }.encode(version))
    }

    fn hand_to_dialect(
        &mut self,
        id: RequestId,
        service: ServiceKey,
        key: WorkerKey,
    ) -> Option<Frames> {
        let name = self.services.get(service)?.name.clone();
        let request = self.requests.get(id)?;
        let offer = self.workers.offer_mut(key, service)?;
        // The worker drops what was sent to it for an earlier reign of its own.
        let epoch = offer.epoch;
        if let Capacity::Credit { sent, .. } = &mut offer.capacity {
            sent.messages += 1;
            sent.bytes =
                sent.bytes.saturating_add(u64::try_from(request.bytes).unwrap_or(u64::MAX));
        }
        let number = request.key?.number;
        let mut header = Header::new(Kind::Request, request.key?.session);
        header.service = name;
        header.number = number;
        header.epoch = epoch;
        header.lowest = self.lowest_for(request, number);
        header.flags = request.flags;
        let left = request.deadline.saturating_duration_since(self.now);
        header.time_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1);
        let mut frames = Frames::with_capacity(1 + request.body.len());
        frames.push(header.encode().into());
        frames.extend(request.body.iter().cloned());
        Some(frames)
    }

    /// What the client last said it waits for; a request that is sent again may carry less.
    fn lowest_for(&self, request: &Request, number: u64) -> u64 {
        let Origin::Dialect { session, .. } = &request.origin else {
            return number;
        };
        let latest =
            self.sessions.get(session).and_then(|session| session.lowest.get(&request.service));
        latest.copied().unwrap_or_default().max(request.lowest)
    }

    /// Puts a worker at the end of its service's line, if it has room and is not in line yet.
    pub(super) fn line_up_if_ready(&mut self, key: WorkerKey, service: ServiceKey) {
        let Some(offer) = self.workers.offer_mut(key, service) else {
            return;
        };
        if offer.lined_up || !offer.capacity.has_room() {
            return;
        }
        offer.lined_up = true;
        if let Some(record) = self.services.get_mut(service) {
            record.line_up(key);
        }
        self.due.push(service);
    }

    /// A request comes back from a worker that is lost: into the queue, at its old place, or to an
    /// end with an error.
    pub(super) fn requeue(&mut self, id: RequestId) {
        let Some(request) = self.requests.get_mut(id) else {
            return;
        };
        let Some(service) = self.services.get_mut(request.service) else {
            return;
        };
        let is_plain = service.partition().is_none();
        let exhausted = is_plain && request.deliveries >= DELIVERIES_MAX;
        let forbidden = request.flags & flags::NO_RESEND != 0;
        if self.draining || exhausted || forbidden || request.answered_partly {
            let why = if request.answered_partly {
                "the worker is gone after a part of its answer"
            } else if exhausted {
                "three workers in a row were lost with this request"
            } else {
                "the worker that held the request is gone"
            };
            self.fail(id, Failure::new(ErrorCode::WORKER_LOST, why));
            return;
        }
        request.place = Place::Queued;
        service.queue.insert(id);
        self.due.push(request.service);
        self.counters.redelivered += 1;
        if request.expiry.is_none() {
            request.deadline = self.now + self.settings.request_expiry;
            let deadline = request.deadline;
            self.requests.set_expiry(id, Some(deadline));
        }
    }

    /// Whether a request was handed to this worker and still waits for its answer.
    pub(super) fn is_held_by(&self, id: RequestId, key: WorkerKey) -> bool {
        self.requests.get(id).is_some_and(|request| request.place == Place::Held(key))
    }

    /// Whether a session id is the broker's own.
    pub(super) fn is_own_session(&self, session: SessionId) -> bool {
        session == self.own_session()
    }
}
