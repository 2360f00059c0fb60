//! How names and ids become 64-bit numbers.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;
use uuid::Uuid;

use crate::event::EventId;
use crate::names::STREAM_NAME_BYTES_MAX;

/// Hashes stream names and event ids with SipHash-1-3, keyed by the partition's own random id, so
/// that a peer who chooses names and ids can't choose which of them collide.
///
/// The numbers stand in run files: neither function nor key ever changes for a partition.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    hasher: SipHasher13,
    #[cfg(test)]
    mask: u64,
}

impl Keys {
    pub(super) fn new(partition_id: &Uuid) -> Self {
        Self {
            hasher: SipHasher13::new_with_key(partition_id.as_bytes()),
            #[cfg(test)]
            mask: u64::MAX,
        }
    }

    /// Keys of which only the masked bits differ, so that a test sees many collisions.
    #[cfg(test)]
    pub(super) fn colliding(partition_id: &Uuid, mask: u64) -> Self {
        Self { mask, ..Self::new(partition_id) }
    }

    /// Place of a stream or category in hash tables and in the stream table of a run.
    pub(super) fn stream(&self, name: &[u8]) -> u64 {
        self.hash(name)
    }

    /// Fingerprint of an event id.
    pub(super) fn id(&self, id: &EventId) -> u64 {
        self.hash(id.as_bytes())
    }

    /// A number for a few numbers; never on disk.
    pub(super) fn numbers(&self, numbers: [u64; 4]) -> u64 {
        let mut hasher = self.hasher;
        numbers.iter().for_each(|number| hasher.write_u64(*number));
        hasher.finish()
    }

    fn hash(&self, bytes: &[u8]) -> u64 {
        let mut hasher = self.hasher;
        hasher.write(bytes);
        let hash = hasher.finish();
        #[cfg(test)]
        let hash = hash & self.mask;
        hash
    }
}

/// The name under which a category is kept beside the streams. No stream has it, for the names of
/// streams have no control characters.
///
/// It lies on the stack, because the writer makes one for nearly every batch.
#[derive(Debug, Clone)]
pub(super) struct CategoryKey {
    bytes: [u8; 1 + STREAM_NAME_BYTES_MAX],
    length: usize,
}

/// What a category's key begins with.
const CATEGORY_MARK: u8 = 0;

impl CategoryKey {
    pub(super) fn new(category: &[u8]) -> Self {
        let mut bytes = [CATEGORY_MARK; 1 + STREAM_NAME_BYTES_MAX];
        let (_, room) = bytes.split_at_mut(1);
        // `StreamName` and `CategoryName` made sure that all of it has room.
        room.iter_mut().zip(category).for_each(|(to, from)| *to = *from);
        Self { bytes, length: 1 + category.len().min(STREAM_NAME_BYTES_MAX) }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&self.bytes)
    }
}

/// Whether a key is that of a category.
pub(super) fn is_category(key: &[u8]) -> bool {
    key.first() == Some(&CATEGORY_MARK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_have_keys_of_their_own() {
        let longest = [b'x'; STREAM_NAME_BYTES_MAX];
        for category in [&b""[..], b"order", &longest] {
            let key = CategoryKey::new(category);
            assert_eq!(key.as_bytes(), [&[0], category].concat());
            assert!(is_category(key.as_bytes()) && !is_category(category));
        }
    }

    #[test]
    fn the_hash_on_disk_never_changes() {
        // Key 00 01 02 … 0f; computed with an implementation of SipHash-1-3 in Python.
        let partition_id = Uuid::from_bytes(std::array::from_fn(|at| u8::try_from(at).unwrap()));
        let keys = Keys::new(&partition_id);
        let rows: [(&[u8], u64); 3] = [
            (b"", 0xabac_0158_050f_c4dc),
            (b"order-1", 0xd9db_78f8_c717_ab35),
            (b"{user-7}/posts", 0xb750_c735_3701_978b),
        ];
        for (bytes, hash) in rows {
            assert_eq!(keys.hash(bytes), hash, "{bytes:?}");
        }
    }
}
