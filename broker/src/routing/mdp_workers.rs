//! What MDP workers say.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::RoutingTable;
use super::answers::{Answer, Failure};
use super::ids::{PeerId, RequestId, ServiceKey};
use super::requests::Origin;
use super::stores::Meaning;
use super::workers::{Capacity, InHand, Offer, Speech, Worker, WorkerKey};
use crate::dialect::ServiceName;
use crate::error_code::ErrorCode;
use crate::liveness::{Liveness, Pulse};
use crate::mdp::Version;
use crate::mdp::message::{MMI_PREFIX, WorkerCommand};
use crate::net::Frames;

/// A part of an answer, or its end, as a worker sent it.
struct Part {
    client: Bytes,
    body: Frames,
    last: bool,
}

impl RoutingTable {
    pub(super) fn mdp_worker(&mut self, peer: &PeerId, version: Version, command: WorkerCommand) {
        if self.is_dismissed(peer, &command) {
            return;
        }
        let Some(key) = self.workers.find(peer) else {
            self.mdp_stranger(peer, version, command);
            return;
        };
        let speech = self.workers.get(key).map(|worker| worker.speech);
        if speech != Some(Speech::Mdp(version)) {
            self.counters.malformed += 1;
            self.disconnect_known_worker(peer);
            return;
        }
        if let Some(worker) = self.workers.get_mut(key) {
            worker.liveness.heard(self.now);
        }
        match command {
            WorkerCommand::Heartbeat => {}
            // A second READY is a valid command that nobody expects.
            WorkerCommand::Ready(_) => self.disconnect_known_worker(peer),
            WorkerCommand::Disconnect => {
                self.remove_worker(key);
                self.dismiss(peer, true);
            }
            WorkerCommand::Partial { client, body } => {
                self.part(key, Part { client, body, last: false });
            }
            WorkerCommand::Final { client, body } => {
                self.part(key, Part { client, body, last: true });
            }
        }
    }

    fn is_dismissed(&mut self, peer: &PeerId, command: &WorkerCommand) -> bool {
        let Some(dismissal) = self.dismissed.get(peer) else {
            return false;
        };
        let returns = dismissal.may_return && matches!(command, WorkerCommand::Ready(_));
        if returns || dismissal.until <= self.now {
            self.dismissed.remove(peer);
            return false;
        }
        true
    }

    /// Somebody who is no worker yet. Everything but READY and DISCONNECT belongs to a
    /// conversation that this broker never had, for example before it was restarted.
    fn mdp_stranger(&mut self, peer: &PeerId, version: Version, command: WorkerCommand) {
        match command {
            WorkerCommand::Ready(service) => {
                if let Err(why) = self.ready(peer, version, &service) {
                    log::warn!("{peer}: READY for `{service}` refused: {why}");
                    self.disconnect(peer, version);
                }
            }
            WorkerCommand::Disconnect => self.dismiss(peer, true),
            WorkerCommand::Partial { .. } | WorkerCommand::Final { .. } => {
                self.counters.replies_unexpected += 1;
                self.disconnect(peer, version);
            }
            WorkerCommand::Heartbeat => self.disconnect(peer, version),
        }
    }

