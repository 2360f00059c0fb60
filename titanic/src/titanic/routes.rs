//! The other half of the machine: what each part wants goes to where it belongs.

use std::collections::VecDeque;

use client::ExpectedVersion;
use client::command::{CommandId, Step, StepEvent};

use super::{Titanic, Work};
use crate::claims::{ClaimInput, ClaimOutput};
use crate::desk::{DeskInput, DeskOutput, Known};
use crate::dispatcher::{DispatchInput, DispatchOutput};
use crate::intent::Intent;
use crate::life::State;
use crate::protocol::{AppendTicket, CallTicket, Now, Output};
use crate::reads::{Read, ReadInput, ReadOutput, WANTED_MAX};
use crate::record::Entry;
use crate::view::Source;
use crate::writes::{WriteInput, WriteOutput};

impl Titanic {
    pub(super) fn desk(
        &mut self,
        now: Now,
        input: DeskInput,
        work: &mut VecDeque<Work>,
        outputs: &mut Vec<Output>,
    ) {
        let mut wanted = Vec::new();
        let known = Known { view: &self.view, bodies: &self.bodies };
        self.desk.handle(now, input, known, &mut wanted);
        for output in wanted {
            match output {
                DeskOutput::Answer { ticket, body } => {
                    outputs.push(Output::Answer { ticket, body });
                }
                DeskOutput::Append(event) => outputs.push(append(event)),
                DeskOutput::Accepted { sequence, event } => {
                    if let Step::Accepted(accepted) = &event.what {
                        self.bodies.put(event.command, event.step, &accepted.body);
                    }
                    self.learn(Source::Aside, sequence, &event, work, outputs);
                }
                DeskOutput::Expect(service) => {
                    work.push_back(Work::Dispatch(DispatchInput::Expect(service)));
                }
                // Those beyond the bound are answered when their time is over.
                DeskOutput::Walk(_) | DeskOutput::Read { .. } if self.reads.len() >= WANTED_MAX => {
                }
                DeskOutput::Walk(command) => {
                    let read = Read::Walk { command, from: 0 };
                    work.push_back(Work::Read(ReadInput::Want(read)));
                }
                DeskOutput::Read { command, step } => {
                    work.push_back(Work::Read(ReadInput::Want(Read::Body { command, step })));
                }
                DeskOutput::Write { command, intent } => {
                    work.push_back(Work::Write(WriteInput::Want { command, intent }));
                }
            }
        }
    }

    pub(super) fn dispatch(
        &mut self,
        now: Now,
        input: DispatchInput,
        work: &mut VecDeque<Work>,
        outputs: &mut Vec<Output>,
    ) {
        let mut wanted = Vec::new();
        self.dispatcher.handle(now, input, &mut wanted);
        for output in wanted {
            match output {
                DispatchOutput::Write { command, intent } => {
                    work.push_back(Work::Write(WriteInput::Want { command, intent }));
                }
                DispatchOutput::Fetch(command) => match self.bodies.get(command, 0) {
                    Some(body) => {
                        let body = Some(body.clone());
                        work.push_back(Work::Dispatch(DispatchInput::Body { command, body }));
                    }
                    None => {
                        let read = Read::Body { command, step: 0 };
                        work.push_back(Work::Read(ReadInput::Want(read)));
                    }
                },
                DispatchOutput::Call(call) => outputs.push(Output::Call(call)),
                DispatchOutput::Ask(inquiry) => outputs.push(Output::Ask(inquiry)),
            }
        }
    }

    pub(super) fn write(
        &mut self,
        now: Now,
        input: WriteInput,
        work: &mut VecDeque<Work>,
        outputs: &mut Vec<Output>,
    ) {
        let mut wanted = Vec::new();
        self.writes.handle(now, input, &mut self.view, &mut wanted);
        for output in wanted {
            match output {
                WriteOutput::Append(event) => outputs.push(append(event)),
                WriteOutput::Walk { command, from } => {
                    work.push_back(Work::Read(ReadInput::Want(Read::Walk { command, from })));
                }
                WriteOutput::Learned { change, event } => {
                    if let Step::Replied { body, .. } = &event.what {
                        self.bodies.put(event.command, event.step, body);
                    }
                    self.changed(&change, work);
                }
                WriteOutput::Ended { command, intent, written } => {
                    let is_written = written.is_some();
                    work.push_back(self.ended(command, &intent, is_written));
                }
            }
        }
    }

    /// Who wanted it has to know.
    fn ended(&self, command: CommandId, intent: &Intent, is_written: bool) -> Work {
        match intent {
            Intent::Dispatch { attempt } => {
                let ticket = CallTicket { command, attempt: *attempt };
                let life = self.view.get(command).map(|record| &record.life);
                // Another process may have taken the attempt for failed before we heard that it
                // is committed.
                let ours = life.filter(|life| {
                    is_written
                        && life.attempt() == *attempt
                        && *life.state() == State::Dispatched { session: self.session }
                });
                Work::Dispatch(match ours {
                    Some(life) => {
                        DispatchInput::Dispatched { ticket, expires_ms: life.expires_ms() }
                    }
                    None => DispatchInput::Settled(ticket),
                })
            }
            Intent::Fail { attempt, .. }
            | Intent::Reply { attempt, .. }
            | Intent::Kill { attempt, .. }
            | Intent::Expire { attempt } => {
                let ticket = CallTicket { command, attempt: *attempt };
                Work::Dispatch(DispatchInput::Settled(ticket))
            }
            Intent::Close | Intent::Requeue { .. } => {
                let intent = intent.clone();
                Work::Desk(DeskInput::Ended { command, intent, is_written })
            }
        }
    }

    pub(super) fn read(
        &mut self,
        now: Now,
        input: ReadInput,
        work: &mut VecDeque<Work>,
        outputs: &mut Vec<Output>,
    ) {
        let mut wanted = Vec::new();
        self.reads.handle(now, input, &mut wanted);
        for output in wanted {
            match output {
                ReadOutput::Find(ticket) => {
                    let command = ticket.read.command();
                    let steps = ticket.from..ticket.from.saturating_add(ticket.count);
                    let ids = steps.map(|step| command.step_id(step)).collect();
                    let stream = command.shard().stream();
                    outputs.push(Output::Find { ticket, stream, ids });
                }
                ReadOutput::Done { read: Read::Body { command, step }, steps } => {
                    let found = steps.into_iter().next().map(|(_, event)| event);
                    self.body_read(command, step, found, work);
                }
                ReadOutput::Done { read: Read::Walk { command, .. }, steps } => {
                    self.walked(command, &steps, work, outputs);
                }
            }
        }
    }

    pub(super) fn claim(
        &mut self,
        now: Now,
        input: ClaimInput,
        work: &mut VecDeque<Work>,
        outputs: &mut Vec<Output>,
    ) {
        let mut wanted = Vec::new();
        self.claims.handle(now.instant, input, &mut wanted);
        for output in wanted {
            match output {
                ClaimOutput::Append { ticket, entry, expected } => {
                    outputs.push(Output::Append { ticket, entry, expected });
                }
                ClaimOutput::Held(shard) => self.held(shard, work),
                ClaimOutput::Lost(shard) => self.lost(shard, work),
                ClaimOutput::Over(session) => self.over(now, session, work),
                ClaimOutput::Left => outputs.push(Output::Stopped),
            }
        }
    }
}

fn append(event: StepEvent) -> Output {
    Output::Append {
        ticket: AppendTicket::Step { command: event.command, step: event.step },
        entry: Entry::Step(event),
        expected: ExpectedVersion::Any,
    }
}
