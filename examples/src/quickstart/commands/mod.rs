//! Commands that nobody is there for, and what becomes of them.
//!
//! ```text
//!   send ──> Titanic ──> (no worker)        all accepted, half of them before
//!     kill -9 of Titanic and of the broker, both started again
//!   worker comes ──> dispatch ──> replies   collected, each fetched again later
//!     kill -9 of Titanic in the middle, started again
//!   close ──> nothing is open any more
//! ```

mod report;
mod worker;

use std::time::Duration;

use broker::{error_code::Outcome, mdp::WorkerError};
use bytes::Bytes;
use client::{
    Pending,
    command::{CommandError, CommandId, CommandReply, Commands, NewCommand},
};
use thiserror::Error;

pub use self::report::CommandReport;
use self::worker::{SERVICE, Warehouse, packed};
use crate::{
    clock::Deadline,
    faults::Target,
    process::ProcessError,
    quickstart::progress::Progress,
    topology::{Titanic, Topology, TopologyError},
};

/// Commands to send.
const COMMANDS: usize = 300;
/// Replies collected when Titanic is killed for the second time.
const REPLIES_BEFORE_KILL: usize = 20;
/// How long anything of this may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long one question for a reply waits.
const FETCH_WAIT: Duration = Duration::from_secs(2);
/// Pause after an answer that may be another one soon.
const PAUSE: Duration = Duration::from_millis(20);

/// Why the step did not come to a report.
#[derive(Debug, Error)]
pub enum CommandsError {
    /// A child process.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// Titanic itself.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A command was refused.
    #[error("a command: {0}")]
    Command(#[from] CommandError),
    /// The worker.
    #[error("the worker of the commands: {0}")]
    Worker(#[from] WorkerError),
    /// The worker's thread.
    #[error("the worker of the commands panicked")]
    Panicked,
}

/// A command that was accepted, and what it was about.
#[derive(Debug)]
struct Sent {
    id: CommandId,
    parcel: String,
}

/// Sends commands, kills what they depend on, collects the replies and closes. Titanic still runs.
///
/// # Errors
/// [`CommandsError`] if it does not come to a report; a report may still tell of failures.
pub fn run(
    topology: &mut Topology,
    progress: &Progress,
) -> Result<(CommandReport, Titanic), CommandsError> {
    progress.say("starting Titanic, and sending commands to a service without a worker");
    let mut titanic = topology.start_titanic()?;
    let commands = topology.client().commands();
    let sent = send_and_kill(&commands, (topology, &mut titanic), progress)?;
    progress.say("  the worker comes");
    let warehouse = Warehouse::default();
    let endpoint = topology.endpoint().clone();
    let mut report = std::thread::scope(|scope| {
        let working = scope.spawn(|| warehouse.work(&endpoint));
        let collected = collect(&commands, &sent, &mut titanic, progress);
        warehouse.close();
        working.join().map_err(|_| CommandsError::Panicked)??;
        collected
    })?;
    report.repeated = warehouse.repeated();
    topology.check_alive()?;
    titanic.check_alive()?;
    Ok((report, titanic))
}

/// Sends everything; when half of it is accepted, Titanic and broker are killed.
fn send_and_kill(
    commands: &Commands,
    (topology, titanic): (&mut Topology, &mut Titanic),
    progress: &Progress,
) -> Result<Vec<Sent>, CommandsError> {
    let mut sent = Vec::with_capacity(COMMANDS);
    let mut under_way = Vec::with_capacity(COMMANDS);
    for number in 1..=COMMANDS {
        let parcel = format!("parcel {number}");
        let body = vec![Bytes::from(parcel.clone())];
        let command = NewCommand::new(SERVICE, body);
        sent.push(Sent { id: command.id(), parcel });
        under_way.push((command.clone(), commands.submit(command)));
        if number == COMMANDS / 2 {
            accept(commands, &mut under_way)?;
            progress.say("  kill -9 of Titanic and of broker 1");
            titanic.kill()?;
            topology.kill(Target::Broker(0))?;
        }
    }
    topology.restart(Target::Broker(0))?;
    titanic.restart(PATIENCE)?;
    progress.say("  both started again");
    accept(commands, &mut under_way)?;
    Ok(sent)
}

type UnderWay = Vec<(NewCommand, Pending<CommandId, CommandError>)>;

/// Waits until all are accepted. What is in doubt is sent again: its id keeps it from being two.
fn accept(commands: &Commands, under_way: &mut UnderWay) -> Result<(), CommandsError> {
    let deadline = Deadline::after(PATIENCE);
    for (command, mut pending) in under_way.drain(..) {
        while let Err(error) = pending.wait() {
            if !may_pass(&error) || deadline.passed() {
                return Err(error.into());
            }
            std::thread::sleep(PAUSE);
            pending = commands.submit(command.clone());
        }
    }
    Ok(())
}

fn may_pass(error: &CommandError) -> bool {
    error.retry() || error.outcome() == Outcome::Unknown
}

/// Fetches all replies, with a kill of Titanic among them, fetches them again, and closes.
fn collect(
    commands: &Commands,
    sent: &[Sent],
    titanic: &mut Titanic,
    progress: &Progress,
) -> Result<CommandReport, CommandsError> {
    let mut report = CommandReport { accepted: sent.len(), ..CommandReport::default() };
    let deadline = Deadline::after(PATIENCE);
    let mut replies = Vec::with_capacity(sent.len());
    for (index, Sent { id, parcel }) in sent.iter().enumerate() {
        if index == REPLIES_BEFORE_KILL {
            progress.say("  kill -9 of Titanic while it works");
            titanic.kill()?;
            titanic.restart(PATIENCE)?;
        }
        let reply = fetch(commands, *id, deadline)?;
        match &reply {
            Some(frames) if *frames == [packed(parcel.as_bytes())] => report.replies += 1,
            Some(_) => report.wrong += 1,
            None => {}
        }
        replies.push(reply);
    }
    for (Sent { id, .. }, reply) in sent.iter().zip(&replies) {
        if reply.is_some() && fetch(commands, *id, deadline)? != *reply {
            report.changed += 1;
        }
    }
    for Sent { id, .. } in sent {
        repeated(deadline, || commands.close(*id))?;
        let after = repeated(deadline, || match commands.reply(*id, Duration::ZERO) {
            Err(CommandError::Closed { .. }) => Ok(true),
            other => other.map(|_| false),
        });
        report.open += usize::from(!after?);
    }
    Ok(report)
}

/// The reply to a command, if there is one in time.
fn fetch(
    commands: &Commands,
    id: CommandId,
    deadline: Deadline,
) -> Result<Option<Vec<Bytes>>, CommandError> {
    loop {
        match repeated(deadline, || commands.reply(id, FETCH_WAIT))? {
            CommandReply::Done(frames) => return Ok(Some(frames)),
            CommandReply::Pending if deadline.passed() => return Ok(None),
            CommandReply::Pending => {}
        }
    }
}

/// Does something harmless until its failure is not one that passes.
fn repeated<T>(
    deadline: Deadline,
    attempt: impl Fn() -> Result<T, CommandError>,
) -> Result<T, CommandError> {
    loop {
        match attempt() {
            Err(error) if may_pass(&error) && !deadline.passed() => std::thread::sleep(PAUSE),
            ended => return ended,
        }
    }
}
