//! Every stream's latest version, in memory, and the names of all categories.

use hashbrown::HashTable;

use super::width::{halves, to_usize};
use crate::event::Version;

/// Names are kept in pieces of this size, which are filled once and never move.
const PIECE_BYTES: usize = 64 * 1024;

/// A stream's or category's place in the [`StreamTable`], given when its name is first seen.
///
/// Numbers live as long as the process: memory parts use them in place of names, disk never does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct StreamNumber(u32);

/// Name → number → latest version, for all streams of a partition. Categories are in it under
/// their keys, to have numbers; their versions mean nothing.
///
/// Names are copied into pieces of memory that belong to the table, so a stream costs its name,
/// 16 bytes, and 9 bytes of hash table (times the spare room of growing vectors and tables):
/// a million streams fit into well under 100 MB.
#[derive(Debug, Default)]
pub(super) struct StreamTable {
    pieces: Vec<Vec<u8>>,
    streams: Vec<Stream>,
    by_name: HashTable<Slot>,
}

#[derive(Debug, Clone, Copy)]
struct Stream {
    piece: u32,
    start: u16,
    length: u16,
    latest: Version,
}

/// What the hash table holds: enough of the hash to grow without reading names again.
#[derive(Debug, Clone, Copy)]
struct Slot {
    tag: u32,
    number: StreamNumber,
}

impl Slot {
    fn hash(tag: u32) -> u64 {
        // Spreads the tag over all bits: the table uses the lowest and the highest ones.
        u64::from(tag).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

impl StreamTable {
    /// The number of a stream, if it is known. `hash` is the name's [`Keys::stream`] value.
    ///
    /// [`Keys::stream`]: super::keys::Keys::stream
    pub(super) fn find(&self, hash: u64, name: &[u8]) -> Option<StreamNumber> {
        let (tag, _) = halves(hash);
        let same = |slot: &Slot| slot.tag == tag && self.name(slot.number) == name;
        self.by_name.find(Slot::hash(tag), same).map(|slot| slot.number)
    }

    /// The number of a stream, which becomes known if it was not.
    pub(super) fn intern(&mut self, hash: u64, name: &[u8]) -> StreamNumber {
        if let Some(number) = self.find(hash, name) {
            return number;
        }
        let (tag, _) = halves(hash);
        let number = StreamNumber(u32::try_from(self.streams.len()).unwrap_or(u32::MAX));
        let stream = self.keep(name);
        self.streams.push(stream);
        let slot = Slot { tag, number };
        self.by_name.insert_unique(Slot::hash(tag), slot, |slot| Slot::hash(slot.tag));
        number
    }

    /// Copies a name into the newest piece, or into a new one where that is full.
    fn keep(&mut self, name: &[u8]) -> Stream {
        let room = |piece: &Vec<u8>| piece.capacity() - piece.len();
        if self.pieces.last().is_none_or(|piece| room(piece) < name.len()) {
            self.pieces.push(Vec::with_capacity(PIECE_BYTES));
        }
        let index = self.pieces.len() - 1;
        let start = self.pieces.last().map_or(0, Vec::len);
        if let Some(piece) = self.pieces.last_mut() {
            piece.extend_from_slice(name);
        }
        // A name has at most 257 bytes and starts below 64 KiB: `StreamName` made sure of it.
        Stream {
            piece: u32::try_from(index).unwrap_or(u32::MAX),
            start: u16::try_from(start).unwrap_or(u16::MAX),
            length: u16::try_from(name.len()).unwrap_or(u16::MAX),
            latest: Version::ZERO,
        }
    }

    /// A stream's name.
    pub(super) fn name(&self, number: StreamNumber) -> &[u8] {
        let Some(stream) = self.streams.get(to_usize(number.0)) else { return &[] };
        let start = usize::from(stream.start);
        let piece = self.pieces.get(to_usize(stream.piece));
        piece.and_then(|piece| piece.get(start..start + usize::from(stream.length))).unwrap_or(&[])
    }

    /// A stream's latest version.
    pub(super) fn latest(&self, number: StreamNumber) -> Version {
        self.streams.get(to_usize(number.0)).map_or(Version::ZERO, |stream| stream.latest)
    }

    /// Notes that a stream has reached a version; a lower one than the known changes nothing.
    pub(super) fn raise(&mut self, number: StreamNumber, version: Version) {
        if let Some(stream) = self.streams.get_mut(to_usize(number.0)) {
            stream.latest = stream.latest.max(version);
        }
    }

    /// Bytes of memory that the table holds, spare room included.
    #[cfg(test)]
    pub(super) fn memory_bytes(&self) -> usize {
        self.pieces.iter().map(Vec::capacity).sum::<usize>()
            + self.streams.capacity() * size_of::<Stream>()
            + self.by_name.allocation_size()
    }
}
