//! Answers, in the form in which the question came.

use bytes::Bytes;
use client::command::tsp::{self, Status};
use client::command::wire::CommandAnswer;
use client::command::{Body, CommandId, Info};

/// How somebody wants to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Form {
    /// Frames of RFC 9.
    Tsp,
    /// One map, as `titanic.command` answers.
    Map,
}

impl Form {
    pub(super) fn status(self, status: Status) -> Vec<Bytes> {
        match self {
            Form::Tsp => status.frames(),
            Form::Map => vec![CommandAnswer::new(status).encode()],
        }
    }

    pub(super) fn accepted(self, id: CommandId) -> Vec<Bytes> {
        match self {
            Form::Tsp => tsp::accepted(id),
            Form::Map => {
                let answer = CommandAnswer { id: Some(id), ..CommandAnswer::new(Status::ok()) };
                vec![answer.encode()]
            }
        }
    }

    pub(super) fn replied(self, body: &Body) -> Vec<Bytes> {
        match self {
            Form::Tsp => tsp::replied(body),
            Form::Map => {
                let body = Some(body.clone());
                vec![CommandAnswer { body, ..CommandAnswer::new(Status::ok()) }.encode()]
            }
        }
    }

    pub(super) fn info(self, info: Info) -> Vec<Bytes> {
        match self {
            Form::Tsp => Status::ok().frames(),
            Form::Map => {
                let command = Some(info);
                vec![CommandAnswer { command, ..CommandAnswer::new(Status::ok()) }.encode()]
            }
        }
    }
}

/// Text of the status for a command that was never accepted.
pub(super) fn unknown() -> Status {
    Status::refused("unknown")
}

/// Text of the status for a command that is over.
pub(super) fn closed() -> Status {
    Status::refused("closed")
}

/// Text of the status for a dead letter.
pub(super) fn dead(reason: Option<&str>) -> Status {
    Status::refused(format!("dead {}", reason.unwrap_or_default()))
}

/// For what could not be found out in time.
pub(super) fn not_now() -> Status {
    Status::internal("the store did not answer in time; ask again")
}
