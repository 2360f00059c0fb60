//! A world: two processes, the log that they share, and what clients were told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use client::command::tsp::StatusCode;
use client::command::{Body, CommandId, Shard, Step};
use client::{ExpectedVersion, Sequence, Version};
use uuid::Uuid;

use super::process::{Append, Process, Question, Shared, Told, sequence};
use super::rules::Rule;
use crate::life::{CommandLife, State};
use crate::protocol::{AppendFailure, AppendTicket, CallTicket};
use crate::record::{Entry, Logged};

/// What may still happen that need not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    pub commands: u8,
    /// Processes that may be started, the first included.
    pub starts: u8,
    pub submits: u8,
    pub fetches: u8,
    pub closes: u8,
    pub requeues: u8,
    pub crashes: u8,
    /// Leases that pass at somebody without a sign of the other.
    pub leases: u8,
    /// Answers to appends that get lost.
    pub unknowns: u8,
    /// Workers that are lost.
    pub losses: u8,
    /// Workers that are not there.
    pub absences: u8,
    /// Pauses that end.
    pub ticks: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub log: Vec<Entry>,
    pub processes: [Option<Shared>; 2],
    /// Appends whose process is gone or does not wait any more: they may arrive, or not.
    pub ghosts: Vec<(Entry, ExpectedVersion)>,
    pub begun: u8,
    pub accepted: BTreeSet<CommandId>,
    pub fetched: BTreeMap<CommandId, Body>,
    /// A promise that was broken.
    pub broken: Option<&'static str>,
    pub budget: Budget,
}

/// The shard of all commands of a world.
pub fn shard() -> Shard {
    commands(1)[0].shard()
}

/// So many commands of one shard.
pub fn commands(count: u8) -> Vec<CommandId> {
    let all = (1_u128..).map(|number| CommandId::new(Uuid::from_u128(number)));
    let first = CommandId::new(Uuid::from_u128(1)).shard();
    all.filter(|id| id.shard() == first).take(usize::from(count)).collect()
}

impl World {
    /// Nothing has happened yet.
    pub fn new(budget: Budget) -> World {
        let mut world = World {
            log: Vec::new(),
            processes: [None, None],
            ghosts: Vec::new(),
            begun: 0,
            accepted: BTreeSet::new(),
            fetched: BTreeMap::new(),
            broken: None,
            budget,
        };
        world.start(0);
        world
    }

    pub fn start(&mut self, of: usize) {
        self.processes[of] = Some(Shared::new(Process::begin(self.begun, &self.log)));
        self.begun += 1;
        self.budget.starts -= 1;
    }

    /// A process is gone, and what it sent may still arrive.
    pub fn crash(&mut self, of: usize) {
        let Some(shared) = self.processes[of].take() else {
            return;
        };
        for Append { entry, expected, result, .. } in shared.process.appends.clone() {
            if result.is_none() {
                self.ghosts.push((entry, expected));
            }
        }
    }

    /// The store takes or refuses a record.
    pub fn store(
        &mut self,
        entry: &Entry,
        expected: ExpectedVersion,
        rule: Rule,
    ) -> Result<Sequence, AppendFailure> {
        match entry {
            Entry::Step(step) => {
                let same = |(_, other): &(usize, &Entry)| match other {
                    Entry::Step(other) => other.command == step.command && other.step == step.step,
                    _ => false,
                };
                let known = self.log.iter().enumerate().find(same);
                if let Some((at, other)) = known.filter(|_| rule != Rule::IdsAreUnique) {
                    let is_same = other == entry;
                    return if is_same { Ok(sequence(at + 1)) } else { Err(AppendFailure::Reused) };
                }
            }
            Entry::Claim { version, .. } => {
                if let Some(at) = self.log.iter().position(|other| other == entry) {
                    return Ok(sequence(at + 1));
                }
                let actual = self.claims();
                let fits = expected.accepts((actual > 0).then_some(Version(actual)));
                if !fits && rule != Rule::ClaimsExcludeEachOther {
                    return Err(AppendFailure::WrongVersion);
                }
                // Without the rule the stream goes on where it is.
                if !fits {
                    let mut entry = entry.clone();
                    if let Entry::Claim { version, .. } = &mut entry {
                        *version = Version(actual + 1);
                    }
                    self.log.push(entry);
                    return Ok(sequence(self.log.len()));
                }
                assert_eq!(version.0, actual + 1);
            }
            Entry::Beat { .. } | Entry::Left { .. } => {}
        }
        self.log.push(entry.clone());
        Ok(sequence(self.log.len()))
    }

    fn claims(&self) -> u64 {
        let claims = self.log.iter().filter(|entry| matches!(entry, Entry::Claim { .. }));
        u64::try_from(claims.count()).unwrap()
    }

