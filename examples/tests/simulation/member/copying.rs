//! The conversation with the peer: handshake, heartbeats, and the two machines of replication.

use broker::net::Frames;
use broker::witness::{Configuration, Incarnation, PartitionName};
use store::pair::handshake::Judge;
use store::pair::lease::Proof;
use store::pair::message::{
    self, Beat, Body, Catalogue, Commit, CutOrder, Header, Hello, Listing, Probe, RecordsHead,
    Refused, Settings,
};
use store::pair::protocol::Input;
use store::pair::replication::{
    BLOCK_BYTES_MAX, Counted, Follower, FollowerInput, FollowerOutput, Leader, LeaderInput,
    LeaderOutput, LogEnd,
};

use super::{HEARTBEAT, LEADER_PATIENCE, Peer, Run, Work, name, number};
use crate::engine::{self, Misfit};
use crate::env::{Env, Message};
use crate::network::{Lane, MEMBERS, Way};
use crate::plan::Mistake;
use crate::witness::Fate;

impl Run {
    fn hello(&self, env: &Env) -> Hello {
        Hello {
            version_min: 1,
            version_max: 1,
            role: if self.host == MEMBERS[0] {
                store::pair::protocol::Role::Primary
            } else {
                store::pair::protocol::Role::Backup
            },
            lineage: self.disk.lineage,
            incarnation: self.disk.incarnation,
            configuration: self.pair.configuration().cloned(),
            brings_data: self.disk.logs.iter().any(|log| log.written() > 0),
            witness: None,
            settings: Settings {
                durability: "pair".to_owned(),
                copies_min: env.plan.copies_min,
                segment_bytes: 1 << 20,
                heartbeat_ms: u64::try_from(HEARTBEAT.as_millis()).unwrap(),
            },
            stores: vec![self.listing()],
        }
    }

    fn listing(&self) -> Listing {
        let partitions = u16::try_from(self.disk.logs.len()).unwrap();
        Listing { store: "orders".into(), partitions, first: 0, last: partitions - 1 }
    }

    pub(super) fn say_hello(&mut self, env: &mut Env) {
        let body = Body::Hello(self.hello(env));
        let way = Way { client: self.host, server: self.other(), lane: Lane::Bulk };
        self.send_on(env, way, None, &body);
    }

    /// Sends to the accepted peer, if there is one.
    pub(super) fn send_peer(&mut self, env: &mut Env, lane: Lane, body: &Body) {
        if let Some(peer) = self.peer {
            let way = Way { client: self.host, server: self.other(), lane };
            self.send_on(env, way, Some(peer.process), body);
        }
    }

    fn send_on(
        &mut self,
        env: &mut Env,
        way: Way,
        to: Option<broker::witness::ProcessId>,
        body: &Body,
    ) {
        // Only heartbeats carry tokens that prove something.
        let is_beat = matches!(body, Body::Beat(_));
        let token = if is_beat { self.lease.send(env.local(self.host)) } else { 0 };
        let echo = self.peer.filter(|_| is_beat).map_or(0, |peer| peer.token);
        // To echo a token under an epoch proves that nobody else may lead in a higher one.
        let follows = self.peer.is_some_and(|peer| self.follows(peer.incarnation));
        let epoch = if follows || self.pair.leads() { self.pair.epoch() } else { 0 };
        let header = Header { from: self.process, to, epoch, token, echo };
        let frames = message::encode(&header, body).unwrap();
        env.send(way, self.host, Message::Pair(frames));
    }

    /// The peer says something, over `way`.
    pub fn hear_peer(&mut self, env: &mut Env, way: Way, frames: &Frames) {
        let (header, body) = message::decode(frames).unwrap();
        match body {
            Body::Hello(hello) => {
                if self.judge(env, &header, &hello, way) {
                    let body = Body::Welcome(self.hello(env));
                    self.send_on(env, way, Some(header.from), &body);
                }
            }
            Body::Welcome(hello) if header.to == Some(self.process) => {
                if self.judge(env, &header, &hello, way) {
                    self.welcomed = true;
                }
            }
            body => {
                let known = self.peer.filter(|peer| peer.process == header.from);
                if let Some(peer) = known.filter(|_| header.to == Some(self.process)) {
                    self.hear_accepted(env, peer.incarnation, &header, body);
                }
            }
        }
        self.settle(env);
        self.take_deferred(env);
    }

