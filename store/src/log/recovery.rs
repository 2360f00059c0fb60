//! Making a partition's folder valid when it is opened.
//!
//! Sealed segments are believed by header and footer; those that the index lacks, and the open
//! one, are walked record by record. What the walk of the open segment ends at decides:
//!
//! | at the end of the records | verdict |
//! |---|---|
//! | zeros, nothing behind | the end of the log |
//! | no whole record, or an append without its end; nothing whole behind | torn tail: cut |
//! | the same, whole records behind, none of all says that it was committed | torn tail: cut |
//! | the same, but a record or the last close says that it was committed | damage: refuse |
//! | a whole record that continues another history | damage: refuse |
//!
//! Cutting keeps the bytes aside in `torn/` before it overwrites them with zeros, and a crash at
//! any point of it leads to the same verdict again. Nothing is ever skipped or started empty.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::appender::{LogEnd, Place, seal};
use super::control::Control;
use super::cut::finish_cut;
use super::disk::{DiskFile, OpenMode};
use super::durable::{create_folder, put_file, remove_if_there, write_zeros};
use super::error::OpenError;
use super::parked::{ParkedSummary, parked_in};
use super::promise::Promise;
use super::scan::{Scanned, Stop, Walk, look_behind, walk};
use super::segment::{
    OpenSegment, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SEGMENT_FOOTER_BYTES, SEGMENT_HEADER_BYTES,
    SegmentFooter, SegmentHeader, seal_bytes, segment_in_name, segment_path, to_usize,
};
use super::segments::Sealed;
use super::spare::SPARE_NAME;
use crate::event::{Epoch, Sequence};
use crate::index::{Index, IndexEntry, IndexPlace, SealedSegment};

const TORN_DIR: &str = "torn";
/// Folder of the index within the partition's.
pub(crate) const INDEX_DIR: &str = "index";
/// Sealed segments whose index may wait for the background thread.
const UNINDEXED_MAX: usize = 1;

/// A valid log.
pub(crate) struct Recovered {
    /// Ascending.
    pub(crate) sealed: Vec<Sealed>,
    /// Its records are durable.
    pub(crate) open: OpenSegment,
    /// Where the log ends.
    pub(crate) end: LogEnd,
    /// Covers every record.
    pub(crate) index: Index,
    /// Sealed segments that still need a run of the index, by their first sequence.
    pub(crate) unindexed: Vec<Sequence>,
    /// Bytes that were cut off the end and kept aside.
    pub(crate) torn_bytes: u64,
    /// Up to here (inclusive) promise and open segment say that it is committed and with every
    /// node that must have it.
    pub(crate) held: Sequence,
    /// The promise says that records are no evidence.
    pub(crate) doubtful: bool,
    /// What was cut off on purpose and kept aside.
    pub(crate) parked: ParkedSummary,
}

/// A segment file that was opened and whose header fits its name and partition.
struct Candidate {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    header: SegmentHeader,
}

/// Opens the log of a partition.
///
/// # Errors
/// [`OpenError`]: nothing was changed then, but for a torn tail that may have been cut.
pub(crate) fn recover(
    place: &Place,
    control: &Control,
    epoch: Epoch,
) -> Result<Recovered, OpenError> {
    let disk = &*place.disk;
    finish_cut(place)?;
    let spare = place.dir.join(SPARE_NAME);
    let promise = Promise::read(disk, &place.dir, place.partition_id)?;
    let mut candidates = open_candidates(place, control)?;
    let last = candidates
        .pop()
        .ok_or_else(|| OpenError::Missing { path: segment_path(&place.dir, control.first) })?;
    if let Some(newest) = candidates.last() {
        // A killed process may have left its footer in the page cache only; once the segment after
        // it has records, a power loss must not take that footer.
        newest.file.sync().map_err(OpenError::io(&newest.path))?;
    }
    let (sealed, mut unsealed) = check_sealed(&candidates, &last)?;
    let (index, mut unindexed) = open_index(place, &sealed)?;
    let mut filler = Filler { index: &index, files: &candidates };
    filler.fill(&sealed, &mut unindexed)?;
    let mut sealed = sealed;
    if let Some(candidate) = unsealed.take() {
        let start = end_before(&sealed, &candidate.header);
        let finished = finish_seal(candidate, start, &last, &index)?;
        unindexed.push(finished.footer.first);
        sealed.push(finished);
    }
    let start = end_before(&sealed, &last.header);
    let tail = Tail { place, start, index: &index, epoch, promise };
    let TailEnd { open, end, torn_bytes, held } = tail.recover(last)?;
    remove_if_there(disk, &spare).map_err(OpenError::io(&spare))?;
    let parked = parked_in(disk, &place.dir).map_err(OpenError::io(&place.dir))?;
    let doubtful = !promise.records_count;
    Ok(Recovered { sealed, open, end, index, unindexed, torn_bytes, held, doubtful, parked })
}

