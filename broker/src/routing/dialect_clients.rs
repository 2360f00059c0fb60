//! What dialect clients say.

use std::time::Duration;

use super::RoutingTable;
use super::admission::Arrival;
use super::answers::{Answer, Failure};
use super::requests::{Origin, RequestKey};
use super::stores::Meaning;
use crate::dialect::{Header, Kind, ServiceName, SessionId, flags};
use crate::error_code::ErrorCode;
use crate::mdp::message::MMI_PREFIX;
use crate::net::Frames;

/// A deadline further away than this is taken as this.
const TIME_LEFT_MAX: Duration = Duration::from_secs(3600);

impl RoutingTable {
    pub(super) fn hear_dialect_client(&mut self, id: SessionId, header: Header, body: Frames) {
        if header.session != id {
            self.counters.malformed += 1;
            return;
        }
        if let Some(session) = self.sessions.get_mut(&id) {
            session.liveness.heard(self.now);
        }
        match header.kind {
            Kind::Heartbeat => {}
            Kind::Goodbye => self.end_session(id),
            Kind::Request => self.dialect_request(id, header, body),
            _ => self.counters.malformed += 1,
        }
    }

    fn dialect_request(&mut self, session: SessionId, header: Header, body: Frames) {
        let asked = header.service.clone();
        let origin = Origin::Dialect { session, asked, number: header.number };
        if header.service.as_str().starts_with(MMI_PREFIX) {
            let body = self.mmi(&header.service, &body);
            self.reply(&origin, Answer { body, last: true, epoch: 0 });
            return;
        }
        if let Some(failure) = self.objection(&header, &body) {
            self.refuse(&origin, failure);
            return;
        }
        let time_left = Duration::from_millis(u64::from(header.time_ms)).min(TIME_LEFT_MAX);
        let (service, lowest) = (header.service.clone(), header.lowest);
        let kept = self.services.find(&service).is_some_and(|service| {
            let key = RequestKey { session, service, number: header.number };
            self.is_kept(key, lowest, time_left)
        });
        if !kept {
            self.admit(Arrival {
                origin,
                service: header.service,
                flags: header.flags & flags::NO_RESEND,
                lowest,
                body,
                time_left,
            });
        }
        self.note_lowest(session, &service, lowest);
    }

    /// What is wrong with a request before anything is looked up in queues.
    fn objection(&self, header: &Header, body: &Frames) -> Option<Failure> {
        let invalid = |text: &str| Some(Failure::new(ErrorCode::INVALID_ARGUMENT, text));
        if header.service.is_none() || header.number == 0 || body.is_empty() {
            return invalid("a request has a service, a number from 1 and at least one body frame");
        }
        match self.stores.meaning(&header.service) {
            Meaning::Plain | Meaning::Partition => None,
            Meaning::Store { .. } => {
                invalid("a store is addressed by partition: ask mmi.topology how many it has")
            }
            Meaning::Beyond { partitions } => {
                let text = format!(
                    "`{}` does not exist: the store has {partitions} partitions; ask mmi.topology",
                    header.service
                );
                Some(Failure::new(ErrorCode::STALE_TOPOLOGY, text))
            }
        }
    }

    /// Remembers what the client waits for. The service exists only if the request was admitted.
    fn note_lowest(&mut self, session: SessionId, service: &ServiceName, lowest: u64) {
        if let Some(key) = self.services.find(service)
            && self.services.get(key).is_some_and(|service| service.partition().is_some())
            && let Some(session) = self.sessions.get_mut(&session)
        {
            if session.lowest.len() >= self.settings.limits.services {
                session.lowest.clear();
            }
            let known = session.lowest.entry(key).or_default();
            *known = lowest.max(*known);
        }
    }
}
