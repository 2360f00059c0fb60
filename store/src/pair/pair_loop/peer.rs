//! The other node: who it is, whether it is accepted, and what it says.

use std::time::{Duration, Instant};

use broker::net::{self, Frames};
use broker::witness::{Incarnation, ProcessId};
use bytes::Bytes;

use super::catalogue::Early;
use super::{PairLoop, ROUND_MESSAGES};
use crate::pair::handshake::Judge;
use crate::pair::lease::Proof;
use crate::pair::links::Channel;
use crate::pair::message::{
    Beat, Body, Header, Hello, PAIR_VERSION, Refused, Settings, decode, encode,
};
use crate::pair::protocol::{Input, PeerMessage};
use crate::pair::refusals::By;
use crate::pair::replication::LeaderInput;
use crate::pair::settings::PairError;
use crate::server::lifecycle::Fatal;

/// After so many times the patience without a word the connections are opened anew.
const REOPEN_TIMES: u32 = 3;

/// The process that was accepted last.
pub(super) struct Session {
    pub(super) process: ProcessId,
    pub(super) incarnation: Incarnation,
    pub(super) heard_at: Instant,
    /// Its newest token.
    token: u64,
}

/// Over which connection something is sent.
#[derive(Clone, Copy)]
pub(super) enum Way {
    Beat,
    Bulk,
}

impl PairLoop {
    /// Takes what has arrived at all sockets, heartbeats and records in turn.
    pub(super) fn receive(&mut self, now: Instant) -> Result<(), PairError> {
        self.receive_from_witness(now)?;
        for way in [Way::Beat, Way::Bulk] {
            while let Some(frames) = net::receive(&self.channel(way).socket)? {
                self.answered(way, &frames, now);
            }
        }
        for _ in 0..ROUND_MESSAGES {
            let Some(mut frames) = net::receive(&self.links.router)? else {
                break;
            };
            if frames.is_empty() {
                continue;
            }
            let routing_id = frames.remove(0);
            self.said(&routing_id, &frames, now)?;
        }
        Ok(())
    }

    const fn channel(&self, way: Way) -> &Channel {
        match way {
            Way::Beat => &self.links.beat,
            Way::Bulk => &self.links.bulk,
        }
    }

    /// Sends to the accepted process, if there is one.
    pub(super) fn send(&self, way: Way, body: &Body, token: u64) -> Result<(), PairError> {
        let Some(session) = &self.session else {
            return Ok(());
        };
        let header = self.header(Some(session.process), token);
        match encode(&header, body) {
            Ok(frames) => self.channel(way).send(&frames)?,
            Err(error) => log::error!("a message to the other node can't be made: {error}"),
        }
        Ok(())
    }

    fn header(&self, to: Option<ProcessId>, token: u64) -> Header {
        let session = self.session.as_ref();
        let follows = session.is_some_and(|session| self.follows(session.incarnation));
        // To echo a token under an epoch proves that nobody else may lead in a higher one.
        let epoch = if follows || self.machine.leads() { self.machine.epoch() } else { 0 };
        let echo = session.map_or(0, |session| session.token);
        Header { from: self.process, to, epoch, token, echo }
    }

    /// Whether this node takes the records of that one.
    pub(super) fn follows(&self, leader: Incarnation) -> bool {
        self.machine.follows().is_some_and(|(followed, _)| followed == leader)
    }

    pub(super) fn send_to_peer(
        &mut self,
        message: PeerMessage,
        now: Instant,
    ) -> Result<(), PairError> {
        let token = self.lease.send(now);
        self.send(Way::Beat, &Body::Beat(Beat { message: Some(message) }), token)
    }

    /// Somebody waits for a proof that this node leads: asks for it now.
    pub(super) fn prove(&mut self, now: Instant) -> Result<(), PairError> {
        self.give(Input::Elapsed(crate::pair::protocol::Timer::Beat), now)
    }

    /// Says hello where it was not answered yet, and opens connections anew that are of no use.
    pub(super) fn greet(&mut self, now: Instant) -> Result<(), PairError> {
        let silent = |since: Instant, times: u32| {
            now.saturating_duration_since(since) > self.patience() * times
        };
        let opened = self.links.beat.opened_at();
        let heard = self.session.as_ref().map_or(opened, |session| session.heard_at.max(opened));
        if silent(heard, REOPEN_TIMES) {
            self.links.reopen_peer(now)?;
        }
        let process = self.session.as_ref().map(|session| session.process);
        let unknown = |way: Way| {
            let welcomed_by = self.channel(way).welcomed_by;
            welcomed_by.is_none() || welcomed_by != process
        };
        let ways: Vec<_> = [Way::Beat, Way::Bulk].into_iter().filter(|way| unknown(*way)).collect();
        if ways.is_empty() {
            return Ok(());
        }
        match encode(&self.header(None, 0), &Body::Hello(self.hello())) {
            Ok(frames) => ways.iter().try_for_each(|way| self.channel(*way).send(&frames))?,
            Err(error) => log::error!("a hello can't be made: {error}"),
        }
        Ok(())
    }

    fn hello(&self) -> Hello {
        let heartbeat = self.settings.timing.heartbeat.as_millis();
        Hello {
            version_min: PAIR_VERSION,
            version_max: PAIR_VERSION,
            role: self.settings.role,
            lineage: self.machine.lineage(),
            incarnation: self.me,
            configuration: self.machine.configuration().cloned(),
            brings_data: self.logs.has_data(),
            witness: self.witness.id,
            settings: Settings {
                durability: self.settings.durability.as_str().to_owned(),
                copies_min: self.settings.copies_min,
                segment_bytes: self.settings.segment_bytes,
                heartbeat_ms: u64::try_from(heartbeat).unwrap_or(u64::MAX),
            },
            stores: self.logs.listings(),
        }
    }

