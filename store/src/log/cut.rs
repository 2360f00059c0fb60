//! Taking records off the end of a log, over any number of segments, whenever a crash comes.
//!
//! ```text
//!  1  cut        says where the log is to end, durable                  from here on it happens
//!  2  segments   that begin after that are removed, the newest first
//!  3  the one    that is the last now gets zeros behind the record: no footer, open again
//!  4  cut        is removed
//! ```
//!
//! Every step can be done again. Opening a partition goes on wherever a crash has left it.

use std::io;
use std::path::Path;

use uuid::Uuid;

use super::appender::{LogEnd, Place};
use super::disk::{Disk, OpenMode};
use super::durable::{put_file, read_file, remove_if_there, write_zeros};
use super::error::OpenError;
use super::fields::{BlockError, BlockReader, BlockWriter, Magic};
use super::scan::Window;
use super::segment::{
    SEGMENT_HEADER_BYTES, SegmentHeader, segment_in_name, segment_path, to_u32, to_usize,
};
use crate::event::{LogMark, Sequence};
use crate::record::{Chain, decode};

const MAGIC: Magic = *b"SLOGCUT_";
const CUT_BYTES: usize = 64;
/// Its name in the partition's folder.
pub(crate) const CUT_NAME: &str = "cut";

/// Where a log is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    partition_id: Uuid,
    /// The last record to keep; 0 for none.
    pub(crate) last: Sequence,
    /// Chain after it.
    chain: Chain,
}

impl Cut {
    fn encode(self) -> Vec<u8> {
        BlockWriter::new(MAGIC)
            .bytes(self.partition_id.as_bytes())
            .u64(self.last.0)
            .bytes(&self.chain.0)
            .finish(CUT_BYTES)
    }

    fn decode(block: &[u8]) -> Result<Self, BlockError> {
        let mut fields = BlockReader::new(block, MAGIC)?;
        let (partition_id, last) = (fields.uuid()?, Sequence(fields.u64()?));
        Ok(Self { partition_id, last, chain: Chain(fields.array()?) })
    }

    /// The cut that is under way in a partition's folder.
    pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>, OpenError> {
        let path = dir.join(CUT_NAME);
        match read_file(disk, &path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(OpenError::io(&path)(error)),
            Ok(block) => Self::decode(&block).map(Some).map_err(OpenError::block(&path, 0)),
        }
    }
}

/// Takes everything after a mark off the log of a partition that is closed.
///
/// # Errors
/// [`OpenError`]; the cut is done by the next opening then, if it had begun.
pub(crate) fn cut_log(place: &Place, to: LogMark) -> Result<(), OpenError> {
    let cut = Cut { partition_id: place.partition_id, last: to.sequence, chain: Chain(to.chain) };
    let path = place.dir.join(CUT_NAME);
    put_file(&*place.disk, &path, &cut.encode()).map_err(OpenError::io(&path))?;
    finish_cut(place)
}

/// Does what is left of a cut that has begun.
pub(crate) fn finish_cut(place: &Place) -> Result<(), OpenError> {
    let Place { disk, dir, partition_id } = place;
    let Some(cut) = Cut::read(&**disk, dir)? else { return Ok(()) };
    let path = dir.join(CUT_NAME);
    if cut.partition_id != *partition_id {
        return Err(corrupt(&path, 0, cut.last, "the cut is another partition's"));
    }
    let names = disk.list(dir).map_err(OpenError::io(dir))?;
    let firsts: Vec<Sequence> = names.iter().filter_map(|name| segment_in_name(name)).collect();
    // A cut before the first record leaves the first segment, empty.
    let kept = firsts.iter().rev().find(|first| **first <= cut.last).or(firsts.first()).copied();
    let missing = || OpenError::Missing { path: segment_path(dir, cut.last) };
    let kept = kept.ok_or_else(missing)?;
    for first in firsts.iter().rev().take_while(|first| **first > kept) {
        let segment = segment_path(dir, *first);
        remove_if_there(&**disk, &segment).map_err(OpenError::io(&segment))?;
    }
    disk.sync_dir(dir).map_err(OpenError::io(dir))?;
    clear_behind(&**disk, &segment_path(dir, kept), cut)?;
    let done = remove_if_there(&**disk, &path).and_then(|()| disk.sync_dir(dir));
    done.map_err(OpenError::io(&path))
}

/// Overwrites everything behind the last record to keep with zeros.
fn clear_behind(disk: &dyn Disk, path: &Path, cut: Cut) -> Result<(), OpenError> {
    let io = || OpenError::io(path);
    let file = disk.open(path, OpenMode::Write).map_err(io())?;
    let mut block = vec![0; to_usize(SEGMENT_HEADER_BYTES)];
    let read = file.read_at(&mut block, 0).map_err(io())?;
    let header = SegmentHeader::decode(block.get(..read).unwrap_or_default())
        .map_err(OpenError::block(path, 0))?;
    let mut window = Window::new(&*file, header.segment_bytes);
    let last = Sequence(header.first.0.saturating_sub(1));
    let mut at = LogEnd { last, chain: header.chain, ..LogEnd::EMPTY };
    let mut offset = SEGMENT_HEADER_BYTES;
    while at.last < cut.last {
        let view = decode(window.at(offset).map_err(io())?)
            .map_err(|error| corrupt(path, offset, at.last.next(), &error.to_string()))?;
        if view.sequence() != at.last.next() {
            return Err(corrupt(path, offset, at.last.next(), "another record stands there"));
        }
        at = LogEnd { last: view.sequence(), chain: view.chain(), ..at };
        offset += to_u32(view.len());
    }
    if at.chain != cut.chain {
        let reason = "the log is not the one that was to be cut here";
        return Err(corrupt(path, offset, cut.last, reason));
    }
    write_zeros(&*file, u64::from(offset)..u64::from(header.segment_bytes)).map_err(io())?;
    file.sync().map_err(io())
}

fn corrupt(path: &Path, offset: u32, sequence: Sequence, reason: &str) -> OpenError {
    OpenError::Corrupt {
        file: path.to_owned(),
        offset: u64::from(offset),
        sequence,
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_and_every_flipped_bit_is_found() {
        let cut =
            Cut { partition_id: Uuid::from_u128(3), last: Sequence(9), chain: Chain([5; 16]) };
        let block = cut.encode();
        assert_eq!(Cut::decode(&block), Ok(cut));
        for bit in 0..block.len() * 8 {
            let mut flipped = block.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Cut::decode(&flipped).is_err(), "bit {bit}");
        }
    }
}
