//! Pages: the unit in which a run file is written, checked and read.
//!
//! ```text
//!     0  4092  payload: entries one after the other, none across a border; the rest zeros
//!  4092     4  CRC-32 of the page's number (u64) and the payload
//! ```
//!
//! No byte of a run is believed before its page's checksum was right, so a damaged file gives an
//! error and never a wrong answer. The number in the checksum catches a page in the wrong place.

use std::io;
use std::marker::PhantomData;

use thiserror::Error;

use crate::index::width::{long_to_usize, to_u64};
use crate::log::disk::DiskFile;

/// Bytes of a page.
pub(super) const PAGE_BYTES: usize = 4096;
/// Bytes of a page before its checksum.
pub(super) const PAYLOAD_BYTES: usize = PAGE_BYTES - 4;
/// Pages that are written, or read ahead, at a time.
const BURST_PAGES: u64 = 16;

/// What pages hold.
pub(super) trait Entry: Sized {
    /// Appends the entry's bytes; at least one, at most a payload.
    fn encode(&self, page: &mut Vec<u8>);

    /// Takes an entry from the front; `None` where only the page's filling is left.
    fn decode(bytes: &mut &[u8]) -> Option<Self>;
}

/// An entry of which every page but the last holds the same number.
pub(super) trait FixedEntry: Entry {
    /// Its length.
    const BYTES: usize;
    /// Entries in a page.
    const PER_PAGE: usize = PAYLOAD_BYTES / Self::BYTES;
}

/// Takes a few bytes from the front.
pub(super) fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

/// Entries of one kind: some pages, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Section {
    /// Number of the first page.
    pub(super) first_page: u64,
    /// Number of pages.
    pub(super) pages: u64,
    /// Number of entries.
    pub(super) entries: u64,
}

impl Section {
    /// Number of the page after the last one.
    pub(super) fn end_page(&self) -> u64 {
        self.first_page + self.pages
    }
}

/// Why a page can't be used.
#[derive(Debug, Error)]
pub(super) enum PageError {
    #[error("page {0} has a wrong checksum")]
    Checksum(u64),
    #[error("the file ends before page {0}")]
    Short(u64),
    #[error("page {0} can't be read: {1}")]
    Io(u64, io::Error),
    #[error("entries are missing before page {0}")]
    Entries(u64),
}

fn checksum(number: u64, payload: &[u8]) -> [u8; 4] {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&number.to_le_bytes());
    crc.update(payload);
    crc.finalize().to_le_bytes()
}

/// Reads whole pages from `number` on into `buffer` and checks them.
fn read_pages(file: &dyn DiskFile, number: u64, buffer: &mut [u8]) -> Result<(), PageError> {
    let offset = number * to_u64(PAGE_BYTES);
    let read = file.read_at(buffer, offset).map_err(|error| PageError::Io(number, error))?;
    for (number, (at, page)) in
        (number..).zip(buffer.as_chunks::<PAGE_BYTES>().0.iter().enumerate())
    {
        if read < (at + 1) * PAGE_BYTES {
            return Err(PageError::Short(number));
        }
        let (payload, crc) = page.split_at(PAYLOAD_BYTES);
        if checksum(number, payload) != *crc {
            return Err(PageError::Checksum(number));
        }
    }
    Ok(())
}

/// One checked page.
pub(super) struct Page([u8; PAGE_BYTES]);

impl Page {
    pub(super) fn read(file: &dyn DiskFile, number: u64) -> Result<Self, PageError> {
        let mut page = [0; PAGE_BYTES];
        read_pages(file, number, &mut page)?;
        Ok(Self(page))
    }

    pub(super) fn payload(&self) -> &[u8] {
        self.0.split_at(PAYLOAD_BYTES).0
    }
}

/// Writes a file of pages from page 1 on; page 0, the header, comes last.
pub(super) struct PageWriter {
    file: Box<dyn DiskFile>,
    /// Payload of the page that is being filled.
    payload: Vec<u8>,
    /// Number of that page.
    number: u64,
    /// Finished pages that are not written yet.
    burst: Vec<u8>,
    /// The entry at hand.
    entry: Vec<u8>,
}

impl PageWriter {
    pub(super) fn new(file: Box<dyn DiskFile>) -> Self {
        let payload = Vec::with_capacity(PAYLOAD_BYTES);
        Self { file, payload, number: 1, burst: Vec::new(), entry: Vec::new() }
    }

