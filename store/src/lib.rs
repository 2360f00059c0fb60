//! Starlog's event store.
//!
//! Without its default feature `server` this crate is an embeddable engine: it opens a directory,
//! appends events to streams with expected versions, reads them back, and lets subscribers follow.
//! It has no network, no server and nothing of a broker in it; those come with the feature.
//!
//! ```text
//!  Node ─── one directory, one process: lock, epoch, list of stores
//!   └─ Store ─── a named event database; its streams are spread over partitions by slot
//!       └─ Partition ─── one log, one writer at a time, many readers
//!
//!    append ──> judge ──> number, encode ──> write ──> sync ──> committed ──> answers
//!               (ids, versions)     │                               │
//!                  Index <──────────┘            Reader, Subscription (never above the head)
//! ```
//!
//! ```
//! use store::{ContentType, EventType, ExpectedVersion, NewEvent, Node, NodeOptions};
//! use store::{StoreName, StreamName, StreamQuery};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let options = NodeOptions { segment_bytes: 1024 * 1024, ..NodeOptions::default() };
//! # let (dir, options) = (dir.path(), &options);
//! let node = Node::open(dir, options)?;
//! let orders = node.ensure_store(&StoreName::new("orders")?, 1, 0..=0)?;
//!
//! let stream: StreamName = "order-17".parse()?;
//! let placed = NewEvent::new("OrderPlaced".parse()?, ContentType::Json, r#"{"total":12}"#);
//! let receipt = orders.append(&stream, ExpectedVersion::None, vec![placed])?;
//!
//! for event in orders.read_stream(StreamQuery::all(stream))? {
//!     println!("{} {}", event?.version, receipt.epoch);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A [`Node`] owns its directory until it is dropped; everything else is a handle that can be
//! cloned and sent to other threads. A record never changes once it is committed, and its bytes
//! are the same on disk, on the wire and in a reader's hands.

pub mod event;
mod filter;
mod index;
pub mod log;
pub mod names;
pub mod node;
#[cfg(feature = "server")]
pub mod pair;
pub mod partition;
pub mod record;
#[cfg(feature = "server")]
pub mod server;
pub mod slot;
pub mod verify;
#[cfg(feature = "wire")]
pub mod wire;

pub use event::{
    ContentType, Direction, Epoch, Event, EventId, ExpectedVersion, LogMark, NewEvent, Sequence,
    Signature, Version,
};
pub use filter::Filter;
pub use index::IndexError;
pub use log::disk;
pub use log::{OpenError, ReadError};
pub use names::{CategoryName, EventType, NameError, StoreName, StreamName};
pub use node::{Node, NodeOptions, Store, StoreError, StoreInfo};
pub use partition::{
    Answer, Append, AppendError, Block, CommitListener, CommitRule, CutError, Durability, Events,
    FilteredQuery, LogReader, Lookup, Mode, MoveListener, Moved, Origin, Parked, Partition,
    PartitionStatus, PoisonListener, Reader, Receipt, ReplicateAnswer, ReplicateError, Replicated,
    SignatureCheck, StreamQuery, StreamWrite, Submission, Subscription, Watermarks,
};
pub use slot::{PartitionNumber, Slot};