/// All segment files in order, each with a header that belongs here.
fn open_candidates(place: &Place, control: &Control) -> Result<Vec<Candidate>, OpenError> {
    let names = place.disk.list(&place.dir).map_err(OpenError::io(&place.dir))?;
    let mut candidates = Vec::new();
    for first in names.iter().filter_map(|name| segment_in_name(name)) {
        candidates.push(open_candidate(place, first)?);
    }
    match candidates.first() {
        Some(oldest) if oldest.header.first != control.first => {
            Err(OpenError::Missing { path: segment_path(&place.dir, control.first) })
        }
        _ => Ok(candidates),
    }
}

fn open_candidate(place: &Place, first: Sequence) -> Result<Candidate, OpenError> {
    let path = segment_path(&place.dir, first);
    let io = || OpenError::io(&path);
    let damaged = |reason: &str| corrupt(&path, 0, first, reason);
    let file = place.disk.open(&path, OpenMode::Write).map_err(io())?;
    let mut block = vec![0; to_usize(SEGMENT_HEADER_BYTES)];
    let read = file.read_at(&mut block, 0).map_err(io())?;
    let header = SegmentHeader::decode(block.get(..read).unwrap_or_default()).map_err(|error| {
        match OpenError::block(&path, 0)(error) {
            OpenError::Corrupt { .. } => damaged("the segment's header is not what was written"),
            other => other,
        }
    })?;
    if header.partition_id != place.partition_id {
        return Err(damaged("the segment belongs to another partition"));
    }
    if header.first != first {
        return Err(damaged("the segment has the name of another one"));
    }
    let length = file.len().map_err(io())?;
    if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&header.segment_bytes)
        || length != u64::from(header.segment_bytes)
    {
        let reason = format!("{length} bytes long instead of {}", header.segment_bytes);
        return Err(damaged(&reason));
    }
    Ok(Candidate { path, file: Arc::from(file), header })
}

/// Checks that all segments but the last are sealed and continue each other. The newest of them
/// may lack its footer if the last one has no record yet: a crash between the two.
fn check_sealed<'a>(
    candidates: &'a [Candidate],
    last: &Candidate,
) -> Result<(Vec<Sealed>, Option<&'a Candidate>), OpenError> {
    let mut sealed: Vec<Sealed> = Vec::with_capacity(candidates.len());
    for (place, candidate) in candidates.iter().enumerate() {
        continues(&sealed, candidate)?;
        let footer = read_footer(candidate)?;
        match footer.filter(|footer| footer_fits(footer, &candidate.header)) {
            Some(footer) => {
                sealed.push(Sealed { footer, segment_bytes: candidate.header.segment_bytes });
            }
            None if place + 1 == candidates.len() && is_empty(last)? => {
                return Ok((sealed, Some(candidate)));
            }
            None => {
                let at = u64::from(candidate.header.segment_bytes - SEGMENT_FOOTER_BYTES);
                let first = candidate.header.first;
                let reason = "the footer of a sealed segment is not what was written";
                return Err(corrupt(&candidate.path, at, first, reason));
            }
        }
    }
    continues(&sealed, last)?;
    if read_footer(last)?.is_some_and(|footer| footer_fits(&footer, &last.header)) {
        // A segment is sealed only after its successor is there.
        let reason = "the segment is sealed, so the one after it is missing";
        return Err(corrupt(&last.path, 0, last.header.first, reason));
    }
    Ok((sealed, None))
}

fn continues(sealed: &[Sealed], candidate: &Candidate) -> Result<(), OpenError> {
    let Some(before) = sealed.last() else { return Ok(()) };
    let header = &candidate.header;
    if header.first != before.footer.last.next() {
        let expected = before.footer.last.next();
        let reason = format!("the segment that starts with sequence {expected} is missing");
        return Err(corrupt(&candidate.path, 0, expected, &reason));
    }
    if header.chain != before.footer.chain {
        let reason = "the segment continues another history than the one before it";
        return Err(corrupt(&candidate.path, 0, header.first, reason));
    }
    Ok(())
}

fn read_footer(candidate: &Candidate) -> Result<Option<SegmentFooter>, OpenError> {
    let mut block = vec![0; to_usize(SEGMENT_FOOTER_BYTES)];
    let at = u64::from(candidate.header.segment_bytes - SEGMENT_FOOTER_BYTES);
    candidate.file.read_at(&mut block, at).map_err(OpenError::io(&candidate.path))?;
    Ok(SegmentFooter::decode(&block).ok())
}

