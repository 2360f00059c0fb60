//! `starlog verify`.

use std::path::Path;
use std::sync::Arc;

use broker::error_code::ErrorCode;
use serde::Serialize;
use store::OpenError;
use store::disk::{Disk, FileDisk};
use store::verify::{Damage, IndexProblem, TornTail, Verdict, VerifyReport, verify_below};

use crate::cli::exit;
use crate::cli::failure::{Failure, Stop};
use crate::cli::flags::VerifyFlags;
use crate::cli::session::Session;

/// Checks every partition of a folder and prints what was found.
///
/// # Errors
/// [`Stop`] when something is damaged, torn or can't be read.
pub fn run(session: &Session, flags: &VerifyFlags) -> Result<(), Stop> {
    let disk: Arc<dyn Disk> = Arc::new(FileDisk);
    let mut reports = Vec::new();
    let verdict = verify_below(&disk, &flags.dir, |report| reports.push(report));
    // What was checked before a folder that can't be read is worth printing, too.
    if verdict.is_ok() || !reports.is_empty() {
        let verdict = verdict.as_ref().map_or(Verdict::Damaged, |verdict| *verdict);
        let document = Report::new(verdict, &reports);
        session
            .printer()
            .document(&document, || reports.iter().map(ToString::to_string).collect())?;
    }
    match verdict.map_err(|error| cannot_read(&flags.dir, &error))? {
        Verdict::Clean => Ok(()),
        Verdict::TornTail => Err(Stop::Found(exit::TORN_TAIL)),
        Verdict::Damaged => Err(damaged(&reports).into()),
    }
}

/// The failure that names the first damaged place.
fn damaged(reports: &[VerifyReport]) -> Failure {
    let mut places = reports.iter().flat_map(|report| &report.damages);
    let Some(first) = places.next() else {
        return Failure::local(ErrorCode::CORRUPT, "the data is damaged");
    };
    let Damage { file, offset, sequence, reason } = first;
    let others = match places.count() {
        0 => String::new(),
        count => format!(" (and {count} more, see above)"),
    };
    let sentence = format!(
        "{} is damaged at byte {offset} (sequence {sequence}): {reason}{others}; put back a copy \
         of the partition's folder",
        file.display()
    );
    Failure::local(ErrorCode::CORRUPT, sentence)
        .with("file", file.display().to_string())
        .with("offset", *offset)
        .with("sequence", sequence.0)
}

/// The failure for a folder that can't be checked at all.
fn cannot_read(dir: &Path, error: &OpenError) -> Failure {
    match error {
        OpenError::Missing { path } if path == dir => Failure::local(
            ErrorCode::STORE_NOT_FOUND,
            format!(
                "there is no partition in {}: name a data directory, a store's folder in it, or a \
                 partition's",
                dir.display()
            ),
        ),
        OpenError::Corrupt { file, offset, sequence, .. } => {
            Failure::local(ErrorCode::CORRUPT, error.to_string())
                .with("file", file.display().to_string())
                .with("offset", *offset)
                .with("sequence", sequence.0)
        }
        OpenError::NewerFormat { .. } => Failure::local(ErrorCode::UNSUPPORTED, error.to_string()),
        OpenError::Index(_) => Failure::local(ErrorCode::CORRUPT, error.to_string()),
        _ => Failure::local(ErrorCode::IO, error.to_string()),
    }
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    verdict: String,
    partitions: Vec<PartitionLine<'a>>,
}

#[derive(Debug, Serialize)]
struct PartitionLine<'a> {
    store: &'a str,
    partition: u16,
    verdict: String,
    segments: u64,
    records: u64,
    first: u64,
    last: u64,
    torn_tail: Option<TornLine>,
    damages: Vec<DamageLine<'a>>,
    /// Index files that opening makes anew.
    index_problems: Vec<IndexLine<'a>>,
}

#[derive(Debug, Serialize)]
struct TornLine {
    file: String,
    offset: u64,
    bytes: u64,
    after_sequence: u64,
}

#[derive(Debug, Serialize)]
struct DamageLine<'a> {
    file: String,
    offset: u64,
    sequence: u64,
    reason: &'a str,
}

#[derive(Debug, Serialize)]
struct IndexLine<'a> {
    file: String,
    reason: &'a str,
}

impl<'a> Report<'a> {
    fn new(verdict: Verdict, reports: &'a [VerifyReport]) -> Self {
        let partitions = reports.iter().map(PartitionLine::new).collect();
        Self { verdict: verdict.to_string(), partitions }
    }
}

impl<'a> PartitionLine<'a> {
    fn new(report: &'a VerifyReport) -> Self {
        let torn = |TornTail { file, offset, bytes, after }: &'a TornTail| TornLine {
            file: file.display().to_string(),
            offset: *offset,
            bytes: *bytes,
            after_sequence: after.0,
        };
        let damage = |Damage { file, offset, sequence, reason }: &'a Damage| DamageLine {
            file: file.display().to_string(),
            offset: *offset,
            sequence: sequence.0,
            reason,
        };
        let index = |IndexProblem { file, reason }: &'a IndexProblem| IndexLine {
            file: file.display().to_string(),
            reason,
        };
        Self {
            store: report.store.as_str(),
            partition: report.number.0,
            verdict: report.verdict().to_string(),
            segments: report.segments,
            records: report.records,
            first: report.first.0,
            last: report.last.0,
            torn_tail: report.torn_tail.as_ref().map(torn),
            damages: report.damages.iter().map(damage).collect(),
            index_problems: report.index_problems.iter().map(index).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use client::{PartitionNumber, Sequence, StoreName};
    use serde_json::json;

    use super::*;

    fn report() -> VerifyReport {
        let damage = |offset, sequence| Damage {
            file: "a/1.log".into(),
            offset,
            sequence: Sequence(sequence),
            reason: "a record's signature is wrong".to_owned(),
        };
        VerifyReport {
            store: StoreName::new("orders").unwrap(),
            number: PartitionNumber(1),
            segments: 2,
            records: 40,
            first: Sequence(1),
            last: Sequence(40),
            torn_tail: None,
            damages: vec![damage(4096, 7), damage(8192, 30)],
            index_problems: vec![],
        }
    }

    #[test]
    fn damage_is_named_with_file_offset_and_sequence() {
        let reports = [report()];
        let failure = damaged(&reports);
        assert_eq!(failure.exit_code(), exit::DAMAGED);
        assert!(failure.message.contains("and 1 more"), "{}", failure.message);
        let details = json!({"file": "a/1.log", "offset": 4096, "sequence": 7});
        assert_eq!(serde_json::Value::Object(failure.details), details);
        let document = serde_json::to_value(Report::new(Verdict::Damaged, &reports)).unwrap();
        assert_eq!(document["verdict"], "damaged");
        assert_eq!(document["partitions"][0]["damages"][1]["sequence"], 30);
    }

    #[test]
    fn a_folder_without_partitions_is_not_found() {
        let dir = Path::new("/somewhere");
        let missing = OpenError::Missing { path: dir.to_owned() };
        assert_eq!(cannot_read(dir, &missing).exit_code(), exit::NOT_FOUND);
        let newer = OpenError::NewerFormat { file: dir.join("control"), found: 2, known: 1 };
        assert_eq!(cannot_read(dir, &newer).exit_code(), exit::FAILED);
    }
}
