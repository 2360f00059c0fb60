//! The pair machine: what it is told, and what it wants done.

use std::time::Duration;

use broker::witness::WitnessAnswer;
use store::event::{ContentType, EventId, ExpectedVersion, NewEvent, Signature};
use store::names::{EventType, StreamName};
use store::pair::lease::Proof;
use store::pair::message::{Beat, Body};
use store::pair::protocol::{
    CommitRule, FollowerProgress, Input, Note, Output, PairRecord, Standing, Timer,
};
use store::pair::replication::LeaderInput;
use store::{Append, StreamWrite};
use uuid::Uuid;

use super::{FOLLOWER_PATIENCE, GROW_MAX, HEARTBEAT, LEADER_PATIENCE, Run, SETTLED, Token, Work};
use crate::engine::Rule;
use crate::env::{Env, Message};
use crate::network::WITNESS;
use crate::plan::Mistake;
use crate::witness::Fate;

/// Tokens of one process and another differ in these bits.
const LIFE_SHIFT: u32 = 40;

impl Run {
    pub(super) fn give_pair(&mut self, env: &mut Env, input: Input) {
        let mut outputs = Vec::new();
        let logs = (self.disk.durable(), self.disk.held());
        if logs != self.logs_told {
            let (durable, held) = logs.clone();
            self.logs_told = logs;
            self.pair.handle(Input::Logs { durable, held }, &mut outputs);
        }
        self.tell(env, &input);
        let lost = matches!(input, Input::Elapsed(Timer::Patience | Timer::Silence));
        if lost && self.leading && env.plan.mistake == Some(Mistake::GoesOnAlone) {
            return self.commit_by(env, CommitRule::Alone);
        }
        self.pair.handle(input, &mut outputs);
        for output in outputs {
            if self.fate == Fate::Dies {
                return;
            }
            self.carry_out(env, output);
        }
    }

    /// For people, what is not said all the time.
    fn tell(&self, env: &mut Env, input: &Input) {
        let dull = match input {
            Input::Peer { .. } | Input::Elapsed(Timer::Beat) => true,
            Input::Follower(progress) => matches!(
                progress,
                FollowerProgress::Acknowledged { .. }
                    | FollowerProgress::Owes
                    | FollowerProgress::Near
            ),
            Input::Witness(answer) => {
                answer.refusal.is_none()
                    && answer.configuration.as_ref() == self.pair.configuration()
            }
            _ => false,
        };
        if !dull {
            env.say(self.host, || format!("{input:?}"));
        }
    }

    fn carry_out(&mut self, env: &mut Env, output: Output) {
        let now = self.now(env);
        match output {
            Output::Save(record) => self.save(env, record),
            Output::Peer(message) => {
                let message = Some(message);
                self.send_peer(env, crate::network::Lane::Datagrams, &Body::Beat(Beat { message }));
            }
            Output::Witness(request) => {
                let token = (self.life << LIFE_SHIFT) | self.lease.send(now);
                env.send_datagram(self.host, WITNESS, Message::Ask(token, Box::new(request)));
            }
            Output::Arm(timer) => {
                if matches!(timer, Timer::Grow { .. }) {
                    self.timers.retain(|timer, _| !matches!(timer, Timer::Grow { .. }));
                }
                let at = now + self.duration(timer, env);
                self.timers.insert(timer, at);
            }
            Output::Disarm(Timer::Grow { .. }) => {
                self.timers.retain(|timer, _| !matches!(timer, Timer::Grow { .. }));
            }
            Output::Disarm(timer) => {
                self.timers.remove(&timer);
            }
            Output::Commit(rule) => self.commit_by(env, rule),
            Output::Become(standing) => self.become_one(env, &standing),
            Output::Cut { epoch } => self.cut(env, epoch),
            Output::Note(note) => {
                env.say(self.host, || format!("{note:?}"));
                let counters = &mut env.oracle.counters;
                *match note {
                    Note::Failover => &mut counters.failovers,
                    Note::Solo => &mut counters.solo,
                    Note::Rejoined => &mut counters.rejoined,
                    Note::Deposed => &mut counters.deposed,
                    Note::LostRace => &mut counters.lost_races,
                    Note::LeaderKept => &mut counters.leaders_kept,
                    Note::HandedOver => &mut counters.handovers,
                } += 1;
            }
            Output::Halt(halt) => self.halt(env, format!("{halt:?}")),
        }
    }

    pub(super) fn halt(&mut self, env: &mut Env, why: String) {
        env.say(self.host, || format!("halts: {why}"));
        env.oracle.counters.halts += 1;
        self.halted = Some(why);
        self.fate = Fate::Dies;
    }

    fn duration(&self, timer: Timer, env: &mut Env) -> Duration {
        match timer {
            Timer::Beat => HEARTBEAT,
            Timer::Suspect => {
                LEADER_PATIENCE + crate::network::micros(&mut env.random, HEARTBEAT * 2)
            }
            Timer::Abandon => LEADER_PATIENCE * 3,
            Timer::Patience => FOLLOWER_PATIENCE,
            Timer::Silence => LEADER_PATIENCE,
            Timer::Ask => HEARTBEAT * 2,
            Timer::Grow { attempt: 0 } => Duration::ZERO,
            Timer::Grow { attempt } => {
                let doublings = u32::from(attempt - 1).min(8);
                (env.plan.grow_backoff * (1 << doublings)).min(GROW_MAX)
            }
            Timer::Settled => SETTLED,
            Timer::Alone => LEADER_PATIENCE,
            Timer::HandOver => LEADER_PATIENCE * 2,
        }
    }

