//! A run: the index of some sealed segments as a file that never changes.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

mod filter;
mod format;
mod merge;
mod pages;
mod write;

pub(super) use format::{IdEntry, RUN_RECORDS_MAX, Span, StreamEntry};
pub(super) use merge::merge;
pub(super) use write::write_run;

use super::memory::Place;
use super::query::{Posting, VersionRange};
use super::width::{long_to_usize, to_u64};
use super::{IndexError, IndexPlace};
use crate::event::{Direction, Sequence};
use crate::log::disk::{DiskFile, OpenMode};
use crate::log::fetch_places::RecordPlace;
use filter::{Block, Filter};
use format::{Header, Key};
use pages::{Entries, Entry, FixedEntry, PAGE_BYTES, Page, PageError};

/// An open run file. In memory are its filter and the first key of each page.
pub(super) struct Run {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    header: Header,
    /// First fingerprint of each page of ids.
    id_keys: Vec<u64>,
    /// First hash of each page of the stream table.
    stream_keys: Vec<u64>,
    /// All fingerprints, and all hashes of streams and categories.
    filter: Filter,
    /// Set for good when a page turned out to be damaged.
    damaged: AtomicBool,
}

impl Run {
    /// Opens a run file and loads what stays in memory.
    ///
    /// # Errors
    /// [`IndexError::Io`] when the file can't be opened; [`IndexError::Damaged`] when what it
    /// says is wrong or belongs to another partition.
    pub(super) fn open(place: &IndexPlace, name: &str) -> Result<Self, IndexError> {
        let path = place.dir.join(name);
        let io = |source| IndexError::Io { file: path.clone(), source };
        let file = place.disk.open(&path, OpenMode::Read).map_err(io)?;
        let length = file.len().map_err(io)?;
        match Self::load(place, &*file, length) {
            Ok(Some((header, keys, filter))) => {
                let (id_keys, stream_keys) = keys.split_at(long_to_usize(header.ids().pages));
                let (id_keys, stream_keys) = (id_keys.to_vec(), stream_keys.to_vec());
                let damaged = AtomicBool::new(false);
                Ok(Self { path, file, header, id_keys, stream_keys, filter, damaged })
            }
            Ok(None) => Err(IndexError::Damaged { file: path }),
            Err(error) => {
                log::warn!("index file {}: {error}", path.display());
                Err(IndexError::Damaged { file: path })
            }
        }
    }

    /// Header, directory and filter of a file; `None` where it is no run of this partition.
    fn load(
        place: &IndexPlace,
        file: &dyn DiskFile,
        length: u64,
    ) -> Result<Option<(Header, Vec<u64>, Filter)>, PageError> {
        let page = Page::read(file, 0)?;
        let header = Header::decode(page.payload()).filter(|header| {
            // The length bounds what is allocated below.
            header.partition_id == place.partition_id
                && header.filter().end_page().checked_mul(to_u64(PAGE_BYTES)) == Some(length)
        });
        let Some(header) = header else { return Ok(None) };
        let keys = Entries::<Key>::all(file, header.directory());
        let keys = keys.map(|key| key.map(|Key(key)| key)).collect::<Result<_, _>>()?;
        let blocks = Entries::<Block>::all(file, header.filter()).collect::<Result<_, _>>()?;
        Ok(Some((header, keys, Filter::from_blocks(blocks))))
    }

    /// What the run covers.
    pub(super) fn span(&self) -> Span {
        self.header.span
    }

    /// The file.
    pub(super) fn path(&self) -> &PathBuf {
        &self.path
    }

    /// Whether a page was found damaged, so that the file has to be made anew.
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// False only if no event in the run has this fingerprint, or no stream this hash.
    pub(super) fn may_contain(&self, key: u64) -> bool {
        self.filter.may_contain(key)
    }

    /// Appends where events with this fingerprint are.
    pub(super) fn find(
        &self,
        fingerprint: u64,
        found: &mut Vec<Sequence>,
    ) -> Result<(), IndexError> {
        let section = self.header.ids();
        for page in pages_with(&self.id_keys, fingerprint) {
            let payload = self.page(section.first_page + to_u64(page))?;
            let left = long_to_usize(section.entries) - page * IdEntry::PER_PAGE;
            let (entries, _) = payload.payload().as_chunks::<{ IdEntry::BYTES }>();
            let entries = entries.get(..left.min(entries.len())).unwrap_or_default();
            let decode = |mut bytes: &[u8]| IdEntry::decode(&mut bytes);
            let before = |bytes: &[u8; IdEntry::BYTES]| {
                decode(bytes).is_some_and(|entry| entry.fingerprint < fingerprint)
            };
            let start = entries.partition_point(before);
            let same = entries.iter().skip(start).map_while(|bytes| decode(bytes));
            let same = same.take_while(|entry| entry.fingerprint == fingerprint);
            found.extend(same.map(|entry| self.sequence(entry.relative)));
        }
        Ok(())
    }

