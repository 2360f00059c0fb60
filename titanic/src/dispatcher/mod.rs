//! Sends what is due: a queue per service, attempts under way, pauses, and where workers are.
//!
//! ```text
//!  queued in a shard of ours        one attempt
//! ──────────────────────> due ──> Writing ──> Waiting ──> Fetching ──> Calling ──> Recording ──>
//!                                    │ Dispatched  ^ for a    body       │  what came of it   over
//!                                    │ committed   │ worker              │  is committed
//!                                    v             └─────────────────────┘
//!                                   moot             it reached no worker
//! ```
//!
//! A service has its own queue and its own limit, so a dead or slow one holds up no other. Nothing
//! is begun for a service without a worker, so that no attempt is spent. What the log says about a
//! command is the view's business; the dispatcher is told what to queue, and what became of what
//! it wanted to be written.

mod attempts;
mod outcome;
mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::command::{Body, CommandId};

use self::service::{ASK_EVERY, Seat, Service, registered_name, seat_of};
use crate::intent::Intent;
use crate::protocol::{Call, CallFailure, CallTicket, Inquiry, Now, Settings};

/// Most questions to brokers that are not answered; services take turns.
const ASKS_MAX: usize = 256;
/// Longest sleep until something is due, in case the clock of the system is put forward.
const SLEEP_MAX: Duration = Duration::from_secs(10);

