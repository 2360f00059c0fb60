//! The file: open commands by id, and the positions up to which they are what the log says.

use std::path::{Path, PathBuf};
use std::{fs, io};

use client::command::{CommandId, Session};
use client::{Checkpoint, Epoch, Lineage, PartitionNumber, Position, Sequence, StoreName};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use thiserror::Error;
use uuid::Uuid;

use crate::Changes;

/// The file in the data directory, and what it is called once it was set aside.
const FILE: &str = "view.redb";
const ASIDE: &str = "view.redb.damaged";
/// Version of what the tables hold. A file of another one is made anew.
const FORMAT: &[u8] = b"1";

/// id → record, as the view encodes it.
const COMMANDS: TableDefinition<[u8; 16], &[u8]> = TableDefinition::new("commands");
/// partition → (lineage, epoch, sequence).
const POSITIONS: TableDefinition<u16, StoredPosition> = TableDefinition::new("positions");
/// Single values by name.
const ABOUT: TableDefinition<&str, &[u8]> = TableDefinition::new("about");
const STORE: &str = "store";
const SESSION: &str = "session";
const CLAIMS: &str = "claims";
const VERSION: &str = "format";

type StoredPosition = (Option<[u8; 16]>, u64, u64);

/// Why the data directory cannot be used.
#[derive(Debug, Error)]
pub enum KeeperError {
    /// Another process has the file.
    #[error("{0} is used by another process: give every process its own --data")]
    InUse(PathBuf),
    /// The file is about another store.
    #[error("{path} holds the view of the store {found}: choose another --data, or remove it")]
    OtherStore {
        /// The file.
        path: PathBuf,
        /// Its store.
        found: String,
    },
    /// The system refuses it.
    #[error("{path} cannot be used: {source}")]
    Io {
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file cannot be read or written, not even after it was made anew.
    #[error("{path} cannot be read or written: {source}")]
    Storage {
        /// The file.
        path: PathBuf,
        /// What the database said.
        source: Box<redb::Error>,
    },
}

/// What the last run left behind.
#[derive(Debug, Default)]
pub(in crate::server) struct Left {
    /// Its session; it is certainly over, since the file was free.
    pub(in crate::server) session: Option<Session>,
    /// Where its log had been read to.
    pub(in crate::server) checkpoint: Checkpoint,
    /// What it knew of claims.
    pub(in crate::server) claims: Vec<u8>,
}

/// An open file. One process at a time has it.
pub(in crate::server) struct File {
    path: PathBuf,
    database: Database,
}

impl File {
    /// Opens the file of a data directory, or makes it.
    ///
    /// A file that cannot be read, as a kill or a damage leaves it, or one of another version is
    /// set aside and made anew.
    ///
    /// # Errors
    /// [`KeeperError`] says what to do.
    pub(in crate::server) fn open(dir: &Path, store: &StoreName) -> Result<Self, KeeperError> {
        let unusable = |source| KeeperError::Io { path: dir.to_owned(), source };
        fs::create_dir_all(dir).map_err(unusable)?;
        let path = dir.join(FILE);
        let failed = |error: redb::Error| KeeperError::Storage {
            path: path.clone(),
            source: Box::new(error),
        };
        let file = match Self::whole(&path) {
            Err(redb::Error::DatabaseAlreadyOpen) => return Err(KeeperError::InUse(path)),
            Ok(Some(file)) => file,
            unreadable => {
                let reason =
                    unreadable.err().map_or("of another version".to_owned(), |e| e.to_string());
                log::warn!("{}: {reason}; the view is made anew", path.display());
                fs::rename(&path, dir.join(ASIDE)).map_err(unusable)?;
                let anew = Self::whole(&path).map_err(failed)?;
                anew.ok_or(redb::Error::Corrupted("its version".to_owned())).map_err(failed)?
            }
        };
        let name = store.as_str().as_bytes();
        match file.about(STORE).map_err(failed)? {
            Some(found) if found == name => {}
            Some(found) => {
                let found = String::from_utf8_lossy(&found).into_owned();
                return Err(KeeperError::OtherStore { path, found });
            }
            None => file.set_about(&[(STORE, name)]).map_err(failed)?,
        }
        Ok(file)
    }

