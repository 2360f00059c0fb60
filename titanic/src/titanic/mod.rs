//! The whole process as one machine: its parts, and what each of them has to know of the others.
//!
//! ```text
//!   requests ──> Desk ──┬─ intents ─> Writes ── steps ──> append ──┐
//!                       │               ^  └── conflict ─> Reads   │ committed
//!   due, replies ─> Dispatcher ─────────┘          │ steps        v
//!                       ^                          └──────────> View <── the log
//!   the log ──> Claims ─┴─ shards held or lost                   │ changes
//!                    Desk, Dispatcher <──────────────────────────┘
//! ```

mod routes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use client::command::{CommandId, Session, Shard, Step, StepEvent};
use client::{PartitionNumber, Sequence};

use crate::bodies::Bodies;
use crate::claims::{ClaimInput, Claims};
use crate::desk::{Desk, DeskInput};
use crate::dispatcher::{DispatchInput, Dispatcher, Waiting};
use crate::figures::Figures;
use crate::intent::Intent;
use crate::life::{CommandLife, State};
use crate::protocol::{AppendFailure, AppendTicket, CallTicket, Input, Now, Output, Settings};
use crate::reads::{ReadInput, Reads};
use crate::record::{Entry, Logged};
use crate::view::{Change, Damaged, Learned, Source, View, Walked};
use crate::writes::{WriteInput, Writes};

/// Why an attempt failed whose process is over.
const GONE: &str = "its dispatcher is gone";

/// What changed since it was last asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Commands as they are now.
    pub puts: Vec<(CommandId, Vec<u8>)>,
    /// Commands that are over.
    pub removes: Vec<CommandId>,
    /// Who holds which shard.
    pub claims: Vec<u8>,
}

/// One part has something for another.
#[derive(Debug)]
enum Work {
    Desk(DeskInput),
    Dispatch(DispatchInput),
    Write(WriteInput),
    Read(ReadInput),
    Claim(ClaimInput),
}

/// A Titanic process without sockets, files and clocks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Titanic {
    session: Session,
    view: View,
    bodies: Bodies,
    writes: Writes,
    reads: Reads,
    dispatcher: Dispatcher,
    claims: Claims,
    desk: Desk,
    /// Attempts of others in shards of ours, which fail when those are over.
    orphans: BTreeMap<Session, BTreeSet<CallTicket>>,
    is_live: bool,
    is_busy: bool,
    is_stopping: bool,
    illegal: u64,
}