    /// What the run has of a stream or category.
    pub(super) fn stream(&self, hash: u64, name: &[u8]) -> Result<Option<StreamEntry>, IndexError> {
        for page in pages_with(&self.stream_keys, hash) {
            let page = self.page(self.header.streams().first_page + to_u64(page))?;
            let mut rest = page.payload();
            while let Some((entry_hash, mut entry)) = StreamEntry::split(&mut rest) {
                if entry_hash == hash {
                    let entry = StreamEntry::decode(&mut entry);
                    if let Some(entry) = entry.filter(|entry| entry.name == name) {
                        return Ok(Some(entry));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Appends the places of those versions of a stream that are wanted, in ascending order.
    pub(super) fn postings(
        &self,
        stream: &StreamEntry,
        wanted: VersionRange,
        postings: &mut Vec<Posting>,
    ) -> Result<(), IndexError> {
        let Some(range) = stream.versions.overlap(wanted) else { return Ok(()) };
        let index = stream.places_before + (range.first.0 - stream.versions.first.0);
        let count = to_u64(range.count());
        let places = Entries::<Place>::some(&*self.file, self.header.places(), index, count);
        for (version, place) in range.versions().zip(places) {
            let Place { relative, offset } = place.map_err(|error| self.damage(&error))?;
            postings.push(Posting { sequence: self.sequence(relative), version, offset });
        }
        Ok(())
    }

    /// Appends the places of a stream or category between two sequences, both inclusive: at most
    /// `count_max`, in the given direction.
    pub(super) fn places_between(
        &self,
        stream: &StreamEntry,
        (low, high): (Sequence, Sequence),
        (direction, count_max): (Direction, usize),
        found: &mut Vec<RecordPlace>,
    ) -> Result<(), IndexError> {
        let (start, end) = (stream.places_before, stream.places_end());
        let count_max = to_u64(count_max);
        let (from, count) = match direction {
            Direction::Forward => {
                let from = self.first_place_from(stream, low)?;
                (from, count_max.min(end - from))
            }
            Direction::Backward => {
                let until = self.first_place_from(stream, high.next())?;
                let count = count_max.min(until - start);
                (until - count, count)
            }
        };
        let before = found.len();
        for place in Entries::<Place>::some(&*self.file, self.header.places(), from, count) {
            let Place { relative, offset } = place.map_err(|error| self.damage(&error))?;
            let sequence = self.sequence(relative);
            if sequence > high {
                break;
            }
            if sequence >= low {
                found.push(RecordPlace { sequence, offset });
            }
        }
        if direction == Direction::Backward {
            found.split_at_mut(before).1.reverse();
        }
        Ok(())
    }

    /// Number of a stream's or category's first place at or above a sequence, or of the place after
    /// its last one. They ascend, so a page that is read halves what is left.
    fn first_place_from(
        &self,
        stream: &StreamEntry,
        sequence: Sequence,
    ) -> Result<u64, IndexError> {
        let (mut low, mut high) = (stream.places_before, stream.places_end());
        let per_page = to_u64(Place::PER_PAGE);
        let before = |bytes: &[u8; Place::BYTES]| {
            let place = Place::decode(&mut bytes.as_slice());
            place.is_some_and(|place| self.sequence(place.relative) < sequence)
        };
        if sequence <= self.header.span.first {
            return Ok(low);
        } else if sequence > self.header.span.last {
            return Ok(high);
        }
        while low < high {
            let number = (low + (high - low) / 2) / per_page;
            let start = number * per_page;
            let (from, to) = (low.max(start), high.min(start + per_page));
            let page = self.page(self.header.places().first_page + number)?;
            let (places, _) = page.payload().as_chunks::<{ Place::BYTES }>();
            let inside = long_to_usize(from - start)..long_to_usize(to - start);
            let below = places.get(inside).unwrap_or_default().partition_point(before);
            match to_u64(below) {
                0 => high = from,
                below if from + below < to => return Ok(from + below),
                _ => low = to,
            }
        }
        Ok(low)
    }

    /// All ids, in the order of the file.
    pub(super) fn ids(&self) -> impl Iterator<Item = Result<IdEntry, IndexError>> {
        let ids = Entries::all(&*self.file, self.header.ids());
        ids.map(|entry| entry.map_err(|error| self.damage(&error)))
    }

    /// All streams and categories, in the order of the file.
    pub(super) fn streams(&self) -> impl Iterator<Item = Result<StreamEntry, IndexError>> {
        let streams = Entries::all(&*self.file, self.header.streams());
        streams.map(|entry| entry.map_err(|error| self.damage(&error)))
    }

    /// Number of streams and categories.
    fn stream_count(&self) -> u64 {
        self.header.streams
    }

    /// All places, in the order of the file.
    pub(super) fn places(&self) -> impl Iterator<Item = Result<Place, IndexError>> {
        let places = Entries::all(&*self.file, self.header.places());
        places.map(|entry| entry.map_err(|error| self.damage(&error)))
    }

    /// Bytes of memory that the run holds.
    #[cfg(test)]
    pub(super) fn memory_bytes(&self) -> usize {
        (self.id_keys.len() + self.stream_keys.len()) * size_of::<u64>()
            + std::mem::size_of_val(self.filter.blocks())
    }

    fn page(&self, number: u64) -> Result<Page, IndexError> {
        Page::read(&*self.file, number).map_err(|error| self.damage(&error))
    }

    /// The sequence of a record by its place in the run.
    pub(super) fn sequence(&self, relative: u32) -> Sequence {
        Sequence(self.header.span.first.0 + u64::from(relative))
    }

    /// Notes that the file has to be made anew.
    fn damage(&self, error: &PageError) -> IndexError {
        // Those who wait for the new file come back often.
        if !self.damaged.swap(true, Ordering::Relaxed) {
            log::error!("index file {}: {error}; it will be made anew", self.path.display());
        }
        IndexError::Damaged { file: self.path.clone() }
    }
}

/// The pages that can hold a key, given the first key of each: the last page that begins below
/// it, and those after that which begin with it.
fn pages_with(first_keys: &[u64], key: u64) -> std::ops::Range<usize> {
    let start = first_keys.partition_point(|first| *first < key).saturating_sub(1);
    start..first_keys.partition_point(|first| *first <= key)
}
