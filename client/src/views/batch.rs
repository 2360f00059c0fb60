//! The documents that a projection may touch while it handles a batch.

use redb::{ReadableTable, Table, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::ViewError;
use super::store::{DOCUMENTS, Document, document, next_etag};

/// A projection's views within the transaction that its checkpoint will be written in. What is
/// written is seen by later reads of the same transaction, and by others once it is committed.
pub struct ViewBatch<'a> {
    transaction: &'a WriteTransaction,
    documents: Table<'a, (&'static str, &'static str), (u64, &'static [u8])>,
    views: &'a [&'a str],
}

impl std::fmt::Debug for ViewBatch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ViewBatch").field("views", &self.views).finish_non_exhaustive()
    }
}

impl<'a> ViewBatch<'a> {
    pub(super) fn new(
        transaction: &'a WriteTransaction,
        views: &'a [&'a str],
    ) -> Result<Self, ViewError> {
        Ok(Self { transaction, documents: transaction.open_table(DOCUMENTS)?, views })
    }

    /// One document.
    ///
    /// # Errors
    /// [`ViewError::Storage`].
    pub fn get(&self, view: &str, key: &str) -> Result<Option<Document>, ViewError> {
        Ok(self.documents.get((view, key))?.map(|found| document(found.value())))
    }

    /// One document as a value.
    ///
    /// # Errors
    /// [`ViewError::Json`] when it is another value than the one asked for,
    /// [`ViewError::Storage`].
    pub fn get_json<T: DeserializeOwned>(
        &self,
        view: &str,
        key: &str,
    ) -> Result<Option<T>, ViewError> {
        let found = self.get(view, key)?;
        let value = found.map(|document| serde_json::from_slice(&document.data)).transpose();
        value.map_err(|source| json_error(view, key, source))
    }

    /// Writes a document.
    ///
    /// # Errors
    /// [`ViewError::ForeignView`] when the view is not the projection's, [`ViewError::Storage`].
    pub fn put(&mut self, view: &str, key: &str, data: &[u8]) -> Result<(), ViewError> {
        self.own(view)?;
        let etag = next_etag(self.transaction)?;
        self.documents.insert((view, key), (etag, data))?;
        Ok(())
    }

    /// Writes a value as a JSON document.
    ///
    /// # Errors
    /// [`ViewError::Json`] when it has no JSON form; those of [`ViewBatch::put`].
    pub fn put_json<T: Serialize + ?Sized>(
        &mut self,
        view: &str,
        key: &str,
        value: &T,
    ) -> Result<(), ViewError> {
        let data = serde_json::to_vec(value).map_err(|source| json_error(view, key, source))?;
        self.put(view, key, &data)
    }

    /// Deletes a document; whether there was one.
    ///
    /// # Errors
    /// [`ViewError::ForeignView`] when the view is not the projection's, [`ViewError::Storage`].
    pub fn delete(&mut self, view: &str, key: &str) -> Result<bool, ViewError> {
        self.own(view)?;
        Ok(self.documents.remove((view, key))?.is_some())
    }

    fn own(&self, view: &str) -> Result<(), ViewError> {
        if self.views.contains(&view) {
            Ok(())
        } else {
            Err(ViewError::ForeignView { view: view.to_owned() })
        }
    }
}

fn json_error(view: &str, key: &str, source: serde_json::Error) -> ViewError {
    ViewError::Json { view: view.to_owned(), key: key.to_owned(), source }
}
