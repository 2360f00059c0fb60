//! The segments of a partition as its readers see them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::appender::LogEnd;
use super::disk::{Disk, DiskFile, OpenMode};
use super::error::ReadError;
use super::scan::{Scanned, Stop, walk};
use super::segment::{
    Located, OpenSegment, SEGMENT_HEADER_BYTES, SegmentFooter, SegmentHeader, decode_table,
    segment_path, sparse_place, to_usize,
};
use crate::event::Sequence;

/// Most sealed segments of a partition whose files and tables are kept open.
const SEALED_OPEN_MAX: usize = 16;

/// What is kept in memory of a sealed segment at all times.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sealed {
    pub(crate) footer: SegmentFooter,
    pub(crate) segment_bytes: u32,
}

/// A sealed segment with its file open and its table loaded.
struct Opened {
    file: Arc<dyn DiskFile>,
    path: Arc<Path>,
    table: Vec<u32>,
    footer: SegmentFooter,
}

/// All segments of a partition: shared by its appender, which adds to them, and its readers.
pub(crate) struct Segments {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    list: RwLock<List>,
    /// Least recently used first.
    opened: Mutex<Vec<Arc<Opened>>>,
}

struct List {
    /// Ascending and without gaps; each ends where the next begins.
    sealed: Vec<Sealed>,
    /// `None` once the partition is closed.
    open: Option<Arc<OpenSegment>>,
}

impl Segments {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        sealed: Vec<Sealed>,
        open: Arc<OpenSegment>,
    ) -> Self {
        let list = RwLock::new(List { sealed, open: Some(open) });
        Self { disk, dir, list, opened: Mutex::new(Vec::new()) }
    }

    /// Replaces the open segment; the one before was just sealed.
    pub(crate) fn roll(&self, sealed: Sealed, open: Arc<OpenSegment>) {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        list.sealed.push(sealed);
        list.open = Some(open);
    }

    /// Lets go of all files; later reads fail.
    pub(crate) fn close(&self) {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        list.open = None;
        list.sealed.clear();
        self.cache().clear();
    }

    /// Whether the partition was closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.list.read().unwrap_or_else(PoisonError::into_inner).open.is_none()
    }

    /// How many there are, the open one included.
    pub(crate) fn count(&self) -> usize {
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        list.sealed.len() + usize::from(list.open.is_some())
    }

    /// Oldest sequence that is kept; the next one to come where there is none.
    pub(crate) fn first(&self) -> Sequence {
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        let open = list.open.as_ref().map(|open| open.header.first);
        list.sealed.first().map(|sealed| sealed.footer.first).or(open).unwrap_or(Sequence(1))
    }

    /// Where to start reading for a sequence that was written.
    pub(crate) fn locate(&self, sequence: Sequence) -> Result<Located, ReadError> {
        let sealed = {
            let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
            let open = list.open.as_ref().ok_or(ReadError::Closed)?;
            if sequence >= open.header.first {
                return open.locate(sequence).ok_or_else(|| ReadError::Corrupt {
                    file: open.path.to_path_buf(),
                    offset: u64::from(open.end()),
                    sequence,
                    reason: "the sequence lies beyond the last record".to_owned(),
                });
            }
            let after = list.sealed.partition_point(|sealed| sealed.footer.first <= sequence);
            after.checked_sub(1).and_then(|place| list.sealed.get(place)).copied()
        };
        let sealed = sealed.ok_or_else(|| ReadError::BeforeFirst { first: self.first() })?;
        let opened = self.opened(sealed)?;
        let place = sparse_place(&opened.table, opened.footer.first, sequence);
        let (offset, start) = place.ok_or_else(|| damaged(&opened.path, sealed))?;
        Ok(Located {
            file: Arc::clone(&opened.file),
            path: Arc::clone(&opened.path),
            segment: opened.footer.first,
            offset,
            sequence: start,
            end: opened.footer.end,
        })
    }

    /// Walks through a sealed segment with every check, and hands on its records. Returns whether
    /// all of them are what was written.
    pub(crate) fn walk_sealed(
        &self,
        first: Sequence,
        hand_on: &mut dyn FnMut(&[Scanned]),
    ) -> Result<bool, ReadError> {
        let sealed = {
            let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
            let place = list.sealed.binary_search_by_key(&first, |sealed| sealed.footer.first);
            place.ok().and_then(|place| list.sealed.get(place)).copied()
        };
        let sealed = sealed.ok_or(ReadError::Closed)?;
        let opened = self.opened(sealed)?;
        let mut block = vec![0; to_usize(SEGMENT_HEADER_BYTES)];
        let io = || ReadError::io(&opened.path);
        opened.file.read_at(&mut block, 0).map_err(io())?;
        let Ok(header) = SegmentHeader::decode(&block) else { return Ok(false) };
        let start = LogEnd {
            last: Sequence(first.0.saturating_sub(1)),
            chain: header.chain,
            ..LogEnd::EMPTY
        };
        let walked = walk(&*opened.file, start, sealed.footer.end, hand_on).map_err(io())?;
        Ok(walked.stop == Stop::Limit && walked.end.chain == sealed.footer.chain)
    }

    /// A sealed segment's file and table, from the cache or from disk.
    fn opened(&self, sealed: Sealed) -> Result<Arc<Opened>, ReadError> {
        {
            let mut cache = self.cache();
            let first = sealed.footer.first;
            if let Some(at) = cache.iter().position(|opened| opened.footer.first == first) {
                let hit = cache.remove(at);
                cache.push(Arc::clone(&hit));
                return Ok(hit);
            }
        }
        let opened = Arc::new(self.load(sealed)?);
        let mut cache = self.cache();
        if cache.len() >= SEALED_OPEN_MAX {
            cache.remove(0);
        }
        cache.push(Arc::clone(&opened));
        Ok(opened)
    }

    fn load(&self, sealed: Sealed) -> Result<Opened, ReadError> {
        let Sealed { footer, segment_bytes } = sealed;
        let path = segment_path(&self.dir, footer.first);
        let file = self.disk.open(&path, OpenMode::Read).map_err(ReadError::io(&path))?;
        let mut bytes = vec![0; to_usize(footer.table_entries()) * 4];
        let at = footer.table_offset(segment_bytes);
        let read = file.read_at(&mut bytes, u64::from(at)).map_err(ReadError::io(&path))?;
        let table = decode_table(bytes.get(..read).unwrap_or_default(), &footer)
            .map_err(|_| damaged(&path, sealed))?;
        Ok(Opened { file: Arc::from(file), path: path.into(), table, footer })
    }

    fn cache(&self) -> MutexGuard<'_, Vec<Arc<Opened>>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn damaged(path: &Path, sealed: Sealed) -> ReadError {
    ReadError::Corrupt {
        file: path.to_owned(),
        offset: u64::from(sealed.footer.table_offset(sealed.segment_bytes)),
        sequence: sealed.footer.first,
        reason: "the table of offsets is not what was written".to_owned(),
    }
}
