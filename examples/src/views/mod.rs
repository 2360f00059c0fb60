//! The projections of the examples, as pure folds over documents.
//!
//! A fold is given an event and a set of documents and knows neither sockets nor a database. So
//! the same code runs in a projection host, over an embedded database, and in the quickstart's
//! final check, over a map in memory that is filled from a full replay; the two must agree.
//!
//! ```text
//!   projection            view                  key -> document
//!   orders                orders                stream -> the order's state
//!   sales                 sales, countries      article -> units, revenue; country -> orders
//!   posts-per-tag         posts-per-tag         tag -> posts
//!   comments-per-user     comments-per-user     user -> name, comments
//!   activity-per-weekday  activity-per-weekday  weekday -> rows of each file
//!   each of them          NAME-audit            partition -> events, digest
//! ```
//!
//! No order is promised across partitions, so what several partitions add to is a sum.

mod audit;
mod dump;
mod orders;
mod projection;

pub use audit::Audit;
pub use dump::{DayActivity, TagPosts, UserComments};
pub use orders::{ArticleSales, CountryOrders};
pub use projection::{ProjectionName, UnknownProjection, ViewProjection};

use std::collections::BTreeMap;

use client::views::{ViewBatch, ViewError};
use serde::{Serialize, de::DeserializeOwned};
use store::Event;
use thiserror::Error;

/// Why an event could not be folded in.
#[derive(Debug, Error)]
pub enum FoldError {
    /// The documents cannot be read or written.
    #[error(transparent)]
    Views(#[from] ViewError),
    /// A document of another shape: the view was made by another program.
    #[error("document {key} of view {view} is not of the expected shape: {reason}")]
    Document {
        /// The view.
        view: &'static str,
        /// The key.
        key: String,
        /// What does not fit.
        reason: serde_json::Error,
    },
}

/// Documents by view and key.
pub trait Documents {
    /// The document, if there is one.
    ///
    /// # Errors
    /// [`FoldError::Views`] from the database.
    fn get(&mut self, view: &str, key: &str) -> Result<Option<Vec<u8>>, FoldError>;

    /// Sets the document.
    ///
    /// # Errors
    /// [`FoldError::Views`] from the database.
    fn put(&mut self, view: &str, key: &str, document: &[u8]) -> Result<(), FoldError>;
}

impl Documents for ViewBatch<'_> {
    fn get(&mut self, view: &str, key: &str) -> Result<Option<Vec<u8>>, FoldError> {
        Ok(ViewBatch::get(self, view, key)?.map(|document| document.data))
    }

    fn put(&mut self, view: &str, key: &str, document: &[u8]) -> Result<(), FoldError> {
        ViewBatch::put(self, view, key, document)?;
        Ok(())
    }
}

/// Documents in memory: (view, key) -> bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryDocuments(pub BTreeMap<(String, String), Vec<u8>>);

impl Documents for MemoryDocuments {
    fn get(&mut self, view: &str, key: &str) -> Result<Option<Vec<u8>>, FoldError> {
        Ok(self.0.get(&(view.to_owned(), key.to_owned())).cloned())
    }

    fn put(&mut self, view: &str, key: &str, document: &[u8]) -> Result<(), FoldError> {
        self.0.insert((view.to_owned(), key.to_owned()), document.to_vec());
        Ok(())
    }
}

impl MemoryDocuments {
    /// All documents of one view, decoded, by key.
    ///
    /// # Errors
    /// [`FoldError::Document`] if one has another shape.
    pub fn view<D: DeserializeOwned>(
        &self,
        view: &'static str,
    ) -> Result<Vec<(&str, D)>, FoldError> {
        let of_view = self.0.iter().filter(|((name, _), _)| name == view);
        of_view
            .map(|((_, key), document)| {
                let decoded = serde_json::from_slice(document)
                    .map_err(|reason| FoldError::Document { view, key: key.clone(), reason })?;
                Ok((key.as_str(), decoded))
            })
            .collect()
    }
}

/// Reads a document (or starts with an empty one), changes it and writes it back.
fn update<D: Serialize + DeserializeOwned + Default>(
    documents: &mut dyn Documents,
    (view, key): (&'static str, &str),
    change: impl FnOnce(&mut D),
) -> Result<(), FoldError> {
    let misfit = |reason| FoldError::Document { view, key: key.to_owned(), reason };
    let mut document = match documents.get(view, key)? {
        Some(bytes) => serde_json::from_slice(&bytes).map_err(misfit)?,
        None => D::default(),
    };
    change(&mut document);
    documents.put(view, key, &serde_json::to_vec(&document).map_err(misfit)?)
}

/// The event's data as JSON; events that other programs appended may hold anything.
fn json<D: DeserializeOwned>(event: &Event) -> Option<D> {
    serde_json::from_slice(&event.data).ok()
}

#[cfg(test)]
mod tests {
    use store::{ContentType, Epoch, EventId, Sequence};
    use store::{EventType, NewEvent, Signature, StreamName, Version};

    use super::*;

    /// An event as a replay would bring it.
    pub(super) fn recorded(stream: &str, event_type: &str, data: &str) -> Event {
        let stream = StreamName::try_from(stream).unwrap();
        let event_type = EventType::try_from(event_type).unwrap();
        let event = NewEvent::new(event_type, ContentType::Json, data.to_owned())
            .with_id(EventId(uuid::Uuid::from_u128(7)));
        Event {
            sequence: Sequence(1),
            version: Version(1),
            epoch: Epoch(1),
            time_micros: 0,
            id: event.id,
            content_type: event.content_type,
            metadata: event.metadata.clone(),
            data: event.data.clone(),
            signature: Signature::of(&stream, &event),
            signed_by_store: false,
            ends_append: true,
            event_type: event.event_type,
            stream,
        }
    }

    #[test]
    fn a_document_of_another_shape_is_an_error_and_stays() {
        let mut documents = MemoryDocuments::default();
        documents.put("sales", "TEA-01", b"[]").unwrap();
        let change = |_: &mut ArticleSales| {};
        let error = update(&mut documents, ("sales", "TEA-01"), change).unwrap_err();
        assert!(matches!(error, FoldError::Document { view: "sales", .. }), "{error}");
        assert_eq!(documents.get("sales", "TEA-01").unwrap().as_deref(), Some(&b"[]"[..]));
    }
}
