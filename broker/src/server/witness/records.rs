//! The witness's durable memory: one small file for each pair.
//!
//! ```text
//! DIR/LINEAGE.register     LINEAGE as 8-4-4-4-12 hexadecimal digits
//!    0  4 "SLWR"   4  1 version (1)   5  3 zero
//!    8  4 length of what follows the header
//!   12  4 CRC-32 of bytes 0 to 12 and of what follows the header
//!   16 .. a MessagePack map with named fields: a WitnessRecord
//! ```
//!
//! Numbers are little-endian. A file is never changed: another one is written beside it
//! (`LINEAGE.register.new`), synced, and takes its name; then the directory is synced. What was
//! there before a crash is there after it, or its successor is.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::witness::{Lineage, WitnessRecord};

const MAGIC: [u8; 8] = *b"SLWR\x01\0\0\0";
const HEADER_BYTES: usize = 16;
/// Largest file that is read: 16 configurations of as many partitions as a pair may have.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
const SUFFIX: &str = ".register";

/// The directory of records.
#[derive(Debug)]
pub(super) struct Records {
    directory: PathBuf,
}

/// Why records cannot be read. A witness that took a damaged record for none would believe whoever
/// asks first.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    /// The file system says no.
    #[error("the witness cannot read {0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// The file is not what was written.
    #[error(
        "the witness's record {0} is damaged ({1}), so this broker decides nothing for any pair: \
         put the file back from a copy only if nothing changed in the pair since then; otherwise \
         move it away, and start both members, which then report what they know"
    )]
    Damaged(PathBuf, &'static str),
    /// More files than registers.
    #[error("{0} holds more than {1} records: move those of pairs that are gone elsewhere")]
    TooMany(PathBuf, usize),
}

impl Records {
    /// Opens the directory, and creates it if it is absent.
    pub(super) fn open(directory: PathBuf) -> Result<Records, LoadError> {
        let failed = |error| LoadError::Io(directory.clone(), error);
        if !directory.is_dir() {
            fs::create_dir_all(&directory).map_err(failed)?;
            if let Some(parent) = directory.parent() {
                sync_directory(parent).map_err(failed)?;
            }
        }
        Ok(Records { directory })
    }

    /// Every record, at most `max`.
    pub(super) fn load(&self, max: usize) -> Result<Vec<WitnessRecord>, LoadError> {
        let failed = |error| LoadError::Io(self.directory.clone(), error);
        let mut records = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some(stem) = name.strip_suffix(SUFFIX) else {
                continue;
            };
            if records.len() == max {
                return Err(LoadError::TooMany(self.directory.clone(), max));
            }
            let lineage = stem.parse::<Uuid>().ok().filter(|id| id.to_string() == stem);
            let record = read(&path)?;
            if lineage != Some(record.lineage.0) {
                return Err(LoadError::Damaged(path, "its name and content differ"));
            }
            records.push(record);
        }
        Ok(records)
    }

    /// Makes a record durable: it is on the disk when this returns.
    ///
    /// # Errors
    /// It may or may not be; nothing may be said that rests on it, and the process should end.
    pub(super) fn save(&self, record: &WitnessRecord) -> io::Result<()> {
        let path = self.path(record.lineage);
        let fresh = path.with_extension("register.new");
        let mut file = File::create(&fresh)?;
        file.write_all(&encode(record)?)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&fresh, &path)?;
        sync_directory(&self.directory)
    }

    fn path(&self, lineage: Lineage) -> PathBuf {
        self.directory.join(format!("{}{SUFFIX}", lineage.0))
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn read(path: &Path) -> Result<WitnessRecord, LoadError> {
    let failed = |error| LoadError::Io(path.to_owned(), error);
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > FILE_BYTES_MAX {
        return Err(LoadError::Damaged(path.to_owned(), "it is too large"));
    }
    decode(&fs::read(path).map_err(failed)?).map_err(|why| LoadError::Damaged(path.to_owned(), why))
}

fn encode(record: &WitnessRecord) -> io::Result<Vec<u8>> {
    let body = rmp_serde::to_vec_named(record).map_err(io::Error::other)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&checksum(&bytes, &body).to_le_bytes());
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Result<WitnessRecord, &'static str> {
    let (header, body) = bytes.split_at_checked(HEADER_BYTES).ok_or("it is too short")?;
    let (start, sum) = header.split_at(HEADER_BYTES - 4);
    let (magic, length) = start.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err("it does not begin with SLWR, version 1");
    }
    if u32::try_from(body.len()).map(u32::to_le_bytes).ok().as_ref().map(<[u8; 4]>::as_slice)
        != Some(length)
    {
        return Err("its length is not the one that was written");
    }
    if checksum(start, body).to_le_bytes() != sum {
        return Err("its checksum does not fit");
    }
    rmp_serde::from_slice(body).map_err(|_| "its content is no record of this version")
}

