//! What turns events into documents.

use super::batch::ViewBatch;
use crate::subscription::Batch;

/// Why a projection could not handle a batch: any error.
pub type HandleError = Box<dyn std::error::Error + Send + Sync>;

/// A fold of events into documents.
///
/// It keeps its state in its views, not in itself: after a restart it goes on from there. Name
/// and version, with the host's filter, are its fingerprint; a change of version or filter means
/// that the views must be made anew.
pub trait Projection {
    /// Its name, unique within a view store.
    fn name(&self) -> &str;

    /// To be raised whenever the same events would give other documents.
    fn version(&self) -> u32;

    /// The views that it writes; no other projection writes them. A rebuild empties them.
    fn views(&self) -> &[&str];

    /// Takes a batch of one partition. Each event is given once, in order within its partition.
    ///
    /// # Errors
    /// Any error ends the host; nothing of the batch is kept.
    fn handle(&mut self, batch: &Batch, views: &mut ViewBatch<'_>) -> Result<(), HandleError>;
}