    fn judge(&mut self, env: &mut Env, header: &Header, theirs: &Hello, way: Way) -> bool {
        let now = env.local(self.host);
        let heard = self.peer.filter(|peer| peer.heard_at + LEADER_PATIENCE > now);
        let living_peer = heard.map(|peer| peer.incarnation);
        let own = self.hello(env);
        let judge = Judge { own: &own, process: self.process, living_peer };
        if let Err(error) = judge.judge(header.from, theirs) {
            env.say(self.host, || format!("refuses its peer: {error}"));
            assert!(error.is_passing(), "the two nodes belong together: {error}");
            let refused = Refused { reason: error.to_string(), passing: error.is_passing() };
            self.send_on(env, way, Some(header.from), &Body::Refused(refused));
            return false;
        }
        if self.peer.is_none_or(|peer| peer.process != header.from) {
            let (process, incarnation) = (header.from, theirs.incarnation);
            env.say(self.host, || format!("accepts {incarnation:?}"));
            self.welcomed = false;
            self.peer = Some(Peer { process, incarnation, token: 0, heard_at: now });
            // What was agreed with an earlier process is not known to this one.
            self.leader = None;
            self.follower = None;
            self.do_work(env, Work::Pair(Input::PeerUp { peer: incarnation }));
            if self.leading {
                self.begin_leading(env, self.pair.epoch());
            }
        }
        true
    }

    fn hear_accepted(&mut self, env: &mut Env, from: Incarnation, header: &Header, body: Body) {
        let now = env.local(self.host);
        if let Some(peer) = &mut self.peer {
            peer.heard_at = now;
            peer.token = peer.token.max(header.token);
        }
        match body {
            Body::Beat(Beat { message }) => {
                self.lease.echo(Proof::Member, header.echo, header.epoch, &mut Vec::new());
                if let Some(message) = message {
                    self.do_work(env, Work::Pair(Input::Peer { from, message }));
                    if self.follows(from) {
                        // The leader's lease rests on this answer.
                        let beat = Body::Beat(Beat { message: None });
                        self.send_peer(env, Lane::Datagrams, &beat);
                    }
                }
            }
            Body::Catalogue(catalogue) => self.report_ends(env, &catalogue),
            Body::Probe(it) => self.ordered(env, it.epoch, FollowerInput::Probe(it)),
            Body::Cut(it) => self.ordered(env, it.epoch, FollowerInput::Cut(it)),
            Body::Records(head, records) => {
                self.ordered(env, head.epoch, FollowerInput::Records(head, records));
            }
            Body::Commit(it) => self.ordered(env, it.epoch, FollowerInput::Commit(it)),
            Body::Mark(report) => self.do_work(env, Work::Lead(LeaderInput::Mark(report))),
            Body::CutDone(done) => self.do_work(env, Work::Lead(LeaderInput::CutDone(done))),
            Body::Ack(ack) => self.do_work(env, Work::Lead(LeaderInput::Ack(ack))),
            Body::Hello(_) | Body::Welcome(_) | Body::Refused(_) => {}
        }
    }

    // ---- as leader

    /// A reign begins, or goes on in a new epoch.
    pub(super) fn lead_in(&mut self, env: &mut Env, epoch: u64) {
        for log in &mut self.disk.logs {
            log.reset_copied();
        }
        if self.leader.is_some() {
            self.work.push_back(Work::Lead(LeaderInput::Epoch(epoch)));
        } else {
            self.begin_leading(env, epoch);
        }
    }

    fn begin_leading(&mut self, env: &mut Env, epoch: u64) {
        for log in &mut self.disk.logs {
            log.reset_copied();
        }
        if self.peer.is_none() {
            return;
        }
        self.leader = Some(Leader::new(epoch, Counted::Durable));
        self.leading_since = epoch;
        for (place, log) in self.disk.logs.iter().enumerate() {
            let (written, committed) = (log.written(), log.committed());
            let partition = name(place);
            self.work.push_back(Work::Lead(LeaderInput::Moved { partition, written, committed }));
        }
        if self.disk.logs.iter().any(|log| log.rule() == engine::Rule::Both) {
            self.work.push_back(Work::Lead(LeaderInput::Both));
        }
        self.send_catalogue(env);
        self.work_off(env);
    }

    fn send_catalogue(&mut self, env: &mut Env) {
        let (epoch, since) = (self.pair.epoch(), self.leading_since);
        let catalogue = Catalogue { epoch, since, stores: vec![self.listing()] };
        self.send_peer(env, Lane::Bulk, &Body::Catalogue(catalogue));
    }

