//! Documents by view and key, and the checkpoints of the projections that write them.

use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, TableError,
    WriteTransaction,
};
use store::Filter;
use store::event::{Epoch, Sequence};
use store::slot::PartitionNumber;

use super::error::ViewError;
use super::projection::Projection;
use crate::position::{Checkpoint, Lineage, Position};
use crate::subscription::options::described;

/// (view, key) → (ETag, document).
pub(super) const DOCUMENTS: TableDefinition<(&str, &str), (u64, &[u8])> =
    TableDefinition::new("documents");
/// (projection, partition) → (lineage, epoch, sequence).
const CHECKPOINTS: TableDefinition<(&str, u16), StoredPosition> =
    TableDefinition::new("checkpoints");
/// projection → version that made its views.
const FINGERPRINTS: TableDefinition<&str, u32> = TableDefinition::new("fingerprints");
/// projection → which events its views were made from. Files made before there were filters do
/// not have this table.
const FILTERS: TableDefinition<&str, &str> = TableDefinition::new("filters");
/// The last ETag given, under the key `etag`. One count for all documents, so that a document
/// that was deleted and made anew never has an old ETag again.
const COUNTS: TableDefinition<&str, u64> = TableDefinition::new("counts");
const ETAG: &str = "etag";

type StoredPosition = (Option<[u8; 16]>, u64, u64);

/// A document and its ETag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Changes with every write, and never comes back.
    pub etag: u64,
    /// What was written.
    pub data: Vec<u8>,
}

/// When a write is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// In any case.
    Any,
    /// If there is no document yet.
    Absent,
    /// If the document has this ETag.
    ETag(u64),
}

/// A file of documents. Cloning gives another handle on the same file; one process at a time can
/// have it open.
#[derive(Debug, Clone)]
pub struct ViewStore {
    database: Arc<Database>,
}

impl ViewStore {
    /// Opens a file, or makes it.
    ///
    /// # Errors
    /// [`ViewError::InUse`] when another process has it, [`ViewError::Storage`] when it can't be
    /// read.
    pub fn open(file: impl AsRef<Path>) -> Result<Self, ViewError> {
        let file = file.as_ref();
        if !file.exists() {
            make(file)?;
        }
        Ok(Self { database: Arc::new(Database::open(file)?) })
    }

    /// One document.
    ///
    /// # Errors
    /// [`ViewError::Storage`].
    pub fn get(&self, view: &str, key: &str) -> Result<Option<Document>, ViewError> {
        let table = self.database.begin_read()?.open_table(DOCUMENTS)?;
        Ok(table.get((view, key))?.map(|found| document(found.value())))
    }

    /// Documents of a view in the order of their keys, behind the key `after` (exclusive), at
    /// most `limit`.
    ///
    /// # Errors
    /// [`ViewError::Storage`].
    pub fn list(
        &self,
        view: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Document)>, ViewError> {
        let table = self.database.begin_read()?.open_table(DOCUMENTS)?;
        let mut found = Vec::new();
        for entry in table.range((view, after.unwrap_or(""))..)? {
            let (key, value) = entry?;
            let (of, key) = key.value();
            if of != view || found.len() == limit {
                break;
            }
            if after != Some(key) {
                found.push((key.to_owned(), document(value.value())));
            }
        }
        Ok(found)
    }

    /// Writes a document and returns its new ETag.
    ///
    /// # Errors
    /// [`ViewError::Conflict`] when it is not as the condition wants it, [`ViewError::Storage`].
    pub fn put(
        &self,
        view: &str,
        key: &str,
        data: &[u8],
        condition: Condition,
    ) -> Result<u64, ViewError> {
        let transaction = self.database.begin_write()?;
        check(&transaction, (view, key), condition)?;
        let etag = next_etag(&transaction)?;
        transaction.open_table(DOCUMENTS)?.insert((view, key), (etag, data))?;
        transaction.commit()?;
        Ok(etag)
    }

    /// Deletes a document; whether there was one.
    ///
    /// # Errors
    /// [`ViewError::Conflict`] when it is not as the condition wants it, [`ViewError::Storage`].
    pub fn delete(&self, view: &str, key: &str, condition: Condition) -> Result<bool, ViewError> {
        let transaction = self.database.begin_write()?;
        check(&transaction, (view, key), condition)?;
        let was_there = transaction.open_table(DOCUMENTS)?.remove((view, key))?.is_some();
        transaction.commit()?;
        Ok(was_there)
    }

    /// How far a projection is.
    ///
    /// # Errors
    /// [`ViewError::Storage`].
    pub fn checkpoint(&self, projection: &str) -> Result<Checkpoint, ViewError> {
        let table = self.database.begin_read()?.open_table(CHECKPOINTS)?;
        let mut checkpoint = Checkpoint::default();
        for entry in table.range((projection, 0)..=(projection, u16::MAX))? {
            let (key, value) = entry?;
            let (lineage, epoch, sequence) = value.value();
            let position = Position {
                lineage: lineage.map(Lineage::from_bytes),
                epoch: Epoch(epoch),
                sequence: Sequence(sequence),
            };
            checkpoint.set(PartitionNumber(key.value().1), position);
        }
        Ok(checkpoint)
    }

