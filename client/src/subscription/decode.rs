//! From frames and blocks to what the splice is fed: checked before anything is believed.

use std::time::Duration;

use broker::net::Frames;
use bytes::Bytes;
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
    let records = match header.kind {
        FeedKind::Records => Some(events_of(&records, span, check_signatures)?),
        FeedKind::Heartbeat => None,
    };
    if records.is_none() != (span.previous == span.last) {
        return Err(Damage::Corrupt("the kind does not fit the sequences".to_owned()));
    }
    let message = FeedMessage {
        lineage: Lineage(header.lineage),
        span,
        cut: header.cut,
        heartbeat: Duration::from_millis(u64::from(header.heartbeat_ms)),
        bytes,
        records,
    };
    Ok((topic, message))
}

/// Reads a block of a partition's history. An empty one stands at `at`.
pub(super) fn replayed_block(
    block: &Block,
    at: Sequence,
    check_signatures: bool,
) -> Result<ReplayedBlock<Vec<Event>>, Damage> {
    let (previous, last) = match block.count {
        0 => (at, at),
        _ => (Sequence(block.first.0.saturating_sub(1)), block.last),
    };
    let span = Span { epoch: block.epoch, previous, last };
    Ok(ReplayedBlock {
        lineage: Lineage(block.lineage),
        span,
        head: block.head,
        end: block.end,
        records: events_of(&block.records, span, check_signatures)?,
    })
}

/// The events of whole records that must be exactly those of the span.
fn events_of(records: &Bytes, span: Span, check_signatures: bool) -> Result<Vec<Event>, Damage> {
    let mut events: Vec<Event> = Vec::new();
    let mut last = span.previous;
    for event in record::iterate(records) {
        let event = event.map_err(|error| Damage::Corrupt(error.to_string()))?;
        if event.sequence.0 != last.0.saturating_add(1) {
            let reason = format!("sequence {} follows {last}", event.sequence);
            return Err(Damage::Corrupt(reason));
        }
        if check_signatures && !event.signature_is_valid() {
            return Err(Damage::Signature(event.sequence));
        }
        last = event.sequence;
        events.push(event);
    }
    if last != span.last {
        return Err(Damage::Corrupt(format!("records end at {last}, announced was {}", span.last)));
    }
    Ok(events)
}