fn checksum(start: &[u8], body: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(start);
    sum.update(body);
    sum.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::witness::{
        Configuration, Incarnation, NodeRecord, PartitionName, Position, ProposalNumber, WitnessId,
    };

    fn record(lineage: u128, epoch: u64) -> WitnessRecord {
        let leader = Incarnation(Uuid::from_u128(1));
        let floor = [(PartitionName("orders/0".to_owned()), 17)].into();
        let known = Position { aligned: epoch, durable: floor };
        let node = NodeRecord { answered: ProposalNumber(4), known, ..NodeRecord::default() };
        WitnessRecord {
            witness: WitnessId(Uuid::from_u128(9)),
            lineage: Lineage(Uuid::from_u128(lineage)),
            history: vec![Configuration {
                lineage: Lineage(Uuid::from_u128(lineage)),
                epoch,
                leader,
                members: vec![leader],
                floor: [(PartitionName("orders/0".to_owned()), 16)].into(),
            }],
            nodes: [(leader, node)].into(),
        }
    }

    fn opened() -> (Records, tempfile::TempDir) {
        let parent = tempfile::tempdir().unwrap();
        let records = Records::open(parent.path().join("witness")).unwrap();
        (records, parent)
    }

    #[test]
    fn what_was_saved_last_is_loaded_for_each_pair() {
        let (records, _parent) = opened();
        assert!(records.load(10).unwrap().is_empty());
        for (lineage, epoch) in [(1, 1), (2, 5), (1, 2)] {
            records.save(&record(lineage, epoch)).unwrap();
        }
        let again = Records::open(records.directory.clone()).unwrap();
        let mut loaded = again.load(2).unwrap();
        loaded.sort_by_key(|record| record.lineage);
        assert_eq!(loaded, [record(1, 2), record(2, 5)]);
        assert!(matches!(again.load(1), Err(LoadError::TooMany(_, 1))));
    }

    #[test]
    fn a_file_that_was_never_renamed_is_not_a_record() {
        let (records, _parent) = opened();
        records.save(&record(1, 1)).unwrap();
        let path = records.path(record(1, 1).lineage);
        fs::write(path.with_extension("register.new"), b"half of a").unwrap();
        assert_eq!(records.load(10).unwrap(), [record(1, 1)]);
        records.save(&record(1, 2)).unwrap();
        assert_eq!(records.load(10).unwrap(), [record(1, 2)]);
    }

    #[test]
    fn every_damaged_byte_and_every_torn_end_is_found() {
        let whole = encode(&record(1, 3)).unwrap();
        assert_eq!(decode(&whole), Ok(record(1, 3)));
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 0x10;
            assert!(decode(&damaged).is_err(), "byte {place}");
            assert!(decode(&whole[..place]).is_err(), "cut at {place}");
        }
        let longer = [whole.as_slice(), b"x"].concat();
        assert!(decode(&longer).is_err());
    }

    #[test]
    fn a_damaged_record_is_never_taken_for_none() {
        for (content, name) in [
            (Vec::new(), None),
            (b"rubbish".to_vec(), None),
            (encode(&record(2, 1)).unwrap(), None),
            (encode(&record(1, 1)).unwrap(), Some("not-a-lineage.register")),
        ] {
            let (records, _parent) = opened();
            let path = records.path(record(1, 1).lineage);
            let path = name.map_or(path, |name| records.directory.join(name));
            fs::write(&path, content).unwrap();
            let error = records.load(10).unwrap_err();
            assert!(matches!(&error, LoadError::Damaged(named, _) if *named == path), "{error}");
            assert!(error.to_string().contains("move it away"), "{error}");
            assert!(path.exists(), "nothing is deleted");
        }
    }
}
