//! What is told of a preset.

use std::time::Duration;

use serde::Serialize;

use crate::cli::bench::append::{hundredths, sync_mode};
use crate::cli::bench::latency::{Latencies, LatencySummary};
use crate::cli::bench::machine::Machine;
use crate::cli::bench::per_second;
use crate::cli::bench::system::SystemLine;
use crate::cli::output::Alignment;

/// One load.
#[derive(Debug, Serialize)]
pub struct Row {
    name: &'static str,
    what: String,
    /// Events, or documents.
    count: u64,
    seconds: f64,
    per_second: f64,
    /// Of one append or one document; absent where history was read as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency: Option<LatencySummary>,
}

impl Row {
    /// So many in such a time.
    pub fn new(name: &'static str, what: impl Into<String>, count: u64, elapsed: Duration) -> Self {
        let per_second = per_second(count, elapsed);
        let (what, seconds) = (what.into(), elapsed.as_secs_f64());
        Self { name, what, count, seconds, per_second, latency: None }
    }

    /// The same with what each took.
    #[must_use]
    pub fn with(self, latencies: &Latencies) -> Self {
        Self { latency: Some(latencies.summary()), ..self }
    }

    /// How many in a second.
    pub const fn rate(&self) -> f64 {
        self.per_second
    }
}

/// What the preset is about, in one number.
#[derive(Debug, Serialize)]
pub struct Comparison {
    what: &'static str,
    ratio: f64,
}

impl Comparison {
    /// One rate against another.
    pub fn new(what: &'static str, ratio: f64) -> Self {
        Self { what, ratio: hundredths(ratio) }
    }
}

/// The whole measurement.
#[derive(Debug, Serialize)]
pub struct Report {
    /// `preset`.
    pub bench: &'static str,
    /// Which one.
    pub preset: &'static str,
    /// Where it was measured.
    pub machine: Machine,
    /// On what.
    pub system: SystemLine,
    /// Its loads, in the order in which they ran.
    pub rows: Vec<Row>,
    /// What they come to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
}

impl Report {
    /// The report for people.
    pub fn to_table(&self) -> String {
        use Alignment::{Left, Right};
        let mut table = LatencySummary::table(&[
            ("LOAD", Left),
            ("WHAT", Left),
            ("COUNT", Right),
            ("SECONDS", Right),
            ("PER SECOND", Right),
        ]);
        for row in &self.rows {
            let first = [
                row.name.to_owned(),
                row.what.clone(),
                row.count.to_string(),
                format!("{:.2}", row.seconds),
                format!("{:.0}", row.per_second),
            ];
            let cells = row.latency.iter().flat_map(LatencySummary::cells);
            table.row(first.into_iter().chain(cells));
        }
        let mut text = format!(
            "{}\nsync: {}\npreset: {}\n{}",
            self.machine.to_line(),
            sync_mode(&self.system.durability),
            self.preset,
            table.render(),
        );
        if let Some(Comparison { what, ratio }) = &self.comparison {
            text.push_str(&format!("{what} = {ratio:.2}\n"));
        }
        text
    }
}
