//! The unit of appending, whatever the events come from.

use store::{NewEvent, StreamName, Version, names::NameError};
use thiserror::Error;

use crate::orders::OrderEventError;

/// Events of one stream that are appended together.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Stream that they belong to.
    pub stream: StreamName,
    /// Version of the stream's newest event before them; 0 = the stream does not exist.
    pub after: Version,
    /// One or more, signed.
    pub events: Vec<NewEvent>,
}

/// Why a source of events ran dry too early.
#[derive(Debug, Error)]
pub enum BatchError {
    /// A stream or type with an impossible name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// An event that JSON cannot hold.
    #[error(transparent)]
    Event(#[from] OrderEventError),
}
