//! The dialect's greeting, and who may say what after it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::RoutingTable;
use super::agents::Agent;
use super::answers::Failure;
use super::ids::PeerId;
use super::sessions::Session;
use super::workers::{Speech, Worker, WorkerKey};
use crate::dialect::{
    ErrorBody, Header, HeaderError, Hello, Kind, Role, SessionId, VERSION_MAX, VERSION_MIN,
    Welcome, decode_body, encode_body,
};
use crate::error_code::ErrorCode;
use crate::liveness::{Liveness, Pulse};
use crate::net::Frames;

/// Intervals outside of this range are taken as its nearer end.
const INTERVAL_MIN: Duration = Duration::from_millis(10);
const INTERVAL_MAX: Duration = Duration::from_secs(60);

impl RoutingTable {
    pub(super) fn receive_dialect(&mut self, peer: &PeerId, mut frames: Frames) {
        let header = match Header::decode(&frames.remove(0)) {
            Ok(header) => header,
            Err(error) => {
                self.malformed_dialect(peer, &error);
                return;
            }
        };
        if header.kind == Kind::Hello {
            self.hello(peer, &header, &frames);
        } else if let Some(key) = self.workers.find(peer) {
            self.hear_dialect_worker(key, header, frames);
        } else if let Some(session) = self.sessions.find(peer) {
            self.hear_dialect_client(session, header, frames);
        } else if header.kind != Kind::Goodbye {
            // Typical after a restart of the broker: the peer still speaks to the one before.
            let text = "this broker does not know the session: say HELLO on a new socket";
            let failure = Failure::new(ErrorCode::INVALID_ARGUMENT, text);
            self.refuse_peer(peer, header.session, failure);
        }
    }

    fn malformed_dialect(&mut self, peer: &PeerId, error: &HeaderError) {
        self.counters.malformed += 1;
        log::debug!("{peer}: message dropped: {error}");
        if let HeaderError::Version(_) = error {
            let failure = Failure::new(ErrorCode::UNSUPPORTED, error.to_string());
            self.refuse_peer(peer, SessionId::default(), failure);
        }
        self.disconnect_known_worker(peer);
    }

    fn hello(&mut self, peer: &PeerId, header: &Header, body: &Frames) {
        let refusal = match body.first().map(|frame| decode_body::<Hello>(frame)) {
            Some(Ok(hello)) => self.accept(peer, header, &hello).err(),
            _ => {
                self.counters.malformed += 1;
                let text = "HELLO carries one map: version_min, version_max, role, agent";
                Some(Failure::new(ErrorCode::INVALID_ARGUMENT, text))
            }
        };
        if let Some(failure) = refusal {
            self.refuse_peer(peer, header.session, failure);
        }
    }

    fn accept(&mut self, peer: &PeerId, header: &Header, hello: &Hello) -> Result<(), Failure> {
        let version = VERSION_MAX.min(hello.version_max);
        if version < VERSION_MIN.max(hello.version_min) {
            let text = format!(
                "no common version: this broker speaks {VERSION_MIN} to {VERSION_MAX}, \
                 the peer {} to {}",
                hello.version_min, hello.version_max
            );
            return Err(Failure::new(ErrorCode::UNSUPPORTED, text));
        }
        let busy = |text: &str| Failure {
            retry_after: Duration::from_secs(1),
            ..Failure::new(ErrorCode::BUSY, text)
        };
        if self.draining {
            return Err(busy("the broker is stopping: use another one"));
        }
        if header.session == SessionId::default() || self.is_own_session(header.session) {
            let text = "the session must be random";
            return Err(Failure::new(ErrorCode::INVALID_ARGUMENT, text));
        }
        self.forget_conversation(peer, header.session);
        let interval = Duration::from_millis(u64::from(header.time_ms));
        let liveness =
            Liveness::from_interval(self.now, interval.clamp(INTERVAL_MIN, INTERVAL_MAX));
        let limits = &self.settings.limits;
        let agent = Agent::new(&hello.agent);
        match hello.role {
            Role::Worker if self.workers.len() >= limits.workers => {
                return Err(busy("the broker has as many workers as it may"));
            }
            Role::Client
                if self.sessions.len() >= limits.sessions
                    && self.sessions.get(&header.session).is_none() =>
            {
                return Err(busy("the broker has as many clients as it may"));
            }
            Role::Worker => self.welcome_worker(peer, header.session, (liveness, &agent)),
            Role::Client => self.welcome_client(peer, header.session, (liveness, &agent)),
        }
        log::info!("{peer}: {:?} {agent} says hello", hello.role);
        self.send_welcome(peer, header.session, version);
        Ok(())
    }