    fn save(&mut self, env: &mut Env, record: PairRecord) {
        let crashes = env.plan.faults.crashes_at_saves && env.is_troubled();
        if crashes && env.random.chance(2) {
            self.fate = Fate::Dies;
            return;
        }
        let forgets = env.plan.mistake == Some(Mistake::MemberForgets)
            && record.configuration == self.disk.record.configuration;
        if !forgets {
            if let Some(configuration) = &record.configuration {
                assert!(configuration.epoch >= self.disk.epoch, "epochs never fall");
                self.disk.epoch = configuration.epoch;
                self.disk.lineage = configuration.lineage;
            }
            self.disk.record = record;
        }
        if crashes && env.random.chance(2) {
            self.fate = Fate::Dies;
        }
    }

    fn commit_by(&mut self, env: &mut Env, rule: CommitRule) {
        env.say(self.host, || format!("commits {rule:?}"));
        let mapped = match rule {
            CommitRule::Held => Rule::Held,
            CommitRule::Alone => Rule::Alone,
            CommitRule::Both => Rule::Both,
            CommitRule::Told => Rule::Told,
        };
        for log in &mut self.disk.logs {
            log.set_rule(mapped);
        }
        let counts = rule == CommitRule::Both;
        let input = if counts { LeaderInput::Both } else { LeaderInput::Alone };
        self.work.push_back(Work::Lead(input));
    }

    fn become_one(&mut self, env: &mut Env, standing: &Standing) {
        env.say(self.host, || format!("becomes {standing:?}"));
        match standing {
            Standing::Leading { configuration } => {
                for log in &mut self.disk.logs {
                    log.lead(configuration.epoch);
                }
                self.follower = None;
                self.lead_in(env, configuration.epoch);
                let whole = configuration.members.len() > 1;
                let proof = if whole { Proof::Member } else { Proof::Witness };
                self.lease.reset(configuration.epoch, proof, &mut Vec::new());
                self.work.push_back(Work::Lead(LeaderInput::Draining(false)));
                self.leading = true;
                // It opens once the first records of the reign are written.
                self.intake = false;
                self.offer_all(env);
            }
            Standing::HandingOver { .. } => {
                self.intake = false;
                self.work.push_back(Work::Lead(LeaderInput::Draining(true)));
            }
            other => {
                self.step_down(env);
                if let Standing::Following { configuration } = other {
                    for log in &mut self.disk.logs {
                        drop(log.follow(configuration.epoch));
                    }
                    self.follow_in(configuration);
                    self.offer_all(env);
                }
            }
        }
    }

    /// Whatever it was, it leads no more.
    fn step_down(&mut self, env: &mut Env) {
        self.intake = false;
        self.lease.reset(0, Proof::Witness, &mut Vec::new());
        self.leader = None;
        if !self.leading {
            return;
        }
        for number in 0..self.disk.logs.len() {
            if env.plan.mistake == Some(Mistake::CommitsWhenDeposed) {
                self.disk.logs[number].set_rule(Rule::Alone);
                let log = &self.disk.logs[number];
                env.oracle.commits(
                    self.disk.incarnation.0,
                    number,
                    log,
                    self.told[number].committed,
                );
                self.say_answers(env, number);
            }
            let epoch = self.disk.logs[number].epoch();
            let unanswered = self.disk.logs[number].follow(epoch);
            env.oracle.counters.zombie_refusals += u64::try_from(unanswered.len()).unwrap();
        }
        self.leading = false;
        self.offer_all(env);
    }

    /// Writes the first records of a reign, then takes appends.
    pub(super) fn open_intake(&mut self, env: &mut Env) {
        let Standing::Leading { configuration } = self.pair.standing().clone() else { return };
        if !self.leading {
            return;
        }
        if self.topology_of < configuration.epoch {
            self.topology_of = configuration.epoch;
            let mut history = self.pair.history().to_vec();
            history.push(configuration.clone());
            for number in 0..self.disk.logs.len() {
                for known in &history {
                    let append = topology(known.lineage.0, known.epoch, number);
                    env.oracle.system_events(append.events().map(|(_, event)| event.id));
                    self.disk.logs[number].submit(&[append], Token::System, false);
                }
            }
        }
        let one_copy = env.plan.copies_min > 1 && configuration.members.len() == 1;
        self.intake = !one_copy;
    }

    /// The witness has answered.
    pub fn answered(&mut self, env: &mut Env, token: u64, answer: WitnessAnswer) {
        let epoch = answer.configuration.as_ref().map_or(0, |known| known.epoch);
        self.do_work(env, Work::Pair(Input::Witness(answer)));
        if token >> LIFE_SHIFT == self.life {
            let token = token & ((1 << LIFE_SHIFT) - 1);
            self.lease.echo(Proof::Witness, token, epoch, &mut Vec::new());
        }
        self.settle(env);
        self.take_deferred(env);
    }
}

/// What a leader writes down about a configuration.
fn topology(lineage: Uuid, epoch: u64, partition: usize) -> Append {
    let stream = StreamName::new("$topology").unwrap();
    let id = Uuid::new_v5(&lineage, format!("epoch {epoch} in {partition}").as_bytes());
    let event_type = EventType::new("ConfigurationChanged").unwrap();
    let mut event = NewEvent::new(event_type, ContentType::Json, "{}").with_id(EventId(id));
    event.signature = Some(Signature::of(&stream, &event));
    let write = StreamWrite { stream, expected: ExpectedVersion::Any, events: vec![event] };
    Append { writes: vec![write], durability: None }
}
