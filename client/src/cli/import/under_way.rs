//! The appends of an import that are under way.
//!
//! Each event is an append of its own. The client puts thousands of waiting appends into one
//! message, and the store syncs once for all of them, so larger appends would gain little. And
//! they would lose much: one that overlaps with an earlier run only in part is refused as a whole,
//! while single events are found by their ids wherever the earlier run has stopped.

use std::collections::{BTreeMap, VecDeque};

use client::{AppendError, ContentType, Event, EventId, PendingAppend, StoreHandle};

use super::line::ImportLine;
use crate::cli::failure::Failure;
use crate::cli::output::json_on_one_line;

/// Most events under way: what a client coalesces into a few messages.
const EVENTS_MAX: usize = 8192;
/// Most bytes of them: what a slow disk takes well within the time that an append is given.
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most events whose ids are looked up at once.
const DISPUTED_MAX: usize = 256;

/// What became of the events so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Appended now.
    pub added: u64,
    /// There already.
    pub already_there: u64,
}

/// Appends in the order of their lines.
pub struct UnderWay<'a> {
    store: &'a StoreHandle,
    appends: VecDeque<(ImportLine, PendingAppend)>,
    bytes: usize,
    /// Events whose ids are taken, with the refusal: by themselves, if they once came in one
    /// append with others.
    disputed: Vec<(ImportLine, AppendError)>,
    counts: Counts,
}

impl<'a> UnderWay<'a> {
    /// Appends to `store`.
    pub fn new(store: &'a StoreHandle) -> Self {
        Self {
            store,
            appends: VecDeque::new(),
            bytes: 0,
            disputed: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// What is known so far.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Appends one more event, once there is room for it.
    ///
    /// # Errors
    /// [`Failure`] of an event before it.
    pub fn push(&mut self, line: ImportLine) -> Result<(), Failure> {
        let is_full = |this: &Self| {
            this.appends.len() >= EVENTS_MAX
                || (!this.appends.is_empty() && this.bytes + line.bytes() > BYTES_MAX)
        };
        while is_full(self) {
            self.settle_oldest()?;
        }
        let events = vec![line.event.clone()];
        let pending = self.store.append(line.stream.clone(), line.expected(), events);
        self.bytes += line.bytes();
        self.appends.push_back((line, pending));
        Ok(())
    }

    /// Waits for everything.
    ///
    /// # Errors
    /// The first [`Failure`]; the answers behind it are still waited for and counted, so that
    /// nothing is left in doubt that need not be.
    pub fn finish(&mut self) -> Result<(), Failure> {
        let mut first = Ok(());
        while !self.appends.is_empty() {
            first = first.and(self.settle_oldest());
        }
        first.and(self.settle_disputed())
    }

    fn settle_oldest(&mut self) -> Result<(), Failure> {
        let Some((line, pending)) = self.appends.pop_front() else { return Ok(()) };
        self.bytes -= line.bytes();
        match pending.wait() {
            Ok(receipt) if receipt.duplicate => self.counts.already_there += 1,
            Ok(_) => self.counts.added += 1,
            Err(error @ AppendError::IdReused { .. }) => {
                self.disputed.push((line, error));
                if self.disputed.len() >= DISPUTED_MAX {
                    return self.settle_disputed();
                }
            }
            Err(error) => return Err(at_line(&line, error)),
        }
        Ok(())
    }

    /// Looks up the events whose ids are taken: they are there already if what was found is what
    /// was to be imported.
    fn settle_disputed(&mut self) -> Result<(), Failure> {
        let mut of_partition: BTreeMap<u16, Vec<(ImportLine, AppendError)>> = BTreeMap::new();
        for disputed in self.disputed.drain(..) {
            let partition = self.store.partition_of(&disputed.0.stream);
            of_partition.entry(partition.0).or_default().push(disputed);
        }
        for disputed in of_partition.into_values() {
            let Some((first, _)) = disputed.first() else { continue };
            let ids: Vec<EventId> = disputed.iter().map(|(line, _)| line.event.id).collect();
            let found = self.store.find(first.stream.clone(), &ids)?;
            for ((line, refusal), found) in disputed.into_iter().zip(found) {
                if !found.is_some_and(|found| is_there(&line, &found)) {
                    return Err(at_line(&line, refusal));
                }
                self.counts.already_there += 1;
            }
        }
        Ok(())
    }
}

/// The failure of one line.
fn at_line(line: &ImportLine, error: AppendError) -> Failure {
    let mut failure = Failure::from(error).with("line", line.number);
    failure.message = format!("line {}: {}", line.number, failure.message);
    failure
}

/// Whether an event of the store is the one that the line means.
fn is_there(line: &ImportLine, found: &Event) -> bool {
    let event = &line.event;
    let as_printed = |kept: &[u8], given: &[u8]| {
        json_on_one_line(kept).is_some_and(|json| json.get().as_bytes() == given)
    };
    let is_json = event.content_type == ContentType::Json;
    found.stream == line.stream
        && line.version.is_none_or(|version| version == found.version)
        && found.event_type == event.event_type
        && found.content_type == event.content_type
        && (found.data == event.data || (is_json && as_printed(&found.data, &event.data)))
        && (found.metadata == event.metadata || as_printed(&found.metadata, &event.metadata))
}

#[cfg(test)]
mod tests {
    use client::{Epoch, NewEvent, Sequence, Signature, StreamName, Version};

    use super::*;

    fn line() -> ImportLine {
        let event = NewEvent::new("Placed".parse().unwrap(), ContentType::Json, "{ \"n\": 1}")
            .with_metadata("{}");
        let stream = StreamName::try_from("order-1").unwrap();
        ImportLine { number: 1, stream, version: Some(Version(3)), event }
    }

    fn kept(line: &ImportLine) -> Event {
        Event {
            sequence: Sequence(9),
            stream: line.stream.clone(),
            version: Version(3),
            epoch: Epoch(1),
            time_micros: 0,
            id: line.event.id,
            event_type: line.event.event_type.clone(),
            content_type: line.event.content_type,
            metadata: line.event.metadata.clone(),
            data: line.event.data.clone(),
            signature: Signature([0; 20]),
            signed_by_store: false,
            ends_append: false,
        }
    }

    #[test]
    fn an_event_is_there_if_all_that_was_printed_of_it_is_the_same() {
        let line = line();
        let same = kept(&line);
        assert!(is_there(&line, &same));
        // Line breaks between tokens are printed as spaces.
        assert!(is_there(&line, &Event { data: "{\n\"n\": 1}\n".into(), ..same.clone() }));
        let others = [
            Event { stream: StreamName::try_from("order-2").unwrap(), ..same.clone() },
            Event { version: Version(4), ..same.clone() },
            Event { event_type: "Paid".parse().unwrap(), ..same.clone() },
            Event { content_type: ContentType::Bytes, ..same.clone() },
            Event { data: "{ \"n\": 2}".into(), ..same.clone() },
            Event { metadata: "{ }".into(), ..same },
        ];
        for other in others {
            assert!(!is_there(&line, &other), "{other:?}");
        }
    }
}
