//! Checking the segments of a partition, one after the other.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use uuid::Uuid;

use super::file::SegmentFile;
use super::{Damage, TornTail, VerifyReport};
use crate::event::{Sequence, Signature, SignedParts, Version};
use crate::index::{IndexCheck, IndexEntry, SealedSegment};
use crate::log::appender::LogEnd;
use crate::log::control::Control;
use crate::log::disk::Disk;
use crate::log::promise::Promise;
use crate::log::scan::{Window, look_behind};
use crate::log::segment::{
    Extent, SEGMENT_FOOTER_BYTES, SEGMENT_HEADER_BYTES, SegmentFooter, decode_table, segment_path,
    to_u32,
};
use crate::names::StreamName;
use crate::record::{RecordError, RecordView, decode};

/// Where a segment stands among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    /// The last one: open.
    Newest,
    /// The one before: sealed, unless a crash came between, and then the newest is empty.
    BeforeNewest(Sequence),
    /// Sealed.
    Older,
}

/// Goes through a log with everything it must remember.
pub(super) struct Verifier<'a> {
    /// What the last close left as evidence.
    promise: Promise,
    /// The log ends here, inclusive, whatever lies behind.
    until: Option<Sequence>,
    disk: &'a dyn Disk,
    dir: &'a Path,
    partition_id: Uuid,
    /// Where the log ends so far; `None` after damage, until the next segment says.
    at: Option<LogEnd>,
    /// Latest version of each stream.
    versions: HashMap<StreamName, Version>,
    /// Records may be missing before those that were seen: any version may be a stream's first.
    partial: bool,
    index: IndexCheck,
    report: VerifyReport,
}

/// How far the records of a segment were followed.
struct Walk {
    /// After the last record.
    at: LogEnd,
    extent: Extent,
    /// After the last whole append.
    whole: LogEnd,
    whole_end: u32,
    whole_count: u32,
    /// Highest "committed up to" of all records.
    promised: Sequence,
    /// Why no further record follows; `None` at the limit.
    stop: Option<RecordError>,
}

pub(super) fn missing(file: PathBuf, sequence: Sequence) -> Damage {
    Damage { file, offset: 0, sequence, reason: "the segment is missing".to_owned() }
}

impl<'a> Verifier<'a> {
    pub(super) fn new(
        (disk, dir): (&'a dyn Disk, &'a Path),
        control: &Control,
        index: IndexCheck,
        promise: Promise,
    ) -> Self {
        Self {
            promise,
            until: None,
            disk,
            dir,
            partition_id: control.partition_id,
            at: None,
            versions: HashMap::new(),
            partial: control.first > Sequence(1),
            index,
            report: VerifyReport {
                store: control.store.clone(),
                number: control.number,
                segments: 0,
                records: 0,
                first: Sequence::ZERO,
                last: Sequence::ZERO,
                torn_tail: None,
                damages: Vec::new(),
                index_problems: Vec::new(),
            },
        }
    }

    /// Takes the log to end with a sequence, if one is given.
    pub(super) fn until(self, until: Option<Sequence>) -> Self {
        Self { until, ..self }
    }

    pub(super) fn finish(self) -> (IndexCheck, VerifyReport) {
        (self.index, self.report)
    }

    /// Notes damage; what comes after it is judged by itself.
    pub(super) fn damage(&mut self, damage: Damage) {
        self.report.damages.push(damage);
        self.at = None;
        self.versions.clear();
        self.partial = true;
        self.index.end_segment(None);
    }

    /// Checks one segment.
    pub(super) fn segment(&mut self, first: Sequence, position: Position) {
        self.report.segments += 1;
        let checked = self.open(first).and_then(|segment| match (&segment.footer, position) {
            (Some(_), Position::Newest) if self.until.is_none() => {
                Err(segment.damage(0, first, "the segment is sealed, so one after it is missing"))
            }
            (_, Position::Newest) => self.open_end(&segment),
            (Some(footer), _) => self.sealed(&segment, footer),
            (None, Position::BeforeNewest(newest)) if self.is_empty(newest) => {
                self.open_end(&segment)
            }
            (None, _) => {
                let at = segment.header.segment_bytes - SEGMENT_FOOTER_BYTES;
                Err(segment.damage(at, first, "the footer is not what was written"))
            }
        });
        if let Err(damage) = checked {
            self.damage(damage);
        }
    }

