//! The node file: what this node is and which partitions it hosts.
//!
//! ```text
//! content of a slot:  16 incarnation   16 lineage   8 epoch   2 number of stores, then for each
//!    1 state (0 being made, 1 attached, 2 detached)   1 name length   .. name
//!    2 partitions of the store   2 hosted here, then for each of these  2 number   16 id
//! and of a member of a pair:  4 length   .. what the pair must know, in its own encoding
//! ```
//!
//! A member's file says that only programs that know of pairs may use it.
//!
//! Bytes after that are for later versions that this one can live with; it does not keep them.

use uuid::Uuid;

use crate::event::Epoch;
use crate::log::fields::{BlockError, FORMAT_VERSION_MIN, Magic};
use crate::log::slots::Content;
use crate::names::StoreName;
use crate::slot::PartitionNumber;

pub(crate) const NODE_NAME: &str = "node";
pub(crate) const NODE_MAGIC: Magic = *b"SLOGNODE";
/// First format version whose readers know of pairs.
const PAIR_VERSION: u32 = 2;

/// Content of the node file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeFile {
    /// Drawn anew when a directory is made, or its data may have been exchanged.
    pub(crate) incarnation: Uuid,
    /// The history that this node's logs belong to.
    pub(crate) lineage: Uuid,
    /// Counts the starts of a node without a peer; in a pair, the newest that this node knows.
    pub(crate) epoch: Epoch,
    /// In the order of their creation.
    pub(crate) stores: Vec<StoreEntry>,
    /// What a pair must know of itself, if the node belongs to one.
    pub(crate) pair: Option<Vec<u8>>,
}

/// A store as the node lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoreEntry {
    pub(crate) name: StoreName,
    pub(crate) state: StoreState,
    /// Partitions of the whole store.
    pub(crate) partitions: u16,
    /// Those that this node hosts, with the ids of their folders.
    pub(crate) hosted: Vec<(PartitionNumber, Uuid)>,
}

/// What the node does with a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreState {
    /// Its folders may be incomplete and are completed at the next opening.
    Making,
    /// It is served.
    Attached,
    /// Its files are left alone.
    Detached,
}

impl NodeFile {
    /// That of a new node.
    pub(crate) fn new() -> Self {
        Self {
            incarnation: Uuid::new_v4(),
            lineage: Uuid::new_v4(),
            epoch: Epoch::ZERO,
            stores: Vec::new(),
            pair: None,
        }
    }

    pub(crate) fn store(&self, name: &StoreName) -> Option<&StoreEntry> {
        self.stores.iter().find(|store| store.name == *name)
    }

    /// Changes what the node does with a listed store.
    pub(crate) fn set_state(&mut self, name: &StoreName, state: StoreState) {
        if let Some(store) = self.stores.iter_mut().find(|store| store.name == *name) {
            store.state = state;
        }
    }

    /// Accepts the ids that the folders of a listed store have now.
    pub(crate) fn set_hosted(&mut self, name: &StoreName, hosted: Vec<(PartitionNumber, Uuid)>) {
        if let Some(store) = self.stores.iter_mut().find(|store| store.name == *name) {
            store.hosted = hosted;
        }
    }

    pub(crate) fn encode(&self) -> Content {
        let count = |length: usize| u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes();
        let mut bytes = Vec::new();
        bytes.extend_from_slice(self.incarnation.as_bytes());
        bytes.extend_from_slice(self.lineage.as_bytes());
        bytes.extend_from_slice(&self.epoch.0.to_le_bytes());
        bytes.extend_from_slice(&count(self.stores.len()));
        for store in &self.stores {
            let name = store.name.as_str().as_bytes();
            bytes.push(match store.state {
                StoreState::Making => 0,
                StoreState::Attached => 1,
                StoreState::Detached => 2,
            });
            bytes.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(&store.partitions.to_le_bytes());
            bytes.extend_from_slice(&count(store.hosted.len()));
            for (number, id) in &store.hosted {
                bytes.extend_from_slice(&number.0.to_le_bytes());
                bytes.extend_from_slice(id.as_bytes());
            }
        }
        let Some(pair) = &self.pair else {
            return Content { version: FORMAT_VERSION_MIN, bytes };
        };
        bytes.extend_from_slice(&u32::try_from(pair.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(pair);
        Content { version: PAIR_VERSION, bytes }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, BlockError> {
        let mut fields = crate::log::fields::BlockReader::plain(bytes);
        let (incarnation, lineage) = (fields.uuid()?, fields.uuid()?);
        let epoch = Epoch(fields.u64()?);
        let mut stores = Vec::new();
        for _ in 0..fields.u16()? {
            let state = match fields.u8()? {
                0 => StoreState::Making,
                1 => StoreState::Attached,
                2 => StoreState::Detached,
                _ => return Err(BlockError::Damaged),
            };
            let length = usize::from(fields.u8()?);
            let name = std::str::from_utf8(fields.bytes(length)?).ok();
            let name = name.and_then(|name| StoreName::new(name).ok());
            let name = name.ok_or(BlockError::Damaged)?;
            let partitions = fields.u16()?;
            let mut hosted = Vec::new();
            for _ in 0..fields.u16()? {
                hosted.push((PartitionNumber(fields.u16()?), fields.uuid()?));
            }
            stores.push(StoreEntry { name, state, partitions, hosted });
        }
        let pair = match fields.is_empty() {
            true => None,
            false => {
                let length = usize::try_from(fields.u32()?).map_err(|_| BlockError::Damaged)?;
                Some(fields.bytes(length)?.to_vec())
            }
        };
        Ok(Self { incarnation, lineage, epoch, stores, pair })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back() {
        let mut file = NodeFile::new();
        file.epoch = Epoch(7);
        for (name, state) in [
            ("orders", StoreState::Attached),
            ("users", StoreState::Detached),
            ("new-one", StoreState::Making),
        ] {
            let hosted =
                vec![(PartitionNumber(0), Uuid::from_u128(1)), (PartitionNumber(3), Uuid::nil())];
            let name = StoreName::new(name).unwrap();
            file.stores.push(StoreEntry { name, state, partitions: 4, hosted });
        }
        let Content { version, bytes } = file.encode();
        assert_eq!(version, 1, "a node without a peer is what it was before there were pairs");
        assert_eq!(NodeFile::decode(&bytes), Ok(file.clone()));
        for length in 0..bytes.len() {
            assert_eq!(NodeFile::decode(&bytes[..length]), Err(BlockError::Damaged));
        }
        for record in [vec![], vec![7; 300]] {
            file.pair = Some(record);
            let Content { version, bytes } = file.encode();
            assert_eq!(version, 2, "a program that knows of no pairs must not open it");
            assert_eq!(NodeFile::decode(&bytes), Ok(file.clone()));
            assert_eq!(NodeFile::decode(&bytes[..bytes.len() - 1]), Err(BlockError::Damaged));
        }
    }
}
