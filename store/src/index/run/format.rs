//! What stands where in a run file. `FORMAT.md` has the same drawings for readers without Rust.

use uuid::Uuid;

use super::filter::Block;
use super::pages::{Entry, FixedEntry, Section, take};
use crate::event::{Sequence, Version};
use crate::index::SealedSegment;
use crate::index::memory::Place;
use crate::index::query::VersionRange;
use crate::index::width::to_u64;

/// The first bytes of every run file.
const MAGIC: [u8; 8] = *b"SLGINDEX";
/// The format that this code writes and reads.
///
/// 2 knows categories; runs of format 1 are made anew from their segments.
const FORMAT: u32 = 2;
/// Most records in a run: positions in it are u32.
pub(in crate::index) const RUN_RECORDS_MAX: u64 = 1 << 31;

/// What a run covers: whole segments, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::index) struct Span {
    /// 0 for a run of one segment, one more than its inputs' for a merged one.
    pub(in crate::index) level: u32,
    /// First sequence.
    pub(in crate::index) first: Sequence,
    /// Last sequence, inclusive.
    pub(in crate::index) last: Sequence,
    /// The chain value of the record at `last`.
    pub(in crate::index) chain: [u8; 16],
}

impl Span {
    /// The span of a run of one segment.
    pub(in crate::index) fn of_segment(segment: &SealedSegment) -> Self {
        Self { level: 0, first: segment.first, last: segment.last, chain: segment.chain }
    }

    /// How many records there are.
    pub(in crate::index) fn records(&self) -> u64 {
        self.last.0 - self.first.0 + 1
    }

    /// Whether a segment lies within.
    pub(in crate::index) fn covers(&self, segment: &SealedSegment) -> bool {
        self.first <= segment.first && segment.last <= self.last
    }

    /// The file's name: `run-FIRST-LAST.index`, with 20 digits each.
    pub(in crate::index) fn file_name(&self) -> String {
        format!("run-{:020}-{:020}.index", self.first.0, self.last.0)
    }
}

/// Page 0:
///
/// ```text
///    0   8  "SLGINDEX"                  8   4  format (1)           12   4  level
///   16  16  partition id               32   8  first sequence       40   8  last sequence
///   48  16  chain value at `last`      64   8  number of streams and categories
///   72   8  pages of the stream table  80   8  blocks of the filter
/// ```
///
/// Then follow ids, stream table, places, directory and filter, each from a new page on. The
/// directory holds the first key of every page of ids, then of every page of the stream table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) span: Span,
    pub(super) partition_id: Uuid,
    pub(super) streams: u64,
    pub(super) stream_pages: u64,
    pub(super) filter_blocks: u64,
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&self.span.level.to_le_bytes());
        bytes.extend_from_slice(self.partition_id.as_bytes());
        bytes.extend_from_slice(&self.span.first.0.to_le_bytes());
        bytes.extend_from_slice(&self.span.last.0.to_le_bytes());
        bytes.extend_from_slice(&self.span.chain);
        for number in [self.streams, self.stream_pages, self.filter_blocks] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// `None` where the bytes are no header of this format, or its numbers don't fit each other.
    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        if take(bytes)? != MAGIC || take(bytes).map(u32::from_le_bytes)? != FORMAT {
            return None;
        }
        let level = take(bytes).map(u32::from_le_bytes)?;
        let partition_id = Uuid::from_bytes(take(bytes)?);
        let number = |bytes: &mut &[u8]| take(bytes).map(u64::from_le_bytes);
        let (first, last) = (Sequence(number(bytes)?), Sequence(number(bytes)?));
        let header = Self {
            span: Span { level, first, last, chain: take(bytes)? },
            partition_id,
            streams: number(bytes)?,
            stream_pages: number(bytes)?,
            filter_blocks: number(bytes)?,
        };
        header.is_sound().then_some(header)
    }

    fn is_sound(&self) -> bool {
        let Span { first, last, .. } = self.span;
        first <= last
            && last.0 - first.0 < RUN_RECORDS_MAX
            // Every record has a stream and a category.
            && (2..=2 * self.span.records()).contains(&self.streams)
            && (1..=self.streams).contains(&self.stream_pages)
            && (1..=self.span.records()).contains(&self.filter_blocks)
    }

    pub(super) fn ids(&self) -> Section {
        fixed::<IdEntry>(1, self.span.records())
    }

    pub(super) fn streams(&self) -> Section {
        let first_page = self.ids().end_page();
        Section { first_page, pages: self.stream_pages, entries: self.streams }
    }

    pub(super) fn places(&self) -> Section {
        // Each record stands there for its stream and for its category.
        fixed::<Place>(self.streams().end_page(), 2 * self.span.records())
    }

    pub(super) fn directory(&self) -> Section {
        fixed::<Key>(self.places().end_page(), self.ids().pages + self.stream_pages)
    }

    pub(super) fn filter(&self) -> Section {
        fixed::<Block>(self.directory().end_page(), self.filter_blocks)
    }
}

