//! `starlog import`.

mod line;
mod under_way;

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal as _};
use std::path::Path;

use client::StoreHandle;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use line::Lines;
use under_way::{Counts, UnderWay};

use crate::cli::failure::{Failure, Stop};
use crate::cli::flags::ImportFlags;
use crate::cli::session::Session;

/// Bytes read ahead from a file.
const READ_AHEAD_BYTES: usize = 256 * 1024;

/// Appends the events of a file or of standard input, and prints how many.
///
/// # Errors
/// [`Stop`] when the input makes no sense, or an append is refused or its outcome unknown.
pub fn run(session: &Session, flags: &ImportFlags) -> Result<(), Stop> {
    let (input, bytes) = open(&flags.file)?;
    let store = session.store(&flags.store)?;
    let bar = progress_bar(session, bytes);
    let imported = import(&store, Lines::new(input), &bar);
    bar.finish_and_clear();
    let report = imported?;
    session.printer().document(&report, || report.to_sentence())
}

/// The input, and its size if that is known.
fn open(file: &Path) -> Result<(Box<dyn BufRead>, Option<u64>), Failure> {
    if file == Path::new("-") {
        return Ok((Box::new(BufReader::with_capacity(READ_AHEAD_BYTES, io::stdin())), None));
    }
    let failed = |error| Failure::system(&format!("can't open {}", file.display()), &error);
    let opened = File::open(file).map_err(failed)?;
    let metadata = opened.metadata().map_err(failed)?;
    let bytes = metadata.is_file().then_some(metadata.len());
    Ok((Box::new(BufReader::with_capacity(READ_AHEAD_BYTES, opened)), bytes))
}

fn import(
    store: &StoreHandle,
    mut lines: Lines<impl BufRead>,
    bar: &ProgressBar,
) -> Result<Report, Failure> {
    let mut under_way = UnderWay::new(store);
    let mut passed_over = 0;
    let mut take_all = || -> Result<(), Failure> {
        while let Some(line) = lines.next_event()? {
            bar.set_position(lines.bytes_read());
            if line.stream.is_system() {
                passed_over += 1;
            } else {
                under_way.push(line)?;
            }
        }
        Ok(())
    };
    let taken = take_all();
    let finished = under_way.finish();
    let counts = under_way.counts();
    // What failed first stands first.
    taken.and(finished).map_err(|failure| {
        let Counts { added, already_there } = counts;
        failure.with("added", added).with("already_there", already_there)
    })?;
    let Counts { added, already_there } = counts;
    Ok(Report { store: store.name().to_string(), added, already_there, passed_over })
}

/// A bar that shows on a terminal only, and only if wanted.
fn progress_bar(session: &Session, bytes: Option<u64>) -> ProgressBar {
    if session.quiet || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = match bytes {
        Some(_) => "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        None => "{spinner} {bytes} {bytes_per_sec} {elapsed}",
    };
    let bar = bytes.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[derive(Debug, Serialize)]
struct Report {
    store: String,
    /// Events that were appended now.
    added: u64,
    /// Events that were there already, from an earlier run or from wherever.
    already_there: u64,
    /// Events of system streams.
    passed_over: u64,
}

impl Report {
    fn to_sentence(&self) -> String {
        let Self { store, added, already_there, passed_over } = self;
        let system = match passed_over {
            0 => String::new(),
            count => format!(", {count} of system streams passed over"),
        };
        format!("{store}: {added} events added, {already_there} were there already{system}\n")
    }
}
