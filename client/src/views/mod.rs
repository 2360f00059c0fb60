//! Views: what is made of events, kept together with how far it is.
//!
//! ```text
//! Subscription ──batches──> Projection::handle ──documents──┐
//!      ^                                                    ├── one transaction of a ViewStore
//!      └── checkpoint of the last commit <── ProjectionHost ┘
//! ```
//!
//! Documents and checkpoint are written in the same transaction, so every event takes effect
//! exactly once, wherever the process is killed.

mod batch;
mod error;
mod host;
mod progress;
mod projection;
mod store;

pub use self::batch::ViewBatch;
pub use self::error::{HostError, ViewError};
pub use self::host::{
    HostCounters, HostOptions, HostProgress, OnChanged, ProjectionHost, StopFlag,
};
pub use self::progress::{ProgressError, ProgressService, ProjectionPosition, ProjectionProgress};
pub use self::projection::{HandleError, Projection};
pub use self::store::{Condition, Document, ViewStore};
