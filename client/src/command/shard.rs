//! The streams that commands share.

use store::names::StreamName;

use super::id::CommandId;

/// Number of shards; fixed for ever, because it decides where a command is looked for.
pub const SHARDS: u16 = 32;

/// A number for the name of each shard such that its slot lies in the shard's share of all slots.
/// So shards spread evenly over any number of partitions up to theirs; similar names alone would
/// gather in few of them.
const SALTS: [u8; 32] = [
    51, 60, 122, 31, 8, 50, 0, 112, 48, 33, 42, 39, 12, 23, 38, 0, //
    3, 38, 30, 123, 48, 33, 19, 28, 38, 2, 23, 12, 51, 60, 11, 20,
];

/// One of [`SHARDS`] shares of all commands: a stream with their steps, and one that says who
/// dispatches them. Both have the same key, so they live in the same partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(u8);

impl Shard {
    /// The shard with this number.
    #[must_use]
    pub fn new(number: u16) -> Option<Self> {
        u8::try_from(number).ok().filter(|_| number < SHARDS).map(Self)
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SHARDS).filter_map(Self::new)
    }

    /// The shard of a command: CRC-32 of its 16 bytes, modulo the number of shards. Ids that
    /// clients choose need not be random.
    #[must_use]
    pub fn of(command: &CommandId) -> Self {
        let number = crc32fast::hash(command.as_bytes()) % u32::from(SHARDS);
        Self(u8::try_from(number).unwrap_or_default())
    }

    /// The shard that a command or claim stream belongs to.
    #[must_use]
    pub fn of_stream(stream: &StreamName) -> Option<Self> {
        let key = store::slot::key(stream.as_bytes());
        let digits = std::str::from_utf8(key.get(..2)?).ok()?;
        let shard = Self::new(digits.parse().ok()?)?;
        (*stream == shard.stream() || *stream == shard.claim_stream()).then_some(shard)
    }

    /// From 0.
    #[must_use]
    pub fn number(self) -> u16 {
        u16::from(self.0)
    }

    /// The stream of the steps of its commands.
    #[must_use]
    pub fn stream(self) -> StreamName {
        name(&format!("titanic-{{{}}}", self.key()))
    }

    /// The stream of those who claimed it.
    #[must_use]
    pub fn claim_stream(self) -> StreamName {
        name(&format!("titanic-claim-{{{}}}", self.key()))
    }

    fn key(self) -> String {
        let salt = SALTS.get(usize::from(self.0)).copied().unwrap_or_default();
        format!("{:02}-{salt}", self.0)
    }
}

/// The stream of the signs of life of all Titanic processes.
#[must_use]
pub fn process_stream() -> StreamName {
    name("titanic-process")
}

#[expect(clippy::expect_used, reason = "short ASCII text always is a stream name")]
fn name(text: &str) -> StreamName {
    StreamName::try_from(text).expect("a stream name")
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use store::slot::Slot;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn shards_spread_evenly_over_partitions() {
        for partitions in [1, 2, 4, 8, 16, 32] {
            let mut counts = BTreeMap::new();
            for shard in Shard::all() {
                let partition = Slot::of(&shard.stream()).partition(partitions);
                assert_eq!(Slot::of(&shard.claim_stream()).partition(partitions), partition);
                *counts.entry(partition).or_insert(0) += 1;
            }
            assert_eq!(counts.len(), usize::from(partitions));
            let even = SHARDS / partitions;
            assert!(counts.values().all(|count| *count == even), "{partitions}: {counts:?}");
        }
    }

    #[test]
    fn names_stay_as_they_are_and_lead_back() {
        assert_eq!(Shard(0).stream().as_str(), "titanic-{00-51}");
        assert_eq!(Shard(31).claim_stream().as_str(), "titanic-claim-{31-20}");
        let names: BTreeSet<_> =
            Shard::all().flat_map(|shard| [shard.stream(), shard.claim_stream()]).collect();
        assert_eq!(names.len(), 64);
        for shard in Shard::all() {
            assert_eq!(Shard::of_stream(&shard.stream()), Some(shard));
            assert_eq!(Shard::of_stream(&shard.claim_stream()), Some(shard));
            assert_eq!(Shard::new(shard.number()), Some(shard));
        }
        assert_eq!(Shard::new(SHARDS), None);
        for other in ["titanic-process", "titanic-{00-50}", "titanic-{32-0}", "{00-51}", "titanic"]
        {
            assert_eq!(Shard::of_stream(&name(other)), None, "{other}");
        }
    }

    #[test]
    fn commands_spread_over_shards_also_if_their_ids_only_count() {
        let mut counts = BTreeMap::new();
        for number in 0..32_000 {
            let id = CommandId::new(Uuid::from_u128(number));
            *counts.entry(id.shard()).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), usize::from(SHARDS));
        assert!(counts.values().all(|count| (900..1100).contains(count)), "{counts:?}");
        // CRC-32 of sixteen zeros is 0xECBB4B55.
        assert_eq!(CommandId::new(Uuid::nil()).shard(), Shard(0x15));
    }
}
