//! What can go wrong with views.

use thiserror::Error;

use super::projection::HandleError;
use crate::subscription::SubscriptionError;

/// Why a view could not be read or written.
#[derive(Debug, Error)]
pub enum ViewError {
    /// The document is not as the condition wants it.
    #[error(
        "CONDITION_FAILED: {view}/{key} has {}: read it again",
        actual.map_or("no document".to_owned(), |etag| format!("ETag {etag}"))
    )]
    Conflict {
        /// The view.
        view: String,
        /// The document's key.
        key: String,
        /// Its ETag; `None` if there is none.
        actual: Option<u64>,
    },
    /// A projection writes to a view that it does not name as its own.
    #[error("view {view:?} is not one of the projection's own: add it to `Projection::views`")]
    ForeignView {
        /// The view.
        view: String,
    },
    /// A document is not what was asked for.
    #[error("{view}/{key} can't be read or written as JSON: {source}")]
    Json {
        /// The view.
        view: String,
        /// The document's key.
        key: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The file is open in another process.
    #[error("the view store is open elsewhere: stop that process, or use another file")]
    InUse,
    /// The file can't be read or written.
    #[error("the view store failed: {0}; free space or restore the file, or delete it to rebuild")]
    Storage(#[source] Box<redb::Error>),
}

impl<E: Into<redb::Error>> From<E> for ViewError {
    fn from(error: E) -> Self {
        match error.into() {
            redb::Error::DatabaseAlreadyOpen => Self::InUse,
            error => Self::Storage(Box::new(error)),
        }
    }
}

/// Why a projection host ended. Everything up to its last commit stands.
#[derive(Debug, Error)]
pub enum HostError {
    /// The subscription ended; after `AHEAD_OF_LOG` rebuild with
    /// [`ViewStore::reset`](super::ViewStore::reset).
    #[error(transparent)]
    Subscription(#[from] SubscriptionError),
    /// The view store failed.
    #[error(transparent)]
    View(#[from] ViewError),
    /// The projection could not handle a batch; nothing of the open transaction was kept.
    #[error("projection {projection} could not handle sequences up to {position}: {source}")]
    Handle {
        /// The projection.
        projection: String,
        /// Where the batch ends.
        position: String,
        /// What the projection says.
        source: HandleError,
    },
    /// The views were made by another version of the projection.
    #[error(
        "the views of projection {projection} were made by version {stored}, this is {current}: \
         reset them to rebuild, or start the other version"
    )]
    Changed {
        /// The projection.
        projection: String,
        /// Version that made the views.
        stored: u32,
        /// Version that runs.
        current: u32,
    },
}
