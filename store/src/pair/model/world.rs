//! Two hosts, their disks, a witness and a network: everything around the shipped machines.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use broker::witness::{
    Ask, Configuration, Incarnation, Lineage, PartitionName, Position, ProcessId, Sequences,
    Witness, WitnessAnswer, WitnessId, WitnessInput, WitnessOutput, WitnessRecord, WitnessRequest,
};
use uuid::Uuid;

use super::rules::Rule;
use super::sightings::{Sighting, Sightings};
use crate::Durability;
use crate::pair::machine::Pair;
use crate::pair::protocol::{
    Input, Output, PairRecord, PairSetup, PeerMessage, Role, Standing, Timer,
};

/// An event, as far as it matters: the epoch that it was numbered in, and which one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Event {
    pub epoch: u64,
    pub id: u8,
}

/// What is under way. A message is lost by never being delivered, and late by being delivered late.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Envelope {
    /// To the witness; never a heartbeat.
    Request(WitnessRequest),
    /// From the witness.
    Answer(WitnessAnswer),
    /// A follower has synced so many events, as a follower of this epoch.
    Synced { from: Incarnation, epoch: u64, count: usize },
    /// A leader ships one event that comes after so many.
    Bulk { from: Incarnation, epoch: u64, after: usize, previous: Option<Event>, event: Event },
}

/// How often something may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    pub appends: u8,
    pub timeouts: u8,
    pub restarts: u8,
    pub wipes: u8,
    pub snapshots: u8,
    pub put_backs: u8,
    pub copies: u8,
    pub witness_restarts: u8,
    pub amnesias: u8,
    pub handovers: u8,
}

/// One host: the machine, its log, and what replication knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    pub pair: Pair,
    pub me: Incarnation,
    pub role: Role,
    pub process: ProcessId,
    /// Written events; the first `durable` are synced.
    pub log: Vec<Event>,
    pub durable: usize,
    /// So many are known, durably, to be committed and on every member.
    pub held: usize,
    /// What the machine saved.
    pub disk: PairRecord,
    pub backup: Option<(PairRecord, Vec<Event>, usize)>,
    /// Whose handshake was accepted.
    pub peer: Option<Incarnation>,
    /// Epoch in which the log was made to agree with the leader's.
    pub agrees_in: u64,
    /// As leader of that epoch: so many are synced at the follower.
    pub copied: (u64, usize),
    pub is_halted: bool,
    /// Made anew, and never a member since.
    pub is_wiped: bool,
    /// Its directory was put back and lost something.
    pub is_put_back: bool,
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub hosts: [Arc<Host>; 2],
    pub witness: Arc<Witness>,
    pub saved: Option<Arc<WitnessRecord>>,
    /// What the witness saved before the newest configuration.
    pub former: Option<Arc<WitnessRecord>>,
    pub network: BTreeSet<Envelope>,
    pub budget: Budget,
    /// Whether reports, answers and acknowledgements take their time. Otherwise they are exchanged
    /// at once or lost; what an answer says, the answer to a later heartbeat says too. Proposals
    /// always take their time.
    pub is_late: bool,
    /// Whether the witness is told how far logs are: needed where directories are put back.
    pub tells_positions: bool,
    ids: u8,
    /// Acknowledged events, by their number.
    pub acknowledged: Vec<Event>,
    /// Who acknowledged in an epoch.
    pub acknowledgers: BTreeMap<u64, Incarnation>,
    /// The newest configuration that was ever granted.
    pub newest: Option<Configuration>,
    pub broken: Option<&'static str>,
}

pub fn partition() -> PartitionName {
    PartitionName("p".into())
}

pub fn sequences(count: usize) -> Sequences {
    Sequences::from([(partition(), u64::try_from(count).unwrap())])
}

pub fn lineage(of: usize) -> Lineage {
    Lineage(Uuid::from_u128(1000 + u128::try_from(of).unwrap()))
}

pub fn incarnation(of: usize, life: u8) -> Incarnation {
    Incarnation(Uuid::from_u128(u128::try_from(of).unwrap() * 100 + u128::from(life)))
}

