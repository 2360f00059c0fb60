//! `starlog command requeue` and `purge`: many commands at once, or a look at which they would be.

use std::time::Duration;

use client::command::wire::{CommandState, Purge, Requeue, Selection};
use client::command::{CommandId, Swept};
use serde::Serialize;

use super::info::{self, InfoLine};
use crate::cli::failure::{Failure, Stop};
use crate::cli::flags::{PurgeFlags, RequeueFlags};
use crate::cli::session::Session;

/// Gives dead commands new attempts.
///
/// # Errors
/// [`Stop`] when Titanic does not answer or refuses.
pub fn requeue(session: &Session, flags: RequeueFlags) -> Result<(), Stop> {
    let RequeueFlags { ids, dead, sweep, attempts } = flags;
    let state = dead.then_some(CommandState::Dead);
    let which = selection(ids, state, (sweep.service, Duration::ZERO));
    let (limit, dry_run) = (sweep.limit, sweep.dry_run);
    let requeue = Requeue { which, limit, dry_run, attempts };
    let swept = super::commands(session)?.requeue(&requeue).map_err(Failure::from)?;
    print(session, &swept, dry_run, "requeued")
}

/// Closes commands.
///
/// # Errors
/// [`Stop`] when Titanic does not answer or refuses.
pub fn purge(session: &Session, flags: PurgeFlags) -> Result<(), Stop> {
    let PurgeFlags { ids, state, older, sweep } = flags;
    let state = state.map(CommandState::from);
    let which = selection(ids, state, (sweep.service, older.unwrap_or_default()));
    let (limit, dry_run) = (sweep.limit, sweep.dry_run);
    let purge = Purge { which, limit, dry_run };
    let swept = super::commands(session)?.purge(&purge).map_err(Failure::from)?;
    print(session, &swept, dry_run, "closed")
}

/// All in a state or, where none was named, those with these ids.
fn selection(
    ids: Vec<CommandId>,
    state: Option<CommandState>,
    (service, older): (Option<String>, Duration),
) -> Selection {
    let older_ms = u64::try_from(older.as_millis()).unwrap_or(u64::MAX);
    match state {
        Some(state) => Selection::Matching { state, service, older_ms },
        None => Selection::Ids(ids),
    }
}

/// What was done, or would be.
#[derive(Debug, Serialize)]
struct SweptLine {
    dry_run: bool,
    matched: u32,
    done: u32,
    commands: Vec<InfoLine>,
}

fn print(session: &Session, swept: &Swept, dry_run: bool, done: &str) -> Result<(), Stop> {
    let line = SweptLine {
        dry_run,
        matched: swept.matched,
        done: swept.done,
        commands: swept.commands.iter().map(InfoLine::new).collect(),
    };
    session.printer().document(&line, || {
        let summary = match dry_run {
            true => format!("{} would be {done}\n", line.matched),
            false => format!("{} of {} {done}\n", line.done, line.matched),
        };
        match line.commands.is_empty() {
            true => summary,
            false => format!("{}{summary}", info::table(&line.commands)),
        }
    })
}
