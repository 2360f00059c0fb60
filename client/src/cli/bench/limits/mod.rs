//! `starlog bench limits`: what disk and sockets of this machine allow, measured bare.
//!
//! A figure of Starlog's means little by itself: half a millisecond is good on one disk and bad on
//! another. So figures are quoted as ratios to these limits, measured in the same run.

mod disk;
pub mod raw;
mod round_trip;
mod signing;

use std::any::Any;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use self::round_trip::RawRoute;
use super::latency::{Latencies, LatencySummary};
use super::{broken, per_second};
use crate::cli::bench::machine::Machine;
use crate::cli::failure::{Failure, Stop};
use crate::cli::flags::LimitsFlags;
use crate::cli::output::Alignment;
use crate::cli::session::Session;

/// Messages under way in RT64.
const IN_FLIGHT: usize = 64;
/// Messages under way in RB, each as long as the data of 100 events of 256 bytes.
const BATCHES_IN_FLIGHT: usize = 8;
const BATCH_BYTES: usize = 25_600;
/// Questions under way in R40x16, and what is asked and answered: as much as 100 events are.
const FETCHES_IN_FLIGHT: usize = 16;
const QUESTION_BYTES: usize = 100;
const ANSWER_BYTES: u32 = 40_000;

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
    /// The same, and RB: what appends of many events must pay.
    Batches,
    /// S2, R and P: what a pair must pay.
    Pair,
    /// The same, and RB.
    PairBatches,
    /// S, R and RT64: what a command must pay, alone and among others.
    Commands,
    /// S2, R, P and RT64: the same with a pair.
    PairCommands,
    /// R40, alone and among others: what a read of one stream must pay.
    Reads,
    /// Messages one way, and SHA-1: what a replay must pay.
    Replay,
}

impl Which {
    /// In the order in which they are measured and shown.
    const fn kinds(self) -> &'static [Kind] {
        use Kind::{
            Fetch, Fetch16, OneWay1M, OneWay64K, Peer, Sha1, Sync, Sync2, Sync4, Trip, Trip64,
            TripBatch,
        };
        match self {
            Self::All => &[
                Sync, Sync2, Sync4, Trip, Peer, Trip64, TripBatch, Fetch, Fetch16, OneWay64K,
                OneWay1M, Sha1,
            ],
            Self::Single => &[Sync, Trip],
            Self::Batches => &[Sync, Trip, TripBatch],
            Self::Pair => &[Sync2, Trip, Peer],
            Self::PairBatches => &[Sync2, Trip, Peer, TripBatch],
            Self::Commands => &[Sync, Trip, Trip64],
            Self::PairCommands => &[Sync2, Trip, Peer, Trip64],
            Self::Reads => &[Fetch, Fetch16],
            Self::Replay => &[OneWay64K, OneWay1M, Sha1],
        }
    }
}

/// What is measured bare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sync,
    Sync2,
    Sync4,
    Trip,
    Peer,
    Trip64,
    TripBatch,
    Fetch,
    Fetch16,
    OneWay64K,
    OneWay1M,
    Sha1,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Sync => "S",
            Self::Sync2 => "S2",
            Self::Sync4 => "S4",
            Self::Trip => "R",
            Self::Peer => "P",
            Self::Trip64 => "RT64",
            Self::TripBatch => "RB",
            Self::Fetch => "R40",
            Self::Fetch16 => "R40x16",
            Self::OneWay64K => "W64K",
            Self::OneWay1M => "W1M",
            Self::Sha1 => "SHA1",
        }
    }

    const fn what(self) -> &'static str {
        match self {
            Self::Sync => "4 KiB write + fdatasync",
            Self::Sync2 => "the same in two files at once",
            Self::Sync4 => "the same in four files at once",
            Self::Trip => "bare round trip",
            Self::Peer => "bare round trip to the other node",
            Self::Trip64 => "bare round trips, 64 in flight",
            Self::TripBatch => "bare round trips of 25.6 kB, 8 in flight",
            Self::Fetch => "100 B out and 40 kB back",
            Self::Fetch16 => "the same, 16 in flight",
            Self::OneWay64K => "64 KiB one way",
            Self::OneWay1M => "1 MiB one way",
            Self::Sha1 => "SHA-1 signature of one event",
        }
    }
}