fn witness_id(number: u8) -> WitnessId {
    WitnessId(Uuid::from_u128(u128::from(number)))
}

impl Host {
    fn new(of: usize) -> Host {
        let role = if of == 0 { Role::Primary } else { Role::Backup };
        let me = incarnation(of, 0);
        let setup = PairSetup {
            me,
            process: ProcessId(Uuid::from_u128(0)),
            lineage: lineage(of),
            epoch: 0,
            role,
            level: Durability::Pair,
            copies_min: 1,
            brings_data: false,
            durable: sequences(0),
            held: sequences(0),
        };
        Host {
            process: setup.process,
            pair: Pair::new(setup, PairRecord::default()),
            me,
            role,
            log: Vec::new(),
            durable: 0,
            held: 0,
            disk: PairRecord::default(),
            backup: None,
            peer: None,
            agrees_in: 0,
            copied: (0, 0),
            is_halted: false,
            is_wiped: false,
            is_put_back: false,
        }
    }

    pub fn synced(&self) -> &[Event] {
        &self.log[..self.durable]
    }

    /// Whose records the node takes and acknowledges.
    pub fn follows(&self, rule: Rule) -> Option<(Incarnation, u64)> {
        let is_bound = rule != Rule::Silence || *self.pair.standing() != Standing::Candidate;
        if is_bound {
            return self.pair.follows();
        }
        self.pair.configuration().map(|known| (known.leader, known.epoch))
    }

    pub fn position(&self) -> Position {
        Position { aligned: self.disk.aligned, durable: sequences(self.durable) }
    }
}

impl World {
    pub fn new(budget: Budget) -> World {
        World {
            hosts: [Arc::new(Host::new(0)), Arc::new(Host::new(1))],
            witness: Arc::new(Witness::new(lineage(0), witness_id(1), None)),
            saved: None,
            former: None,
            network: BTreeSet::new(),
            budget,
            is_late: false,
            tells_positions: false,
            ids: 1,
            acknowledged: Vec::new(),
            acknowledgers: BTreeMap::new(),
            newest: None,
            broken: None,
        }
    }

    pub fn host(&mut self, of: usize) -> &mut Host {
        Arc::make_mut(&mut self.hosts[of])
    }

    /// A new process on what is on the disk.
    pub fn restart(&mut self, of: usize, rule: Rule, seen: &Sightings) {
        let host = Arc::make_mut(&mut self.hosts[of]);
        host.log.truncate(host.durable);
        let ProcessId(process) = host.process;
        host.process = ProcessId(Uuid::from_u128(process.as_u128() + 1));
        let setup = PairSetup {
            me: host.me,
            process: host.process,
            lineage: Lineage(Uuid::from_u128(host.me.0.as_u128() + lineage(0).0.as_u128())),
            epoch: 0,
            role: host.role,
            level: Durability::Pair,
            copies_min: 1,
            brings_data: !host.log.is_empty(),
            durable: sequences(host.durable),
            held: sequences(host.held),
        };
        host.pair = Pair::new(setup, host.disk.clone());
        host.peer = None;
        host.agrees_in = 0;
        host.copied = (0, 0);
        host.is_halted = false;
        let (me, process) = (host.me, host.process);
        // The machine passes over answers to its former process; nothing is lost by their loss.
        self.network.retain(|envelope| match envelope {
            Envelope::Answer(answer) => answer.member != me || answer.process == process,
            _ => true,
        });
        self.give(of, Input::Start, rule, seen);
        self.connect(rule, seen);
    }

    /// The nodes accept each other's handshake. Whether they are heard is another matter.
    pub fn connect(&mut self, rule: Rule, seen: &Sightings) {
        for (host, peer) in [(0, 1), (1, 0)] {
            let peer = self.hosts[peer].me;
            self.host(host).peer = Some(peer);
            self.host(host).copied = (0, 0);
            self.give(host, Input::PeerUp { peer }, rule, seen);
        }
    }

