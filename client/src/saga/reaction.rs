//! One event, the saga's documents, and what it wants done.

use store::event::{Event, EventId};
use store::names::{StoreName, StreamName};
use uuid::Uuid;

use crate::command::{CommandId, NewCommand};
use crate::views::ViewBatch;

/// An event that a saga is to react to.
#[derive(Debug)]
pub struct Reaction<'a, 'b> {
    origin: Origin<'a>,
    event: &'a Event,
    views: &'a mut ViewBatch<'b>,
    commands: Vec<NewCommand>,
}

/// Whose commands they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin<'a> {
    pub(super) saga: &'a str,
    pub(super) store: &'a StoreName,
}

impl<'a, 'b> Reaction<'a, 'b> {
    pub(super) fn new(origin: Origin<'a>, event: &'a Event, views: &'a mut ViewBatch<'b>) -> Self {
        Self { origin, event, views, commands: Vec::new() }
    }

    /// What happened.
    #[must_use]
    pub fn event(&self) -> &'a Event {
        self.event
    }

    /// The saga's documents. What is written becomes visible to others together with the
    /// checkpoint, when the commands are accepted.
    pub fn views(&mut self) -> &mut ViewBatch<'b> {
        self.views
    }

    /// Has a command sent, and returns its id, under which the reply can be fetched later. An id
    /// that the command was given before is replaced.
    pub fn send(&mut self, command: NewCommand) -> CommandId {
        let id = self.origin.command_id(self.event.id, &self.event.stream, self.commands.len());
        self.commands.push(command.with_id(id));
        id
    }

    pub(super) fn into_commands(self) -> Vec<NewCommand> {
        self.commands
    }
}

impl Origin<'_> {
    /// The id of an event's command number `number`, from 0. An event's id is unique within its
    /// partition only, so store and stream belong to it.
    fn command_id(self, event: EventId, stream: &StreamName, number: usize) -> CommandId {
        let Self { saga, store } = self;
        // Names of stores and streams have no control characters, so no two lists look alike.
        let name = format!("{store}\n{stream}\n{number}\n{saga}");
        CommandId::new(Uuid::new_v5(&event.0, name.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(saga: &str, (store, stream): (&str, &str), event: u128, number: usize) -> CommandId {
        let (store, stream) = (StoreName::new(store).unwrap(), stream.try_into().unwrap());
        let event = EventId(Uuid::from_u128(event));
        Origin { saga, store: &store }.command_id(event, &stream, number)
    }

    #[test]
    fn everything_that_tells_commands_apart_is_in_the_id() {
        let one = id("billing", ("orders", "order-1"), 1, 0);
        assert_eq!(one, id("billing", ("orders", "order-1"), 1, 0));
        let others = [
            id("mailing", ("orders", "order-1"), 1, 0),
            id("billing", ("orders2", "order-1"), 1, 0),
            id("billing", ("orders", "order-2"), 1, 0),
            id("billing", ("orders", "order-1"), 2, 0),
            id("billing", ("orders", "order-1"), 1, 1),
        ];
        for (row, other) in others.iter().enumerate() {
            assert_ne!(one, *other, "row {row}");
        }
    }

    #[test]
    fn ids_do_not_change_with_the_program() {
        // What a saga of an earlier release has sent must be known again.
        let known = "A3009FBDA7C25F77BDEBA46BFAB3E109";
        assert_eq!(id("billing", ("orders", "order-1"), 1, 0).to_string(), known);
    }
}
