//! What happens because time goes by: heartbeats, silence, deadlines.

use super::RoutingTable;
use super::answers::Failure;
use super::ids::{PeerId, RequestId};
use super::requests::Place;
use super::workers::{Speech, WorkerKey};
use crate::dialect::{Header, Kind, SessionId};
use crate::error_code::ErrorCode;
use crate::mdp::message::ToWorker;
use crate::net::Frames;

/// The table looks at its peers this many times per heartbeat interval.
const LOOKS_PER_HEARTBEAT: u32 = 4;

impl RoutingTable {
    pub(super) fn tick(&mut self) {
        if self.now >= self.beat_at {
            self.beat_at = self.now + self.settings.heartbeat / LOOKS_PER_HEARTBEAT;
            self.look_at_workers();
            self.look_at_sessions();
            self.dismissed.retain(|_, dismissal| dismissal.until > self.now);
            for service in self.services.keys() {
                self.ask_for_votes(service);
            }
        }
        while let Some(id) = self.requests.pop_expired(self.now) {
            self.expire(id);
        }
    }

    /// Busy workers are looked at and spoken to like idle ones, and those that hold requests of a
    /// partition at every look: only a message shows that a connection is gone, and clients that
    /// wait for a dead leader may have nothing more to say.
    fn look_at_workers(&mut self) {
        let now = self.now;
        let mut silent: Vec<WorkerKey> = Vec::new();
        let mut due: Vec<(WorkerKey, Speech)> = Vec::new();
        for (key, worker) in self.workers.iter_mut() {
            if worker.liveness.is_expired(now) {
                silent.push(key);
            } else if worker.pulse.is_due(now) || worker.holds_of_partition() {
                due.push((key, worker.speech));
            }
        }
        for key in silent {
            self.lose_worker(key, "fell silent");
        }
        for (key, speech) in due {
            let frames = match speech {
                Speech::Mdp(version) => ToWorker::Heartbeat.encode(version),
                Speech::Dialect(session) => heartbeat(session),
            };
            self.send_to_worker(key, frames);
        }
    }

    fn look_at_sessions(&mut self) {
        let now = self.now;
        let mut silent: Vec<SessionId> = Vec::new();
        let mut due: Vec<(SessionId, PeerId)> = Vec::new();
        for (id, session) in self.sessions.iter_mut() {
            if session.liveness.is_expired(now) {
                silent.push(id);
            } else if session.pulse.is_due(now)
                && let Some(peer) = session.peer.clone()
            {
                session.pulse.sent(now);
                due.push((id, peer));
            }
        }
        for id in silent {
            self.end_session(id);
        }
        for (id, peer) in due {
            self.send(&peer, heartbeat(id));
        }
    }

    /// A request has come up. It ends here unless its service appeared in the meantime.
    fn expire(&mut self, id: RequestId) {
        let Some(request) = self.requests.get(id) else {
            return;
        };
        let (deadline, delivered) = (request.deadline, request.deliveries > 0);
        let held = matches!(request.place, Place::Held(_));
        let Some(service) = self.services.get(request.service) else {
            return;
        };
        let (offered, live) = (service.offered, !service.workers.is_empty());
        if offered && self.now < deadline {
            self.requests.set_expiry(id, Some(deadline));
            return;
        }
        let failure = if held || delivered {
            let text = "no answer before the deadline, though the request was delivered";
            Failure::new(ErrorCode::TIMEOUT_UNKNOWN, text)
        } else if !offered {
            let text = format!("nobody offers `{}`", service.name);
            Failure::new(ErrorCode::SERVICE_NOT_FOUND, text)
        } else if !live {
            let text = format!("no worker of `{}` is alive", service.name);
            Failure::new(ErrorCode::NO_WORKER, text)
        } else {
            let text = "the deadline passed before a worker was free";
            Failure::new(ErrorCode::EXPIRED, text)
        };
        self.fail(id, failure);
    }
}

fn heartbeat(session: SessionId) -> Frames {
    vec![Header::new(Kind::Heartbeat, session).encode().into()]
}