    /// The steps from this one on, as a look-up finds them that sees the first records of the log.
    pub fn find(
        &self,
        command: CommandId,
        (from, count): (u32, u32),
        (visible, rule): (usize, Rule),
    ) -> Vec<Option<Logged>> {
        let at = |wanted: u32| {
            let is_it = |entry: &&Entry| match entry {
                Entry::Step(step) => step.command == command && step.step == wanted,
                _ => false,
            };
            let at = self.log[..visible].iter().position(|entry| is_it(&entry))?;
            Some(Logged { sequence: sequence(at + 1), entry: Some(self.log[at].clone()) })
        };
        let mut found: Vec<Option<Logged>> = (from..from + count).map(at).collect();
        if rule == Rule::FirstReplyWins
            && let [Some(Logged { entry: Some(Entry::Step(step)), .. })] = found.as_mut_slice()
            && let Step::Replied { body, .. } = &mut step.what
        {
            // Whoever asks for the reply gets the newest.
            *body = self.replies(command).last().cloned().unwrap();
        }
        found
    }

    pub fn replies(&self, command: CommandId) -> impl Iterator<Item = &Body> {
        self.log.iter().filter_map(move |entry| match entry {
            Entry::Step(step) if step.command == command => match &step.what {
                Step::Replied { body, .. } => Some(body),
                _ => None,
            },
            _ => None,
        })
    }

    /// Whether a process may send this.
    pub fn was_announced(&self, process: &Process, ticket: CallTicket) -> bool {
        self.log.iter().any(|entry| match entry {
            Entry::Step(step) => {
                step.command == ticket.command
                    && step.session == process.session
                    && step.what == Step::Dispatched { attempt: ticket.attempt }
            }
            _ => false,
        })
    }

    /// What the log makes of a command; nothing if a step contradicts those before it.
    pub fn life(&self, command: CommandId) -> Option<Option<CommandLife>> {
        let mut life: Option<CommandLife> = None;
        for entry in &self.log {
            let Entry::Step(step) = entry else {
                continue;
            };
            if step.command != command {
                continue;
            }
            match &mut life {
                None => life = Some(CommandLife::begin(step).ok()?),
                Some(life) => {
                    life.apply(step).ok()?;
                }
            }
        }
        Some(life)
    }

    pub fn is_closed(&self, command: CommandId) -> bool {
        let closed = |life: &CommandLife| *life.state() == State::Closed;
        self.life(command).flatten().as_ref().is_some_and(closed)
    }

    /// Somebody was told something.
    pub fn told(&mut self, question: Question, command: CommandId, answer: &Told) {
        let is_known = self.accepted.contains(&command);
        let text = answer.status.text.as_str();
        match (question, answer.status.code) {
            (Question::Submit, StatusCode::Ok) => {
                self.accepted.insert(command);
            }
            (Question::Fetch, StatusCode::Ok) => {
                let body = answer.body.clone().unwrap();
                if self.fetched.insert(command, body.clone()).is_some_and(|other| other != body) {
                    self.broken = Some("a fetched reply became another one");
                }
            }
            (Question::Fetch, StatusCode::Unknown) if text == "unknown" && is_known => {
                self.broken = Some("an accepted command was called unknown");
            }
            (Question::Fetch, StatusCode::Unknown)
                if text == "closed" && !self.is_closed(command) =>
            {
                self.broken = Some("an open command was called closed");
            }
            (Question::Close, StatusCode::Ok) if is_known && !self.is_closed(command) => {
                self.broken = Some("a close was confirmed that is not in the log");
            }
            _ => {}
        }
    }

    /// A process, to be changed.
    pub fn process(&mut self, of: usize) -> &mut Process {
        Arc::make_mut(&mut self.processes[of].as_mut().unwrap().process)
    }

    /// Takes what a process has just told, and looks at what it sends.
    pub fn listen(&mut self, of: usize) {
        if self.processes[of].is_none() {
            return;
        }
        let told = std::mem::take(&mut self.process(of).answers);
        let process = self.process(of).clone();
        self.processes[of].as_mut().unwrap().count();
        if process.met_illegal {
            self.broken = Some("a process met an illegal step");
        }
        for (question, command, answer) in told {
            self.told(question, command, &answer);
        }
        for ticket in &process.calls {
            if !self.was_announced(&process, *ticket) {
                self.broken = Some("a worker got what no Dispatched announced");
            }
        }
    }

    pub fn is_announced_before_commit(ticket: AppendTicket, rule: Rule) -> bool {
        match (rule, ticket) {
            (Rule::AcceptAfterCommit, AppendTicket::Step { step: 0, .. }) => true,
            (Rule::DispatchAfterCommit, AppendTicket::Step { step, .. }) => step > 0,
            _ => false,
        }
    }

    /// The reply of one execution: no other has the same.
    pub fn reply(process: &Process, ticket: CallTicket) -> Vec<Bytes> {
        vec![Bytes::from(format!("{} {}", process.session, ticket.attempt))]
    }
}