    /// The other node has answered our hello.
    fn answered(&mut self, way: Way, frames: &Frames, now: Instant) {
        match decode(frames) {
            Ok((header, Body::Welcome(_))) if header.to == Some(self.process) => {
                match way {
                    Way::Beat => self.links.beat.welcomed_by = Some(header.from),
                    Way::Bulk => self.links.bulk.welcomed_by = Some(header.from),
                }
                self.refusals.accepted(By::Them);
            }
            Ok((header, Body::Refused(refused))) if header.to == Some(self.process) => {
                self.is_refused(refused, now);
            }
            Ok(_) => {}
            Err(error) => log::warn!("{}: {error}", self.settings.peer),
        }
    }

    fn is_refused(&mut self, refused: Refused, now: Instant) {
        let Refused { reason, passing } = refused;
        // Whoever serves, or has met its peer, goes on: the other one is wrong, or both.
        if !passing && self.session.is_none() && !self.machine.leads() {
            self.shared.lifecycle.fail(Fatal::Pair(reason));
        } else {
            let words = format!("the other node does not accept this one: {reason}");
            self.complain(By::Them, words, now);
        }
    }

    fn complain(&mut self, by: By, words: String, now: Instant) {
        if self.refusals.refused(by, words.clone(), now) {
            log::warn!("{words}");
        }
    }

    /// Something came in at our own address.
    fn said(&mut self, routing_id: &Bytes, frames: &Frames, now: Instant) -> Result<(), PairError> {
        let (header, body) = match decode(frames) {
            Ok(message) => message,
            Err(error) => {
                log::warn!("dropped what came to {}: {error}", self.handle.listen());
                return Ok(());
            }
        };
        if let Body::Hello(hello) = body {
            return self.greeted(routing_id, (header.from, &hello), now);
        }
        let accepted = self.session.as_mut().filter(|session| session.process == header.from);
        let Some(session) = accepted.filter(|_| header.to == Some(self.process)) else {
            return Ok(());
        };
        session.heard_at = now;
        match body {
            Body::Beat(beat) => self.beaten(&header, beat, now),
            Body::Catalogue(body) => self.catalogue(body, now),
            Body::Probe(body) => self.probe(body, now),
            Body::Cut(body) => self.cut_ordered(body, now),
            Body::Records(head, records) => self.records(head, records, now),
            Body::Commit(body) => self.commit_told(body, now),
            Body::Mark(body) => self.lead_input(LeaderInput::Mark(body), now),
            Body::CutDone(body) => self.lead_input(LeaderInput::CutDone(body), now),
            Body::Ack(body) => self.lead_input(LeaderInput::Ack(body), now),
            Body::Hello(_) | Body::Welcome(_) | Body::Refused(_) => Ok(()),
        }
    }

    /// A node says hello: accepts or refuses it.
    fn greeted(
        &mut self,
        routing_id: &Bytes,
        (process, hello): (ProcessId, &Hello),
        now: Instant,
    ) -> Result<(), PairError> {
        let own = self.hello();
        let judge = Judge { own: &own, process: self.process, living_peer: self.living_peer(now) };
        if let Err(error) = judge.judge(process, hello) {
            let (reason, passing) = (error.to_string(), error.is_passing());
            self.complain(By::Us, format!("a node was refused, and told: {reason}"), now);
            return self.answer(routing_id, process, &Body::Refused(Refused { reason, passing }));
        }
        self.refusals.accepted(By::Us);
        if self.session.as_ref().is_none_or(|session| session.process != process) {
            let incarnation = hello.incarnation;
            log::info!("the other node is incarnation {}", incarnation.0);
            self.session = Some(Session { process, incarnation, heard_at: now, token: 0 });
            // What was agreed with an earlier process is not known to this one.
            self.leader = None;
            self.follower = None;
            self.early = Early::default();
            self.give(Input::PeerUp { peer: incarnation }, now)?;
            if self.machine.leads() {
                self.begin_to_lead(now)?;
            }
            self.greet(now)?;
        }
        self.answer(routing_id, process, &Body::Welcome(own))
    }

    fn answer(&self, routing_id: &Bytes, process: ProcessId, body: &Body) -> Result<(), PairError> {
        match encode(&self.header(Some(process), 0), body) {
            Ok(frames) => self.links.answer(routing_id, &frames)?,
            Err(error) => log::error!("an answer to a hello can't be made: {error}"),
        }
        Ok(())
    }

    fn living_peer(&self, now: Instant) -> Option<Incarnation> {
        let session = self.session.as_ref()?;
        (self.silence(now)? <= self.patience()).then_some(session.incarnation)
    }

    /// How long the other node has been silent.
    pub(super) fn silence(&self, now: Instant) -> Option<Duration> {
        self.session.as_ref().map(|session| now.saturating_duration_since(session.heard_at))
    }

    fn beaten(&mut self, header: &Header, beat: Beat, now: Instant) -> Result<(), PairError> {
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        session.token = session.token.max(header.token);
        let from = session.incarnation;
        self.proved(Proof::Member, header.echo, header.epoch);
        let Some(message) = beat.message else {
            return Ok(());
        };
        self.give(Input::Peer { from, message }, now)?;
        if self.follows(from) {
            // The leader's lease rests on this answer: it does not wait for our own heartbeat.
            self.send(Way::Beat, &Body::Beat(Beat { message: None }), 0)?;
        }
        Ok(())
    }
}
