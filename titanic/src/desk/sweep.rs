//! Requests about many commands: list, requeue, purge.

use std::collections::BTreeSet;

use client::command::tsp::Status;
use client::command::wire::{CommandAnswer, LIMIT_MAX, List, Selection};
use client::command::{CommandId, CommandState, Info};

use crate::intent::Intent;
use crate::life::State;
use crate::protocol::Now;
use crate::view::{Record, View};

/// Most commands that a list looks at; the next one goes on where it ended.
const LOOKED_AT_MAX: usize = 20_000;

/// What is done to each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Task {
    Requeue { attempts: u32 },
    Purge,
}

/// Work on many commands, as far as it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Swept {
    task: Task,
    left: BTreeSet<CommandId>,
    infos: Vec<Info>,
    done: u32,
}

impl Swept {
    pub(super) fn is_done(&self) -> bool {
        self.left.is_empty()
    }

    /// The commands it is about.
    pub(super) fn commands(&self) -> impl Iterator<Item = CommandId> {
        self.infos.iter().map(|info| info.id)
    }

    /// What is wanted for each.
    pub(super) fn intent(&self) -> Intent {
        match self.task {
            Task::Requeue { attempts } => Intent::Requeue { attempts, expires_ms: 0 },
            Task::Purge => Intent::Close,
        }
    }

    /// What to write.
    pub(super) fn intents(&self) -> Vec<(CommandId, Intent)> {
        self.left.iter().map(|id| (*id, self.intent())).collect()
    }

    pub(super) fn ended(&mut self, command: CommandId, is_written: bool, view: &View) {
        if !self.left.remove(&command) {
            return;
        }
        self.done += u32::from(is_written);
        let info = self.infos.iter_mut().find(|info| info.id == command);
        match (info, view.get(command)) {
            (Some(info), Some(record)) => *info = record.info(command),
            // It left the view because it is closed.
            (Some(info), None) => info.state = CommandState::Closed,
            (None, _) => {}
        }
    }

    pub(super) fn answer(&self) -> CommandAnswer {
        CommandAnswer {
            matched: u32::try_from(self.infos.len()).unwrap_or(u32::MAX),
            done: self.done,
            commands: self.infos.clone(),
            ..CommandAnswer::new(Status::ok())
        }
    }
}

/// Which commands a requeue or purge is about.
pub(super) fn choose(now: Now, which: &Selection, limit: u32, task: Task, view: &View) -> Swept {
    let is_possible = |record: &Record| match task {
        Task::Requeue { .. } => *record.life.state() == State::Dead,
        Task::Purge => *record.life.state() != State::Closed,
    };
    let info = |(id, record): (CommandId, &Record)| record.info(id);
    let limit = usize::try_from(limit.min(LIMIT_MAX)).unwrap_or_default();
    let infos: Vec<Info> = match which {
        Selection::Ids(ids) => {
            let ids: BTreeSet<CommandId> = ids.iter().copied().collect();
            let known = ids.into_iter().filter_map(|id| Some((id, view.get(id)?)));
            known.filter(|(_, record)| is_possible(record)).take(limit).map(info).collect()
        }
        Selection::Matching { state, service, older_ms } => {
            let fits = |(_, record): &(CommandId, &Record)| {
                let age_ms = now.unix_ms.saturating_sub(record.life.accepted_ms());
                is_possible(record)
                    && matches(record, Some(*state), service.as_deref())
                    && age_ms >= *older_ms
            };
            match state {
                CommandState::Dead => view.dead().filter(fits).take(limit).map(info).collect(),
                _ => view.after(None).filter(fits).take(limit).map(info).collect(),
            }
        }
    };
    let left = infos.iter().map(|info| info.id).collect();
    Swept { task, left, infos, done: 0 }
}

/// Some of the commands, and where to go on.
pub(super) fn list(list: &List, view: &View) -> CommandAnswer {
    let limit = usize::try_from(list.limit.clamp(1, LIMIT_MAX)).unwrap_or_default();
    let mut answer = CommandAnswer::new(Status::ok());
    for (looked_at, (id, record)) in view.after(list.after).enumerate() {
        if answer.commands.len() >= limit || looked_at >= LOOKED_AT_MAX {
            return answer;
        }
        answer.next = Some(id);
        if matches(record, list.state, list.service.as_deref()) {
            answer.commands.push(record.info(id));
        }
    }
    answer.next = None;
    answer
}

fn matches(record: &Record, state: Option<CommandState>, service: Option<&str>) -> bool {
    state.is_none_or(|state| record.life.state().told() == state)
        && service.is_none_or(|service| *record.service == *service)
}