    /// A directory made anew.
    pub fn wipe(&mut self, of: usize, rule: Rule, seen: &Sightings) {
        let host = Arc::make_mut(&mut self.hosts[of]);
        host.me = Incarnation(Uuid::from_u128(host.me.0.as_u128() + 1));
        host.log.clear();
        host.durable = 0;
        host.disk = PairRecord::default();
        host.held = 0;
        host.backup = None;
        host.is_wiped = true;
        host.is_put_back = false;
        self.restart(of, rule, seen);
    }

    /// Gives a machine an input and carries out what it wants, but for heartbeats: these go only
    /// where [`World::beat_to_peer`] and [`World::beat_to_witness`] let them.
    pub fn give(&mut self, of: usize, input: Input, rule: Rule, seen: &Sightings) -> Vec<Output> {
        let host = Arc::make_mut(&mut self.hosts[of]);
        let mut outputs = Vec::new();
        let logs = Input::Logs { durable: sequences(host.durable), held: sequences(host.held) };
        host.pair.handle(logs, &mut outputs);
        host.pair.handle(rule.before_node(input, host.me), &mut outputs);
        for output in &outputs {
            self.carry_out(of, output, rule, seen);
        }
        outputs
    }

    fn carry_out(&mut self, of: usize, output: &Output, rule: Rule, seen: &Sightings) {
        let host = Arc::make_mut(&mut self.hosts[of]);
        match output {
            Output::Save(record) => host.disk = record.clone(),
            Output::Witness(request) => self.post(request),
            Output::Note(note) => seen.note(Sighting::Note(*note)),
            Output::Halt(_) => {
                host.is_halted = true;
                seen.note(Sighting::Halted);
            }
            // When it may be taken in is left to when it is said to be near.
            Output::Arm(timer @ Timer::Grow { .. }) => {
                self.give(of, Input::Elapsed(*timer), rule, seen);
            }
            _ => {}
        }
    }

    fn post(&mut self, request: &WitnessRequest) {
        let is_kept = match request.ask {
            Ask::Beat => false,
            Ask::Report { .. } => self.is_late,
            Ask::Propose { .. } => true,
        };
        if is_kept {
            self.network.insert(Envelope::Request(request.clone()));
        }
    }

    /// One heartbeat between the nodes, with whatever goes with it.
    pub fn beat_to_peer(&mut self, from: usize, rule: Rule, seen: &Sightings) {
        let to = 1 - from;
        let sender = self.hosts[from].me;
        for output in self.give(from, Input::Elapsed(Timer::Beat), rule, seen) {
            if let Output::Peer(message) = output {
                self.look_for_zombie(from, &message, seen);
                self.give(to, Input::Peer { from: sender, message }, rule, seen);
            }
        }
    }

    fn look_for_zombie(&self, from: usize, message: &PeerMessage, seen: &Sightings) {
        let [sender, receiver] = [&self.hosts[from], &self.hosts[1 - from]];
        let leads = matches!(message, PeerMessage::Beat { leads: true, .. });
        if leads && sender.log.len() > sender.held && sender.pair.epoch() < receiver.pair.epoch() {
            seen.note(Sighting::Zombie);
        }
    }

    /// One heartbeat to the witness and its answer.
    pub fn beat_to_witness(&mut self, from: usize, rule: Rule, seen: &Sightings) {
        for output in self.give(from, Input::Elapsed(Timer::Beat), rule, seen) {
            let Output::Witness(mut request) = output else {
                continue;
            };
            if !self.tells_positions {
                request.position = Position::default();
            }
            if request.ask == Ask::Beat
                && let Some(answer) = self.ask_witness(request, false, rule)
            {
                self.give(from, Input::Witness(answer), rule, seen);
            }
        }
    }

    /// Asks again; a report is answered at once unless answers are late.
    pub fn ask_again(&mut self, of: usize, rule: Rule, seen: &Sightings) {
        for output in self.give(of, Input::Elapsed(Timer::Ask), rule, seen) {
            if let Output::Witness(request) = output
                && matches!(request.ask, Ask::Report { .. })
                && !self.is_late
                && let Some(answer) = self.ask_witness(request, false, rule)
            {
                self.give(of, Input::Witness(answer), rule, seen);
            }
        }
    }

