//! One block of a read, fetched on the reader thread.

use broker::error_code::ErrorCode;
use bytes::Bytes;

use super::schedule::{Fetch, Outcome};
use crate::event::{Direction, Epoch, EventId, Sequence, Version};
use crate::filter::Filter;
use crate::names::StreamName;
use crate::server::Identity;
use crate::server::answer::Failure;
use crate::server::append::not_leader;
use crate::server::directory::{Absent, Directory, Hosted};
use crate::server::reign::ReignState;
use crate::slot::Slot;
use crate::wire::replay::{Block, Read, ReadSource};
use crate::{FilteredQuery, IndexError, Lookup, ReadError, Reader, StreamQuery, record};

/// Fetches what comes next.
pub(super) fn fetch(directory: &Directory, identity: &Identity, fetch: &Fetch) -> Outcome {
    match attempt(directory, identity, fetch) {
        Ok(outcome) => outcome,
        Err(Stop::IndexBehind) => Outcome::IndexBehind,
        Err(Stop::Failed(failure)) => Outcome::Failed(failure),
    }
}

/// Why there is no block.
enum Stop {
    /// Part of the index is being made anew: it comes back in a while.
    IndexBehind,
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        match &error {
            ReadError::Index(IndexError::Damaged { .. }) => Self::IndexBehind,
            error => Self::Failed(Failure::from(error)),
        }
    }
}

/// What is read while the reign changes may be of either epoch, and is read again: a block never
/// has records of a later epoch than it says, nor those of a history that was left since.
fn attempt(directory: &Directory, identity: &Identity, fetch: &Fetch) -> Result<Outcome, Stop> {
    loop {
        let state = identity.state();
        let outcome = attempt_in(&state, directory, identity, fetch);
        if identity.state().epoch == state.epoch {
            return outcome;
        }
    }
}

fn attempt_in(
    state: &ReignState,
    directory: &Directory,
    identity: &Identity,
    fetch: &Fetch,
) -> Result<Outcome, Stop> {
    check_reign(state, &fetch.read)?;
    let hosted = find(directory, &fetch.read)?;
    let reader = hosted.partition.reader();
    let head = reader.head();
    check_place(&reader, (state, identity), fetch)?;
    if head < fetch.read.at_least {
        return Ok(Outcome::Behind { head });
    }
    let part = match &fetch.read.source {
        ReadSource::All => all(&reader, head, fetch)?,
        ReadSource::Stream(stream) => {
            check_slot(&hosted, stream)?;
            one_stream(&reader, stream, fetch)?
        }
        ReadSource::Ids(ids) => with_ids(&reader, ids, fetch)?,
        ReadSource::Filtered(filter) => {
            if let Filter::Stream(stream) = filter {
                check_slot(&hosted, stream)?;
            }
            filtered(&reader, filter, fetch)?
        }
    };
    let Part { block, next, end } = part;
    let block = Block {
        request: fetch.read.request,
        lineage: state.lineage,
        incarnation: state.incarnation,
        epoch: state.epoch,
        first: block.first,
        last: block.last,
        head: block.head,
        count: block.count,
        end,
        records: block.records,
    };
    Ok(Outcome::Block { block, next, end })
}

/// Whether this node may answer at all.
fn check_reign(state: &ReignState, read: &Read) -> Result<(), Failure> {
    if !state.serving {
        let sentence = "this node is not yet in step with the leader: ask the other one, or later";
        return Err(Failure::new(ErrorCode::BUSY, sentence));
    }
    // A reader that knows a later epoch may have seen records that are not here.
    if read.epoch > state.epoch || read.strong && !state.leading {
        return Err(not_leader(state));
    }
    Ok(())
}

