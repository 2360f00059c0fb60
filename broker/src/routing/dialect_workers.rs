//! What dialect workers say.

use std::collections::BTreeSet;

use super::RoutingTable;
use super::answers::{Failure, error_text};
use super::ids::{RequestId, ServiceKey};
use super::requests::{Origin, RequestKey};
use super::workers::{Amount, Capacity, Offer, Speech, WorkerKey};
use crate::dialect::{ErrorBody, Header, Kind, Registration, ServiceName, decode_body, flags};
use crate::error_code::ErrorCode;
use crate::net::Frames;

impl RoutingTable {
    pub(super) fn hear_dialect_worker(&mut self, key: WorkerKey, header: Header, body: Frames) {
        let Some(worker) = self.workers.get_mut(key) else {
            return;
        };
        let peer = worker.peer.clone();
        let speaks_for_itself = worker.speech == Speech::Dialect(header.session);
        if !speaks_for_itself && header.kind != Kind::Reply {
            self.counters.malformed += 1;
            self.disconnect_known_worker(&peer);
            return;
        }
        worker.liveness.heard(self.now);
        match header.kind {
            Kind::Heartbeat => {}
            Kind::Goodbye => {
                self.remove_worker(key);
            }
            Kind::Register => self.register(key, header, &body),
            Kind::Unregister => self.unregister(key, &header.service),
            Kind::Credit => self.grant(key, &header),
            Kind::Reply => self.dialect_reply(key, header, body),
            _ => {
                self.counters.malformed += 1;
                self.disconnect_known_worker(&peer);
            }
        }
    }

    fn register(&mut self, key: WorkerKey, header: Header, body: &Frames) {
        let registration = body.first().map(|frame| decode_body::<Registration>(frame));
        let result = match registration {
            Some(Ok(Registration { partition: None })) => self.register_plain(key, &header),
            Some(Ok(Registration { partition: Some(partition) })) => {
                self.register_partition(key, &header, partition)
            }
            _ => Err(Failure::new(ErrorCode::INVALID_ARGUMENT, "REGISTER carries one map")),
        };
        if let Err(failure) = result {
            self.refuse_offer(key, header, failure);
        }
    }

    fn register_plain(&mut self, key: WorkerKey, header: &Header) -> Result<(), Failure> {
        let invalid = |text: &str| Failure::new(ErrorCode::INVALID_ARGUMENT, text);
        if header.service.is_none() {
            return Err(invalid("a service has a name"));
        }
        let offered = self.services.find(&header.service).is_some_and(|service| {
            self.workers.get(key).is_some_and(|worker| worker.offers.contains_key(&service))
        });
        if !offered {
            self.may_offer(&header.service).map_err(invalid)?;
        }
        let service = self.add_offer(key, header)?;
        self.join(key, service);
        Ok(())
    }

    /// The worker's record of a service, new or known; credit only grows.
    pub(super) fn add_offer(
        &mut self,
        key: WorkerKey,
        header: &Header,
    ) -> Result<ServiceKey, Failure> {
        let full = |text: &str| Failure::new(ErrorCode::BUSY, text);
        let Some(service) = self.find_or_add_service(&header.service) else {
            return Err(full("the broker knows as many services as it may"));
        };
        let max = self.settings.limits.registrations_per_worker;
        let Some(worker) = self.workers.get_mut(key) else {
            return Err(full("the worker is gone"));
        };
        if !worker.offers.contains_key(&service) && worker.offers.len() >= max {
            self.services.forget_if_idle(service);
            return Err(full("this worker offers as many services as it may"));
        }
        let offer = worker.offers.entry(service).or_insert_with(|| Offer {
            capacity: Capacity::Credit { granted: Amount::default(), sent: Amount::default() },
            held: BTreeSet::new(),
            lined_up: false,
            epoch: 0,
            partition: None,
        });
        offer.epoch = header.epoch;
        offer.capacity.grant(granted_in(header));
        Ok(service)
    }

    fn unregister(&mut self, key: WorkerKey, name: &ServiceName) {
        let Some(service) = self.services.find(name) else {
            return;
        };
        let offer = self.workers.get_mut(key).and_then(|worker| worker.offers.remove(&service));
        if let Some(offer) = offer {
            if let Some(record) = self.services.get_mut(service) {
                record.leave(key);
            }
            for id in offer.held {
                self.requeue(id);
            }
            self.due.push(service);
        }
    }

    fn grant(&mut self, key: WorkerKey, header: &Header) {
        let Some(service) = self.services.find(&header.service) else {
            return;
        };
        if let Some(offer) = self.workers.offer_mut(key, service) {
            offer.capacity.grant(granted_in(header));
            self.line_up_if_ready(key, service);
            self.due.push(service);
        }
    }

    /// Passes an answer on if the worker holds the request. Otherwise it reaches nobody: the
    /// request was answered, has expired, or is with another leader by now.
    fn dialect_reply(&mut self, key: WorkerKey, header: Header, body: Frames) {
        self.grant(key, &header);
        let Some(service) = self.services.find(&header.service) else {
            self.counters.replies_unexpected += 1;
            return;
        };
        let named = RequestKey { session: header.session, service, number: header.number };
        let id = self.requests.find(&named).filter(|id| self.is_held_by(*id, key));
        let Some(id) = id else {
            self.counters.replies_unexpected += 1;
            return;
        };
        if self.fails_for_size(id, &body) {
            return;
        }
        let is_mdp = self
            .requests
            .get(id)
            .is_some_and(|request| matches!(request.origin, Origin::Mdp { .. }));
        if is_mdp {
            self.answer_mdp(id, &header, body);
        } else {
            self.answer_dialect(id, header, body);
        }
    }

    fn answer_dialect(&mut self, id: RequestId, header: Header, body: Frames) {
        let origin = if header.has(flags::MORE) {
            self.requests.get_mut(id).map(|request| {
                request.answered_partly = true;
                request.origin.clone()
            })
        } else {
            self.take(id).map(|request| request.origin)
        };
        if let Some(origin) = origin {
            let passed = Header { credit_messages: 0, credit_bytes: 0, lowest: 0, ..header };
            self.reply_to_dialect(&origin, passed, body);
        }
    }

    /// An MDP client gets the body frames; an error becomes its two frames.
    fn answer_mdp(&mut self, id: RequestId, header: &Header, body: Frames) {
        let Some(code) = header.code else {
            if body.is_empty() {
                let text = "the answer has no body, which MDP cannot carry";
                self.fail(id, Failure::new(ErrorCode::INTERNAL, text));
            } else {
                self.pass_on(id, body, !header.has(flags::MORE));
            }
            return;
        };
        let error = body.first().and_then(|frame| decode_body::<ErrorBody>(frame).ok());
        let text = error_text(code, &error.unwrap_or_default().message);
        if let Some(request) = self.take(id) {
            self.reply_error_to_mdp(&request.origin, text);
        }
    }
}

fn granted_in(header: &Header) -> Amount {
    Amount { messages: header.credit_messages, bytes: header.credit_bytes }
}