pub(crate) fn footer_fits(footer: &SegmentFooter, header: &SegmentHeader) -> bool {
    let room = u64::from(footer.end) + u64::from(seal_bytes(footer.count));
    footer.partition_id == header.partition_id
        && footer.first == header.first
        && footer.end >= SEGMENT_HEADER_BYTES
        && room <= u64::from(header.segment_bytes)
}

/// Whether a segment has no record at its start.
fn is_empty(candidate: &Candidate) -> Result<bool, OpenError> {
    let mut piece = [0; 8];
    let at = u64::from(SEGMENT_HEADER_BYTES);
    candidate.file.read_at(&mut piece, at).map_err(OpenError::io(&candidate.path))?;
    Ok(piece == [0; 8])
}

/// Where the log ends before the segment with this header.
fn end_before(sealed: &[Sealed], header: &SegmentHeader) -> LogEnd {
    let before = sealed.last().map(|sealed| &sealed.footer);
    LogEnd {
        last: Sequence(header.first.0 - 1),
        chain: header.chain,
        time_micros: before.map_or(0, |footer| footer.time_micros),
        epoch: before.map_or(LogEnd::EMPTY.epoch, |footer| footer.epoch),
    }
}

fn open_index(place: &Place, sealed: &[Sealed]) -> Result<(Index, Vec<Sequence>), OpenError> {
    let dir = place.dir.join(INDEX_DIR);
    create_folder(&*place.disk, &dir).map_err(OpenError::io(&dir))?;
    let home = IndexPlace { disk: Arc::clone(&place.disk), dir, partition_id: place.partition_id };
    let segments: Vec<_> = sealed.iter().map(sealed_for_index).collect();
    let opened = Index::open(&home, &segments)?;
    let unindexed = opened.unindexed.iter().map(|segment| segment.first).collect();
    Ok((opened.index, unindexed))
}

/// A sealed segment as the index names it.
pub(crate) const fn sealed_for_index(sealed: &Sealed) -> SealedSegment {
    SealedSegment {
        first: sealed.footer.first,
        last: sealed.footer.last,
        chain: sealed.footer.chain.0,
    }
}

/// Scanned records as the index takes them.
pub(crate) fn entries(scanned: &[Scanned]) -> Vec<IndexEntry<'_>> {
    scanned
        .iter()
        .map(|record| IndexEntry {
            stream: &record.stream,
            version: record.version,
            id: record.id,
            sequence: record.sequence,
            offset: record.offset,
        })
        .collect()
}

/// Scans sealed segments that the index does not cover.
struct Filler<'a> {
    index: &'a Index,
    files: &'a [Candidate],
}

impl Filler<'_> {
    /// Leaves in `unindexed` those that may wait for the background thread.
    fn fill(&mut self, sealed: &[Sealed], unindexed: &mut Vec<Sequence>) -> Result<(), OpenError> {
        let due = unindexed.len().saturating_sub(UNINDEXED_MAX);
        for (done, first) in unindexed.iter().enumerate() {
            let place = sealed.iter().position(|sealed| sealed.footer.first == *first);
            let (before, rest) = sealed.split_at(place.unwrap_or(0));
            let (Some(segment), Some(file)) = (rest.first(), self.files.get(before.len())) else {
                continue;
            };
            self.scan(segment, file, end_before(before, &file.header))?;
            if done < due {
                // Many segments without an index must not all sit in memory.
                self.index.build_run(*first)?;
            }
        }
        unindexed.drain(..due);
        Ok(())
    }

    fn scan(&self, sealed: &Sealed, file: &Candidate, start: LogEnd) -> Result<(), OpenError> {
        let first = sealed.footer.first;
        let walked = walk(&*file.file, start, sealed.footer.end, &mut |records| {
            self.index.insert(first, &entries(records));
        })
        .map_err(OpenError::io(&file.path))?;
        let whole = walked.stop == Stop::Limit
            && walked.end.last == sealed.footer.last
            && walked.end.chain == sealed.footer.chain;
        if whole { Ok(()) } else { Err(damaged_at(&file.path, &walked)) }
    }
}

/// Writes the footer that a crash prevented. The successor's header says where the segment ends.
fn finish_seal(
    candidate: &Candidate,
    start: LogEnd,
    last: &Candidate,
    index: &Index,
) -> Result<Sealed, OpenError> {
    let Candidate { path, file, header } = candidate;
    let walked = walk(&**file, start, header.segment_bytes, &mut |records| {
        index.insert(header.first, &entries(records));
    })
    .map_err(OpenError::io(path))?;
    if walked.end.last.next() != last.header.first || walked.end.chain != last.header.chain {
        return Err(damaged_at(path, &walked));
    }
    let segment = OpenSegment::new(path.clone(), *header, Arc::clone(file), walked.extent);
    // What a half-written footer left must not stay between the records and the new one.
    write_zeros(&**file, u64::from(segment.end())..u64::from(header.segment_bytes))
        .map_err(OpenError::io(path))?;
    let sealed = seal(&segment, walked.end).map_err(OpenError::io(path))?;
    index.seal(sealed_for_index(&sealed));
    Ok(sealed)
}