impl Titanic {
    /// A process that knows nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Titanic {
        Titanic {
            session: settings.session,
            view: View::new(settings.partitions, settings.keeps_changes),
            bodies: Bodies::new(settings.cache_bytes),
            writes: Writes::new(settings.session),
            reads: Reads::default(),
            dispatcher: Dispatcher::new(settings.clone()),
            claims: Claims::new(settings.session, settings.claim_lease),
            desk: Desk::new(settings),
            orphans: BTreeMap::new(),
            is_live: false,
            is_busy: false,
            is_stopping: false,
            illegal: 0,
        }
    }

    /// A command from a checkpoint, before the first input.
    ///
    /// # Errors
    /// Bytes that are no record.
    pub fn restore_command(&mut self, id: CommandId, bytes: &[u8]) -> Result<(), Damaged> {
        self.view.restore(id, bytes)
    }

    /// The claims from a checkpoint, before the first input.
    ///
    /// # Errors
    /// Bytes that are no claims.
    pub fn restore_claims(&mut self, bytes: &[u8]) -> Result<(), Damaged> {
        self.claims.restore(bytes)
    }

    /// Where a partition's subscription goes on: after this sequence.
    pub fn restore_position(&mut self, partition: PartitionNumber, sequence: Sequence) {
        self.view.passed(partition, sequence);
    }

    /// What a checkpoint has to hold beyond what it held after the last call.
    pub fn take_changes(&mut self) -> Changes {
        let mut changes = Changes { claims: self.claims.encode(), ..Changes::default() };
        for (id, record) in self.view.take_changed() {
            match record {
                Some(bytes) => changes.puts.push((id, bytes)),
                None => changes.removes.push(id),
            }
        }
        changes
    }

    /// Counts, for the log.
    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures {
            commands: self.view.len(),
            dead: self.view.dead_len(),
            attempts: self.dispatcher.under_way(),
            writes: self.writes.len(),
            reads: self.reads.len(),
            requests: self.desk.len(),
            parked: self.desk.parked_len(),
            shards: self.claims.held(),
            illegal: self.illegal,
            cache_bytes: self.bodies.bytes(),
        }
    }

    /// When to hand in [`Input::Tick`].
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let all = [
            self.writes.deadline(),
            self.reads.deadline(),
            self.dispatcher.deadline(),
            self.claims.deadline(),
            self.desk.deadline(),
        ];
        all.into_iter().flatten().min()
    }

    /// Takes an input.
    pub fn handle(&mut self, now: Now, input: Input, outputs: &mut Vec<Output>) {
        let mut work = VecDeque::new();
        self.take(input, &mut work, outputs);
        self.work(now, &mut work, outputs);
        let is_busy = !self.view.is_empty();
        if is_busy != self.is_busy {
            self.is_busy = is_busy;
            work.push_back(Work::Claim(ClaimInput::Busy(is_busy)));
        }
        if self.is_stopping && !self.dispatcher.is_calling() {
            work.push_back(Work::Claim(ClaimInput::Stop));
        }
        self.work(now, &mut work, outputs);
    }

    fn take(&mut self, input: Input, work: &mut VecDeque<Work>, outputs: &mut Vec<Output>) {
        match input {
            Input::Log { partition, entries, through } => {
                for logged in entries {
                    self.logged(logged, work, outputs);
                }
                self.view.passed(partition, through);
            }
            Input::Live(is_live) => {
                self.is_live |= is_live;
                work.push_back(Work::Claim(ClaimInput::Live(is_live)));
            }
            Input::Gone(session) => work.push_back(Work::Claim(ClaimInput::Gone(session))),
            Input::BrokerUp(of) => work.push_back(Work::Dispatch(DispatchInput::BrokerUp(of))),
            Input::BrokerDown(of) => work.push_back(Work::Dispatch(DispatchInput::BrokerDown(of))),
            Input::Request { ticket, ask, left } => {
                work.push_back(Work::Desk(DeskInput::Request { ticket, ask, left }));
            }
            Input::Forget(ticket) => work.push_back(Work::Desk(DeskInput::Forget(ticket))),
            Input::Appended { ticket, result } => work.push_back(appended(ticket, result)),
            Input::Found { ticket, result } => {
                work.push_back(Work::Read(ReadInput::Found { ticket, result }));
            }
            Input::Presence { broker, service, present } => {
                let input = DispatchInput::Presence { broker, service, present };
                work.push_back(Work::Dispatch(input));
            }
            Input::Called { ticket, result } => {
                work.push_back(Work::Dispatch(DispatchInput::Called { ticket, result }));
            }
            Input::Stop => {
                self.is_stopping = true;
                work.push_back(Work::Dispatch(DispatchInput::Stop));
            }
            Input::Tick => work.extend([
                Work::Claim(ClaimInput::Tick),
                Work::Write(WriteInput::Tick),
                Work::Read(ReadInput::Tick),
                Work::Dispatch(DispatchInput::Tick),
                Work::Desk(DeskInput::Tick),
            ]),
        }
    }

    /// Lets the parts work until none has anything for another.
    fn work(&mut self, now: Now, work: &mut VecDeque<Work>, outputs: &mut Vec<Output>) {
        while let Some(next) = work.pop_front() {
            match next {
                Work::Desk(input) => self.desk(now, input, work, outputs),
                Work::Dispatch(input) => self.dispatch(now, input, work, outputs),
                Work::Write(input) => self.write(now, input, work, outputs),
                Work::Read(input) => self.read(now, input, work, outputs),
                Work::Claim(input) => self.claim(now, input, work, outputs),
            }
        }
    }

    fn logged(&mut self, logged: Logged, work: &mut VecDeque<Work>, outputs: &mut Vec<Output>) {
        match logged.entry {
            Some(Entry::Step(event)) => {
                self.cache(&event);
                self.learn(Source::Log, logged.sequence, &event, work, outputs);
            }
            Some(sign) => work.push_back(Work::Claim(ClaimInput::Seen(sign))),
            None => {}
        }
    }

    /// Keeps a body from the log that is going to be needed at once.
    fn cache(&mut self, event: &StepEvent) {
        let (command, step) = (event.command, event.step);
        match &event.what {
            Step::Accepted(accepted) if self.is_live && self.claims.holds(command.shard()) => {
                self.bodies.put(command, step, &accepted.body);
            }
            Step::Replied { body, .. } if self.desk.is_asked_about(command) => {
                self.bodies.put(command, step, body);
            }
            _ => {}
        }
    }

    fn learn(
        &mut self,
        source: Source,
        sequence: Sequence,
        event: &StepEvent,
        work: &mut VecDeque<Work>,
        outputs: &mut Vec<Output>,
    ) {
        match self.view.learn(source, sequence, event) {
            Learned::Changed(change) => self.changed(&change, work),
            Learned::Nothing => {}
            Learned::Illegal(illegal) => {
                self.illegal += 1;
                let (command, session) = (event.command, event.session);
                let text = format!("command {command}: {illegal} (written by {session})");
                outputs.push(Output::Illegal(text));
            }
        }
    }

    /// A command is in another state: tells those whom it concerns.
    fn changed(&mut self, change: &Change, work: &mut VecDeque<Work>) {
        let Change { command, service, before, life } = change;
        let command = *command;
        if let Some(State::Queued { due_ms }) = before {
            work.push_back(Work::Dispatch(DispatchInput::Unqueue {
                command,
                service: service.clone(),
                due_ms: *due_ms,
                expires_ms: life.expires_ms(),
            }));
        }
        let is_ours = *life.state() == State::Dispatched { session: self.session };
        if !is_ours && life.attempt() > 0 {
            let ticket = CallTicket { command, attempt: life.attempt() };
            work.push_back(Work::Dispatch(DispatchInput::Withdrawn(ticket)));
        }
        if self.claims.holds(command.shard()) {
            self.take_charge(command, service, life, work);
        }
        if self.desk.is_asked_about(command) {
            work.push_back(Work::Desk(DeskInput::Changed(command)));
        }
        if *life.state() == State::Closed {
            self.bodies.forget(command);
        }
    }

    /// A command in a shard of ours: it is to be sent, or somebody else has it.
    fn take_charge(
        &mut self,
        command: CommandId,
        service: &std::sync::Arc<str>,
        life: &CommandLife,
        work: &mut VecDeque<Work>,
    ) {
        match life.state() {
            State::Queued { due_ms } => {
                work.push_back(Work::Dispatch(DispatchInput::Queue(Waiting {
                    command,
                    service: service.clone(),
                    attempt: life.attempt().saturating_add(1),
                    due_ms: *due_ms,
                    expires_ms: life.expires_ms(),
                })));
            }
            State::Dispatched { session } if *session != self.session => {
                let ticket = CallTicket { command, attempt: life.attempt() };
                self.orphans.entry(*session).or_default().insert(ticket);
                work.push_back(Work::Claim(ClaimInput::Watch(*session)));
            }
            _ => {}
        }
    }

    fn body_read(
        &mut self,
        command: CommandId,
        step: u32,
        found: Option<StepEvent>,
        work: &mut VecDeque<Work>,
    ) {
        let body = match found.as_ref().map(|event| &event.what) {
            Some(Step::Accepted(accepted)) => Some(accepted.body.clone()),
            Some(Step::Replied { body, .. }) => Some(body.clone()),
            _ => None,
        };
        if let Some(body) = &body {
            self.bodies.put(command, step, body);
        }
        if step == 0 {
            work.push_back(Work::Dispatch(DispatchInput::Body { command, body }));
        }
        work.push_back(Work::Desk(DeskInput::Read { command, step, found }));
    }

    fn walked(
        &mut self,
        command: CommandId,
        steps: &[(Sequence, StepEvent)],
        work: &mut VecDeque<Work>,
        outputs: &mut Vec<Output>,
    ) {
        let is_whole = steps.first().is_none_or(|(_, first)| first.step == 0);
        let found = if self.view.get(command).is_some() {
            for (sequence, event) in steps {
                self.learn(Source::Aside, *sequence, event, work, outputs);
            }
            Walked::Outdated
        } else if is_whole {
            self.view.adopt(steps)
        } else {
            // It was closed while its last steps were being looked at.
            Walked::Outdated
        };
        if let Walked::Open(change) = &found {
            self.changed(&change.clone(), work);
        }
        work.push_back(Work::Write(WriteInput::Walked(command)));
        work.push_back(Work::Desk(DeskInput::Walked { command, found }));
    }

    fn held(&mut self, shard: Shard, work: &mut VecDeque<Work>) {
        let all: Vec<_> = self
            .view
            .shard(shard)
            .map(|(id, record)| (id, record.service.clone(), record.life.clone()))
            .collect();
        for (command, service, life) in all {
            self.take_charge(command, &service, &life, work);
        }
    }

    fn lost(&mut self, shard: Shard, work: &mut VecDeque<Work>) {
        for (command, record) in self.view.shard(shard) {
            if let State::Queued { due_ms } = record.life.state() {
                work.push_back(Work::Dispatch(DispatchInput::Unqueue {
                    command,
                    service: record.service.clone(),
                    due_ms: *due_ms,
                    expires_ms: record.life.expires_ms(),
                }));
            }
        }
    }

    /// What a process had when it ended is tried again.
    fn over(&mut self, now: Now, session: Session, work: &mut VecDeque<Work>) {
        for CallTicket { command, attempt } in self.orphans.remove(&session).unwrap_or_default() {
            let state = self.view.get(command).map(|record| record.life.state());
            let is_left = state == Some(&State::Dispatched { session });
            if is_left && self.claims.holds(command.shard()) {
                let (reason, retry_ms) = (GONE.to_owned(), now.unix_ms);
                let intent = Intent::Fail { attempt, reason, retry_ms };
                work.push_back(Work::Write(WriteInput::Want { command, intent }));
            }
        }
    }
}

fn appended(ticket: AppendTicket, result: Result<Sequence, AppendFailure>) -> Work {
    match ticket {
        AppendTicket::Step { command, step: 0 } => {
            Work::Desk(DeskInput::Accepted { command, result })
        }
        AppendTicket::Step { command, step } => {
            Work::Write(WriteInput::Appended { command, step, result })
        }
        AppendTicket::Claim { .. } | AppendTicket::Sign => {
            let result = result.map(|_| ());
            Work::Claim(ClaimInput::Appended { ticket, result })
        }
    }
}