    /// Appends an entry; says whether it is the first of its page.
    pub(super) fn append(&mut self, entry: &impl Entry) -> io::Result<bool> {
        self.entry.clear();
        entry.encode(&mut self.entry);
        if self.payload.len() + self.entry.len() > PAYLOAD_BYTES {
            self.finish_page()?;
        }
        let first = self.payload.is_empty();
        self.payload.extend_from_slice(&self.entry);
        Ok(first)
    }

    /// Ends the section: the next entry begins a page. Returns that page's number.
    pub(super) fn finish_section(&mut self) -> io::Result<u64> {
        if !self.payload.is_empty() {
            self.finish_page()?;
        }
        Ok(self.number)
    }

    /// Writes everything with the given header and makes it durable.
    pub(super) fn finish(mut self, header: &[u8]) -> io::Result<Box<dyn DiskFile>> {
        self.finish_section()?;
        self.write_burst()?;
        self.number = 0;
        self.payload.extend_from_slice(header);
        self.finish_page()?;
        self.write_burst()?;
        self.file.sync()?;
        Ok(self.file)
    }

    fn finish_page(&mut self) -> io::Result<()> {
        self.payload.resize(PAYLOAD_BYTES, 0);
        self.burst.extend_from_slice(&self.payload);
        self.burst.extend_from_slice(&checksum(self.number, &self.payload));
        self.payload.clear();
        self.number += 1;
        if to_u64(self.burst.len()) >= BURST_PAGES * to_u64(PAGE_BYTES) {
            self.write_burst()?;
        }
        Ok(())
    }

    fn write_burst(&mut self) -> io::Result<()> {
        let end = self.number * to_u64(PAGE_BYTES);
        self.file.write_at(&self.burst, end - to_u64(self.burst.len()))?;
        self.burst.clear();
        Ok(())
    }
}

/// Entries in the order of the file, read a few pages at a time. Ends after the first error.
pub(super) struct Entries<'a, E> {
    file: &'a dyn DiskFile,
    next_page: u64,
    end_page: u64,
    /// Entries still to come.
    left: u64,
    /// Entries to pass over before.
    skip: u64,
    /// Pages that were read and checked.
    buffer: Vec<u8>,
    /// Where the next entry begins in `buffer`.
    position: usize,
    entry: PhantomData<E>,
}

impl<'a, E: Entry> Entries<'a, E> {
    /// All entries of a section.
    pub(super) fn all(file: &'a dyn DiskFile, section: Section) -> Self {
        Self {
            file,
            next_page: section.first_page,
            end_page: section.end_page(),
            left: section.entries,
            skip: 0,
            buffer: Vec::new(),
            position: 0,
            entry: PhantomData,
        }
    }

    fn decode_next(&mut self) -> Option<E> {
        let page_end = self.position - self.position % PAGE_BYTES + PAYLOAD_BYTES;
        let mut bytes = self.buffer.get(self.position..page_end)?;
        let before = bytes.len();
        let entry = E::decode(&mut bytes)?;
        self.position += before - bytes.len();
        Some(entry)
    }

    /// Goes to the next page, reading more where it is not in the buffer.
    fn next_page(&mut self) -> Result<(), PageError> {
        self.position = self.position - self.position % PAGE_BYTES + PAGE_BYTES;
        if self.position < self.buffer.len() {
            return Ok(());
        }
        let pages = BURST_PAGES.min(self.end_page - self.next_page);
        if pages == 0 {
            return Err(PageError::Entries(self.end_page));
        }
        self.buffer.resize(long_to_usize(pages) * PAGE_BYTES, 0);
        read_pages(self.file, self.next_page, &mut self.buffer)?;
        self.next_page += pages;
        self.position = 0;
        Ok(())
    }
}

impl<'a, E: FixedEntry> Entries<'a, E> {
    /// `count` entries of a section from the one at `index` on.
    pub(super) fn some(file: &'a dyn DiskFile, section: Section, index: u64, count: u64) -> Self {
        let per_page = to_u64(E::PER_PAGE);
        let (before, within) = (index / per_page, index % per_page);
        let pages = (within + count).div_ceil(per_page);
        let first_page = section.first_page + before;
        let pages = pages.min(section.end_page().saturating_sub(first_page));
        let section = Section { first_page, pages, entries: count };
        Self { skip: within, ..Self::all(file, section) }
    }
}

impl<E: Entry> Iterator for Entries<'_, E> {
    type Item = Result<E, PageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        loop {
            match self.decode_next() {
                Some(_) if self.skip > 0 => self.skip -= 1,
                Some(entry) => {
                    self.left -= 1;
                    return Some(Ok(entry));
                }
                None => {
                    if let Err(error) = self.next_page() {
                        self.left = 0;
                        return Some(Err(error));
                    }
                }
            }
        }
    }
}
