//! What can go wrong in the index.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::event::Sequence;

/// Why the index can't answer or can't be written. It is derived data: none of these loses events.
#[derive(Debug, Error)]
pub enum IndexError {
    /// The operating system refused.
    #[error("index file {}: {source}; check the disk and the rights of the folder", file.display())]
    Io {
        /// The file or folder.
        file: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A run file does not say what was once written into it.
    #[error("index file {} is damaged; it will be made anew from its segments", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
    },
    /// Part of the history of a stream or category has not been inserted.
    #[error("the index does not cover all events of {name}; reopen the partition")]
    Incomplete {
        /// The stream or category.
        name: String,
    },
    /// A run was asked for where there is no sealed segment with all its entries.
    #[error("there is no sealed and indexed segment that begins at sequence {first}")]
    NotSealed {
        /// First sequence of the segment asked for.
        first: Sequence,
    },
}
