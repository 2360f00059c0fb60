//! From frames and blocks to what the splice is fed: checked before anything is believed.

use std::time::Duration;

use broker::net::Frames;
use bytes::Bytes;
use store::Filter;
use store::event::{Event, Sequence};
use store::record;
use store::wire::feed::{FeedHeader, FeedKind, Topic};
use store::wire::replay::Block;

use super::splice::{FeedMessage, ReplayedBlock};
use crate::gap::Span;
use crate::position::Lineage;

/// Why a message is not what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Damage {
    /// Not a message of the protocol, a wrong checksum, or other sequences than announced.
    Corrupt(String),
    /// An event is not what was signed.
    Signature(Sequence),
}

/// Reads a feed message: which topic, and what.
pub(super) fn feed_message(
    frames: Frames,
    check_signatures: bool,
) -> Result<(Topic, FeedMessage<Vec<Event>>), Damage> {
    let mut frames = frames.into_iter();
    let (Some(topic), Some(header)) = (frames.next(), frames.next()) else {
        return Err(Damage::Corrupt("frames are missing".to_owned()));
    };
    let topic = Topic::decode(&topic).map_err(|error| Damage::Corrupt(error.to_string()))?;
    let header = FeedHeader::decode(header).map_err(|error| Damage::Corrupt(error.to_string()))?;
    let records = frames.next().unwrap_or_default();
    let bytes = records.len();
    let span = Span { epoch: header.epoch, previous: header.previous, last: header.last };
    let expected = Expected { filter: topic.filter.as_ref(), check_signatures };
    let records = match header.kind {
        FeedKind::Records => Some(expected.events(&records, header.count, span)?),
        FeedKind::Heartbeat => None,
    };
    let first = records.as_ref().map(|events| events.first().map(|event| event.sequence));
    let fits = match first {
        Some(first) => first.is_some(),
        None if topic.filter.is_some() => span.previous <= span.last,
        None => span.previous == span.last,
    };
    if !fits {
        return Err(Damage::Corrupt("the kind does not fit the sequences".to_owned()));
    }
    let message = FeedMessage {
        lineage: Lineage(header.lineage),
        span,
        cut: header.cut,
        heartbeat: Duration::from_millis(u64::from(header.heartbeat_ms)),
        first: first.flatten().unwrap_or_default(),
        bytes,
        records,
    };
    Ok((topic, message))
}

/// Reads a block of a partition's history, or of a filter's. What comes before it was covered up
/// to `at`.
pub(super) fn replayed_block(
    block: &Block,
    at: Sequence,
    expected: Expected<'_>,
) -> Result<ReplayedBlock<Vec<Event>>, Damage> {
    let (previous, last) = match (block.count, expected.filter) {
        (0, _) => (at, at),
        (_, Some(_)) => (at, block.last),
        (_, None) => (Sequence(block.first.0.saturating_sub(1)), block.last),
    };
    let announced = Span { epoch: block.epoch, previous, last };
    let records = expected.events(&block.records, block.count, announced)?;
    let span = match expected.filter {
        // At the end everything up to the head was looked at.
        Some(_) if block.end => Span { last: last.max(block.head), ..announced },
        _ => announced,
    };
    let (lineage, head, end) = (Lineage(block.lineage), block.head, block.end);
    Ok(ReplayedBlock { lineage, span, head, end, records })
}

/// Which events may come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    /// Some of the partition's, or all of them.
    pub(super) filter: Option<&'a Filter>,
    pub(super) check_signatures: bool,
}

impl Expected<'_> {
    /// The events of whole records: each sequence of the span, or as many as were announced that
    /// the filter takes.
    fn events(self, records: &Bytes, count: u32, span: Span) -> Result<Vec<Event>, Damage> {
        let mut events: Vec<Event> = Vec::new();
        let mut last = span.previous;
        for event in record::iterate(records) {
            let event = event.map_err(|error| Damage::Corrupt(error.to_string()))?;
            self.check(&event, last)?;
            last = event.sequence;
            events.push(event);
        }
        let complete = match self.filter {
            Some(_) => last <= span.last && u32::try_from(events.len()) == Ok(count),
            None => last == span.last,
        };
        if !complete {
            let reason = format!("records end at {last}, announced was {}", span.last);
            return Err(Damage::Corrupt(reason));
        }
        Ok(events)
    }

    fn check(self, event: &Event, last: Sequence) -> Result<(), Damage> {
        let follows = match self.filter {
            Some(_) => event.sequence > last,
            None => event.sequence.0 == last.0.saturating_add(1),
        };
        if !follows {
            let reason = format!("sequence {} follows {last}", event.sequence);
            return Err(Damage::Corrupt(reason));
        }
        if self.filter.is_some_and(|filter| !filter.takes(&event.stream)) {
            let reason = format!("an event of stream {} was not asked for", event.stream);
            return Err(Damage::Corrupt(reason));
        }
        match self.check_signatures && !event.signature_is_valid() {
            true => Err(Damage::Signature(event.sequence)),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
