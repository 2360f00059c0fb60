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
    /// The subscription ended; see [`HostError::needs_rebuild`].
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
    /// The views were made from other events than those that the projection is given now.
    #[error(
        "the views of projection {projection} were made from {stored}, it is now given {current}: \
         reset them to rebuild, or start it with the other filter"
    )]
    FilterChanged {
        /// The projection.
        projection: String,
        /// What the views were made from.
        stored: String,
        /// What they would be made from.
        current: String,
    },
}

impl HostError {
    /// Whether the views hold events that are no longer in the log, or may: a failover below level
    /// `pair` has cut it, or it is another one. Running the host again ends in the same way, until
    /// [`ProjectionHost::rebuild`](super::ProjectionHost::rebuild) has emptied the views. That is
    /// left to whoever runs it, because readers see the views empty meanwhile.
    #[must_use]
    pub fn needs_rebuild(&self) -> bool {
        matches!(self, Self::Subscription(SubscriptionError::AheadOfLog { .. }))
    }
}
