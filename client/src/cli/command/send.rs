//! `starlog command send`.

use bytes::Bytes;
use client::command::{BODY_BYTES_MAX, NewCommand};
use serde_json::json;

use super::{about, reply};
use crate::cli::append::read_source;
use crate::cli::failure::{Failure, Stop};
use crate::cli::flags::{SendFlags, Source};
use crate::cli::session::Session;

/// Sends a command and prints its id or, where that was asked for, its reply.
///
/// # Errors
/// [`Stop`] when the input is wrong, the command is refused or its outcome unknown, or there is no
/// reply in time.
pub fn run(session: &Session, flags: SendFlags) -> Result<(), Stop> {
    let wait = flags.wait;
    // Input is read and checked first: a mistake in it must not cost a look for a broker.
    let command = to_command(flags)?;
    let id = command.id();
    let commands = super::commands(session)?;
    // Whoever is in doubt needs the id to send the same again.
    commands.submit(command).wait().map_err(|error| about(error, id))?;
    match wait {
        None => session.printer().document(&json!({ "id": id.to_string() }), || format!("{id}\n")),
        Some(wait) => reply::print(session, id, &reply::fetch(&commands, id, wait)?),
    }
}

fn to_command(flags: SendFlags) -> Result<NewCommand, Failure> {
    let stdin = flags.body.iter().filter(|source| **source == Source::StandardInput);
    if stdin.count() > 1 {
        return Err(Failure::usage("standard input can't be several frames"));
    }
    let frame = |source: &Source| read_source(source, BODY_BYTES_MAX, "body").map(Bytes::from);
    let body = flags.body.iter().map(frame).collect::<Result<Vec<_>, _>>()?;
    let mut command = NewCommand::new(flags.service.as_str(), body);
    if let Some(id) = flags.id {
        command = command.with_id(id);
    }
    if let Some(delay) = flags.delay {
        command = command.delayed(delay);
    }
    if let Some(time_to_live) = flags.ttl {
        command = command.time_to_live(time_to_live);
    }
    if let Some(attempts) = flags.attempts {
        command = command.attempts(attempts);
    }
    Ok(command)
}