    /// The version of the projection that made its views, if any did.
    ///
    /// # Errors
    /// [`ViewError::Storage`].
    pub fn made_by(&self, projection: &str) -> Result<Option<u32>, ViewError> {
        let table = self.database.begin_read()?.open_table(FINGERPRINTS)?;
        Ok(table.get(projection)?.map(|version| version.value()))
    }

    /// Which events the views of a projection were made from, as [`described`] says it; `None` if
    /// it has no checkpoint that could have skipped others.
    pub(super) fn made_from(&self, projection: &str) -> Result<Option<String>, ViewError> {
        if self.checkpoint(projection)?.0.is_empty() {
            return Ok(None);
        }
        let table = match self.database.begin_read()?.open_table(FILTERS) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(Some(described(None))),
            table => table?,
        };
        let stored = table.get(projection)?.map(|filter| filter.value().to_owned());
        Ok(Some(stored.unwrap_or_else(|| described(None))))
    }

    /// Empties a projection's views and forgets its checkpoint, all at once: the next run makes
    /// them anew from the first event on.
    ///
    /// # Errors
    /// [`ViewError::Storage`].
    pub fn reset(&self, projection: &dyn Projection) -> Result<(), ViewError> {
        let transaction = self.database.begin_write()?;
        {
            let views = projection.views();
            let mut documents = transaction.open_table(DOCUMENTS)?;
            documents.retain(|(view, _), _| !views.contains(&view))?;
            let name = projection.name();
            let mut checkpoints = transaction.open_table(CHECKPOINTS)?;
            checkpoints.retain(|(of, _), _| of != name)?;
            transaction.open_table(FINGERPRINTS)?.insert(name, projection.version())?;
        }
        transaction.commit()?;
        Ok(())
    }

    pub(super) fn begin(&self) -> Result<WriteTransaction, ViewError> {
        Ok(self.database.begin_write()?)
    }
}

/// Notes how far a projection is, which version of it was at work, and on which events.
pub(super) fn write_checkpoint(
    transaction: &WriteTransaction,
    projection: &dyn Projection,
    filter: Option<&Filter>,
    checkpoint: &Checkpoint,
) -> Result<(), ViewError> {
    let mut checkpoints = transaction.open_table(CHECKPOINTS)?;
    for (partition, position) in &checkpoint.0 {
        let lineage = position.lineage.map(|lineage| *lineage.0.as_bytes());
        let stored = (lineage, position.epoch.0, position.sequence.0);
        checkpoints.insert((projection.name(), partition.0), stored)?;
    }
    let mut fingerprints = transaction.open_table(FINGERPRINTS)?;
    fingerprints.insert(projection.name(), projection.version())?;
    let mut filters = transaction.open_table(FILTERS)?;
    filters.insert(projection.name(), described(filter).as_str())?;
    Ok(())
}

/// The next ETag of this store.
pub(super) fn next_etag(transaction: &WriteTransaction) -> Result<u64, ViewError> {
    let mut counts = transaction.open_table(COUNTS)?;
    let etag = counts.get(ETAG)?.map_or(0, |last| last.value()) + 1;
    counts.insert(ETAG, etag)?;
    Ok(etag)
}

pub(super) fn document((etag, data): (u64, &[u8])) -> Document {
    Document { etag, data: data.to_vec() }
}

fn check(
    transaction: &WriteTransaction,
    (view, key): (&str, &str),
    condition: Condition,
) -> Result<(), ViewError> {
    let table = transaction.open_table(DOCUMENTS)?;
    let actual = table.get((view, key))?.map(|found| found.value().0);
    let met = match condition {
        Condition::Any => true,
        Condition::Absent => actual.is_none(),
        Condition::ETag(etag) => actual == Some(etag),
    };
    if met {
        Ok(())
    } else {
        Err(ViewError::Conflict { view: view.to_owned(), key: key.to_owned(), actual })
    }
}

