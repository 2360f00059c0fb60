//! `starlog command`: commands that Titanic keeps until they are closed.

mod info;
mod reply;
mod send;
mod sweep;

use client::command::wire::{CommandState, List};
use client::command::{CommandId, Commands};
use serde::Serialize;
use serde_json::json;

use self::info::InfoLine;
use crate::cli::failure::{Failure, Stop};
use crate::cli::flags::{CloseFlags, CommandVerb, DeadFlags, Format, ListFlags};
use crate::cli::session::Session;

/// Most commands that Titanic lists in one answer.
const PAGE: u32 = 1000;

/// Runs the command.
///
/// # Errors
/// [`Stop`] when Titanic does not answer or refuses.
pub fn run(session: &Session, verb: CommandVerb) -> Result<(), Stop> {
    match verb {
        CommandVerb::Send(flags) => send::run(session, flags),
        CommandVerb::Status(flags) => status(session, flags.id),
        CommandVerb::Reply(flags) => reply::run(session, &flags),
        CommandVerb::Close(flags) => close(session, &flags),
        CommandVerb::List(flags) => list(session, Wanted::from(flags)),
        CommandVerb::Dead(flags) => list(session, Wanted::from(flags)),
        CommandVerb::Requeue(flags) => sweep::requeue(session, flags),
        CommandVerb::Purge(flags) => sweep::purge(session, flags),
    }
}

fn commands(session: &Session) -> Result<Commands, Failure> {
    Ok(session.connect()?.commands())
}

fn status(session: &Session, id: CommandId) -> Result<(), Stop> {
    let info = commands(session)?.status(id).map_err(|error| about(error, id))?;
    let line = InfoLine::new(&info);
    session.printer().document(&line, || info::table([&line]))
}

fn close(session: &Session, flags: &CloseFlags) -> Result<(), Stop> {
    let commands = commands(session)?;
    for id in &flags.ids {
        commands.close(*id).map_err(|error| about(error, *id))?;
        let line = json!({ "id": id.to_string(), "state": CommandState::Closed.as_str() });
        session.printer().document(&line, || format!("{id} is closed\n"))?;
    }
    Ok(())
}

/// A failure that names the command.
fn about(error: impl Into<Failure>, id: CommandId) -> Failure {
    error.into().with("id", id.to_string())
}

/// Which commands are to be listed.
struct Wanted {
    state: Option<CommandState>,
    service: Option<String>,
    limit: u32,
}

impl From<ListFlags> for Wanted {
    fn from(flags: ListFlags) -> Self {
        let state = flags.state.map(CommandState::from);
        Self { state, service: flags.service, limit: flags.limit }
    }
}

impl From<DeadFlags> for Wanted {
    fn from(flags: DeadFlags) -> Self {
        Self { state: Some(CommandState::Dead), service: flags.service, limit: flags.limit }
    }
}

/// A list of commands as it is printed.
#[derive(Debug, Serialize)]
struct ListLine {
    commands: Vec<InfoLine>,
    /// Whether the limit left some out.
    more: bool,
}

fn list(session: &Session, wanted: Wanted) -> Result<(), Stop> {
    let commands = commands(session)?;
    let mut list = ListLine { commands: Vec::new(), more: false };
    let (mut left, mut after) = (wanted.limit, None);
    while left > 0 {
        let limit = left.min(PAGE);
        let (state, service) = (wanted.state, wanted.service.clone());
        let page = List { state, service, after, limit };
        let listed = commands.list(&page).map_err(Failure::from)?;
        left -= limit;
        list.commands.extend(listed.commands.iter().map(InfoLine::new));
        after = listed.next;
        list.more = after.is_some();
        if after.is_none() {
            break;
        }
    }
    print_list(session, &list)
}

fn print_list(session: &Session, list: &ListLine) -> Result<(), Stop> {
    let mut printer = session.printer();
    if session.format == Format::Ndjson {
        return list.commands.iter().try_for_each(|line| printer.document(line, String::new));
    }
    printer.document(list, || {
        let more = if list.more { "there are more: raise --limit\n" } else { "" };
        format!("{}{more}", info::table(&list.commands))
    })
}
