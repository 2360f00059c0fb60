//! Dialect clients, known by their session and not by their connection.

use std::collections::{BTreeSet, HashMap};

use super::agents::Agent;
use super::ids::{PeerId, RequestId, ServiceKey};
use crate::dialect::SessionId;
use crate::liveness::{Liveness, Pulse};

/// A client's session. It outlives a connection until it has been silent for too long.
#[derive(Debug)]
pub(super) struct Session {
    /// The connection that said HELLO last; none after it broke.
    pub peer: Option<PeerId>,
    /// What the client calls itself.
    pub agent: Agent,
    pub liveness: Liveness,
    pub pulse: Pulse,
    /// Unanswered requests.
    pub requests: BTreeSet<RequestId>,
    /// Their body bytes.
    pub bytes: usize,
    /// Lowest number that the client waits for, as it last said, for services it has used.
    pub lowest: HashMap<ServiceKey, u64>,
}

/// All sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_id: HashMap<SessionId, Session>,
    by_peer: HashMap<PeerId, SessionId>,
}

impl Sessions {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn get(&self, id: &SessionId) -> Option<&Session> {
        self.by_id.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &SessionId) -> Option<&mut Session> {
        self.by_id.get_mut(id)
    }

    pub(super) fn find(&self, peer: &PeerId) -> Option<SessionId> {
        self.by_peer.get(peer).copied()
    }

    /// Ties the session to the connection that said HELLO for it last.
    pub(super) fn bind(&mut self, id: SessionId, peer: &PeerId, fresh: Session) {
        self.unbind(peer);
        let session = self.by_id.entry(id).or_insert(fresh);
        if let Some(old) = session.peer.replace(peer.clone()) {
            self.by_peer.remove(&old);
        }
        self.by_peer.insert(peer.clone(), id);
    }

    /// The connection broke; the session waits for its client to come back.
    pub(super) fn unbind(&mut self, peer: &PeerId) {
        if let Some(id) = self.by_peer.remove(peer)
            && let Some(session) = self.by_id.get_mut(&id)
        {
            session.peer = None;
        }
    }

    pub(super) fn remove(&mut self, id: &SessionId) -> Option<Session> {
        let session = self.by_id.remove(id)?;
        if let Some(peer) = &session.peer {
            self.by_peer.remove(peer);
        }
        Some(session)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.by_id.values()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (SessionId, &mut Session)> {
        self.by_id.iter_mut().map(|(id, session)| (*id, session))
    }

    pub(super) fn ids(&self) -> Vec<SessionId> {
        self.by_id.keys().copied().collect()
    }
}