/// A command that waits to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) command: CommandId,
    pub(crate) service: Arc<str>,
    /// The attempt that comes next, from 1.
    pub(crate) attempt: u32,
    pub(crate) due_ms: u64,
    /// 0: never.
    pub(crate) expires_ms: u64,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) enum DispatchInput {
    /// This waits, in a shard of ours.
    Queue(Waiting),
    /// It waits no more, or its shard is not ours any more.
    Unqueue {
        command: CommandId,
        service: Arc<str>,
        due_ms: u64,
        expires_ms: u64,
    },
    /// Something for this service is about to be accepted.
    Expect(Arc<str>),
    /// Our own Dispatched is committed.
    Dispatched {
        ticket: CallTicket,
        expires_ms: u64,
    },
    /// This attempt is not ours to make any more. If it is with a worker, its reply still counts.
    Withdrawn(CallTicket),
    /// The body to send, if it could be found.
    Body {
        command: CommandId,
        body: Option<Body>,
    },
    Called {
        ticket: CallTicket,
        result: Result<Vec<Bytes>, CallFailure>,
    },
    /// What was wanted for this attempt is in the log, or is moot.
    Settled(CallTicket),
    Presence {
        broker: usize,
        service: Arc<str>,
        present: Option<bool>,
    },
    BrokerUp(usize),
    BrokerDown(usize),
    /// Begin nothing new.
    Stop,
    Tick,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DispatchOutput {
    Write {
        command: CommandId,
        intent: Intent,
    },
    /// Hand in the command's body.
    Fetch(CommandId),
    Call(Call),
    Ask(Inquiry),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    /// Its Dispatched is on its way to the log.
    Writing,
    /// It may be sent, then.
    Waiting { from: Instant },
    /// Its body is being read.
    Fetching,
    /// A worker has it.
    Calling { seat: Seat },
    /// What came of it is on its way to the log.
    Recording,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Attempt {
    service: Arc<str>,
    stage: Stage,
    expires_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Expiry {
    service: Arc<str>,
    due_ms: u64,
    /// The newest attempt.
    attempt: u32,
}

/// All that is to be sent by this process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Dispatcher {
    settings: Settings,
    services: BTreeMap<Arc<str>, Service>,
    attempts: BTreeMap<CallTicket, Attempt>,
    /// What of the waiting ones has an end.
    expiries: BTreeMap<(u64, CommandId), Expiry>,
    /// When to look at a service again.
    agenda: BTreeSet<(Instant, Arc<str>)>,
    /// Services that wait for room under the limit of all.
    crowded: BTreeSet<Arc<str>>,
    brokers: BTreeSet<usize>,
    asking: usize,
    expiry_at: Option<Instant>,
    is_stopping: bool,
}

impl Dispatcher {
    pub(crate) fn new(settings: Settings) -> Dispatcher {
        Dispatcher {
            settings,
            services: BTreeMap::new(),
            attempts: BTreeMap::new(),
            expiries: BTreeMap::new(),
            agenda: BTreeSet::new(),
            crowded: BTreeSet::new(),
            brokers: BTreeSet::new(),
            asking: 0,
            expiry_at: None,
            is_stopping: false,
        }
    }

    /// When to hand in a tick.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let agenda = self.agenda.first().map(|(at, _)| *at);
        agenda.into_iter().chain(self.expiry_at).min()
    }

    /// Attempts under way.
    pub(crate) fn under_way(&self) -> usize {
        self.attempts.len()
    }

    /// Whether some attempt is with a worker, or what came of it is not in the log yet.
    pub(crate) fn is_calling(&self) -> bool {
        let matters = |stage| matches!(stage, Stage::Calling { .. } | Stage::Recording);
        self.attempts.values().any(|attempt| matters(attempt.stage))
    }

    pub(crate) fn handle(
        &mut self,
        now: Now,
        input: DispatchInput,
        outputs: &mut Vec<DispatchOutput>,
    ) {
        match input {
            DispatchInput::Queue(waiting) => self.queue(now, waiting, outputs),
            DispatchInput::Unqueue { command, service, due_ms, expires_ms } => {
                self.expiries.remove(&(expires_ms, command));
                if let Some(known) = self.services.get_mut(&service) {
                    known.due.remove(&(due_ms, command));
                }
            }
            DispatchInput::Expect(service) => self.expect(now, &service, outputs),
            DispatchInput::Dispatched { ticket, expires_ms } => {
                if let Some(attempt) = self.attempts.get_mut(&ticket)
                    && attempt.stage == Stage::Writing
                {
                    attempt.expires_ms = expires_ms;
                    attempt.stage = Stage::Waiting { from: now.instant };
                    let service = attempt.service.clone();
                    self.run(now, &service, outputs);
                }
            }
            DispatchInput::Withdrawn(ticket) => self.withdraw(now, ticket, outputs),
            DispatchInput::Body { command, body } => self.call(now, command, body, outputs),
            DispatchInput::Called { ticket, result } => {
                self.called(now, ticket, result, outputs);
            }
            DispatchInput::Settled(ticket) => self.end(now, ticket, outputs),
            DispatchInput::Presence { broker, service, present } => {
                self.asking = self.asking.saturating_sub(1);
                let (name, seat) = seat_of(&service, broker);
                if let Some((name, service)) = self.known(name) {
                    service.answered(now.instant, seat, present);
                    self.run(now, &name, outputs);
                }
            }
            DispatchInput::BrokerUp(broker) => {
                self.brokers.insert(broker);
            }
            DispatchInput::BrokerDown(broker) => {
                self.brokers.remove(&broker);
                self.services.values_mut().for_each(|service| service.broker_down(broker));
            }
            DispatchInput::Stop => self.stop(),
            DispatchInput::Tick => self.tick(now, outputs),
        }
        self.expiry_at = self.expiries.first_key_value().map(|((at_ms, _), _)| at(now, *at_ms));
    }

    fn known(&mut self, name: &str) -> Option<(Arc<str>, &mut Service)> {
        let (name, _) = self.services.get_key_value(name)?;
        let name = name.clone();
        self.services.get_mut(&name).map(|service| (name, service))
    }

    fn queue(&mut self, now: Now, waiting: Waiting, outputs: &mut Vec<DispatchOutput>) {
        let Waiting { command, service, attempt, due_ms, expires_ms } = waiting;
        if expires_ms > 0 {
            let newest = attempt.saturating_sub(1);
            let expiry = Expiry { service: service.clone(), due_ms, attempt: newest };
            self.expiries.insert((expires_ms, command), expiry);
        }
        let known =
            self.services.entry(service.clone()).or_insert_with(|| Service::new(now.instant));
        known.used(now.instant);
        known.due.insert((due_ms, command), attempt);
        self.expire(now, outputs);
        self.run(now, &service, outputs);
    }

    /// Learns where workers are while the accept is on its way to the disk.
    fn expect(&mut self, now: Now, name: &Arc<str>, outputs: &mut Vec<DispatchOutput>) {
        let every = self.ask_every();
        let service =
            self.services.entry(name.clone()).or_insert_with(|| Service::new(now.instant));
        service.used(now.instant);
        if service.should_ask(now.instant, every) {
            self.ask(now, name, outputs);
        }
        self.run(now, name, outputs);
    }

    fn tick(&mut self, now: Now, outputs: &mut Vec<DispatchOutput>) {
        self.expire(now, outputs);
        while let Some((at, _)) = self.agenda.first()
            && *at <= now.instant
            && let Some((_, name)) = self.agenda.pop_first()
        {
            if let Some(service) = self.services.get_mut(&name) {
                service.wake = None;
                if service.forgotten_at().is_some_and(|at| at <= now.instant) {
                    self.services.remove(&name);
                    continue;
                }
            }
            self.run(now, &name, outputs);
        }
    }

    /// Gives up what has waited for too long.
    fn expire(&mut self, now: Now, outputs: &mut Vec<DispatchOutput>) {
        while let Some(((at_ms, _), _)) = self.expiries.first_key_value()
            && *at_ms <= now.unix_ms
            && !self.is_stopping
            && let Some(((_, command), expiry)) = self.expiries.pop_first()
        {
            if let Some(service) = self.services.get_mut(&expiry.service) {
                service.due.remove(&(expiry.due_ms, command));
            }
            let intent = Intent::Expire { attempt: expiry.attempt };
            outputs.push(DispatchOutput::Write { command, intent });
        }
    }

    /// Does for a service what can be done now, and notes when to look again.
    fn run(&mut self, now: Now, name: &Arc<str>, outputs: &mut Vec<DispatchOutput>) {
        self.send_waiting(now, name, outputs);
        self.begin_due(now, name, outputs);
        let every = self.ask_every();
        let Some(service) = self.services.get(name) else {
            return;
        };
        let wants = |ticket| match self.attempts.get(ticket).map(|attempt| attempt.stage) {
            Some(Stage::Waiting { from }) => Some(from),
            _ => None,
        };
        let resend = service.attempts.iter().filter_map(wants).min();
        let has_room = service.attempts.len() < self.settings.in_flight;
        let next = service.due.first_key_value().filter(|_| has_room && !self.is_stopping);
        let next = next.map(|((due_ms, _), _)| at(now, *due_ms));
        let work = resend.into_iter().chain(next).min();
        if work.is_some_and(|at| at <= now.instant) && service.should_ask(now.instant, every) {
            self.ask(now, name, outputs);
        }
        self.plan(now, name, work);
    }

    fn plan(&mut self, now: Now, name: &Arc<str>, work: Option<Instant>) {
        let every = self.ask_every();
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        let is_crowded = self.crowded.contains(name);
        let wake = match work {
            Some(at) if at > now.instant => Some(at),
            // What is due waits for a worker, or for room.
            Some(_) if is_crowded => None,
            Some(_) => Some(service.asks_again(now.instant, every)),
            None => service.forgotten_at(),
        };
        if let Some(before) = std::mem::replace(&mut service.wake, wake) {
            self.agenda.remove(&(before, name.clone()));
        }
        if let Some(at) = wake {
            self.agenda.insert((at, name.clone()));
        }
    }

    /// Attempts that are committed and reached no worker yet.
    fn send_waiting(&mut self, now: Now, name: &Arc<str>, outputs: &mut Vec<DispatchOutput>) {
        let Some(service) = self.services.get(name) else {
            return;
        };
        let is_there = service.seat().is_some();
        for ticket in &service.attempts {
            let Some(attempt) = self.attempts.get_mut(ticket) else {
                continue;
            };
            let Stage::Waiting { from } = attempt.stage else {
                continue;
            };
            if attempt.expires_ms > 0 && attempt.expires_ms <= now.unix_ms {
                attempt.stage = Stage::Recording;
                let intent = Intent::Expire { attempt: ticket.attempt };
                outputs.push(DispatchOutput::Write { command: ticket.command, intent });
            } else if is_there && from <= now.instant && !self.is_stopping {
                attempt.stage = Stage::Fetching;
                outputs.push(DispatchOutput::Fetch(ticket.command));
            }
        }
    }

    /// Begins new attempts.
    fn begin_due(&mut self, now: Now, name: &Arc<str>, outputs: &mut Vec<DispatchOutput>) {
        let Some(service) = self.services.get_mut(name).filter(|_| !self.is_stopping) else {
            return;
        };
        if service.seat().is_none() {
            return;
        }
        let room = self.settings.in_flight.saturating_sub(service.attempts.len());
        let due = service.due.range(..=(now.unix_ms, CommandId::new(uuid::Uuid::max())));
        let ticket = |((due_ms, command), attempt): (&(u64, CommandId), &u32)| {
            (*due_ms, CallTicket { command: *command, attempt: *attempt })
        };
        // An attempt whose fate is not settled yet keeps its place in the queue.
        let begins = due.map(ticket).filter(|(_, ticket)| !service.attempts.contains(ticket));
        let begins: Vec<(u64, CallTicket)> = begins.take(room).collect();
        for (due_ms, ticket) in begins {
            if self.attempts.len() >= self.settings.in_flight_total {
                self.crowded.insert(name.clone());
                return;
            }
            service.used(now.instant);
            service.due.remove(&(due_ms, ticket.command));
            service.attempts.insert(ticket);
            let attempt = Attempt { service: name.clone(), stage: Stage::Writing, expires_ms: 0 };
            self.attempts.insert(ticket, attempt);
            let intent = Intent::Dispatch { attempt: ticket.attempt };
            outputs.push(DispatchOutput::Write { command: ticket.command, intent });
        }
    }

    /// The more services there are, the less often each is asked for.
    fn ask_every(&self) -> Duration {
        let crowds = u32::try_from(self.services.len() / ASKS_MAX).unwrap_or(u32::MAX);
        ASK_EVERY.saturating_mul(crowds.saturating_add(1))
    }

    fn ask(&mut self, now: Now, name: &Arc<str>, outputs: &mut Vec<DispatchOutput>) {
        let questions = 2 * self.brokers.len();
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        if self.asking + questions > ASKS_MAX.max(questions) {
            // It is another's turn.
            service.asks(now.instant, 0);
            return;
        }
        self.asking += questions;
        service.asks(now.instant, questions);
        for broker in &self.brokers {
            for is_aware in [true, false] {
                let service = registered_name(name, is_aware).into();
                outputs.push(DispatchOutput::Ask(Inquiry { broker: *broker, service }));
            }
        }
    }

    fn stop(&mut self) {
        self.is_stopping = true;
        self.expiries.clear();
        self.services.values_mut().for_each(|service| service.due.clear());
    }
}

/// A Unix time on the other clock.
fn at(now: Now, unix_ms: u64) -> Instant {
    let wait = Duration::from_millis(unix_ms.saturating_sub(now.unix_ms));
    now.instant + wait.min(SLEEP_MAX)
}

#[cfg(test)]
mod tests;