    fn open(&self, first: Sequence) -> Result<SegmentFile, Damage> {
        SegmentFile::open(self.disk, self.dir, self.partition_id, first)
    }

    fn is_empty(&self, first: Sequence) -> bool {
        self.open(first).and_then(|segment| segment.is_empty()).unwrap_or(false)
    }

    /// Checks a segment of which the footer tells where its records end.
    fn sealed(&mut self, segment: &SegmentFile, footer: &SegmentFooter) -> Result<(), Damage> {
        let walk = self.walk(segment, footer.end)?;
        if let Some(error) = walk.stop {
            return Err(segment.damage(walk.extent.end, walk.at.last.next(), error.to_string()));
        }
        let LogEnd { last, chain, time_micros, epoch } = walk.whole;
        let expected = (footer.last, footer.chain, footer.time_micros, footer.epoch, footer.end);
        if (last, chain, time_micros, epoch, walk.whole_end) != expected {
            let reason = "the records end elsewhere than the footer says";
            return Err(segment.damage(walk.extent.end, last.next(), reason));
        }
        let table_offset = footer.table_offset(segment.header.segment_bytes);
        let end = segment.header.segment_bytes - SEGMENT_FOOTER_BYTES;
        let table = segment.read(table_offset, end)?;
        if decode_table(&table, footer).ok().as_ref() != Some(&walk.extent.table) {
            let reason = "the table of offsets is not what was written";
            return Err(segment.damage(table_offset, footer.first, reason));
        }
        let filling = segment.read(footer.end, table_offset)?;
        if let Some(at) = filling.iter().position(|byte| *byte != 0) {
            let reason = "bytes stand behind the last record";
            return Err(segment.damage(footer.end + to_u32(at), last.next(), reason));
        }
        let SegmentFooter { first, last, chain, .. } = *footer;
        self.index.end_segment(Some(SealedSegment { first, last, chain: chain.0 }));
        self.take(&walk);
        Ok(())
    }

    /// Checks the segment at the end of the log, as recovery would.
    fn open_end(&mut self, segment: &SegmentFile) -> Result<(), Damage> {
        let limit = segment.header.segment_bytes;
        let walk = self.walk(segment, limit)?;
        let stopped_at = walk.extent.end;
        if self.until == Some(walk.whole.last) {
            self.index.end_segment(None);
            self.take(&walk);
            return Ok(());
        }
        let rest = look_behind(&*segment.file, stopped_at, limit);
        let rest =
            rest.map_err(|error| segment.unreadable(stopped_at, walk.at.last.next(), &error))?;
        if self.promise.evidence(walk.promised.max(rest.promised)) > walk.whole.last {
            let why = walk.stop.map_or_else(String::new, |error| format!(": {error}"));
            let reason = format!("a committed record is unreadable{why}");
            return Err(segment.damage(stopped_at, walk.at.last.next(), reason));
        }
        let bytes = rest.end.max(stopped_at) - walk.whole_end;
        if bytes > 0 {
            self.report.torn_tail = Some(TornTail {
                file: segment.path.clone(),
                offset: u64::from(walk.whole_end),
                bytes: u64::from(bytes),
                after: walk.whole.last,
            });
        }
        self.index.end_segment(None);
        self.take(&walk);
        Ok(())
    }

    /// Goes on after a segment that was checked.
    fn take(&mut self, walk: &Walk) {
        self.at = Some(walk.whole);
        self.report.records += u64::from(walk.whole_count);
        self.report.last = walk.whole.last;
        if self.report.first == Sequence::ZERO && walk.whole_count > 0 {
            self.report.first = Sequence(walk.whole.last.0 + 1 - u64::from(walk.whole_count));
        }
    }

