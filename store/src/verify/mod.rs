//! Checking a partition's folder from end to end without changing anything.
//!
//! Everything that was ever promised is checked again: checksums, signatures, the chain, sequences
//! and versions without gaps, headers and footers, and whether the index says what the records
//! say. No process may have the folder open for writing meanwhile.

use std::path::{Path, PathBuf};
use std::sync::Arc;

mod file;
mod folders;
mod report;
mod segment;
#[cfg(test)]
mod tests;

use crate::event::Sequence;
use crate::index::{IndexCheck, IndexPlace};
use crate::log::OpenError;
use crate::log::control::Control;
use crate::log::cut::Cut;
use crate::log::disk::Disk;
use crate::log::promise::Promise;
use crate::log::recovery::INDEX_DIR;
use crate::log::segment::{segment_in_name, segment_path};
use crate::names::StoreName;
use crate::slot::PartitionNumber;
pub use folders::partition_folders;
use segment::{Position, Verifier};

/// What a check of a partition's folder found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyReport {
    /// The store.
    pub store: StoreName,
    /// The partition's number in it.
    pub number: PartitionNumber,
    /// Segment files.
    pub segments: u64,
    /// Sound records.
    pub records: u64,
    /// The oldest sequence that is kept; 0 where there is no record.
    pub first: Sequence,
    /// The newest sequence of a whole append, inclusive; 0 where there is none.
    pub last: Sequence,
    /// What a crash left of an append that was never acknowledged.
    pub torn_tail: Option<TornTail>,
    /// What is not as it was written, at most one place in each segment, ascending.
    pub damages: Vec<Damage>,
    /// Index files that are not as they should be. They are derived: opening makes them anew.
    pub index_problems: Vec<IndexProblem>,
}

/// The end of a check in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Everything is as it was written.
    Clean,
    /// The same, and behind it are bytes that opening will cut off and keep aside.
    TornTail,
    /// Something is not as it was written.
    Damaged,
}

/// Bytes at the end of the log that belong to no whole append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The segment file.
    pub file: PathBuf,
    /// Where they begin.
    pub offset: u64,
    /// How many there are.
    pub bytes: u64,
    /// The last sequence before them.
    pub after: Sequence,
}

/// A place that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The segment file.
    pub file: PathBuf,
    /// Where in it, in bytes.
    pub offset: u64,
    /// The first sequence that can't be vouched for.
    pub sequence: Sequence,
    /// What is wrong.
    pub reason: String,
}

/// An index file that has to be made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexProblem {
    /// The file.
    pub file: PathBuf,
    /// What is wrong.
    pub reason: String,
}

impl VerifyReport {
    /// The worst of what was found in the segments.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        if !self.damages.is_empty() {
            Verdict::Damaged
        } else if self.torn_tail.is_some() {
            Verdict::TornTail
        } else {
            Verdict::Clean
        }
    }
}

/// Checks every partition below a folder: a data directory, a store's folder or a partition's own.
/// Each report is told as soon as it is there; the worst verdict is returned.
///
/// # Errors
/// [`OpenError::Missing`] when there is no partition, else as [`verify_partition`], which ends the
/// check.
pub fn verify_below(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    mut tell: impl FnMut(VerifyReport),
) -> Result<Verdict, OpenError> {
    let folders = partition_folders(&**disk, dir)?;
    if folders.is_empty() {
        return Err(OpenError::Missing { path: dir.to_owned() });
    }
    let mut worst = Verdict::Clean;
    for folder in folders {
        let report = verify_partition(disk, &folder)?;
        worst = worst.max(report.verdict());
        tell(report);
    }
    Ok(worst)
}

/// Checks the folder of one partition.
///
/// # Errors
/// [`OpenError`] when there is no readable control file, so that nothing else can be judged, or
/// the folder can't be read at all. Damage further on is part of the report.
pub fn verify_partition(disk: &Arc<dyn Disk>, dir: &Path) -> Result<VerifyReport, OpenError> {
    let control = Control::read(&**disk, dir)?;
    let names = disk.list(dir).map_err(OpenError::io(dir))?;
    let mut firsts: Vec<Sequence> = names.iter().filter_map(|name| segment_in_name(name)).collect();
    // A cut that a crash has stopped goes on at the next opening: what lies behind it is gone.
    let cut = Cut::read(&**disk, dir)?.map(|cut| cut.last);
    if let Some(last) = cut {
        let kept = firsts.partition_point(|first| *first <= last).max(1);
        firsts.truncate(kept);
    }
    let index = IndexPlace {
        disk: Arc::clone(disk),
        dir: dir.join(INDEX_DIR),
        partition_id: control.partition_id,
    };
    let promise = Promise::read(&**disk, dir, control.partition_id)?;
    let check = IndexCheck::new(&index);
    let mut verifier = Verifier::new((&**disk, dir), &control, check, promise).until(cut);
    if firsts.first() != Some(&control.first) {
        verifier.damage(segment::missing(segment_path(dir, control.first), control.first));
    }
    for (place, first) in firsts.iter().enumerate() {
        let position = match firsts.get(place + 1..) {
            Some([]) | None => Position::Newest,
            Some([newest]) => Position::BeforeNewest(*newest),
            Some(_) => Position::Older,
        };
        verifier.segment(*first, position);
    }
    let (check, mut report) = verifier.finish();
    // A partition that was never opened has no such folder.
    if names.iter().any(|name| name == INDEX_DIR) {
        let problems = check.problems(&index)?.into_iter();
        report.index_problems = problems
            .map(|problem| IndexProblem { file: problem.file, reason: problem.reason.to_owned() })
            .collect();
    }
    Ok(report)
}
