//! How a node runs.

use crate::log::OpenError;
use crate::log::segment::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SEGMENT_HEADER_BYTES};
use crate::partition::Durability;

/// Settings of a node; the same for all of its stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeOptions {
    /// Level that is reached before an append is acknowledged and shown.
    pub durability: Durability,
    /// Length of a new segment file; a multiple of 4096 from 64 KiB to 1 GiB. An append must fit
    /// one, so with segments under 8 MiB the largest allowed append shrinks.
    pub segment_bytes: u32,
    /// Most submissions that wait before a writer.
    pub queue_messages_max: usize,
    /// Most record bytes that wait before a writer.
    pub queue_bytes_max: usize,
    /// Record bytes that a writer takes in at once, written and synced together.
    pub batch_bytes_max: usize,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            durability: Durability::Local,
            segment_bytes: 64 * 1024 * 1024,
            queue_messages_max: 16 * 1024,
            queue_bytes_max: 64 * 1024 * 1024,
            batch_bytes_max: 4 * 1024 * 1024,
        }
    }
}

impl NodeOptions {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`OpenError::Options`] for the first option out of its range.
    pub fn validate(&self) -> Result<(), OpenError> {
        let segments = SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX;
        let whole = self.segment_bytes.is_multiple_of(SEGMENT_HEADER_BYTES);
        if !segments.contains(&self.segment_bytes) || !whole {
            return Err(OpenError::Options {
                option: "the length of a segment",
                allowed: format!(
                    "a multiple of {SEGMENT_HEADER_BYTES} from {} to {} bytes",
                    segments.start(),
                    segments.end()
                ),
            });
        }
        let limits = [
            ("the number of waiting messages", self.queue_messages_max),
            ("the number of waiting bytes", self.queue_bytes_max),
            ("the number of bytes in a batch", self.batch_bytes_max),
        ];
        match limits.iter().find(|(_, limit)| *limit == 0) {
            Some((option, _)) => {
                Err(OpenError::Options { option, allowed: "at least 1".to_owned() })
            }
            None => Ok(()),
        }
    }
}