    /// Where the log stands before a segment.
    fn start(&self, segment: &SegmentFile) -> Result<LogEnd, Damage> {
        let header = &segment.header;
        // At the beginning and after damage the header is believed: its checksum was right.
        let last = Sequence(header.first.0.saturating_sub(1));
        let start = self.at.unwrap_or(LogEnd { last, chain: header.chain, ..LogEnd::EMPTY });
        if header.first != start.last.next() {
            return Err(missing(segment_path(self.dir, start.last.next()), start.last.next()));
        }
        if header.chain != start.chain {
            let reason = "the segment continues another history than the one before it";
            return Err(segment.damage(0, header.first, reason));
        }
        Ok(start)
    }

    /// Follows the records up to `limit`.
    fn walk(&mut self, segment: &SegmentFile, limit: u32) -> Result<Walk, Damage> {
        let start = self.start(segment)?;
        let mut walk = Walk {
            at: start,
            extent: Extent::empty(),
            whole: start,
            whole_end: SEGMENT_HEADER_BYTES,
            whole_count: 0,
            promised: Sequence::ZERO,
            stop: None,
        };
        let mut window = Window::new(&*segment.file, limit);
        while walk.extent.end < limit && self.until != Some(walk.at.last) {
            let offset = walk.extent.end;
            let bytes = window.at(offset);
            let bytes =
                bytes.map_err(|error| segment.unreadable(offset, walk.at.last.next(), &error))?;
            let view = match decode(bytes) {
                Ok(view) => view,
                Err(error) => {
                    walk.stop = Some(error);
                    break;
                }
            };
            self.record(&view, &walk)
                .map_err(|reason| segment.damage(offset, walk.at.last.next(), reason))?;
            walk.take(&view);
        }
        Ok(walk)
    }

    /// Checks a record against those before it, and notes it.
    fn record(&mut self, view: &RecordView<'_>, walk: &Walk) -> Result<(), &'static str> {
        let before = walk.at;
        if view.sequence() != before.last.next() {
            return Err("a record has another sequence than the next");
        }
        if !view.continues(before.chain) {
            return Err("a record continues another history");
        }
        if view.epoch() < before.epoch || view.time_micros() < before.time_micros {
            return Err("epoch or time go back");
        }
        if !signature_is_valid(view) {
            return Err("a record's signature is wrong");
        }
        let stream = StreamName::new(Bytes::copy_from_slice(view.stream()))
            .map_err(|_| "a stream name is not one")?;
        let version = view.version();
        let expected = match self.versions.get(&stream) {
            Some(latest) => latest.next(),
            None if self.partial => version,
            None => Version(1),
        };
        if version != expected {
            return Err("a record has another version than the next of its stream");
        }
        self.index.record(&IndexEntry {
            stream: &stream,
            version,
            id: view.id(),
            sequence: view.sequence(),
            offset: walk.extent.end,
        });
        self.versions.insert(stream, version);
        Ok(())
    }
}

fn signature_is_valid(view: &RecordView<'_>) -> bool {
    Signature::of_parts(&SignedParts {
        id: view.id(),
        content_type: view.content_type(),
        stream: view.stream(),
        event_type: view.event_type(),
        metadata: view.metadata(),
        data: view.data(),
    }) == view.signature()
}

impl Walk {
    /// Goes over a record that was checked.
    fn take(&mut self, view: &RecordView<'_>) {
        self.at = LogEnd {
            last: view.sequence(),
            chain: view.chain(),
            time_micros: view.time_micros(),
            epoch: view.epoch(),
        };
        self.promised = self.promised.max(view.committed_up_to());
        self.extent.push(to_u32(view.len()));
        if view.ends_append() {
            self.whole = self.at;
            self.whole_end = self.extent.end;
            self.whole_count = self.extent.count;
        }
    }
}