    pub(super) fn give_leader(&mut self, env: &mut Env, input: LeaderInput) {
        let Some(leader) = &mut self.leader else { return };
        let mut outputs = Vec::new();
        leader.handle(input, &mut outputs);
        let epoch = leader.epoch();
        for output in outputs {
            self.lead_on(env, epoch, output);
        }
    }

    fn lead_on(&mut self, env: &mut Env, epoch: u64, output: LeaderOutput) {
        match output {
            LeaderOutput::Probe(partition, at) => {
                self.send_peer(env, Lane::Bulk, &Body::Probe(Probe { epoch, partition, at }));
            }
            LeaderOutput::Look(partition, at) => {
                let mark = self.disk.logs[number(&partition)].mark_at(at).map(to_wire);
                self.work.push_back(Work::Lead(LeaderInput::Own { partition, at, mark }));
            }
            LeaderOutput::Cut(partition, to) => {
                self.send_peer(env, Lane::Bulk, &Body::Cut(CutOrder { epoch, partition, to }));
            }
            LeaderOutput::Read(partition, from) => {
                let log = &self.disk.logs[number(&partition)];
                let (records, last) = log.read(from, u64::MAX, BLOCK_BYTES_MAX.min(3_000));
                let block = (last >= from).then_some((last, records));
                self.work.push_back(Work::Lead(LeaderInput::Block { partition, from, block }));
            }
            LeaderOutput::Send(sending) => {
                let head = RecordsHead {
                    epoch,
                    partition: sending.partition,
                    previous: sending.previous,
                    last: sending.last,
                    committed: sending.committed,
                };
                self.send_peer(env, Lane::Bulk, &Body::Records(head, sending.records));
            }
            LeaderOutput::Commit { partition, committed, sent, counted } => {
                let commit = Commit { epoch, partition, committed, sent, counted };
                self.send_peer(env, Lane::Bulk, &Body::Commit(commit));
            }
            LeaderOutput::Copied { partition, counted, .. } => {
                self.disk.logs[number(&partition)].raise_copied(counted);
            }
            LeaderOutput::Catalogue => self.send_catalogue(env),
            LeaderOutput::Progress(progress) => {
                self.work.push_back(Work::Pair(Input::Follower(progress)));
            }
        }
    }

    // ---- as follower

    pub(super) fn follows(&self, leader: Incarnation) -> bool {
        self.pair.follows().is_some_and(|(followed, _)| followed == leader)
    }

    /// Whether records and orders of this epoch may be taken now.
    fn takes_from(&self, epoch: u64) -> bool {
        self.peer.is_some_and(|peer| self.pair.follows() == Some((peer.incarnation, epoch)))
    }

    fn ordered(&mut self, env: &mut Env, epoch: u64, input: FollowerInput) {
        if self.takes_from(epoch) {
            self.do_work(env, Work::Follow(input));
        }
    }

    /// A reign begins, or goes on in a new epoch; this node follows.
    pub(super) fn follow_in(&mut self, configuration: &Configuration) {
        let same = self.follower.as_ref().is_some_and(|side| side.leader == configuration.leader);
        if !same {
            self.follower = None;
        }
        self.work.push_back(Work::Follow(FollowerInput::Epoch(configuration.epoch)));
        for (place, log) in self.disk.logs.iter().enumerate() {
            let (partition, written, durable) = (name(place), log.written(), log.durable());
            let moved = FollowerInput::Moved { partition, written, durable };
            self.work.push_back(Work::Follow(moved));
        }
    }

    /// The leader has said which partitions there are: tells it how they end.
    fn report_ends(&mut self, env: &mut Env, catalogue: &Catalogue) {
        if !self.takes_from(catalogue.epoch) {
            return;
        }
        let Some((leader, epoch)) = self.pair.follows() else { return };
        if self.follower.as_ref().is_none_or(|side| side.since != catalogue.since) {
            let machine = Follower::new(epoch, Counted::Durable);
            let since = catalogue.since;
            self.follower = Some(FollowerSide { machine, leader, since, cuts: Vec::new() });
        }
        let ends = self.disk.logs.iter().enumerate().map(|(place, log)| LogEnd {
            partition: name(place),
            end: to_wire(log.mark()),
            held: log.held(),
        });
        let ends = ends.collect();
        self.do_work(env, Work::Follow(FollowerInput::Ready(ends)));
    }

