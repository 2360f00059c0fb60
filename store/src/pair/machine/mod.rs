//! The machine of one node of a pair: what it is, what it may acknowledge, when it asks for more.

mod candidate;
mod following;
mod growing;
mod handover;
mod joining;
mod leading;
mod witness;

#[cfg(test)]
mod tests;

use broker::witness::{
    Configuration, Incarnation, Lineage, Position, ProposalNumber, Sequences, WitnessAnswer,
};

use super::protocol::{
    CommitRule, Halt, Input, Output, PairRecord, PairSetup, PeerMessage, Standing, Timer,
};

/// Who leads, decided by a witness; when to ask for a change, decided here.
///
/// It has no clock: timers are outputs and inputs. Its rules are those of a register: a follower
/// promises before it asks, a leader commits by the stricter of two rules until the outcome of its
/// proposal is known, and whatever has a higher epoch wins at once.
///
/// *Known* below means: the witness has read this run's report and answered.
///
/// | state | event | new state | action |
/// |---|---|---|---|
/// | any | higher epoch, led by another | following, once known | commit nothing, save, follow |
/// | any | higher epoch, as proposed | leading | save, lead, commit by its members |
/// | any | higher epoch, led by a former run of this node | joining | save, propose the next |
/// | any | answer of another witness | same | save its name, report to it |
/// | any | answer with a lower epoch | same | report: the witness forgets an old record |
/// | joining | start | joining | report to the witness, beat to the peer |
/// | joining | no configuration here nor there | joining | one of both proposes to begin alone |
/// | joining | the peer has one, this node has no events | joining | adopt it, report |
/// | joining | both bring events; another lineage | halted | |
/// | joining | known, another node leads | following | lift the promise |
/// | joining | known, this node leads | joining | propose the next epoch, same members |
/// | joining | log behind what it was; a second process | halted | |
/// | following | leader heard | following | suspect anew |
/// | following | silent for S, and a vote | candidate | promise, commit nothing, propose {me} |
/// | following | silent for 3 S | candidate | the same; no member: stall |
/// | following | vote, leader heard | following | tell the leader |
/// | following | asked to take over | candidate | promise, propose both, cosigned |
/// | following | log must be cut | following | save the epoch, then allow it |
/// | candidate | no answer | candidate | ask again, stay bound |
/// | candidate | refused | following | lift the promise, suspect anew |
/// | leading | follower owes for R, or silent for S | leading | propose {me}, commit by both yet |
/// | leading | refused | leading | wait again |
/// | alone | heard, near, and the grow timer ran out | alone | commit by both |
/// | alone | caught up | alone | save its name, propose both |
/// | alone | silent before that; refused after it | alone | commit alone, wait longer |
/// | leading | a person, a stalled disk, brokers see the other | handing over | no appends |
/// | handing over | drained | handing over | promise, commit nothing, ask to take over |
/// | handing over | too slow, nothing promised | leading | |
/// | handing over | too slow, promised | handing over | propose both, stay bound |
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pair {
    setup: PairSetup,
    record: PairRecord,
    part: Part,
    standing: Standing,
    rule: CommitRule,
    durable: Sequences,
    held: Sequences,
    /// Epoch in which the log was found to agree with the leader's in this run; 0: not yet.
    agreed: u64,
    /// The peer whose handshake was accepted last.
    peer: Option<Incarnation>,
    /// Whether a peer without a configuration brings events; `None` before it said so.
    new_peer_has_data: Option<bool>,
    /// The witness has read the last report.
    is_known: bool,
    /// A proposal whose outcome is not known.
    open: Option<Proposal>,
    history: Vec<Configuration>,
    /// Whether a broker knows this process.
    has_brokers: bool,
    /// Answers in a row that told of a second process.
    second_processes: u8,
    patience: growing::Backoff,
}

/// What the node does, with what it needs for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Part {
    Joining,
    Following {
        /// The leader was silent for S.
        suspected: bool,
        /// A vote came since it was heard.
        voted: bool,
    },
    Candidate,
    Leading(Reign),
    Halted,
}

/// What a leader is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Reign {
    /// Who is about to be taken in: commits wait for it already.
    growing: Option<Incarnation>,
    handover: handover::Handover,
    /// The follower owes acknowledgements.
    owes: bool,
    /// The peer was heard within S.
    hears: bool,
    /// Nobody was heard for the lease.
    lapsed: bool,
}

/// A change that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Proposal {
    number: ProposalNumber,
    base: u64,
    next: Configuration,
    cosigned: bool,
}

impl Pair {
    /// A node that has not started; [`Input::Start`] is the first input.
    #[must_use]
    pub fn new(setup: PairSetup, record: PairRecord) -> Pair {
        Pair {
            durable: setup.durable.clone(),
            held: setup.held.clone(),
            setup,
            record,
            part: Part::Joining,
            standing: Standing::Joining,
            rule: CommitRule::Held,
            agreed: 0,
            peer: None,
            new_peer_has_data: None,
            is_known: false,
            open: None,
            history: Vec::new(),
            has_brokers: true,
            second_processes: 0,
            patience: growing::Backoff::default(),
        }
    }

    /// What the node knows durably once all outputs are carried out.
    #[must_use]
    pub fn record(&self) -> &PairRecord {
        &self.record
    }

    /// What the node is.
    #[must_use]
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// What the node commits by.
    #[must_use]
    pub fn rule(&self) -> CommitRule {
        self.rule
    }

    /// Newest configuration known.
    #[must_use]
    pub fn configuration(&self) -> Option<&Configuration> {
        self.record.configuration.as_ref()
    }

