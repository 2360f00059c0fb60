//! What an application does with commands.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::error::CommandError;
use super::id::CommandId;
use super::new_command::NewCommand;
use super::tsp::{self, StatusCode};
use super::wire::{CommandAnswer, CommandRequest, Info, List, Purge, Requeue, WAIT_MS_MAX};
use crate::call::CallError;
use crate::client::Client;
use crate::pending::{Pending, pending};

/// Longest wait that one request asks for; a longer one takes several.
const WAIT_STEP: Duration = Duration::from_secs(60);

/// Titanic's commands, through any of its processes. Cheap to clone; many threads can use one.
///
/// ```no_run
/// use std::time::Duration;
///
/// use client::Client;
/// use client::command::{CommandReply, NewCommand};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let commands = Client::connect(["tcp://127.0.0.1:7400"])?.commands();
/// let command = NewCommand::new("mailer", vec!["to: ann".into()]);
/// let id = commands.submit(command).wait()?;
/// // Any time later, from anywhere:
/// if let CommandReply::Done(frames) = commands.reply(id, Duration::from_secs(5))? {
///     println!("{frames:?}");
///     commands.close(id)?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Commands {
    client: Client,
}

/// What there is for a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandReply {
    /// The worker's reply. It can be fetched again until the command is closed.
    Done(Vec<Bytes>),
    /// None yet.
    Pending,
}

/// Some commands, in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// How each is.
    pub commands: Vec<Info>,
    /// Where the list goes on, if it does: [`List::after`] of the next question.
    pub next: Option<CommandId>,
}

/// What a requeue or purge found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swept {
    /// How many commands it is about.
    pub matched: u32,
    /// For how many it was done; none in a dry run.
    pub done: u32,
    /// The commands.
    pub commands: Vec<Info>,
}

impl Commands {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Hands a command over. The id comes back once Titanic has it for good: committed at the
    /// durability level of its store.
    ///
    /// After an error the same command can be sent again, as often as it takes: it has its id, so
    /// it is one command.
    pub fn submit(&self, command: NewCommand) -> Pending<CommandId, CommandError> {
        let submit = match command.submit() {
            Ok(submit) => submit,
            Err(error) => return Pending::ready(Err(error)),
        };
        self.ask(&CommandRequest::Submit(submit), Duration::ZERO, |answer| {
            accepted(answer)?
                .id
                .ok_or_else(|| CommandError::Malformed("a command without an id".to_owned()))
        })
    }

    /// The reply to a command; waits at most `wait` for it to come.
    ///
    /// # Errors
    /// [`CommandError`]; `Unknown`, `Closed` and `Dead` say that none will come.
    pub fn reply(&self, id: CommandId, wait: Duration) -> Result<CommandReply, CommandError> {
        let until = clock() + wait;
        loop {
            let left = until.saturating_duration_since(clock());
            let reply = self.pending_reply(id, left).wait()?;
            if reply != CommandReply::Pending || left <= WAIT_STEP {
                return Ok(reply);
            }
        }
    }

    /// The reply to a command, without blocking: the answer comes when the reply does, or when
    /// `wait` (at most a minute) is over.
    pub fn pending_reply(
        &self,
        id: CommandId,
        wait: Duration,
    ) -> Pending<CommandReply, CommandError> {
        let wait = wait.min(WAIT_STEP);
        let wait_ms = u32::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(WAIT_MS_MAX);
        self.ask(&CommandRequest::Reply { id, wait_ms }, wait, move |answer| {
            match answer.status.code {
                StatusCode::Pending => Ok(CommandReply::Pending),
                _ => {
                    let body = about(id, answer)?.body.unwrap_or_default();
                    Ok(CommandReply::Done(body.into_frames()))
                }
            }
        })
    }

    /// Ends a command, whether it has a reply or not. Ending what is unknown or over is no error.
    ///
    /// # Errors
    /// [`CommandError`] when it is not known to be over.
    pub fn close(&self, id: CommandId) -> Result<(), CommandError> {
        let request = CommandRequest::Close { id };
        self.ask(&request, Duration::ZERO, move |answer| about(id, answer).map(|_| ())).wait()
    }