/// What the recovery of the open segment needs.
struct Tail<'a> {
    place: &'a Place,
    start: LogEnd,
    index: &'a Index,
    /// The node's, which no record can be ahead of.
    epoch: Epoch,
    promise: Promise,
}

/// The end of a log that is valid and durable.
struct TailEnd {
    open: OpenSegment,
    end: LogEnd,
    torn_bytes: u64,
    held: Sequence,
}

impl Tail<'_> {
    /// Walks the open segment, cuts a torn tail, and makes what is left durable.
    fn recover(&self, candidate: Candidate) -> Result<TailEnd, OpenError> {
        let Candidate { path, file, header } = candidate;
        let limit = header.segment_bytes;
        let io = || OpenError::io(&path);
        let mut hand_on = |records: &[Scanned]| self.index.insert(header.first, &entries(records));
        let walked = walk(&*file, self.start, limit, &mut hand_on).map_err(io())?;
        if walked.end.epoch > self.epoch {
            let (log, node) = (walked.end.epoch, self.epoch);
            return Err(OpenError::EpochBehind { dir: self.place.dir.clone(), log, node });
        }
        let rest = look_behind(&*file, walked.stopped_at, limit).map_err(io())?;
        let promised = self.promise.evidence(walked.promised.max(rest.promised));
        check_tail(&path, &walked, promised)?;
        let cut = walked.extent.end;
        let torn_end = rest.end.max(walked.stopped_at);
        let torn_bytes = u64::from(torn_end - cut);
        if torn_bytes > 0 {
            let torn = (header.first, cut..torn_end);
            let kept = keep_aside(self.place, &*file, torn).map_err(io())?;
            log::warn!(
                "{}: cut {torn_bytes} bytes of an append that was never acknowledged after \
                 sequence {}; they are kept in {}",
                path.display(),
                walked.end.last,
                kept.display(),
            );
            write_zeros(&*file, u64::from(cut)..u64::from(torn_end)).map_err(io())?;
        }
        // After a kill the tail may be in the page cache only: nothing is shown before this.
        file.sync().map_err(io())?;
        let end = walked.end;
        let held = self.promise.sequence.max(walked.promised).min(end.last);
        let open = OpenSegment::new(path, header, file, walked.extent);
        Ok(TailEnd { open, end, torn_bytes, held })
    }
}

/// Tells a torn tail, which was never acknowledged, from damage to something that was.
fn check_tail(path: &Path, walked: &Walk, promised: Sequence) -> Result<(), OpenError> {
    if let Stop::Discontinuity(_) = walked.stop {
        return Err(damaged_at(path, walked));
    }
    if promised > walked.end.last {
        return Err(damaged_at(path, walked));
    }
    Ok(())
}

fn damaged_at(path: &Path, walked: &Walk) -> OpenError {
    let reason = match &walked.stop {
        Stop::Limit => "the records end elsewhere than the file says".to_owned(),
        Stop::NoRecord(error) => format!("a committed record is unreadable: {error}"),
        Stop::Discontinuity(reason) => (*reason).to_owned(),
    };
    let sequence = Sequence(walked.end.last.0 + u64::from(walked.unfinished) + 1);
    corrupt(path, u64::from(walked.stopped_at), sequence, &reason)
}

fn corrupt(path: &Path, offset: u64, sequence: Sequence, reason: &str) -> OpenError {
    OpenError::Corrupt { file: path.to_owned(), offset, sequence, reason: reason.to_owned() }
}

/// Copies bytes of a segment to a file of their own, durably.
fn keep_aside(
    place: &Place,
    file: &dyn DiskFile,
    (segment, range): (Sequence, std::ops::Range<u32>),
) -> io::Result<PathBuf> {
    let disk = &*place.disk;
    let dir = place.dir.join(TORN_DIR);
    create_folder(disk, &dir)?;
    let names = disk.list(&dir)?;
    let base = format!("{:020}-{}", segment.0, range.start);
    // An earlier cut at the same place keeps its file.
    let taken = |number: &u32| names.contains(&format!("{base}-{number}.bytes"));
    let number = (1..).find(|number| !taken(number)).unwrap_or_default();
    let mut bytes = vec![0; to_usize(range.end - range.start)];
    file.read_at(&mut bytes, u64::from(range.start))?;
    let path = dir.join(format!("{base}-{number}.bytes"));
    put_file(disk, &path, &bytes)?;
    Ok(path)
}