    /// Whether the name is free for workers that are not members of a store.
    pub(super) fn may_offer(&self, service: &ServiceName) -> Result<(), &'static str> {
        if service.as_str().starts_with(MMI_PREFIX) {
            return Err("names in mmi. belong to the broker");
        }
        if self.stores.meaning(service) != Meaning::Plain {
            return Err("the name belongs to a registered store");
        }
        if self.draining {
            return Err("the broker is stopping");
        }
        Ok(())
    }

    fn ready(
        &mut self,
        peer: &PeerId,
        version: Version,
        name: &ServiceName,
    ) -> Result<(), &'static str> {
        self.may_offer(name)?;
        if self.workers.len() >= self.settings.limits.workers {
            return Err("the broker has as many workers as it may");
        }
        let service =
            self.find_or_add_service(name).ok_or("the broker knows as many services as it may")?;
        let offer = Offer {
            capacity: Capacity::Single { in_hand: None },
            held: BTreeSet::new(),
            lined_up: false,
            epoch: 0,
            partition: None,
        };
        let key = self.workers.insert(Worker {
            peer: peer.clone(),
            speech: Speech::Mdp(version),
            agent: None,
            liveness: Liveness::new(self.now, self.settings.worker_expiry),
            pulse: Pulse::new(self.now, self.settings.heartbeat),
            offers: BTreeMap::from([(service, offer)]),
        });
        self.join(key, service);
        Ok(())
    }

    /// The worker offers the service from now on.
    pub(super) fn join(&mut self, key: WorkerKey, service: ServiceKey) {
        if let Some(record) = self.services.get_mut(service) {
            record.workers.insert(key);
            record.offered = true;
        }
        self.line_up_if_ready(key, service);
    }

    /// An answer counts only for the request in hand; anything else is not expected.
    fn part(&mut self, key: WorkerKey, part: Part) {
        let in_hand = self.workers.get(key).and_then(Worker::in_hand);
        let in_hand = in_hand.map(|(service, in_hand)| (service, in_hand.clone()));
        let (service, id) = match in_hand {
            Some((service, InHand { id, client })) if client == part.client => (service, id),
            _ => {
                self.counters.replies_unexpected += 1;
                if let Some(peer) = self.workers.get(key).map(|worker| worker.peer.clone()) {
                    self.disconnect_known_worker(&peer);
                }
                return;
            }
        };
        if self.is_held_by(id, key) && !self.fails_for_size(id, &part.body) {
            self.pass_on(id, part.body, part.last);
        }
        if part.last
            && let Some(worker) = self.workers.get_mut(key)
        {
            worker.liveness.set_patience(self.settings.worker_expiry);
            if let Some(offer) = worker.offers.get_mut(&service) {
                offer.capacity = Capacity::Single { in_hand: None };
            }
            self.line_up_if_ready(key, service);
        }
    }

    /// An answer beyond the limit for messages ends the request. What was asked may be done.
    pub(super) fn fails_for_size(&mut self, id: RequestId, body: &Frames) -> bool {
        let bytes = body.iter().map(Bytes::len).sum::<usize>();
        let max = self.settings.limits.message_bytes;
        if bytes > max {
            let text = format!("the answer has {bytes} bytes; {max} is the most");
            self.fail(id, Failure::new(ErrorCode::INTERNAL, text));
        }
        bytes > max
    }

    /// Gives a worker's words to whoever asked. A client of MDP/0.1 knows no parts: they are kept
    /// and come before the frames of the last one.
    pub(super) fn pass_on(&mut self, id: RequestId, body: Frames, last: bool) {
        let Some(request) = self.requests.get_mut(id) else {
            return;
        };
        request.answered_partly |= !last;
        let waits_for_all = matches!(request.origin, Origin::Mdp { version: Version::V01, .. });
        if !last && waits_for_all {
            let bytes = body.iter().map(Bytes::len).sum::<usize>();
            let frames = request.parts.len() + body.len();
            let limits = &self.settings.limits;
            if request.parts_bytes + bytes > limits.partial_bytes || frames > limits.partial_frames
            {
                let text = "the parts of the answer are too many for MDP/0.1: ask in MDP/0.2";
                self.fail(id, Failure::new(ErrorCode::INTERNAL, text));
            } else {
                self.requests.collect(id, body, bytes);
            }
            return;
        }
        if !last {
            let origin = request.origin.clone();
            self.reply(&origin, Answer { body, last, epoch: 0 });
            return;
        }
        if let Some(request) = self.take(id) {
            let mut frames = request.parts;
            frames.extend(body);
            self.reply(&request.origin, Answer { body: frames, last, epoch: 0 });
        }
    }
}