    /// How a command is.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn status(&self, id: CommandId) -> Result<Info, CommandError> {
        let request = CommandRequest::Status { id };
        let read = move |answer| {
            let info = about(id, answer)?.command;
            info.ok_or_else(|| CommandError::Malformed("a status without a command".to_owned()))
        };
        self.ask(&request, Duration::ZERO, read).wait()
    }

    /// Many commands that are not closed, in the order of their ids.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn list(&self, list: &List) -> Result<Listed, CommandError> {
        let read = |answer| {
            let CommandAnswer { commands, next, .. } = accepted(answer)?;
            Ok(Listed { commands, next })
        };
        self.ask(&CommandRequest::List(list.clone()), Duration::ZERO, read).wait()
    }

    /// Tries dead commands again.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn requeue(&self, requeue: &Requeue) -> Result<Swept, CommandError> {
        self.ask(&CommandRequest::Requeue(requeue.clone()), Duration::ZERO, swept).wait()
    }

    /// Ends many commands.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn purge(&self, purge: &Purge) -> Result<Swept, CommandError> {
        self.ask(&CommandRequest::Purge(purge.clone()), Duration::ZERO, swept).wait()
    }

    /// Asks any Titanic. Every request may come twice, so it is repeated as needed.
    fn ask<T, R>(
        &self,
        request: &CommandRequest,
        wait: Duration,
        read: R,
    ) -> Pending<T, CommandError>
    where
        T: Clone + Send + 'static,
        R: FnOnce(CommandAnswer) -> Result<T, CommandError> + Send + 'static,
    {
        let frame = match request.encode() {
            Ok(frame) => frame,
            Err(error) => {
                return Pending::ready(Err(CommandError::InvalidArgument(error.to_string())));
            }
        };
        let timeout = self.client.config().request_timeout + wait;
        let (promise, answer) = pending(|| CommandError::Call(CallError::abandoned()));
        let call = self.client.call(tsp::COMMAND, vec![frame], timeout);
        call.on_ready(move |reply| {
            promise.fulfil(reply.map_err(CommandError::Call).and_then(|frames| match &frames[..] {
                [frame] => match CommandAnswer::decode(frame) {
                    Ok(answer) => read(answer),
                    Err(error) => Err(CommandError::Malformed(error.to_string())),
                },
                _ => Err(CommandError::Malformed(format!("{} frames", frames.len()))),
            }))
        });
        answer
    }
}

/// An answer that is a yes.
fn accepted(answer: CommandAnswer) -> Result<CommandAnswer, CommandError> {
    let text = answer.status.text.clone();
    match answer.status.code {
        StatusCode::Ok => Ok(answer),
        StatusCode::Unknown => Err(CommandError::Refused { text }),
        StatusCode::Internal => Err(CommandError::Internal { text }),
        StatusCode::Pending => Err(CommandError::Malformed("300".to_owned())),
    }
}

/// An answer about one command, which may say that there is none.
fn about(id: CommandId, answer: CommandAnswer) -> Result<CommandAnswer, CommandError> {
    if answer.status.code == StatusCode::Unknown {
        let text = answer.status.text.as_str();
        return Err(match text.split_once(' ').unwrap_or((text, "")) {
            ("unknown", _) => CommandError::Unknown { id },
            ("closed", _) => CommandError::Closed { id },
            ("dead", reason) => CommandError::Dead { id, reason: reason.to_owned() },
            _ => CommandError::Refused { text: text.to_owned() },
        });
    }
    accepted(answer)
}

fn swept(answer: CommandAnswer) -> Result<Swept, CommandError> {
    let CommandAnswer { matched, done, commands, .. } = accepted(answer)?;
    Ok(Swept { matched, done, commands })
}

#[expect(clippy::disallowed_methods, reason = "a caller's own waiting reads the clock")]
fn clock() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::super::tsp::Status;
    use super::*;

    #[test]
    fn statuses_become_errors() {
        let id = CommandId::generate();
        let rows = [
            (Status::ok(), None),
            (Status::refused("unknown"), Some(CommandError::Unknown { id })),
            (Status::refused("closed"), Some(CommandError::Closed { id })),
            (Status::refused("dead"), Some(CommandError::Dead { id, reason: String::new() })),
            (
                Status::refused("dead no such account"),
                Some(CommandError::Dead { id, reason: "no such account".to_owned() }),
            ),
            (
                Status::refused("id belongs to another command"),
                Some(CommandError::Refused { text: "id belongs to another command".to_owned() }),
            ),
            (
                Status::internal("the store does not answer"),
                Some(CommandError::Internal { text: "the store does not answer".to_owned() }),
            ),
            (Status::pending(), Some(CommandError::Malformed("300".to_owned()))),
        ];
        for (status, error) in rows {
            let answer = CommandAnswer::new(status.clone());
            assert_eq!(about(id, answer).err(), error, "{status}");
        }
        assert!(CommandError::Internal { text: String::new() }.retry());
        assert!(!CommandError::Closed { id }.retry());
    }
}
