//! Peers that leave: on purpose, in silence, or because they are told to; and the broker itself.

use std::time::Instant;

use super::answers::Failure;
use super::ids::{PeerId, RequestId};
use super::workers::{Speech, Worker, WorkerKey};
use super::{RoutingTable, requests::Place};
use crate::dialect::{Header, Kind, SessionId};
use crate::error_code::ErrorCode;
use crate::liveness::INTERVALS_UNTIL_DEAD;
use crate::mdp::Version;
use crate::mdp::message::ToWorker;

/// A peer whose MDP conversation is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dismissal {
    /// Until then what it says is not answered.
    pub until: Instant,
    /// It left by itself, so a READY is the start of something new.
    pub may_return: bool,
}

impl RoutingTable {
    /// A worker is gone. What it held goes back into the queues.
    pub(super) fn lose_worker(&mut self, key: WorkerKey, why: &str) {
        if let Some(worker) = self.remove_worker(key) {
            self.counters.workers_lost += 1;
            log::info!("worker {} {why}", worker.peer);
        }
    }

    /// Takes a worker out of every service and puts back what it held.
    pub(super) fn remove_worker(&mut self, key: WorkerKey) -> Option<Worker> {
        let worker = self.workers.remove(key)?;
        for (service, offer) in &worker.offers {
            if let Some(record) = self.services.get_mut(*service) {
                record.leave(key);
            }
            for id in &offer.held {
                self.requeue(*id);
            }
            self.due.push(*service);
        }
        Some(worker)
    }

    /// Ends the conversation with an MDP worker as the protocol has it.
    pub(super) fn disconnect(&mut self, peer: &PeerId, version: Version) {
        self.counters.disconnected += 1;
        self.send(peer, ToWorker::Disconnect.encode(version));
        self.dismiss(peer, false);
    }

    /// Stops listening to an MDP worker for as long as it may take it to close its socket.
    pub(super) fn dismiss(&mut self, peer: &PeerId, may_return: bool) {
        if self.dismissed.len() < self.settings.limits.workers {
            let until = self.now + self.settings.heartbeat * INTERVALS_UNTIL_DEAD;
            self.dismissed.insert(peer.clone(), Dismissal { until, may_return });
        }
    }

    /// If the peer is a worker, ends its conversation in the protocol that it speaks.
    pub(super) fn disconnect_known_worker(&mut self, peer: &PeerId) {
        let Some(key) = self.workers.find(peer) else {
            return;
        };
        let Some(worker) = self.remove_worker(key) else {
            return;
        };
        match worker.speech {
            Speech::Mdp(version) => self.disconnect(peer, version),
            Speech::Dialect(session) => self.refuse_peer(
                peer,
                session,
                Failure::new(ErrorCode::INVALID_ARGUMENT, "the message breaks the protocol"),
            ),
        }
    }

    /// The socket cannot reach the peer any more.
    pub(super) fn peer_gone(&mut self, peer: &PeerId) {
        if let Some(key) = self.workers.find(peer) {
            self.lose_worker(key, "cannot be reached");
        }
        self.sessions.unbind(peer);
        self.dismissed.remove(peer);
        for id in self.clients.get(peer).cloned().unwrap_or_default() {
            self.abandon(id);
        }
    }

    /// Nobody waits for this answer any more. An MDP worker that has the request stays busy.
    pub(super) fn abandon(&mut self, id: RequestId) {
        if self.take(id).is_some() {
            self.counters.abandoned += 1;
        }
    }

    /// A dialect client left or fell silent.
    pub(super) fn end_session(&mut self, id: SessionId) {
        let requests = match self.sessions.get(&id) {
            Some(session) => session.requests.clone(),
            None => return,
        };
        for request in requests {
            self.abandon(request);
        }
        self.sessions.remove(&id);
    }

    /// Takes nothing new from now on, and answers what no worker has.
    pub(super) fn drain(&mut self) {
        self.draining = true;
        for id in self.requests.ids() {
            let queued =
                self.requests.get(id).is_some_and(|request| request.place == Place::Queued);
            if queued {
                self.fail(id, stopping(ErrorCode::BUSY));
            }
        }
    }

    /// Answers what is left and says goodbye to everybody.
    pub(super) fn farewell(&mut self) {
        self.draining = true;
        for id in self.requests.ids() {
            self.fail(id, stopping(ErrorCode::TIMEOUT_UNKNOWN));
        }
        for key in self.workers.keys() {
            let Some(worker) = self.remove_worker(key) else {
                continue;
            };
            match worker.speech {
                Speech::Mdp(version) => {
                    self.send(&worker.peer, ToWorker::Disconnect.encode(version));
                }
                Speech::Dialect(session) => self.say_goodbye(&worker.peer, session),
            }
        }
        for id in self.sessions.ids() {
            if let Some(peer) = self.sessions.remove(&id).and_then(|session| session.peer) {
                self.say_goodbye(&peer, id);
            }
        }
    }

    fn say_goodbye(&mut self, peer: &PeerId, session: SessionId) {
        self.send(peer, vec![Header::new(Kind::Goodbye, session).encode().into()]);
    }
}

fn stopping(code: ErrorCode) -> Failure {
    Failure::new(code, "the broker is stopping: use another one")
}
