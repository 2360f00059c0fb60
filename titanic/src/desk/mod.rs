//! Who asked for what, and is not answered yet.
//!
//! A request is looked at when it comes, and again whenever something becomes known of its
//! command: a step, a walk's end, a body. It is answered as soon as the view says enough, and in
//! any case before its asker's time is over.

mod accepts;
mod answer;
mod parse;
mod settle;
mod sweep;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::Sequence;
use client::command::tsp::Status;
use client::command::{CommandId, StepEvent};

use self::accepts::Accepts;
use self::answer::{Form, closed, dead, not_now, unknown};
use self::parse::{Asked, Wanted};
use self::sweep::{Swept, Task};
use crate::bodies::Bodies;
use crate::intent::Intent;
use crate::life::State;
use crate::protocol::{AppendFailure, Ask, Now, RequestTicket, Settings};
use crate::view::{View, Walked};

/// Most requests that are not answered.
pub(crate) const OPEN_MAX: usize = 16_384;
/// Most of them that wait for a reply.
pub(crate) const PARKED_MAX: usize = 8_192;
/// An answer leaves so long before its asker's time is over.
const MARGIN: Duration = Duration::from_millis(50);

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) enum DeskInput {
    Request {
        ticket: RequestTicket,
        ask: Ask,
        left: Duration,
    },
    Forget(RequestTicket),
    /// The answer to the append of a step 0.
    Accepted {
        command: CommandId,
        result: Result<Sequence, AppendFailure>,
    },
    /// The view knows more of this command.
    Changed(CommandId),
    /// All of its steps were looked at.
    Walked {
        command: CommandId,
        found: Walked,
    },
    /// One step was looked at.
    Read {
        command: CommandId,
        step: u32,
        found: Option<StepEvent>,
    },
    /// What was wanted for this command is in the log, or is moot.
    Ended {
        command: CommandId,
        intent: Intent,
        is_written: bool,
    },
    Tick,
}

/// Something to do.
#[derive(Clone, Debug)]
pub(crate) enum DeskOutput {
    Answer {
        ticket: RequestTicket,
        body: Vec<Bytes>,
    },
    /// Append a step 0.
    Append(StepEvent),
    /// Our own step 0 is committed.
    Accepted {
        sequence: Sequence,
        event: StepEvent,
    },
    /// Something for this service is about to be accepted.
    Expect(Arc<str>),
    Walk(CommandId),
    Read {
        command: CommandId,
        step: u32,
    },
    Write {
        command: CommandId,
        intent: Intent,
    },
}

/// What is known, for the machine to look at.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) view: &'a View,
    pub(crate) bodies: &'a Bodies,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Wants {
    /// The command is in the log, and is this one.
    Accepted(Asked),
    /// The reply, if it comes until then.
    Reply { until: Instant },
    /// The end of the command.
    Closed { is_writing: bool },
    /// What became of it.
    Status,
    /// Work on many.
    Swept(Swept),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Open {
    /// The one it is about, unless it is about many.
    command: Option<CommandId>,
    wants: Wants,
    form: Form,
    /// When the asker gives up.
    until: Instant,
    /// When to look at it again.
    timer: Instant,
}

/// All requests that are not answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Desk {
    settings: Settings,
    open: BTreeMap<RequestTicket, Open>,
    waiting: BTreeMap<CommandId, BTreeSet<RequestTicket>>,
    timers: BTreeSet<(Instant, RequestTicket)>,
    parked: BTreeSet<RequestTicket>,
    accepts: Accepts,
}

impl Desk {
    pub(crate) fn new(settings: Settings) -> Desk {
        Desk {
            accepts: Accepts::new(settings.session, settings.attempts),
            settings,
            open: BTreeMap::new(),
            waiting: BTreeMap::new(),
            timers: BTreeSet::new(),
            parked: BTreeSet::new(),
        }
    }

