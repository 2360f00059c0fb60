//! Attempts between their Dispatched and what came of them.

use std::time::Duration;

use bytes::Bytes;
use client::command::worker::Delivery;
use client::command::{Body, CommandId};

use super::outcome::{NotSent, Outcome, judge};
use super::service::{ASK_EVERY, Service, registered_name};
use super::{Attempt, DispatchOutput, Dispatcher, Stage};
use crate::intent::Intent;
use crate::protocol::{Call, CallFailure, CallTicket, Now};

impl Dispatcher {
    pub(super) fn call(
        &mut self,
        now: Now,
        command: CommandId,
        body: Option<Body>,
        outputs: &mut Vec<DispatchOutput>,
    ) {
        let of_command =
            CallTicket { command, attempt: 0 }..=CallTicket { command, attempt: u32::MAX };
        let fetching =
            |(_, attempt): &(&CallTicket, &mut Attempt)| attempt.stage == Stage::Fetching;
        let Some((ticket, attempt)) = self.attempts.range_mut(of_command).find(fetching) else {
            return;
        };
        let ticket = *ticket;
        let name = attempt.service.clone();
        let seat = self.services.get(&name).and_then(Service::seat);
        let Some(body) = body else {
            let reason = "the command's body is not in the store".to_owned();
            let intent = Intent::Kill { attempt: ticket.attempt, reason };
            self.record(ticket, intent, outputs);
            return;
        };
        let Some(seat) = seat.filter(|_| !self.is_stopping) else {
            attempt.stage = Stage::Waiting { from: now.instant };
            self.run(now, &name, outputs);
            return;
        };
        attempt.stage = Stage::Calling { seat };
        let mut frames = body.into_frames();
        if seat.is_aware() {
            frames.insert(0, Delivery { id: command, attempt: ticket.attempt }.encode());
        } else if frames.is_empty() {
            // Majordomo knows no request without a body.
            frames.push(Bytes::new());
        }
        let service = registered_name(&name, seat.is_aware()).into();
        let (broker, timeout) = (seat.broker, self.settings.attempt_timeout);
        let call = Call { ticket, broker, service, body: frames, timeout };
        outputs.push(DispatchOutput::Call(call));
    }

    pub(super) fn called(
        &mut self,
        now: Now,
        ticket: CallTicket,
        result: Result<Vec<Bytes>, CallFailure>,
        outputs: &mut Vec<DispatchOutput>,
    ) {
        let Some(attempt) = self.attempts.get_mut(&ticket) else {
            return;
        };
        let Stage::Calling { seat } = attempt.stage else {
            return;
        };
        let name = attempt.service.clone();
        let number = ticket.attempt;
        let intent = match judge(result, seat.is_aware()) {
            Outcome::NotSent(why) => {
                let nobody = why == NotSent::NobodyThere;
                let pause = if nobody { Duration::ZERO } else { ASK_EVERY };
                attempt.stage = Stage::Waiting { from: now.instant + pause };
                if let Some(service) = self.services.get_mut(&name).filter(|_| nobody) {
                    service.vacated(seat);
                }
                self.run(now, &name, outputs);
                return;
            }
            Outcome::Replied(body) => {
                if let Some(service) = self.services.get_mut(&name) {
                    service.confirmed(now.instant, seat);
                }
                Intent::Reply { attempt: number, body }
            }
            Outcome::Hopeless { reason } => Intent::Kill { attempt: number, reason },
            Outcome::Failed { reason, after } => {
                let pause = after.unwrap_or_else(|| self.backoff(ticket));
                let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                let retry_ms = now.unix_ms.saturating_add(pause_ms);
                Intent::Fail { attempt: number, reason, retry_ms }
            }
        };
        self.record(ticket, intent, outputs);
    }

    fn record(&mut self, ticket: CallTicket, intent: Intent, outputs: &mut Vec<DispatchOutput>) {
        if let Some(attempt) = self.attempts.get_mut(&ticket) {
            attempt.stage = Stage::Recording;
            outputs.push(DispatchOutput::Write { command: ticket.command, intent });
        }
    }

    /// Half of the attempt's pause, and a part of the other half that looks random but follows
    /// from command and attempt: what failed together does not come back together.
    pub(super) fn backoff(&self, ticket: CallTicket) -> Duration {
        let doublings = ticket.attempt.saturating_sub(1).min(20);
        let whole = self.settings.backoff.saturating_mul(1 << doublings);
        let half = whole.min(self.settings.backoff_max) / 2;
        let mut hash = crc32fast::Hasher::new();
        hash.update(ticket.command.as_bytes());
        hash.update(&ticket.attempt.to_le_bytes());
        half + half.mul_f64(f64::from(hash.finalize()) / f64::from(u32::MAX))
    }

    pub(super) fn withdraw(
        &mut self,
        now: Now,
        ticket: CallTicket,
        outputs: &mut Vec<DispatchOutput>,
    ) {
        let stage = self.attempts.get(&ticket).map(|attempt| attempt.stage);
        if let Some(Stage::Waiting { .. } | Stage::Fetching) = stage {
            self.end(now, ticket, outputs);
        }
    }

    pub(super) fn end(&mut self, now: Now, ticket: CallTicket, outputs: &mut Vec<DispatchOutput>) {
        let Some(attempt) = self.attempts.remove(&ticket) else {
            return;
        };
        if let Some(service) = self.services.get_mut(&attempt.service) {
            service.used(now.instant);
            service.attempts.remove(&ticket);
        }
        self.run(now, &attempt.service, outputs);
        if let Some(name) = self.crowded.pop_first() {
            self.run(now, &name, outputs);
        }
    }
}