    /// The file with all its tables; nothing if it is of another version.
    fn whole(path: &Path) -> Result<Option<Self>, redb::Error> {
        let database = Database::create(path)?;
        let transaction = database.begin_write()?;
        let version = {
            transaction.open_table(COMMANDS)?;
            transaction.open_table(POSITIONS)?;
            let mut about = transaction.open_table(ABOUT)?;
            let version = about.get(VERSION)?.map(|version| version.value().to_vec());
            if version.is_none() {
                about.insert(VERSION, FORMAT)?;
            }
            version
        };
        transaction.commit()?;
        let known = version.is_none_or(|version| version == FORMAT);
        Ok(known.then(|| Self { path: path.to_owned(), database }))
    }

    /// What the last run left behind, and each of its commands to `restore`.
    ///
    /// # Errors
    /// [`KeeperError::Storage`].
    pub(in crate::server) fn restore(
        &self,
        restore: impl FnMut(CommandId, &[u8]),
    ) -> Result<Left, KeeperError> {
        self.read(restore).map_err(|error| self.failed(error))
    }

    fn read(&self, mut restore: impl FnMut(CommandId, &[u8])) -> Result<Left, redb::Error> {
        let transaction = self.database.begin_read()?;
        for entry in transaction.open_table(COMMANDS)?.iter()? {
            let (id, record) = entry?;
            restore(CommandId::new(Uuid::from_bytes(id.value())), record.value());
        }
        let mut checkpoint = Checkpoint::default();
        for entry in transaction.open_table(POSITIONS)?.iter()? {
            let (partition, position) = entry?;
            let (lineage, epoch, sequence) = position.value();
            let position = Position {
                lineage: lineage.map(Lineage::from_bytes),
                epoch: Epoch(epoch),
                sequence: Sequence(sequence),
            };
            checkpoint.set(PartitionNumber(partition.value()), position);
        }
        let session = self.about(SESSION)?.and_then(|bytes| Uuid::from_slice(&bytes).ok());
        let claims = self.about(CLAIMS)?.unwrap_or_default();
        Ok(Left { session: session.map(Session), checkpoint, claims })
    }

    /// Notes whose run this is.
    ///
    /// # Errors
    /// [`KeeperError::Storage`].
    pub(in crate::server) fn begin(&self, session: Session) -> Result<(), KeeperError> {
        let about = [(SESSION, session.0.as_bytes().as_slice())];
        self.set_about(&about).map_err(|error| self.failed(error))
    }

    /// Writes what changed, and how far the log had been read with it, all at once.
    ///
    /// # Errors
    /// [`KeeperError::Storage`]; the file is as it was.
    pub(in crate::server) fn keep(
        &self,
        changes: &Changes,
        checkpoint: &Checkpoint,
    ) -> Result<(), KeeperError> {
        let write = |transaction: &WriteTransaction| {
            let mut commands = transaction.open_table(COMMANDS)?;
            for id in &changes.removes {
                commands.remove(id.as_bytes())?;
            }
            for (id, record) in &changes.puts {
                commands.insert(id.as_bytes(), record.as_slice())?;
            }
            let mut positions = transaction.open_table(POSITIONS)?;
            for (partition, position) in &checkpoint.0 {
                let lineage = position.lineage.map(|lineage| *lineage.0.as_bytes());
                positions.insert(partition.0, (lineage, position.epoch.0, position.sequence.0))?;
            }
            transaction.open_table(ABOUT)?.insert(CLAIMS, changes.claims.as_slice())?;
            Ok(())
        };
        self.change(write).map_err(|error| self.failed(error))
    }

    /// Throws away all that was made from the log.
    ///
    /// # Errors
    /// [`KeeperError::Storage`]; the file is as it was.
    pub(in crate::server) fn forget(&self) -> Result<(), KeeperError> {
        let write = |transaction: &WriteTransaction| {
            transaction.open_table(COMMANDS)?.retain(|_, _| false)?;
            transaction.open_table(POSITIONS)?.retain(|_, _| false)?;
            transaction.open_table(ABOUT)?.remove(CLAIMS)?;
            Ok(())
        };
        self.change(write).map_err(|error| self.failed(error))
    }