    /// When to hand in a tick.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let timer = self.timers.first().map(|(at, _)| *at);
        timer.into_iter().chain(self.accepts.deadline()).min()
    }

    /// Requests that are not answered.
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether somebody asks about this command.
    pub(crate) fn is_asked_about(&self, command: CommandId) -> bool {
        self.waiting.contains_key(&command)
    }

    /// Requests that wait for a reply.
    pub(crate) fn parked_len(&self) -> usize {
        self.parked.len()
    }

    pub(crate) fn handle(
        &mut self,
        now: Now,
        input: DeskInput,
        known: Known<'_>,
        outputs: &mut Vec<DeskOutput>,
    ) {
        match input {
            DeskInput::Request { ticket, ask, left } => {
                self.request(now, (ticket, ask, left), known, outputs);
            }
            DeskInput::Forget(ticket) => self.forget(ticket),
            DeskInput::Accepted { command, result } => {
                let is_wanted = self.is_waited_for(command);
                let outcome = self.accepts.appended(now, command, result, is_wanted);
                self.accept_outcome(command, outcome, outputs);
            }
            DeskInput::Changed(command) => self.look_again(now, command, None, known, outputs),
            DeskInput::Walked { command, found } => {
                self.look_again(now, command, Some(&found), known, outputs);
            }
            DeskInput::Read { command, step, found } => {
                self.read(now, (command, step, found), outputs);
            }
            DeskInput::Ended { command, intent, is_written } => {
                self.ended((command, &intent, is_written), known, outputs);
            }
            DeskInput::Tick => self.tick(now, known, outputs),
        }
    }

    fn request(
        &mut self,
        now: Now,
        (ticket, ask, left): (RequestTicket, Ask, Duration),
        known: Known<'_>,
        outputs: &mut Vec<DeskOutput>,
    ) {
        let form = Wanted::form(ask.door);
        if self.open.len() >= OPEN_MAX {
            let status = Status::internal("too many requests are open; ask again later");
            outputs.push(DeskOutput::Answer { ticket, body: form.status(status) });
            return;
        }
        let wanted = match parse::wanted(ask) {
            Ok(wanted) => wanted,
            Err(status) => {
                outputs.push(DeskOutput::Answer { ticket, body: form.status(status) });
                return;
            }
        };
        let until = now.instant + left.saturating_sub(MARGIN);
        let mut open = Open { command: None, wants: Wants::Status, form, until, timer: until };
        match wanted {
            Wanted::List(list) => {
                let body = vec![sweep::list(&list, known.view).encode()];
                outputs.push(DeskOutput::Answer { ticket, body });
                return;
            }
            Wanted::Requeue(requeue) => {
                let task =
                    Task::Requeue { attempts: requeue.attempts.unwrap_or(self.settings.attempts) };
                let chosen = sweep::choose(now, &requeue.which, requeue.limit, task, known.view);
                self.sweep((ticket, open), chosen, requeue.dry_run, outputs);
                return;
            }
            Wanted::Purge(purge) => {
                let task = Task::Purge;
                let chosen = sweep::choose(now, &purge.which, purge.limit, task, known.view);
                self.sweep((ticket, open), chosen, purge.dry_run, outputs);
                return;
            }
            Wanted::Accept { command, asked } => {
                outputs.push(DeskOutput::Expect(asked.target.as_str().into()));
                if let Some(event) = self.accepts.begin(now, command, &asked) {
                    outputs.push(DeskOutput::Append(event));
                }
                open.command = Some(command);
                open.wants = Wants::Accepted(asked);
                self.keep(ticket, open);
            }
            Wanted::Fetch { command, wait_ms } => {
                let wait = now.instant + Duration::from_millis(wait_ms.into());
                open.command = Some(command);
                open.wants = Wants::Reply { until: wait.min(until) };
                self.keep(ticket, open);
            }
            Wanted::Close { command } => {
                open.command = Some(command);
                open.wants = Wants::Closed { is_writing: false };
                self.keep(ticket, open);
            }
            Wanted::Status { command } => {
                open.command = Some(command);
                self.keep(ticket, open);
            }
        }
        self.look(now, ticket, None, known, outputs);
    }

    fn keep(&mut self, ticket: RequestTicket, open: Open) {
        if let Some(command) = open.command {
            self.waiting.entry(command).or_default().insert(ticket);
        }
        self.timers.insert((open.timer, ticket));
        self.open.insert(ticket, open);
    }

    fn forget(&mut self, ticket: RequestTicket) {
        let Some(open) = self.open.remove(&ticket) else {
            return;
        };
        self.timers.remove(&(open.timer, ticket));
        self.parked.remove(&ticket);
        let swept: Vec<CommandId> = match &open.wants {
            Wants::Swept(swept) => swept.commands().collect(),
            _ => Vec::new(),
        };
        for command in open.command.into_iter().chain(swept) {
            if let Some(tickets) = self.waiting.get_mut(&command) {
                tickets.remove(&ticket);
                if tickets.is_empty() {
                    self.waiting.remove(&command);
                }
            }
        }
    }

    fn answer(&mut self, ticket: RequestTicket, body: Vec<Bytes>, outputs: &mut Vec<DeskOutput>) {
        self.forget(ticket);
        outputs.push(DeskOutput::Answer { ticket, body });
    }

    fn tickets_of(&self, command: CommandId) -> Vec<RequestTicket> {
        self.waiting.get(&command).into_iter().flatten().copied().collect()
    }

    fn look_again(
        &mut self,
        now: Now,
        command: CommandId,
        walked: Option<&Walked>,
        known: Known<'_>,
        outputs: &mut Vec<DeskOutput>,
    ) {
        for ticket in self.tickets_of(command) {
            self.look(now, ticket, walked, known, outputs);
        }
    }

    /// Answers a request if that is possible, or asks for what is missing.
    fn look(
        &mut self,
        now: Now,
        ticket: RequestTicket,
        walked: Option<&Walked>,
        known: Known<'_>,
        outputs: &mut Vec<DeskOutput>,
    ) {
        let Some(Open { command: Some(command), wants, form, .. }) = self.open.get_mut(&ticket)
        else {
            return;
        };
        let (command, form) = (*command, *form);
        let record = known.view.get(command);
        let body = match (wants, record, walked) {
            (Wants::Accepted(_) | Wants::Swept(_), ..) => return,
            // Nothing is known of it here: another process may know more.
            (_, None, None) => {
                outputs.push(DeskOutput::Walk(command));
                return;
            }
            // It was closed while its steps were being looked at.
            (_, None, Some(Walked::Open(_) | Walked::Outdated)) => form.status(not_now()),
            (Wants::Closed { .. }, None, Some(Walked::Unknown | Walked::Closed(_))) => {
                form.status(Status::ok())
            }
            (_, None, Some(Walked::Unknown)) => form.status(unknown()),
            (Wants::Reply { .. }, None, Some(Walked::Closed(_))) => form.status(closed()),
            (Wants::Status, None, Some(Walked::Closed(record))) => form.info(record.info(command)),
            (Wants::Status, Some(record), _) => form.info(record.info(command)),
            (Wants::Closed { is_writing }, Some(record), _) => {
                if *record.life.state() != State::Closed {
                    if !std::mem::replace(is_writing, true) {
                        outputs.push(DeskOutput::Write { command, intent: Intent::Close });
                    }
                    return;
                }
                form.status(Status::ok())
            }
            (Wants::Reply { until }, Some(record), _) => match record.life.state() {
                State::Queued { .. } | State::Dispatched { .. } => {
                    let until = *until;
                    if until > now.instant && self.park(ticket, until) {
                        return;
                    }
                    form.status(Status::pending())
                }
                State::Replied { step } => {
                    let Some(body) = known.bodies.get(command, *step) else {
                        self.unpark(ticket);
                        outputs.push(DeskOutput::Read { command, step: *step });
                        return;
                    };
                    form.replied(body)
                }
                State::Dead => form.status(dead(record.life.reason())),
                State::Closed => form.status(closed()),
            },
        };
        self.answer(ticket, body, outputs);
    }

    /// Lets a fetch wait for the reply, if there is room.
    fn park(&mut self, ticket: RequestTicket, until: Instant) -> bool {
        let has_room = self.parked.len() < PARKED_MAX || self.parked.contains(&ticket);
        if has_room {
            self.parked.insert(ticket);
            self.set_timer(ticket, until);
        }
        has_room
    }

    /// The reply is there: what remains is reading it.
    fn unpark(&mut self, ticket: RequestTicket) {
        self.parked.remove(&ticket);
        if let Some(until) = self.open.get(&ticket).map(|open| open.until) {
            self.set_timer(ticket, until);
        }
    }

    fn set_timer(&mut self, ticket: RequestTicket, at: Instant) {
        if let Some(open) = self.open.get_mut(&ticket) {
            self.timers.remove(&(open.timer, ticket));
            open.timer = at;
            self.timers.insert((at, ticket));
        }
    }

    fn sweep(
        &mut self,
        (ticket, mut open): (RequestTicket, Open),
        swept: Swept,
        is_dry: bool,
        outputs: &mut Vec<DeskOutput>,
    ) {
        if is_dry || swept.is_done() {
            outputs.push(DeskOutput::Answer { ticket, body: vec![swept.answer().encode()] });
            return;
        }
        for (command, intent) in swept.intents() {
            self.waiting.entry(command).or_default().insert(ticket);
            outputs.push(DeskOutput::Write { command, intent });
        }
        open.wants = Wants::Swept(swept);
        self.keep(ticket, open);
    }

    fn ended(
        &mut self,
        (command, intent, is_written): (CommandId, &Intent, bool),
        known: Known<'_>,
        outputs: &mut Vec<DeskOutput>,
    ) {
        for ticket in self.tickets_of(command) {
            let Some(open) = self.open.get_mut(&ticket) else {
                continue;
            };
            let body = match &mut open.wants {
                // A moot close: it was closed otherwise.
                Wants::Closed { is_writing: true } if *intent == Intent::Close => {
                    open.form.status(Status::ok())
                }
                Wants::Swept(swept) if swept.intent() == *intent => {
                    swept.ended(command, is_written, known.view);
                    if !swept.is_done() {
                        continue;
                    }
                    vec![swept.answer().encode()]
                }
                _ => continue,
            };
            self.answer(ticket, body, outputs);
        }
    }

    fn tick(&mut self, now: Now, known: Known<'_>, outputs: &mut Vec<DeskOutput>) {
        for event in self.accepts.tick(now) {
            outputs.push(DeskOutput::Append(event));
        }
        while let Some((at, ticket)) = self.timers.first().copied()
            && at <= now.instant
        {
            self.timers.pop_first();
            let Some(open) = self.open.get(&ticket) else {
                continue;
            };
            let state =
                open.command.and_then(|id| known.view.get(id)).map(|record| record.life.state());
            let is_pending = matches!(state, Some(State::Queued { .. } | State::Dispatched { .. }));
            let body = match &open.wants {
                Wants::Reply { .. } if is_pending => open.form.status(Status::pending()),
                Wants::Swept(swept) => vec![swept.answer().encode()],
                _ => open.form.status(not_now()),
            };
            self.answer(ticket, body, outputs);
        }
    }
}

#[cfg(test)]
mod tests;