    /// One connection is one conversation, and so is one worker session.
    fn forget_conversation(&mut self, peer: &PeerId, session: SessionId) {
        let keys = [self.workers.find(peer), self.workers.find_session(&session)];
        for key in keys.into_iter().flatten() {
            self.lose_worker(key, "said hello again");
        }
        self.sessions.unbind(peer);
    }

    fn welcome_worker(
        &mut self,
        peer: &PeerId,
        session: SessionId,
        (liveness, agent): (Liveness, &Agent),
    ) {
        self.workers.insert(Worker {
            peer: peer.clone(),
            speech: Speech::Dialect(session),
            agent: Some(agent.clone()),
            liveness,
            pulse: Pulse::new(self.now, self.settings.heartbeat),
            offers: BTreeMap::new(),
        });
    }

    fn welcome_client(
        &mut self,
        peer: &PeerId,
        session: SessionId,
        (liveness, agent): (Liveness, &Agent),
    ) {
        let fresh = Session {
            peer: None,
            agent: agent.clone(),
            liveness,
            pulse: Pulse::new(self.now, self.settings.heartbeat),
            requests: BTreeSet::new(),
            bytes: 0,
            lowest: HashMap::new(),
        };
        self.sessions.bind(session, peer, fresh);
        if let Some(session) = self.sessions.get_mut(&session) {
            session.liveness = liveness;
            session.agent = agent.clone();
        }
    }

    fn send_welcome(&mut self, peer: &PeerId, session: SessionId, version: u16) {
        let limits = &self.settings.limits;
        let wide = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let welcome = Welcome {
            version,
            broker: self.identity.broker,
            message_bytes_max: wide(limits.message_bytes),
            requests_max: wide(limits.session_requests),
            request_bytes_max: wide(limits.session_request_bytes),
        };
        let mut header = Header::new(Kind::Welcome, session);
        let interval = self.settings.heartbeat.as_millis();
        header.time_ms = u32::try_from(interval).unwrap_or(u32::MAX);
        self.send(peer, vec![header.encode().into(), encode_body(&welcome)]);
    }

    /// Ends, or does not begin, a conversation.
    pub(super) fn refuse_peer(&mut self, peer: &PeerId, session: SessionId, failure: Failure) {
        let header = Header::new(Kind::Refused, session);
        self.send_refusal(peer, header, failure);
    }

    /// Refuses one registration; the conversation goes on.
    pub(super) fn refuse_offer(&mut self, key: WorkerKey, mut header: Header, failure: Failure) {
        let Some(worker) = self.workers.get(key) else {
            return;
        };
        let peer = worker.peer.clone();
        if let Speech::Dialect(session) = worker.speech {
            header.session = session;
        }
        header.kind = Kind::Refused;
        self.send_refusal(&peer, header, failure);
    }

    fn send_refusal(&mut self, peer: &PeerId, mut header: Header, failure: Failure) {
        log::info!("{peer}: refused: {} {}", failure.code, failure.message);
        header.code = Some(failure.code);
        header.time_ms = u32::try_from(failure.retry_after.as_millis()).unwrap_or(u32::MAX);
        let body = encode_body(&ErrorBody::new(failure.message));
        self.send(peer, vec![header.encode().into(), body]);
    }
}
