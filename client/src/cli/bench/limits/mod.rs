//! `starlog bench limits`: what disk and sockets of this machine allow, measured bare.
//!
//! A figure of Starlog's means little by itself: half a millisecond is good on one disk and bad on
//! another. So figures are quoted as ratios to these limits, measured in the same run.

mod disk;
pub mod raw;
mod round_trip;

use std::any::Any;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::latency::{Latencies, LatencySummary};
use super::{broken, per_second};
use crate::cli::bench::machine::Machine;
use crate::cli::failure::{Failure, Stop};
use crate::cli::flags::LimitsFlags;
use crate::cli::output::Alignment;
use crate::cli::session::Session;

/// Messages under way in RT64.
const IN_FLIGHT: usize = 64;

/// Measures all limits and prints them.
///
/// # Errors
/// [`Stop`] when the folder can't be written to or a process can't be started.
pub fn run(session: &Session, flags: &LimitsFlags) -> Result<(), Stop> {
    let folder = flags.data.clone().unwrap_or_else(std::env::temp_dir);
    let report = Report {
        bench: "limits",
        machine: Machine::describe(&folder),
        sync: "fdatasync of 4 KiB in zero-filled files",
        limits: measure(&folder, flags, Which::All)?,
    };
    session.printer().document(&report, || report.to_table())?;
    Ok(())
}

/// What the limits of one append are in one run, for ratios.
///
/// # Errors
/// Those of [`run`].
pub fn measure_for(
    folder: &Path,
    flags: &LimitsFlags,
    which: Which,
) -> Result<Vec<Limit>, Failure> {
    measure(folder, flags, which)
}

/// Which limits are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// All of them.
    All,
    /// S and R: what one store must pay for an append.
    Single,
    /// S2, R and P: what a pair must pay.
    Pair,
}

/// One limit.
#[derive(Debug, Clone, Serialize)]
pub struct Limit {
    /// Its short name, as figures quote it.
    pub name: &'static str,
    what: &'static str,
    count: u64,
    per_second: f64,
    /// Latencies of one.
    pub latency: LatencySummary,
}

impl Limit {
    fn new(
        name: &'static str,
        what: &'static str,
        latencies: &Latencies,
        elapsed: Duration,
    ) -> Self {
        let count = latencies.count();
        let latency = latencies.summary();
        Self { name, what, count, per_second: per_second(count, elapsed), latency }
    }
}

fn measure(folder: &Path, flags: &LimitsFlags, which: Which) -> Result<Vec<Limit>, Failure> {
    let duration = flags.duration;
    let mut limits = Vec::new();
    if which != Which::Pair {
        let alone = disk::synced_writes(folder, 1, duration)?;
        limits.push(Limit::new("S", "4 KiB write + fdatasync", &alone, duration));
    }
    if which != Which::Single {
        let both = disk::synced_writes(folder, 2, duration)?;
        limits.push(Limit::new("S2", "the same in two files at once", &both, duration));
    }
    let route = round_trip::RawRoute::start()?;
    let one = route.run(1, flags.size, duration)?;
    limits.push(Limit::new("R", "bare round trip", &one.latencies, one.elapsed));
    if which != Which::Single {
        let peer = round_trip::RawRoute::to_peer()?.run(1, flags.size, duration)?;
        let what = "bare round trip to the other node";
        limits.push(Limit::new("P", what, &peer.latencies, peer.elapsed));
    }
    if which == Which::All {
        let many = route.run(IN_FLIGHT, flags.size, duration)?;
        limits.push(Limit::new("RT64", "64 in flight", &many.latencies, many.elapsed));
    }
    Ok(limits)
}

/// The result of a joined thread of a measurement.
fn joined<T>(result: Result<Result<T, Failure>, Box<dyn Any + Send>>) -> Result<T, Failure> {
    result.unwrap_or_else(|_| Err(broken("a thread of the measurement ended early")))
}

#[derive(Debug, Serialize)]
struct Report {
    bench: &'static str,
    machine: Machine,
    sync: &'static str,
    limits: Vec<Limit>,
}

impl Report {
    fn to_table(&self) -> String {
        format!("{}\nsync: {}\n{}", self.machine.to_line(), self.sync, limits_table(&self.limits))
    }
}

/// The limits as columns.
pub fn limits_table(limits: &[Limit]) -> String {
    use Alignment::{Left, Right};
    let mut table =
        LatencySummary::table(&[("LIMIT", Left), ("WHAT", Left), ("PER SECOND", Right)]);
    for limit in limits {
        let first =
            [limit.name.to_owned(), limit.what.to_owned(), format!("{:.0}", limit.per_second)];
        table.row(first.into_iter().chain(limit.latency.cells()));
    }
    table.render()
}
