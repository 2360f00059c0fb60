//! Which of the events that a store sends are printed.

use client::{Event, EventType, ReadError};

use crate::cli::failure::Failure;

/// Events of some types, and not more than a limit of them. Stores know nothing of types, so the
/// limit is theirs to see to only where all types are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Selection<'a> {
    types: &'a [EventType],
    limit: Option<u64>,
}

impl<'a> Selection<'a> {
    /// Events of these types; of all if none is named.
    #[must_use]
    pub const fn new(types: &'a [EventType], limit: Option<u64>) -> Self {
        Self { types, limit }
    }

    /// How many events to ask a store for.
    #[must_use]
    pub fn limit_of_store(&self) -> Option<u64> {
        self.limit.filter(|_| self.types.is_empty())
    }

    /// Whether an event is of a wanted type.
    #[must_use]
    pub fn takes(&self, event: &Event) -> bool {
        self.types.is_empty() || self.types.contains(&event.event_type)
    }

    /// The events to print. Errors are passed on.
    pub fn of(
        self,
        events: impl Iterator<Item = Result<Event, ReadError>>,
    ) -> impl Iterator<Item = Result<Event, Failure>> {
        let limit = self.limit.map_or(usize::MAX, |it| usize::try_from(it).unwrap_or(usize::MAX));
        events
            .filter(move |event| event.as_ref().map_or(true, |event| self.takes(event)))
            .take(limit)
            .map(|event| event.map_err(Failure::from))
    }
}