    /// Delivers a request; the answer is under way then.
    pub fn request(&mut self, request: WitnessRequest, leader_heard: bool, rule: Rule) {
        let (member, process) = (request.member, request.process);
        let is_wanted = |host: &Host| host.me == member && host.process == process;
        if let Some(answer) = self.ask_witness(request, leader_heard, rule)
            && self.is_late
            && self.hosts.iter().any(|host| is_wanted(host))
        {
            self.network.insert(Envelope::Answer(answer));
        }
    }

    /// Delivers an answer.
    pub fn answer(&mut self, answer: WitnessAnswer, rule: Rule, seen: &Sightings) {
        if let Some(of) = self.hosts.iter().position(|host| host.me == answer.member) {
            self.give(of, Input::Witness(answer), rule, seen);
        }
    }

    fn ask_witness(
        &mut self,
        request: WitnessRequest,
        leader_heard: bool,
        rule: Rule,
    ) -> Option<WitnessAnswer> {
        if request.lineage != lineage(0) {
            // A register that nobody will ever use.
            let mut other = Witness::new(request.lineage, witness_id(self.ids), None);
            return ask(&mut other, request, leader_heard).1;
        }
        let (request, register) = rule.before_witness(request, &self.witness, self);
        if let Some(register) = register {
            self.witness = Arc::new(Witness::new(lineage(0), witness_id(self.ids), Some(register)));
        }
        let (saved, mut answer) = ask(Arc::make_mut(&mut self.witness), request, leader_heard);
        for record in saved {
            self.granted(record);
        }
        if let Some(answer) = &mut answer {
            // Only people and `$topology` read it.
            answer.history.clear();
        }
        answer
    }

    fn granted(&mut self, record: WitnessRecord) {
        if let Some(holds) = record.configuration() {
            match &self.newest {
                // What was granted before a record was lost may be forgotten, if nobody knows, or
                // if nobody but the one who leads in it can ask for anything: its next report
                // tells.
                Some(newest)
                    if holds.epoch < newest.epoch
                        && holds.members != [newest.leader]
                        && self.is_known_above(holds.epoch) =>
                {
                    self.broken = Some("the witness went back to an earlier configuration");
                }
                Some(newest) if holds.epoch == newest.epoch && holds != newest => {
                    self.broken = Some("two configurations of one epoch");
                }
                _ => self.newest = Some(holds.clone()),
            }
            for of in [0, 1] {
                if self.hosts[of].is_wiped && holds.has(self.hosts[of].me) {
                    self.host(of).is_wiped = false;
                }
            }
        }
        let known = self.saved.as_ref().map(|saved| saved.configuration());
        if known != Some(record.configuration()) {
            self.former = self.saved.take();
        }
        self.saved = Some(Arc::new(record));
    }

    /// Whether a member of a later configuration knows it. Others do nothing in its name, and learn
    /// what holds instead from the witness.
    fn is_known_above(&self, epoch: u64) -> bool {
        let knows = |host: &Arc<Host>| {
            let known = host.disk.configuration.as_ref();
            known.is_some_and(|known| known.epoch > epoch && known.has(host.me))
        };
        self.hosts.iter().any(knows)
    }

    /// The witness comes back with its record, or without.
    pub fn restart_witness(&mut self, forgets: bool) {
        if forgets {
            self.saved = None;
            self.former = None;
            self.ids += 1;
        }
        let record = self.saved.as_deref().cloned();
        self.witness = Arc::new(Witness::new(lineage(0), witness_id(self.ids), record));
    }
}

fn ask(
    witness: &mut Witness,
    request: WitnessRequest,
    leader_heard: bool,
) -> (Vec<WitnessRecord>, Option<WitnessAnswer>) {
    let mut outputs = Vec::new();
    let input = WitnessInput { request, leader_heard, other_process: false };
    witness.handle(input, &mut outputs);
    let (mut saved, mut answer) = (Vec::new(), None);
    for output in outputs {
        match output {
            WitnessOutput::Save(record) => saved.push(record),
            WitnessOutput::Answer(given) => answer = Some(given),
        }
    }
    (saved, answer)
}
