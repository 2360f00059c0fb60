//! What a request says: hostile bytes become what somebody wants, or a refusal.

use client::command::tsp::{self, Status};
use client::command::wire::{CommandRequest, List, Purge, Requeue, Submit};
use client::command::{Accepted, Body, CommandId, Target};
use uuid::Uuid;

use super::answer::Form;
use crate::protocol::{Ask, Door, RequestKey};

/// What somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Accept { command: CommandId, asked: Asked },
    Fetch { command: CommandId, wait_ms: u32 },
    Close { command: CommandId },
    Status { command: CommandId },
    List(List),
    Requeue(Requeue),
    Purge(Purge),
}

/// A command as its sender describes it. Times stay as they were said, so that the same
/// description can be recognised later.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    pub(super) target: Target,
    body: Body,
    not_before_ms: Option<u64>,
    delay_ms: Option<u64>,
    ttl_ms: Option<u64>,
    attempts: Option<u32>,
}

impl Asked {
    fn plain(target: Target, body: Body) -> Asked {
        let (not_before_ms, delay_ms, ttl_ms, attempts) = (None, None, None, None);
        Asked { target, body, not_before_ms, delay_ms, ttl_ms, attempts }
    }

    /// What is kept of it if it is accepted now.
    pub(super) fn accepted(&self, now_ms: u64, attempts: u32) -> Accepted {
        Accepted {
            target: self.target.clone(),
            body: self.body.clone(),
            not_before_ms: self.not_before(now_ms),
            expires_ms: self.ttl_ms.map_or(0, |ttl_ms| now_ms.saturating_add(ttl_ms)),
            attempts_max: self.attempts.unwrap_or(attempts).max(1),
        }
    }

    /// Whether the sender of this would have got that if it had been accepted at `at_ms`. What the
    /// sender left open fits whatever was chosen then.
    pub(super) fn describes(&self, accepted: &Accepted, at_ms: u64) -> bool {
        self.accepted(at_ms, accepted.attempts_max) == *accepted
    }

    fn not_before(&self, now_ms: u64) -> u64 {
        let delayed = self.delay_ms.map_or(0, |delay_ms| now_ms.saturating_add(delay_ms));
        self.not_before_ms.unwrap_or_default().max(delayed)
    }
}

/// Reads a request.
pub(super) fn wanted(ask: Ask) -> Result<Wanted, Status> {
    let Ask { door, body, key } = ask;
    let refuse = |error: tsp::TspError| error.status();
    match door {
        Door::Request => {
            let (target, body) = tsp::decode_request(body).map_err(refuse)?;
            Ok(Wanted::Accept { command: derived(door, key), asked: Asked::plain(target, body) })
        }
        Door::Reply => {
            let command = tsp::decode_id(&body).map_err(refuse)?;
            Ok(Wanted::Fetch { command, wait_ms: 0 })
        }
        Door::Close => {
            let command = tsp::decode_id(&body).map_err(refuse)?;
            Ok(Wanted::Close { command })
        }
        Door::Command => {
            let [frame] = body.as_slice() else {
                return Err(Status::refused("send one frame: a MessagePack map"));
            };
            let request = CommandRequest::decode(frame)
                .map_err(|error| Status::refused(error.to_string()))?;
            Ok(of_command(request, key))
        }
    }
}

fn of_command(request: CommandRequest, key: RequestKey) -> Wanted {
    match request {
        CommandRequest::Submit(submit) => {
            let command = submit.id.unwrap_or_else(|| derived(Door::Command, key));
            let Submit { target, body, not_before_ms, delay_ms, ttl_ms, attempts, .. } = submit;
            let asked = Asked { target, body, not_before_ms, delay_ms, ttl_ms, attempts };
            Wanted::Accept { command, asked }
        }
        CommandRequest::Reply { id, wait_ms } => Wanted::Fetch { command: id, wait_ms },
        CommandRequest::Close { id } => Wanted::Close { command: id },
        CommandRequest::Status { id } => Wanted::Status { command: id },
        CommandRequest::List(list) => Wanted::List(list),
        CommandRequest::Requeue(requeue) => Wanted::Requeue(requeue),
        CommandRequest::Purge(purge) => Wanted::Purge(purge),
    }
}

/// The id of a command whose sender gave none: the same request makes the same one.
fn derived(door: Door, key: RequestKey) -> CommandId {
    let session = Uuid::from_bytes(key.session.0);
    CommandId::derived(session, &format!("{} {}", door.service(), key.number))
}

impl Wanted {
    pub(super) fn form(door: Door) -> Form {
        if door == Door::Command { Form::Map } else { Form::Tsp }
    }
}