/// Whether the reader came to its place on the history that is here: not if that went on, in an
/// epoch later than the reader's, from somewhere below. A node that merely lags says nothing.
fn check_place(
    reader: &Reader,
    (state, identity): (&ReignState, &Identity),
    fetch: &Fetch,
) -> Result<(), Stop> {
    let Read { epoch, from, .. } = fetch.read;
    let place = from.saturating_sub(1);
    let in_sequences = matches!(fetch.read.source, ReadSource::All | ReadSource::Filtered(_));
    let asks = epoch != Epoch::ZERO && fetch.is_forward() && in_sequences;
    if !asks || epoch == state.epoch || place == 0 {
        return Ok(());
    }
    let cut = reader.last_of_epoch(epoch)?;
    let head = reader.head();
    // Without a peer, all that was written in earlier epochs is here and committed.
    let settled = cut < head || identity.reign.pair().is_none();
    if place <= cut.0 || !settled {
        return Ok(());
    }
    let failure = Failure::new(
        ErrorCode::AHEAD_OF_LOG,
        "the reader has events that this history does not hold: rebuild what was made of them",
    );
    let failure = failure.number("head", head.0).number("cut", cut.0);
    Err(failure.number("epoch", state.epoch.0).into())
}

struct Part {
    block: crate::Block,
    next: u64,
    end: bool,
}

fn all(reader: &Reader, head: Sequence, fetch: &Fetch) -> Result<Part, Stop> {
    let from = match (fetch.is_forward(), fetch.read.from) {
        (true, from) => from.max(1),
        (false, 0) => head.0,
        (false, from) => from.min(head.0),
    };
    let limit = limit(fetch, from);
    if from == 0 || limit == 0 {
        return Ok(nothing(reader, fetch, from));
    }
    let bytes_max = usize::try_from(fetch.bytes_max).unwrap_or(usize::MAX);
    let block = if fetch.is_forward() {
        reader.read(Sequence(from), bytes_max)
    } else {
        reader.read_backward(Sequence(from), bytes_max)
    };
    let block = shorten(block?, limit)?;
    Ok(part(block, fetch, from, limit))
}

fn one_stream(reader: &Reader, stream: &StreamName, fetch: &Fetch) -> Result<Part, Stop> {
    let newest = reader.stream_version(stream)?;
    let newest = newest.ok_or_else(|| ReadError::StreamNotFound { stream: stream.clone() })?;
    let (direction, from) = match (fetch.is_forward(), fetch.read.from) {
        (true, from) => (Direction::Forward, from.max(1)),
        (false, 0) => (Direction::Backward, newest.0),
        (false, from) => (Direction::Backward, from.min(newest.0)),
    };
    let limit = limit(fetch, from);
    if limit == 0 || from > newest.0 {
        return Ok(nothing(reader, fetch, from));
    }
    let query = StreamQuery {
        stream: stream.clone(),
        from: Version(from),
        direction,
        count_max: u32::try_from(limit).unwrap_or(u32::MAX),
        bytes_max: usize::try_from(fetch.bytes_max).unwrap_or(usize::MAX),
    };
    let block = reader.read_stream(&query)?;
    Ok(part(block, fetch, from, limit))
}

/// Places are sequences as in a read of all, but those of the records have gaps between them.
fn filtered(reader: &Reader, filter: &Filter, fetch: &Fetch) -> Result<Part, Stop> {
    let Read { from, to, count_max, .. } = fetch.read;
    let (direction, from) = match (fetch.is_forward(), from) {
        (true, from) => (Direction::Forward, from.max(1)),
        (false, 0) => (Direction::Backward, u64::MAX),
        (false, from) => (Direction::Backward, from),
    };
    let limit = if count_max == 0 { u64::MAX } else { count_max };
    let query = FilteredQuery {
        filter: filter.clone(),
        from: Sequence(from),
        to: Sequence(to),
        direction,
        count_max: u32::try_from(limit).unwrap_or(u32::MAX),
        bytes_max: usize::try_from(fetch.bytes_max).unwrap_or(usize::MAX),
    };
    let block = reader.read_filtered(&query)?;
    let last = block.last.0;
    let next = if fetch.is_forward() { last.saturating_add(1) } else { last.saturating_sub(1) };
    let end = block.at_end || u64::from(block.count) >= limit;
    Ok(Part { block, next, end })
}

