//! Writing a run from front to back.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::Run;
use super::filter::Filter;
use super::format::{Header, IdEntry, Key, Span, StreamEntry};
use super::pages::PageWriter;
use crate::index::memory::Place;
use crate::index::width::to_u64;
use crate::index::{IndexError, IndexPlace};
use crate::log::disk::OpenMode;
use crate::log::durable::remove_if_there;

/// Takes a run's entries, section by section: all ids, all streams, all places, each in their
/// order. In memory it holds the filter and the first key of each page.
pub(in crate::index) struct RunWriter {
    pages: PageWriter,
    path: PathBuf,
    filter: Filter,
    id_keys: Vec<u64>,
    stream_keys: Vec<u64>,
    streams: u64,
}

/// Writes a run under a temporary name, makes it durable, and gives it its name. `fill` hands
/// over the entries; `streams_max` is at least the number of streams that it hands over.
///
/// # Errors
/// [`IndexError::Io`], or what `fill` returned. No file is left behind then, if it can be removed.
pub(in crate::index) fn write_run(
    place: &IndexPlace,
    span: Span,
    streams_max: u64,
    fill: impl FnOnce(&mut RunWriter) -> Result<(), IndexError>,
) -> Result<Run, IndexError> {
    let path = place.dir.join(span.file_name());
    let temporary = path.with_extension("index.tmp");
    let failed = |source| IndexError::Io { file: temporary.clone(), source };
    remove_if_there(&*place.disk, &temporary).map_err(failed)?;
    let filter = Filter::for_keys(span.records() + streams_max);
    let written = RunWriter::create(place, &temporary, filter).and_then(|mut writer| {
        fill(&mut writer)?;
        let run = writer.finish(place, span, path.clone()).map_err(failed)?;
        place.disk.rename(&temporary, &path).map_err(failed)?;
        place.disk.sync_dir(&place.dir).map_err(failed)?;
        Ok(run)
    });
    if written.is_err() {
        // Only to give room back on a full disk: the next attempt removes it, too.
        let _ = remove_if_there(&*place.disk, &temporary);
    }
    written
}

impl RunWriter {
    fn create(place: &IndexPlace, path: &Path, filter: Filter) -> Result<Self, IndexError> {
        let failed = |source| IndexError::Io { file: path.to_owned(), source };
        let file = place.disk.open(path, OpenMode::CreateNew).map_err(failed)?;
        Ok(Self {
            pages: PageWriter::new(file),
            path: path.to_owned(),
            filter,
            id_keys: Vec::new(),
            stream_keys: Vec::new(),
            streams: 0,
        })
    }

    /// Adds the next id.
    pub(in crate::index) fn id(&mut self, entry: &IdEntry) -> Result<(), IndexError> {
        if self.pages.append(entry).map_err(|error| self.failed(error))? {
            self.id_keys.push(entry.fingerprint);
        }
        self.filter.insert(entry.fingerprint);
        Ok(())
    }

    /// Adds the next stream.
    pub(in crate::index) fn stream(&mut self, entry: &StreamEntry) -> Result<(), IndexError> {
        if self.pages.append(entry).map_err(|error| self.failed(error))? {
            self.stream_keys.push(entry.hash);
        }
        self.filter.insert(entry.hash);
        self.streams += 1;
        Ok(())
    }

    /// Adds the next place.
    pub(in crate::index) fn place(&mut self, place: &Place) -> Result<(), IndexError> {
        self.pages.append(place).map(|_| ()).map_err(|error| self.failed(error))
    }

    /// Ends a section.
    pub(in crate::index) fn end_section(&mut self) -> Result<(), IndexError> {
        self.pages.finish_section().map(|_| ()).map_err(|error| self.failed(error))
    }

    fn finish(mut self, place: &IndexPlace, span: Span, path: PathBuf) -> io::Result<Run> {
        for key in self.id_keys.iter().chain(&self.stream_keys) {
            self.pages.append(&Key(*key))?;
        }
        self.pages.finish_section()?;
        for block in self.filter.blocks() {
            self.pages.append(block)?;
        }
        let header = Header {
            span,
            partition_id: place.partition_id,
            streams: self.streams,
            stream_pages: to_u64(self.stream_keys.len()),
            filter_blocks: to_u64(self.filter.blocks().len()),
        };
        Ok(Run {
            path,
            file: self.pages.finish(&header.encode())?,
            header,
            id_keys: self.id_keys,
            stream_keys: self.stream_keys,
            filter: self.filter,
            damaged: AtomicBool::new(false),
        })
    }

    fn failed(&self, source: io::Error) -> IndexError {
        IndexError::Io { file: self.path.clone(), source }
    }
}
