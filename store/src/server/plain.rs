//! Bounded reads for ordinary Majordomo clients.

use broker::error_code::ErrorCode;
use bytes::Bytes;

use super::answer::Failure;
use crate::event::Direction;
use crate::event::Version;
use crate::wire::plain::{PlainEvent, PlainEvents, PlainRead};
use crate::{Reader, StreamQuery};

/// Most record bytes in one answer, unless a single record is larger.
const BYTES_MAX: usize = 1024 * 1024;

/// Reads a stream; the map to answer with, which may be an error.
pub(super) fn read(reader: &Reader, read: &PlainRead) -> Bytes {
    match events(reader, read) {
        Ok(map) => map,
        Err(failure) => failure.plain(),
    }
}

fn events(reader: &Reader, read: &PlainRead) -> Result<Bytes, Failure> {
    let failed = |error| Failure::from(&error);
    let newest = reader.stream_version(&read.stream).map_err(failed)?;
    let newest = newest
        .ok_or_else(|| failed(crate::ReadError::StreamNotFound { stream: read.stream.clone() }))?;
    let (direction, from) = match (read.backward, read.from) {
        (false, from) => (Direction::Forward, from.unwrap_or(Version(1))),
        (true, from) => (Direction::Backward, from.unwrap_or(newest).min(newest)),
    };
    let query = StreamQuery {
        stream: read.stream.clone(),
        from,
        direction,
        count_max: read.limit,
        bytes_max: BYTES_MAX,
    };
    let block = reader.read_stream(&query).map_err(failed)?;
    let mut events = Vec::new();
    for event in block.events() {
        let event = event.map_err(|error| {
            Failure::new(ErrorCode::CORRUPT, format!("a record cannot be decoded: {error}"))
        })?;
        events.push(PlainEvent::from(&event));
    }
    let answer = PlainEvents { events, head: block.head.0, end: block.at_end };
    answer
        .encode()
        .map(Bytes::from)
        .map_err(|error| Failure::new(ErrorCode::INTERNAL, error.to_string()))
}