    /// Configurations that the witness told of, oldest first: up to 16.
    #[must_use]
    pub fn history(&self) -> &[Configuration] {
        &self.history
    }

    /// Epoch of the newest configuration known; that of the directory before there is one.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.configuration().map_or(self.setup.epoch, |configuration| configuration.epoch)
    }

    /// The history that the node belongs to.
    #[must_use]
    pub fn lineage(&self) -> Lineage {
        self.configuration().map_or(self.setup.lineage, |configuration| configuration.lineage)
    }

    /// How far the node's log is.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { aligned: self.record.aligned, durable: self.durable.clone() }
    }

    /// Whether the node numbers events; while it hands over it takes no new ones.
    #[must_use]
    pub fn leads(&self) -> bool {
        matches!(self.part, Part::Leading(_))
    }

    /// The leader whose records may be taken and acknowledged now, and its epoch.
    #[must_use]
    pub fn follows(&self) -> Option<(Incarnation, u64)> {
        let configuration = self.configuration()?;
        matches!(self.part, Part::Following { .. })
            .then_some((configuration.leader, configuration.epoch))
    }

    /// Whether a proposal's outcome is not known.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.open.is_some()
    }

    /// Deals with one event.
    pub fn handle(&mut self, input: Input, outputs: &mut Vec<Output>) {
        if self.part == Part::Halted {
            return;
        }
        match input {
            Input::Start => self.start(outputs),
            Input::Elapsed(timer) => self.elapsed(timer, outputs),
            Input::PeerUp { peer } => self.peer_up(peer, outputs),
            Input::Peer { from, message } if self.peer == Some(from) => {
                self.peer_says(from, message, outputs);
            }
            Input::Peer { .. } => {}
            Input::Witness(answer) => self.witness_says(answer, outputs),
            Input::Logs { durable, held } => {
                self.durable = durable;
                self.held = held;
            }
            Input::Follower(progress) => self.follower_does(progress, outputs),
            Input::Cutting { epoch } => self.cutting(epoch, outputs),
            Input::Aligned { epoch } => self.aligned(epoch, outputs),
            Input::Vote => self.vote(outputs),
            Input::Brokers(known) => self.has_brokers = known,
            Input::HandOver | Input::DiskStalled => self.begin_handover(outputs),
        }
    }

    fn elapsed(&mut self, timer: Timer, outputs: &mut Vec<Output>) {
        match timer {
            Timer::Beat => self.beat(outputs),
            Timer::Suspect => self.suspect(outputs),
            Timer::Abandon => self.abandon(outputs),
            Timer::Patience => self.follower_is_slow(outputs),
            Timer::Silence => self.follower_is_silent(outputs),
            Timer::Ask => self.ask_again(outputs),
            Timer::Grow { .. } => self.may_grow(),
            Timer::Settled => self.patience.settle(),
            Timer::Alone => self.lapse(outputs),
            Timer::HandOver => self.handover_takes_too_long(outputs),
        }
    }

    fn beat(&mut self, outputs: &mut Vec<Output>) {
        outputs.push(Output::Arm(Timer::Beat));
        self.beat_to_peer(outputs);
        self.beat_to_witness(outputs);
        self.ask_to_take_over(outputs);
    }

    fn beat_to_peer(&self, outputs: &mut Vec<Output>) {
        outputs.push(Output::Peer(PeerMessage::Beat {
            configuration: self.record.configuration.clone(),
            leads: self.leads(),
            has_data: self.setup.brings_data,
        }));
    }

    fn peer_up(&mut self, peer: Incarnation, outputs: &mut Vec<Output>) {
        self.peer = Some(peer);
        self.new_peer_has_data = None;
        self.joiner_is_gone(outputs);
        self.beat_to_peer(outputs);
    }

    fn peer_says(&mut self, from: Incarnation, message: PeerMessage, outputs: &mut Vec<Output>) {
        match message {
            PeerMessage::Beat { configuration: None, has_data, .. } => {
                self.new_peer_has_data = Some(has_data);
                self.try_to_begin(outputs);
            }
            PeerMessage::Beat { configuration: Some(told), leads, .. } => {
                let (lineage, epoch) = (told.lineage, told.epoch);
                self.peer_knows(told, outputs);
                if lineage == self.lineage() && epoch == self.epoch() {
                    self.peer_is_alive(from, leads, outputs);
                }
            }
            PeerMessage::TakeOver { epoch } if epoch == self.epoch() => {
                self.take_over(from, outputs);
            }
            PeerMessage::Unreachable { epoch } if epoch == self.epoch() => {
                if !self.has_brokers {
                    self.begin_handover(outputs);
                }
            }
            PeerMessage::TakeOver { .. } | PeerMessage::Unreachable { .. } => {}
        }
    }

    fn save(&self, outputs: &mut Vec<Output>) {
        outputs.push(Output::Save(self.record.clone()));
    }

    fn commit(&mut self, rule: CommitRule, outputs: &mut Vec<Output>) {
        if self.rule != rule {
            self.rule = rule;
            outputs.push(Output::Commit(rule));
        }
    }

    fn become_one(&mut self, standing: Standing, outputs: &mut Vec<Output>) {
        if self.standing != standing {
            self.standing = standing.clone();
            outputs.push(Output::Become(standing));
        }
    }

    fn halt(&mut self, halt: Halt, outputs: &mut Vec<Output>) {
        self.part = Part::Halted;
        self.open = None;
        self.commit(CommitRule::Held, outputs);
        outputs.push(Output::Halt(halt));
    }

    fn learn_history(&mut self, answer: &WitnessAnswer) {
        if !answer.history.is_empty() {
            self.history.clone_from(&answer.history);
        }
    }
}