/// One limit.
#[derive(Debug, Clone, Serialize)]
pub struct Limit {
    /// Its short name, as figures quote it.
    pub name: &'static str,
    what: &'static str,
    count: u64,
    /// How many in a second.
    pub per_second: f64,
    /// Bytes in a second, in the direction that has more of them.
    pub bytes_per_second: f64,
    /// Latencies of one.
    pub latency: LatencySummary,
}

impl Limit {
    fn new(kind: Kind, bytes: usize, latencies: &Latencies, elapsed: Duration) -> Self {
        let count = latencies.count();
        let all = count.saturating_mul(u64::try_from(bytes).unwrap_or(u64::MAX));
        Self {
            name: kind.name(),
            what: kind.what(),
            count,
            per_second: per_second(count, elapsed),
            bytes_per_second: per_second(all, elapsed),
            latency: latencies.summary(),
        }
    }
}

fn measure(folder: &Path, flags: &LimitsFlags, which: Which) -> Result<Vec<Limit>, Failure> {
    let mut bare = Bare { folder, flags, route: None, source: None };
    which.kinds().iter().map(|kind| bare.measure(*kind)).collect()
}

/// The bare processes, each started when it is needed first.
struct Bare<'a> {
    folder: &'a Path,
    flags: &'a LimitsFlags,
    route: Option<RawRoute>,
    source: Option<RawRoute>,
}

impl Bare<'_> {
    fn measure(&mut self, kind: Kind) -> Result<Limit, Failure> {
        let LimitsFlags { duration, size, .. } = *self.flags;
        let (bytes, measured) = match kind {
            Kind::Sync => return self.synced(kind, 1),
            Kind::Sync2 => return self.synced(kind, 2),
            Kind::Sync4 => return self.synced(kind, 4),
            Kind::Trip => (size, self.route()?.run(1, size, duration)?),
            Kind::Trip64 => (size, self.route()?.run(IN_FLIGHT, size, duration)?),
            Kind::TripBatch => {
                (BATCH_BYTES, self.route()?.run(BATCHES_IN_FLIGHT, BATCH_BYTES, duration)?)
            }
            Kind::Peer => (size, RawRoute::to_peer()?.run(1, size, duration)?),
            Kind::Fetch | Kind::Fetch16 => {
                let in_flight = if kind == Kind::Fetch { 1 } else { FETCHES_IN_FLIGHT };
                let sizes = (QUESTION_BYTES, ANSWER_BYTES);
                (in_bytes(ANSWER_BYTES), self.source()?.fetch(in_flight, sizes, duration)?)
            }
            Kind::OneWay64K => (64 << 10, self.source()?.one_way(64 << 10, duration)?),
            Kind::OneWay1M => (1 << 20, self.source()?.one_way(1 << 20, duration)?),
            Kind::Sha1 => (size, signing::signatures(size, duration)?),
        };
        Ok(Limit::new(kind, bytes, &measured.latencies, measured.elapsed))
    }

    fn synced(&self, kind: Kind, files: usize) -> Result<Limit, Failure> {
        let duration = self.flags.duration;
        let latencies = disk::synced_writes(self.folder, files, duration)?;
        Ok(Limit::new(kind, disk::WRITE_BYTES, &latencies, duration))
    }

    fn route(&mut self) -> Result<&RawRoute, Failure> {
        started(&mut self.route, RawRoute::start)
    }

    fn source(&mut self) -> Result<&RawRoute, Failure> {
        started(&mut self.source, RawRoute::to_source)
    }
}

/// What is there, or else is started now.
fn started(
    place: &mut Option<RawRoute>,
    start: impl FnOnce() -> Result<RawRoute, Failure>,
) -> Result<&RawRoute, Failure> {
    match place {
        Some(route) => Ok(route),
        empty => Ok(empty.insert(start()?)),
    }
}

fn in_bytes(bytes: u32) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
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
    let mut table = LatencySummary::table(&[
        ("LIMIT", Left),
        ("WHAT", Left),
        ("PER SECOND", Right),
        ("MB/S", Right),
    ]);
    for limit in limits {
        let first = [
            limit.name.to_owned(),
            limit.what.to_owned(),
            format!("{:.0}", limit.per_second),
            format!("{:.1}", limit.bytes_per_second / 1e6),
        ];
        table.row(first.into_iter().chain(limit.latency.cells()));
    }
    table.render()
}
