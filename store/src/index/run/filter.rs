//! The filter of a run: tells for most keys that they are not in it, without reading the file.

use super::pages::{Entry, FixedEntry, take};
use crate::index::width::{halves, long_to_usize};

/// Bits of the filter per key; about one absent key in a thousand is taken for present.
const BITS_PER_KEY: u64 = 16;
/// Bits of a block.
const BLOCK_BITS: u64 = 256;
/// The odd factors that choose a bit in each word of a block, as given by Apache Parquet's
/// specification of split-block Bloom filters.
const SALT: [u32; 8] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];

/// One block; aligned so that asking it touches one cache line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(align(32))]
pub(super) struct Block([u32; 8]);

/// A split-block Bloom filter: the upper half of a key's hash chooses a block, the lower half one
/// bit in each of the block's eight words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filter {
    blocks: Vec<Block>,
}

impl Filter {
    /// An empty filter with room for so many keys.
    pub(super) fn for_keys(keys: u64) -> Self {
        let blocks = (keys * BITS_PER_KEY).div_ceil(BLOCK_BITS).max(1);
        Self { blocks: vec![Block::default(); long_to_usize(blocks)] }
    }

    /// A filter from its blocks, as they come from a file.
    pub(super) fn from_blocks(blocks: Vec<Block>) -> Self {
        Self { blocks }
    }

    /// The blocks, as they go to a file.
    pub(super) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Adds a key by its hash.
    pub(super) fn insert(&mut self, hash: u64) {
        let at = self.block_of(hash);
        if let Some(block) = self.blocks.get_mut(at) {
            for (word, bit) in block.0.iter_mut().zip(bits(hash)) {
                *word |= bit;
            }
        }
    }

    /// False only if the key was never added.
    pub(super) fn may_contain(&self, hash: u64) -> bool {
        self.blocks
            .get(self.block_of(hash))
            .is_none_or(|block| block.0.iter().zip(bits(hash)).all(|(word, bit)| word & bit != 0))
    }

    fn block_of(&self, hash: u64) -> usize {
        let (upper, _) = halves(hash);
        // upper / 2^32 of the blocks; at most 2^31 of them, so the product fits.
        (long_to_usize(u64::from(upper)) * self.blocks.len()) >> 32
    }
}

/// The bit of each word that stands for a key; made one at a time, for an absent key is mostly
/// told by the first or second word.
fn bits(hash: u64) -> impl Iterator<Item = u32> {
    let (_, lower) = halves(hash);
    SALT.into_iter().map(move |salt| 1 << (lower.wrapping_mul(salt) >> 27))
}

impl Entry for Block {
    fn encode(&self, page: &mut Vec<u8>) {
        for word in self.0 {
            page.extend_from_slice(&word.to_le_bytes());
        }
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let bytes: [u8; Self::BYTES] = take(bytes)?;
        let (words, _) = bytes.as_chunks::<4>();
        let mut block = Self::default();
        for (word, bytes) in block.0.iter_mut().zip(words) {
            *word = u32::from_le_bytes(*bytes);
        }
        Some(block)
    }
}

impl FixedEntry for Block {
    const BYTES: usize = 32;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::keys::Keys;
    use uuid::Uuid;

    #[test]
    fn every_key_is_found_and_few_others_are() {
        let keys = Keys::new(&Uuid::from_u128(7));
        let hash = |number: u32| keys.stream(&number.to_le_bytes());
        let mut filter = Filter::for_keys(10_000);
        (0..10_000).for_each(|number| filter.insert(hash(number)));
        assert!((0..10_000).all(|number| filter.may_contain(hash(number))));
        let wrong = (10_000..110_000).filter(|number| filter.may_contain(hash(*number))).count();
        assert!(wrong < 300, "{wrong} of 100,000 absent keys are taken for present");
        assert!(filter.blocks().len() * 32 <= 2 * 10_000 + 32);
    }

    #[test]
    fn bits_stay_where_they_are() {
        // The block of 0x0123… is chosen by 0x01234567 / 2^32 of 4 blocks, hence the first.
        let mut filter = Filter::for_keys(64);
        filter.insert(0x0123_4567_89ab_cdef);
        let [block, rest @ ..] = filter.blocks() else { panic!("four blocks") };
        assert!(rest.iter().all(|block| *block == Block::default()));
        let expected = SALT.map(|salt| 1 << (0x89ab_cdef_u32.wrapping_mul(salt) >> 27));
        assert_eq!(block.0, expected);
    }
}