/// The section of so many entries of a fixed length.
fn fixed<E: FixedEntry>(first_page: u64, entries: u64) -> Section {
    Section { first_page, pages: entries.div_ceil(to_u64(E::PER_PAGE)), entries }
}

/// The id of one record:
///
/// ```text
///  0  8  fingerprint        8  4  sequence − first sequence of the run
/// ```
///
/// Ordered by fingerprint, then sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::index) struct IdEntry {
    pub(in crate::index) fingerprint: u64,
    pub(in crate::index) relative: u32,
}

impl Entry for IdEntry {
    fn encode(&self, page: &mut Vec<u8>) {
        page.extend_from_slice(&self.fingerprint.to_le_bytes());
        page.extend_from_slice(&self.relative.to_le_bytes());
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let mut entry: &[u8] = &take::<{ Self::BYTES }>(bytes)?;
        Some(Self {
            fingerprint: take(&mut entry).map(u64::from_le_bytes)?,
            relative: take(&mut entry).map(u32::from_le_bytes)?,
        })
    }
}

impl FixedEntry for IdEntry {
    const BYTES: usize = 12;
}

/// The events of one stream or category in a run:
///
/// ```text
///  0  8  hash of the name      8  8  first version     16  8  last version, inclusive
/// 24  8  number of places of the streams before       32  2  length of the name     34  name
/// ```
///
/// Ordered by hash, then name. A name is never empty: a zero length ends the page. That of a
/// category begins with a zero byte; its versions are from 1 to the number of its events here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::index) struct StreamEntry {
    pub(in crate::index) hash: u64,
    pub(in crate::index) name: Vec<u8>,
    pub(in crate::index) versions: VersionRange,
    pub(in crate::index) places_before: u64,
}

/// Bytes of an entry of the stream table before its name.
const STREAM_ENTRY_FIXED_BYTES: usize = 34;

impl StreamEntry {
    /// Number of the place after the last one of this entry.
    pub(super) fn places_end(&self) -> u64 {
        self.places_before + to_u64(self.versions.count())
    }

    /// Takes an entry's bytes from the front, with its hash, for those who look for one and need
    /// not decode all.
    pub(super) fn split<'a>(bytes: &mut &'a [u8]) -> Option<(u64, &'a [u8])> {
        let fixed = bytes.first_chunk::<STREAM_ENTRY_FIXED_BYTES>()?;
        let hash = fixed.first_chunk().copied().map(u64::from_le_bytes)?;
        let length = fixed.last_chunk().copied().map(u16::from_le_bytes)?;
        let length = Some(usize::from(length)).filter(|length| *length > 0)?;
        let (entry, rest) = bytes.split_at_checked(STREAM_ENTRY_FIXED_BYTES + length)?;
        *bytes = rest;
        Some((hash, entry))
    }
}

impl Entry for StreamEntry {
    fn encode(&self, page: &mut Vec<u8>) {
        let VersionRange { first, last } = self.versions;
        for number in [self.hash, first.0, last.0, self.places_before] {
            page.extend_from_slice(&number.to_le_bytes());
        }
        // At most 257 bytes: `StreamName` made sure of it.
        let length = u16::try_from(self.name.len()).unwrap_or(u16::MAX);
        page.extend_from_slice(&length.to_le_bytes());
        page.extend_from_slice(&self.name);
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let (hash, entry) = Self::split(bytes)?;
        let (mut numbers, name) = entry.split_at_checked(STREAM_ENTRY_FIXED_BYTES)?;
        let numbers = &mut numbers;
        let mut number = || take(numbers).map(u64::from_le_bytes);
        let (_, first, last) = (number()?, Version(number()?), Version(number()?));
        let places_before = number()?;
        let versions = VersionRange { first, last };
        Some(Self { hash, name: name.to_vec(), versions, places_before })
    }
}

/// Where a record is:
///
/// ```text
///  0  4  sequence − first sequence of the run        4  4  offset in its segment file
/// ```
///
/// Ordered as the stream table, then by version, and so by sequence.
impl Entry for Place {
    fn encode(&self, page: &mut Vec<u8>) {
        page.extend_from_slice(&self.relative.to_le_bytes());
        page.extend_from_slice(&self.offset.to_le_bytes());
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let mut place: &[u8] = &take::<{ Self::BYTES }>(bytes)?;
        Some(Self {
            relative: take(&mut place).map(u32::from_le_bytes)?,
            offset: take(&mut place).map(u32::from_le_bytes)?,
        })
    }
}

impl FixedEntry for Place {
    const BYTES: usize = 8;
}

/// An entry of the directory: the fingerprint or stream hash that a page begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(pub(super) u64);

impl Entry for Key {
    fn encode(&self, page: &mut Vec<u8>) {
        page.extend_from_slice(&self.0.to_le_bytes());
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        take(bytes).map(u64::from_le_bytes).map(Self)
    }
}

impl FixedEntry for Key {
    const BYTES: usize = 8;
}
