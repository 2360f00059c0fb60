//! Appends: what is asked for, what comes back, and the two machines that carry them.
//!
//! ```text
//! append() ──> Coalescer ──messages──> Outbox ──numbered──> broker ──> leader of the partition
//!    ^          one per partition        │ numbers, resends, judges
//!    └──────────── result of each append ┘
//! ```

mod check;
pub(crate) mod coalescer;
mod error;
pub(crate) mod outbox;
pub(crate) mod refusal;

use std::fmt::Display;
use std::sync::Arc;

pub(crate) use check::checked;
pub use error::AppendError;
pub(crate) use refusal::from_refusal;
use store::event::{Epoch, Sequence, Version, Versions};
use store::names::{StoreName, StreamName};
use store::slot::PartitionNumber;
use uuid::Uuid;

pub use store::{Append, Durability, StreamWrite};

use crate::pending::Pending;

/// Proof of an append: it is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendReceipt {
    /// The store.
    pub store: StoreName,
    /// The partition that holds the streams.
    pub partition: PartitionNumber,
    /// Sequence of the first event (inclusive); zero if there were only checks.
    pub first_sequence: Sequence,
    /// Sequence of the last event (inclusive).
    pub last_sequence: Sequence,
    /// Newest version of each written stream, in the order of the writes.
    pub versions: Versions,
    /// Reign under which it was answered.
    pub epoch: Epoch,
    /// Incarnations of the nodes on which it is durable.
    pub durable_on: Arc<[Uuid]>,
    /// Durability that it has reached.
    pub durability: Durability,
    /// Whether the same events were in the log already, from an earlier attempt.
    pub duplicate: bool,
}

impl AppendReceipt {
    /// Newest version of the only, or first, written stream.
    #[must_use]
    pub fn version(&self) -> Version {
        self.versions.first().copied().unwrap_or_default()
    }
}

/// The receipt of an append that is still under way.
pub type PendingAppend = Pending<AppendReceipt, AppendError>;

/// Turns a caller's stream name into one that has been checked.
pub(crate) fn stream_name<S>(stream: S) -> Result<StreamName, AppendError>
where
    S: TryInto<StreamName>,
    S::Error: Display,
{
    stream.try_into().map_err(|error| AppendError::InvalidArgument(error.to_string()))
}