    pub(super) fn give_follower(&mut self, env: &mut Env, input: FollowerInput) {
        let Some(FollowerSide { machine, .. }) = &mut self.follower else { return };
        let mut outputs = Vec::new();
        machine.handle(input, &mut outputs);
        let epoch = machine.epoch();
        for output in outputs {
            if self.fate == Fate::Dies {
                return;
            }
            self.follow_on(env, epoch, output);
        }
    }

    fn follow_on(&mut self, env: &mut Env, epoch: u64, output: FollowerOutput) {
        match output {
            FollowerOutput::Report(report) => {
                self.send_peer(env, Lane::Bulk, &Body::Mark(report));
            }
            FollowerOutput::Look(partition, at) => {
                let mark = self.disk.logs[number(&partition)].mark_at(at).map(to_wire);
                self.work.push_back(Work::Follow(FollowerInput::Own { partition, at, mark }));
            }
            FollowerOutput::Cut(cuts) => {
                if let Some(side) = &mut self.follower {
                    side.cuts.extend(cuts);
                }
                self.work.push_back(Work::Pair(Input::Cutting { epoch }));
            }
            FollowerOutput::Aligned => {
                self.aligned = epoch;
                self.work.push_back(Work::Pair(Input::Aligned { epoch }));
            }
            FollowerOutput::CutDone(done) => {
                let place = number(&done.partition);
                let (written, durable) =
                    (self.disk.logs[place].written(), self.disk.logs[place].durable());
                let partition = done.partition.clone();
                let moved = FollowerInput::Moved { partition, written, durable };
                self.work.push_back(Work::Follow(moved));
                self.send_peer(env, Lane::Bulk, &Body::CutDone(done));
            }
            FollowerOutput::Write(replicated) => {
                let partition = replicated.partition;
                let log = &mut self.disk.logs[number(&partition)];
                if let Err(misfit) = log.replicate(&replicated.records, replicated.previous) {
                    env.say(self.host, || format!("cannot write: {misfit:?}"));
                    let written = log.written();
                    let end = to_wire(log.mark());
                    let parted = (misfit == Misfit::Chain).then_some(end);
                    let input = FollowerInput::NotWritten { partition, written, parted };
                    self.work.push_back(Work::Follow(input));
                }
            }
            FollowerOutput::Ack(mut ack) => {
                if env.plan.mistake == Some(Mistake::AcknowledgesEarly) {
                    ack.durable = ack.written;
                }
                self.send_peer(env, Lane::Bulk, &Body::Ack(ack));
            }
            FollowerOutput::Told(partition, committed) => {
                self.disk.logs[number(&partition)].raise_told(committed);
            }
            FollowerOutput::Halt(conflict) => self.halt(env, conflict.to_string()),
        }
    }

    /// The pair has made durable that the log may be cut.
    pub(super) fn cut(&mut self, env: &mut Env, epoch: u64) {
        let side = self.follower.as_mut().filter(|side| side.machine.epoch() == epoch);
        let cuts = side.map(|side| std::mem::take(&mut side.cuts)).unwrap_or_default();
        for (partition, to) in cuts {
            if env.plan.faults.crashes_at_saves && env.is_troubled() && env.random.chance(10) {
                self.fate = Fate::Dies;
                return;
            }
            let place = number(&partition);
            let log = &mut self.disk.logs[place];
            let parked =
                log.cut(from_wire(to)).expect("the leader has found this place in our log");
            drop(log.follow(epoch));
            log.set_rule(engine::Rule::Told);
            let end = to_wire(log.mark());
            self.syncing_since[place] = None;
            let (records, last) = (parked.len(), to.sequence);
            env.say(self.host, || format!("parks {records} records behind {last}"));
            env.oracle.parks(place, &parked);
            self.work.push_back(Work::Follow(FollowerInput::CutDone { partition, end }));
        }
    }
}

/// The follower's side of replication.
pub(super) struct FollowerSide {
    machine: Follower,
    leader: Incarnation,
    /// Epoch in which the leader began with this node.
    since: u64,
    /// Cuts that wait until the pair allows them.
    cuts: Vec<(PartitionName, message::Mark)>,
}

fn to_wire(mark: engine::Mark) -> message::Mark {
    let engine::Mark { sequence, epoch, chain } = mark;
    message::Mark { sequence, epoch, chain }
}

fn from_wire(mark: message::Mark) -> engine::Mark {
    let message::Mark { sequence, epoch, chain } = mark;
    engine::Mark { sequence, epoch, chain }
}