/// Places are those of the ids: whatever was looked up need not be looked up again.
fn with_ids(reader: &Reader, ids: &[EventId], fetch: &Fetch) -> Result<Part, Stop> {
    let from = fetch.read.from.max(1);
    let before = usize::try_from(from - 1).unwrap_or(usize::MAX);
    let bytes_max = usize::try_from(fetch.bytes_max).unwrap_or(usize::MAX);
    let found = reader.find(ids.get(before..).unwrap_or_default(), bytes_max);
    let Lookup { block, looked_up } = found?;
    let next = from.saturating_add(u64::try_from(looked_up).unwrap_or(u64::MAX));
    let end = block.at_end;
    Ok(Part { block, next, end })
}

/// How many records there may still be: places are gapless, so a last place is a count.
fn limit(fetch: &Fetch, from: u64) -> u64 {
    let Read { to, count_max, .. } = fetch.read;
    let places = match (fetch.is_forward(), to) {
        (_, 0) => u64::MAX,
        (true, to) if to >= from => (to - from).saturating_add(1),
        (false, to) if from >= to => (from - to).saturating_add(1),
        _ => 0,
    };
    if count_max == 0 { places } else { places.min(count_max) }
}

fn part(block: crate::Block, fetch: &Fetch, from: u64, limit: u64) -> Part {
    let count = u64::from(block.count);
    let next = if fetch.is_forward() { from + count } else { from.saturating_sub(count) };
    let end = block.at_end || count == 0 || count >= limit || next == 0;
    Part { block, next, end }
}

fn nothing(reader: &Reader, fetch: &Fetch, from: u64) -> Part {
    let (first, last) = (Sequence::ZERO, Sequence::ZERO);
    let (head, epoch) = (reader.head(), crate::event::Epoch(0));
    let records = Bytes::new();
    let block = crate::Block { records, count: 0, first, last, head, epoch, at_end: true };
    part(block, fetch, from, 0)
}

/// Cuts a block down to `limit` records.
fn shorten(mut block: crate::Block, limit: u64) -> Result<crate::Block, Failure> {
    if u64::from(block.count) <= limit {
        return Ok(block);
    }
    let (mut bytes, mut count) = (0, 0);
    for view in record::views(&block.records) {
        if u64::from(count) == limit {
            break;
        }
        let view = view.map_err(|error| {
            Failure::new(ErrorCode::CORRUPT, format!("a record cannot be decoded: {error}"))
        })?;
        bytes += view.len();
        count += 1;
        block.last = view.sequence();
    }
    block.records.truncate(bytes);
    block.count = count;
    block.at_end = false;
    Ok(block)
}

fn find(directory: &Directory, read: &Read) -> Result<Hosted, Failure> {
    directory.find(&read.store, read.partition).map_err(|absent| match absent {
        Absent::Store => Failure::new(
            ErrorCode::STORE_NOT_FOUND,
            "this process serves no store of that name: ask the broker for its topology",
        )
        .text("store", &read.store),
        Absent::Number { partitions } => Failure::new(
            ErrorCode::STALE_TOPOLOGY,
            "the store has fewer partitions: ask the broker for its topology",
        )
        .number("partitions", u64::from(partitions)),
        Absent::Elsewhere => Failure::new(
            ErrorCode::NOT_LEADER,
            "another process serves that partition: ask the broker for its topology",
        ),
    })
}

fn check_slot(hosted: &Hosted, stream: &StreamName) -> Result<(), Failure> {
    let right = Slot::of(stream).partition(hosted.partitions);
    // System streams tell about a partition and exist in each.
    if right == hosted.partition.number() || stream.is_system() {
        return Ok(());
    }
    let failure = Failure::new(
        ErrorCode::STALE_TOPOLOGY,
        "the stream belongs to another partition: ask there",
    );
    Err(failure.number("partition", u64::from(right.0)))
}
