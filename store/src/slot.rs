//! Which partition a stream lives in.
//!
//! The broker has the same few lines for its own routing; both sides carry the same test vectors.

use std::fmt;

use crate::names::StreamName;

/// Number of slots that streams are spread over; fixed for ever, unlike the number of partitions.
pub const SLOTS: u16 = 1024;
/// Most partitions that a store can have: a partition without a slot would stay empty.
pub const PARTITIONS_MAX: u16 = SLOTS;

/// Number of a partition within its store, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PartitionNumber(pub u16);

impl fmt::Display for PartitionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One of [`SLOTS`] equal shares of all streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// The slot of a stream: CRC-32 of its [key](key) modulo [`SLOTS`].
    #[must_use]
    pub fn of(stream: &StreamName) -> Self {
        let slot = crc32fast::hash(key(stream.as_bytes())) % u32::from(SLOTS);
        Self(u16::try_from(slot).unwrap_or_default())
    }

    /// The partition of this slot in a store of `partitions` partitions (slot × N / 1024).
    #[must_use]
    pub fn partition(self, partitions: u16) -> PartitionNumber {
        let number = u32::from(self.0) * u32::from(partitions) / u32::from(SLOTS);
        PartitionNumber(u16::try_from(number).unwrap_or_default())
    }
}

/// The part of a stream name that decides where the stream lives: the text inside the first
/// `{…}`, so that streams which share it can be appended together, else the whole name.
#[must_use]
pub fn key(stream: &[u8]) -> &[u8] {
    let inside = stream.iter().position(|byte| *byte == b'{').and_then(|open| {
        let after = stream.get(open + 1..)?;
        let close = after.iter().position(|byte| *byte == b'}')?;
        after.get(..close).filter(|inside| !inside.is_empty())
    });
    inside.unwrap_or(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        let rows: [(&str, &str); 8] = [
            ("order-17", "order-17"),
            ("{user-1}/cart", "user-1"),
            ("cart-{user-1}", "user-1"),
            ("a{b}c{d}", "b"),
            ("{}x", "{}x"),
            ("{open", "{open"),
            ("close}{x}", "x"),
            ("{a{b}c}", "a{b"),
        ];
        for (stream, expected) in rows {
            assert_eq!(key(stream.as_bytes()), expected.as_bytes(), "{stream}");
        }
    }

    #[test]
    fn slots_stay_where_they_are() {
        // CRC-32 (IEEE 802.3) of the key modulo 1024, computed with Python's zlib: the broker's
        // `slot.rs` must give the same.
        let rows = [
            ("123456789", 294),
            ("order-1", 1007),
            ("order-17", 532),
            ("{user-7}/posts", 801),
            ("{user-7}/comments", 801),
            ("a{b}c{d}", 1017),
            ("{}x", 22),
            ("x{y", 351),
            ("close}{x}", 643),
            ("{a{b}c}", 76),
            ("$topology", 356),
            ("{user-1}/größe", 532),
        ];
        for (stream, slot) in rows {
            assert_eq!(Slot::of(&StreamName::try_from(stream).unwrap()), Slot(slot), "{stream}");
        }
    }

    #[test]
    fn partitions_cover_all_slots_evenly() {
        for (slot, partitions, partition) in [
            (0, 1, 0),
            (1023, 1, 0),
            (511, 2, 0),
            (512, 2, 1),
            (1023, 3, 2),
            (341, 3, 0),
            (342, 3, 1),
        ] {
            assert_eq!(Slot(slot).partition(partitions), PartitionNumber(partition));
        }
    }
}
