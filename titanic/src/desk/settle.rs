//! What a step that was read or committed settles: accepts, and replies that are fetched.

use client::command::tsp::Status;
use client::command::{CommandId, Step, StepEvent};

use super::accepts::AcceptOutput;
use super::{Desk, DeskOutput, Open, Wants};
use crate::protocol::{Now, RequestTicket};

impl Desk {
    pub(super) fn read(
        &mut self,
        now: Now,
        (command, step, found): (CommandId, u32, Option<StepEvent>),
        outputs: &mut Vec<DeskOutput>,
    ) {
        if step == 0 {
            let is_wanted = self.is_waited_for(command);
            let outcome = self.accepts.read(now, command, found.as_ref(), is_wanted);
            self.accept_outcome(command, outcome, outputs);
        }
        for ticket in self.tickets_of(command) {
            let Some(open) = self.open.get(&ticket) else {
                continue;
            };
            if !matches!(open.wants, Wants::Reply { .. }) || self.parked.contains(&ticket) {
                continue;
            }
            let body = match found.as_ref().map(|event| &event.what) {
                Some(Step::Replied { body, .. }) => open.form.replied(body),
                // Another step was read, for another purpose.
                Some(_) => continue,
                None if step == 0 => continue,
                None => open.form.status(Status::internal("the reply is not in the store")),
            };
            self.answer(ticket, body, outputs);
        }
    }

    pub(super) fn is_waited_for(&self, command: CommandId) -> bool {
        let accepts = |ticket: &RequestTicket| {
            matches!(self.open.get(ticket), Some(Open { wants: Wants::Accepted(_), .. }))
        };
        self.waiting.get(&command).is_some_and(|tickets| tickets.iter().any(accepts))
    }

    pub(super) fn accept_outcome(
        &mut self,
        command: CommandId,
        outcome: AcceptOutput,
        outputs: &mut Vec<DeskOutput>,
    ) {
        match outcome {
            AcceptOutput::Nothing => {}
            AcceptOutput::Read => outputs.push(DeskOutput::Read { command, step: 0 }),
            AcceptOutput::Ours { sequence, event } => {
                outputs.push(DeskOutput::Accepted { sequence, event: event.clone() });
                self.settle_accepts(&event, outputs);
            }
            AcceptOutput::Theirs(event) => self.settle_accepts(&event, outputs),
            AcceptOutput::Refused(reason) => {
                for ticket in self.accept_tickets(command) {
                    self.answer_accept(ticket, Err(Status::internal(reason.clone())), outputs);
                }
            }
        }
    }

    /// Answers all that asked for this command: it is accepted, for those who meant this one.
    fn settle_accepts(&mut self, event: &StepEvent, outputs: &mut Vec<DeskOutput>) {
        let Step::Accepted(accepted) = &event.what else {
            return;
        };
        for ticket in self.accept_tickets(event.command) {
            let describes = |open: &Open| match &open.wants {
                Wants::Accepted(asked) => asked.describes(accepted, event.at_ms),
                _ => false,
            };
            let verdict = match self.open.get(&ticket).is_some_and(describes) {
                true => Ok(event.command),
                false => Err(Status::refused("id belongs to another command")),
            };
            self.answer_accept(ticket, verdict, outputs);
        }
    }

    fn accept_tickets(&self, command: CommandId) -> Vec<RequestTicket> {
        let accepts = |ticket: &RequestTicket| {
            matches!(self.open.get(ticket), Some(Open { wants: Wants::Accepted(_), .. }))
        };
        self.tickets_of(command).into_iter().filter(accepts).collect()
    }

    fn answer_accept(
        &mut self,
        ticket: RequestTicket,
        verdict: Result<CommandId, Status>,
        outputs: &mut Vec<DeskOutput>,
    ) {
        let Some(form) = self.open.get(&ticket).map(|open| open.form) else {
            return;
        };
        let body = match verdict {
            Ok(id) => form.accepted(id),
            Err(status) => form.status(status),
        };
        self.answer(ticket, body, outputs);
    }
}