    fn about(&self, name: &str) -> Result<Option<Vec<u8>>, redb::Error> {
        let about = self.database.begin_read()?.open_table(ABOUT)?;
        Ok(about.get(name)?.map(|value| value.value().to_vec()))
    }

    fn set_about(&self, values: &[(&str, &[u8])]) -> Result<(), redb::Error> {
        self.change(|transaction| {
            let mut about = transaction.open_table(ABOUT)?;
            for (name, value) in values {
                about.insert(*name, *value)?;
            }
            Ok(())
        })
    }

    fn change(
        &self,
        write: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        write(&transaction)?;
        Ok(transaction.commit()?)
    }

    fn failed(&self, error: redb::Error) -> KeeperError {
        KeeperError::Storage { path: self.path.clone(), source: Box::new(error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(name: &str) -> StoreName {
        StoreName::new(name).unwrap()
    }

    fn id(number: u128) -> CommandId {
        CommandId::new(Uuid::from_u128(number))
    }

    fn left(file: &File) -> (Left, Vec<(CommandId, Vec<u8>)>) {
        let mut commands = Vec::new();
        let left = file.restore(|id, record| commands.push((id, record.to_vec()))).unwrap();
        (left, commands)
    }

    fn checkpoint(sequence: u64) -> Checkpoint {
        let lineage = Some(Lineage(Uuid::from_u128(9)));
        let mut checkpoint = Checkpoint::default();
        let position = Position { lineage, epoch: Epoch(3), sequence: Sequence(sequence) };
        checkpoint.set(PartitionNumber(1), position);
        checkpoint
    }

    fn put(id: CommandId, record: &[u8]) -> Changes {
        Changes { puts: vec![(id, record.to_vec())], removes: vec![], claims: b"c".to_vec() }
    }

    #[test]
    fn the_next_run_finds_what_was_kept() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::open(dir.path(), &store("commands")).unwrap();
        assert_eq!(left(&file).0.session, None);
        let session = Session(Uuid::from_u128(5));
        file.begin(session).unwrap();
        file.keep(&put(id(1), b"one"), &checkpoint(7)).unwrap();
        let removes = vec![id(1)];
        let puts = vec![(id(2), b"two".to_vec())];
        file.keep(&Changes { puts, removes, claims: vec![] }, &checkpoint(8)).unwrap();
        drop(file);
        let file = File::open(dir.path(), &store("commands")).unwrap();
        let (found, commands) = left(&file);
        assert_eq!(found.session, Some(session));
        assert_eq!(found.checkpoint, checkpoint(8));
        assert!(found.claims.is_empty());
        assert_eq!(commands, [(id(2), b"two".to_vec())]);
        file.forget().unwrap();
        let (found, commands) = left(&file);
        assert_eq!((found.checkpoint, commands), (Checkpoint::default(), vec![]));
    }

    #[test]
    fn one_process_at_a_time_and_one_store_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::open(dir.path(), &store("commands")).unwrap();
        let second = File::open(dir.path(), &store("commands"));
        assert!(matches!(second, Err(KeeperError::InUse(_))));
        drop(file);
        let other = File::open(dir.path(), &store("others"));
        assert!(matches!(other, Err(KeeperError::OtherStore { .. })));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_set_aside() {
        for damage in [&b"rubbish"[..], &[0; 4096], b""] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(FILE), damage).unwrap();
            let file = File::open(dir.path(), &store("commands")).unwrap();
            file.keep(&put(id(1), b"one"), &checkpoint(1)).unwrap();
            assert_eq!(left(&file).1.len(), 1);
        }
    }

    #[test]
    fn a_file_of_another_version_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::open(dir.path(), &store("commands")).unwrap();
        file.keep(&put(id(1), b"one"), &checkpoint(1)).unwrap();
        file.set_about(&[(VERSION, b"later")]).unwrap();
        drop(file);
        let file = File::open(dir.path(), &store("commands")).unwrap();
        assert!(left(&file).1.is_empty());
        assert!(dir.path().join(ASIDE).exists());
    }
}
