//! A Stack Exchange dump as a source of events.
//!
//! ```text
//!   Users.xml     row -> UserRegistered                              stream {user-ID}
//!   Badges.xml    row -> BadgeAwarded                                stream {user-UserId}
//!   Posts.xml     row -> QuestionAsked, AnswerGiven or PostCreated   stream {post-ID}
//!   Comments.xml  row -> CommentPosted                               stream {post-PostId}
//! ```
//!
//! The data of an event is a JSON object with all attributes of the row, unchanged, as text; the
//! metadata says which file and row it came from. Ids are UUIDv5 of file and row, so importing a
//! dump again appends nothing. The files are in the order of ids, the events in that of time: the
//! rows are held in memory while they are sorted.

mod event;
mod row;

pub use event::{RowEvent, Source, TIME_ATTRIBUTES};
pub use row::{Row, RowError, read_rows};

use std::{collections::HashMap, fs::File, io, io::BufReader, path::Path};

use store::{StreamName, Version};
use thiserror::Error;

use crate::batch::{Batch, BatchError};

/// Why a dump cannot be read.
#[derive(Debug, Error)]
pub enum DumpError {
    /// No folder, or a file that cannot be opened.
    #[error("{path} cannot be read: {reason}; give the folder that holds the .xml files")]
    Unreadable {
        /// Which one.
        path: String,
        /// What the system said.
        reason: io::Error,
    },
    /// A file that is not a dump.
    #[error("{file} is damaged: {reason}")]
    Damaged {
        /// Which one.
        file: &'static str,
        /// What is wrong with it.
        reason: RowError,
    },
    /// None of the four files is there.
    #[error("{path} holds none of Users.xml, Posts.xml, Comments.xml, Badges.xml")]
    Empty {
        /// The folder.
        path: String,
    },
}

/// A whole dump as events in order of time.
#[derive(Debug, Default)]
pub struct Dump {
    /// The events; those of one moment stand in the order of [`Source::ALL`] and of their rows.
    pub events: Vec<RowEvent>,
    /// Files that are not there.
    pub missing: Vec<Source>,
    /// Rows per file, and how many of them had no id or time to go by and were left out.
    pub files: Vec<FileSummary>,
}

/// What became of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSummary {
    /// Which file.
    pub source: Source,
    /// Its rows.
    pub rows: u64,
    /// Those that became no event.
    pub skipped: u64,
}

impl Dump {
    /// Reads the files of a folder.
    ///
    /// # Errors
    /// [`DumpError`] if the folder has none of the files, or one is not readable as a dump.
    pub fn read(folder: &Path) -> Result<Self, DumpError> {
        let mut dump = Self::default();
        for source in Source::ALL {
            let path = folder.join(source.file_name());
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    dump.missing.push(source);
                    continue;
                }
                Err(reason) => {
                    let path = path.display().to_string();
                    return Err(DumpError::Unreadable { path, reason });
                }
            };
            dump.take_file(source, BufReader::new(file))?;
        }
        if dump.files.is_empty() {
            return Err(DumpError::Empty { path: folder.display().to_string() });
        }
        dump.events.sort_by(|a, b| a.time.cmp(&b.time));
        Ok(dump)
    }

    /// The events as appends of one event each, with the versions that they will have.
    ///
    /// One by one, so that an import that was broken off can be repeated: an append that has
    /// partly been done before would be refused.
    pub fn batches(&self) -> impl Iterator<Item = Result<Batch, BatchError>> {
        let mut versions: HashMap<StreamName, Version> = HashMap::new();
        self.events.iter().map(move |event| {
            let (stream, event) = event.to_new_event()?;
            let version = versions.entry(stream.clone()).or_default();
            let after = *version;
            *version = after.next();
            Ok(Batch { stream, after, events: vec![event] })
        })
    }

    fn take_file(&mut self, source: Source, file: impl io::BufRead) -> Result<(), DumpError> {
        let damaged = |reason| DumpError::Damaged { file: source.file_name(), reason };
        let mut summary = FileSummary { source, rows: 0, skipped: 0 };
        for row in read_rows(file) {
            summary.rows += 1;
            match RowEvent::from_row(source, row.map_err(damaged)?) {
                Some(event) => self.events.push(event),
                None => summary.skipped += 1,
            }
        }
        self.files.push(summary);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Dump {
        Dump::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/data/dump"))).unwrap()
    }

    #[test]
    fn the_invented_dump_reads_in_order_of_time() {
        let dump = sample();
        assert!(dump.missing.is_empty());
        assert!(dump.events.len() >= 40);
        assert!(dump.events.is_sorted_by(|a, b| a.time <= b.time));
    }

    #[test]
    fn each_event_follows_the_last_one_of_its_stream() {
        let mut versions = HashMap::new();
        for batch in sample().batches() {
            let batch = batch.unwrap();
            assert_eq!(batch.events.len(), 1);
            let version = versions.entry(batch.stream).or_insert(Version::ZERO);
            assert_eq!(batch.after, *version);
            *version = version.next();
        }
        assert!(versions.values().any(|version| version.0 > 1));
    }

    #[test]
    fn missing_files_are_named_and_none_at_all_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Dump::read(folder.path()), Err(DumpError::Empty { .. })));
        let badge = "<badges><row Id=\"1\" UserId=\"2\" Name=\"Tidy\" \
                     Date=\"2020-01-02T03:04:05.678\" /><row Name=\"lost\" /></badges>";
        std::fs::write(folder.path().join("Badges.xml"), badge).unwrap();
        let dump = Dump::read(folder.path()).unwrap();
        assert_eq!(dump.missing, [Source::Users, Source::Posts, Source::Comments]);
        assert_eq!(dump.files, [FileSummary { source: Source::Badges, rows: 2, skipped: 1 }]);
        assert_eq!(dump.events[0].stream, "{user-2}");
    }

    #[test]
    fn a_file_that_is_no_dump_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("Users.xml"), "<users><row Id=\"1").unwrap();
        let error = Dump::read(folder.path()).unwrap_err().to_string();
        assert!(error.starts_with("Users.xml is damaged"), "{error}");
    }
}
