//! Commands on their way to Titanic, each until it is accepted.

use std::collections::VecDeque;
use std::time::Duration;

use broker::error_code::Outcome;
use thiserror::Error;

use crate::command::{CommandError, CommandId, Commands, NewCommand};
use crate::pause::Pauses;
use crate::pending::Pending;
use crate::views::StopFlag;

/// Commands under way at a time.
const UNDER_WAY_MAX: usize = 256;
/// How long the stop flag may go unnoticed.
const WAIT: Duration = Duration::from_millis(100);

/// Why a saga's command can't be kept.
#[derive(Debug, Error)]
#[error(
    "command {id} for service {service:?} is refused: {source}; if the saga was changed since it \
     first reacted to this event, give it another name"
)]
pub struct SendError {
    /// The command.
    pub id: CommandId,
    /// Its service.
    pub service: String,
    /// What Titanic or the client says.
    pub source: CommandError,
}

/// The host was asked to stop before everything was accepted.
#[derive(Debug, Error)]
#[error("stopped before all commands were accepted")]
pub(super) struct Interrupted;

/// Why sending ended early.
#[derive(Debug, Error)]
pub(super) enum NotSent {
    #[error(transparent)]
    Refused(#[from] SendError),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// The commands of one batch.
pub(super) struct Sending<'a> {
    commands: &'a Commands,
    stop: &'a StopFlag,
    under_way: VecDeque<(NewCommand, Pending<CommandId, CommandError>)>,
    pauses: Pauses,
}

impl<'a> Sending<'a> {
    pub(super) fn new(commands: &'a Commands, stop: &'a StopFlag) -> Self {
        Self { commands, stop, under_way: VecDeque::new(), pauses: Pauses::new(0) }
    }

    /// Sends a command; waits only if too many are under way.
    pub(super) fn send(&mut self, command: NewCommand) -> Result<(), NotSent> {
        while self.under_way.len() >= UNDER_WAY_MAX {
            self.settle_oldest()?;
        }
        let pending = self.commands.submit(command.clone());
        self.under_way.push_back((command, pending));
        Ok(())
    }

    /// Waits until all are accepted.
    pub(super) fn finish(mut self) -> Result<(), NotSent> {
        while !self.under_way.is_empty() {
            self.settle_oldest()?;
        }
        Ok(())
    }

    /// Sends the oldest command again and again, under its one id, until it is accepted or refused
    /// for good. Titanic may be away for hours; then the saga waits.
    fn settle_oldest(&mut self) -> Result<(), NotSent> {
        let Some((command, mut pending)) = self.under_way.pop_front() else { return Ok(()) };
        loop {
            if self.stop.is_stopped() {
                return Err(Interrupted.into());
            }
            match pending.wait_timeout(WAIT) {
                None => {}
                Some(Ok(_)) => {
                    self.pauses.reset();
                    return Ok(());
                }
                Some(Err(error)) if error.retry() || error.outcome() == Outcome::Unknown => {
                    log::warn!("command {} is not accepted yet: {error}", command.id());
                    std::thread::sleep(self.pauses.next());
                    pending = self.commands.submit(command.clone());
                }
                Some(Err(source)) => {
                    let (id, service) = (command.id(), command.service().to_owned());
                    return Err(SendError { id, service, source }.into());
                }
            }
        }
    }
}