/// Makes the file under another name, and gives it its own when it is whole: a process killed
/// halfway would otherwise leave a file that nobody can open.
fn make(file: &Path) -> Result<(), ViewError> {
    let mut unfinished = file.as_os_str().to_owned();
    unfinished.push(".new");
    let unfinished = Path::new(&unfinished);
    let database = match Database::create(unfinished) {
        Err(DatabaseError::DatabaseAlreadyOpen) => return Err(ViewError::InUse),
        // Somebody was killed here.
        Err(_) => {
            fs::remove_file(unfinished).map_err(redb::Error::Io)?;
            Database::create(unfinished)?
        }
        Ok(database) => database,
    };
    let transaction = database.begin_write()?;
    transaction.open_table(DOCUMENTS)?;
    transaction.open_table(CHECKPOINTS)?;
    transaction.open_table(FINGERPRINTS)?;
    transaction.open_table(FILTERS)?;
    transaction.open_table(COUNTS)?;
    transaction.commit()?;
    drop(database);
    // Not `rename`, which would replace a file that another process has made meanwhile.
    match fs::hard_link(unfinished, file) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(redb::Error::Io(error).into());
        }
        _ => fs::remove_file(unfinished).map_err(redb::Error::Io)?,
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = fs::File::open(folder.unwrap_or(Path::new(".")));
    Ok(folder.and_then(|folder| folder.sync_all()).map_err(redb::Error::Io)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subscription::Batch;
    use crate::views::{HandleError, ViewBatch};

    fn open() -> (tempfile::TempDir, ViewStore) {
        let folder = tempfile::tempdir().unwrap();
        let views = ViewStore::open(folder.path().join("views.redb")).unwrap();
        (folder, views)
    }

    #[test]
    fn etags_guard_documents() {
        let (_folder, views) = open();
        let first = views.put("carts", "a", b"1", Condition::Absent).unwrap();
        let again = views.put("carts", "a", b"2", Condition::Absent);
        assert!(
            matches!(again, Err(ViewError::Conflict { actual: Some(etag), .. }) if etag == first)
        );
        let second = views.put("carts", "a", b"2", Condition::ETag(first)).unwrap();
        assert!(second > first);
        assert!(views.put("carts", "a", b"3", Condition::ETag(first)).is_err());
        let found = views.get("carts", "a").unwrap();
        assert_eq!(found, Some(Document { etag: second, data: b"2".to_vec() }));
        assert!(views.delete("carts", "a", Condition::ETag(first)).is_err());
        assert!(views.delete("carts", "a", Condition::ETag(second)).unwrap());
        assert!(!views.delete("carts", "a", Condition::Any).unwrap());
        let anew = views.put("carts", "a", b"2", Condition::Absent).unwrap();
        assert!(anew > second, "an old ETag never comes back");
    }

    #[test]
    fn lists_are_of_one_view_in_order_and_in_pages() {
        let (_folder, views) = open();
        for key in ["c", "a", "", "b"] {
            views.put("carts", key, key.as_bytes(), Condition::Any).unwrap();
        }
        views.put("cart", "x", b"", Condition::Any).unwrap();
        views.put("carts2", "y", b"", Condition::Any).unwrap();
        let keys = |after, limit| {
            let found = views.list("carts", after, limit).unwrap();
            found.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        };
        assert_eq!(keys(None, 10), ["", "a", "b", "c"]);
        assert_eq!(keys(None, 2), ["", "a"]);
        assert_eq!(keys(Some("a"), 10), ["b", "c"]);
        assert_eq!(keys(Some("aa"), 1), ["b"]);
        assert!(keys(Some("c"), 10).is_empty());
    }

    #[test]
    fn a_file_left_unfinished_by_a_kill_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("views.redb");
        fs::write(folder.path().join("views.redb.new"), [0; 4096]).unwrap();
        let views = ViewStore::open(&file).unwrap();
        views.put("carts", "a", b"1", Condition::Any).unwrap();
        drop(views);
        let views = ViewStore::open(&file).unwrap();
        assert!(views.get("carts", "a").unwrap().is_some());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn files_made_before_there_were_filters_were_made_from_all_events() {
        struct Nothing;
        impl Projection for Nothing {
            fn name(&self) -> &str {
                "nothing"
            }
            fn version(&self) -> u32 {
                1
            }
            fn views(&self) -> &[&str] {
                &[]
            }
            fn handle(&mut self, _: &Batch, _: &mut ViewBatch<'_>) -> Result<(), HandleError> {
                Ok(())
            }
        }
        let (_folder, views) = open();
        let category = Filter::Category("order".parse().unwrap());
        assert_eq!(views.made_from("nothing").unwrap(), None);
        let mut checkpoint = Checkpoint::default();
        checkpoint.set(PartitionNumber(0), Position::after(Sequence(5)));
        let transaction = views.begin().unwrap();
        write_checkpoint(&transaction, &Nothing, Some(&category), &checkpoint).unwrap();
        transaction.commit().unwrap();
        assert_eq!(views.made_from("nothing").unwrap().as_deref(), Some("category order"));
        let transaction = views.begin().unwrap();
        transaction.delete_table(FILTERS).unwrap();
        transaction.commit().unwrap();
        assert_eq!(views.made_from("nothing").unwrap().as_deref(), Some("all events"));
        views.reset(&Nothing).unwrap();
        assert_eq!(views.made_from("nothing").unwrap(), None);
    }

    #[test]
    fn one_process_at_a_time() {
        let (folder, _views) = open();
        let second = ViewStore::open(folder.path().join("views.redb"));
        assert!(matches!(second, Err(ViewError::InUse)));
    }
}
