//! `starlog bench read`: one stream out of many, straight from the replayer.

mod bare;
mod library;

use std::time::Duration;

use client::StoreHandle;
use serde::Serialize;
use store::event::EVENT_DATA_BYTES_MAX;

use self::bare::BareSockets;
use super::append::{hundredths, progress_bar, sync_mode};
use super::fill::{Filled, Filling};
use super::latency::{Latencies, LatencySummary};
use super::limits::{Limit, Which, limits_table, measure_for};
use super::machine::Machine;
use super::system::{System, SystemLine};
use super::{broken, per_second};
use crate::cli::failure::{Failure, Stop};
use crate::cli::flags::{BenchReadFlags, LimitsFlags};
use crate::cli::output::Alignment;
use crate::cli::session::Session;

/// Longest time that one limit is measured.
const LIMIT_DURATION_MAX: Duration = Duration::from_secs(2);
/// Reads that a replayer keeps under way for one connection; it answers BUSY to the next.
const READS_PER_CONNECTION: u16 = 4;

/// Runs the measurement and prints it.
///
/// # Errors
/// [`Stop`] when the system can't be started or filled, or a read fails or is not whole.
pub fn run(session: &Session, flags: &BenchReadFlags) -> Result<(), Stop> {
    if flags.size > EVENT_DATA_BYTES_MAX {
        return Err(Failure::usage(format!("--size is at most {EVENT_DATA_BYTES_MAX}")).into());
    }
    let filling = filling(flags)?;
    let system = System::start(session, &flags.system)?;
    let limits = LimitsFlags {
        data: None,
        duration: flags.duration.min(LIMIT_DURATION_MAX),
        size: flags.size,
    };
    let limits = measure_for(system.folder(), &limits, Which::Reads)?;
    let store = system.connect()?;
    let progress = progress_bar(session, Some(filling.events));
    let filled = filling.write(&store, &progress);
    progress.finish_and_clear();
    let figures = measure(&system, &store, &filled?, flags)?;
    let report = Report {
        bench: "read",
        machine: Machine::describe(system.folder()),
        system: system.describe()?,
        events: filling.events,
        streams: filling.streams,
        length: flags.length,
        size: flags.size,
        in_flight: flags.in_flight,
        ratios: Ratios::of(&figures, &limits),
        figures,
        limits,
    };
    session.printer().document(&report, || report.to_table())
}

fn filling(flags: &BenchReadFlags) -> Result<Filling, Failure> {
    let length = u64::from(flags.length);
    let streams = u32::try_from(flags.events.div_ceil(length))
        .map_err(|_| Failure::usage("these are too many streams: give a larger --length"))?;
    Ok(Filling { events: u64::from(streams) * length, streams, size: flags.size })
}

fn measure(
    system: &System,
    store: &StoreHandle,
    filled: &Filled,
    flags: &BenchReadFlags,
) -> Result<Vec<Figure>, Failure> {
    let shelf = Shelf { filled, length: u64::from(flags.length) };
    let one = std::slice::from_ref(store);
    let alone = library::read(one, &shelf, 1, flags.duration)?;
    let clients = flags.clients.unwrap_or(flags.in_flight.div_ceil(READS_PER_CONNECTION));
    let clients = (0..clients).map(|_| system.connect()).collect::<Result<Vec<_>, Failure>>()?;
    let many = library::read(&clients, &shelf, flags.in_flight, flags.duration)?;
    let bare = BareSockets::connect(store, &shelf, flags.in_flight)?.read(flags.duration)?;
    Ok(vec![
        Figure::new("alone", "one at a time, client library", flags.length, &alone),
        Figure::new("many", "in flight, client library, a thread each", flags.length, &many),
        Figure::new("bare", "in flight on bare sockets, one thread", flags.length, &bare),
    ])
}

/// The streams that are read.
pub struct Shelf<'a> {
    filled: &'a Filled,
    /// Events of each stream.
    length: u64,
}

impl Shelf<'_> {
    /// A read that is not whole is no read.
    fn check(&self, events: u64) -> Result<(), Failure> {
        let wanted = self.length;
        let short = || broken(format!("a stream of {wanted} events came with {events}"));
        (events == wanted).then_some(()).ok_or_else(short)
    }
}

/// What was measured.
pub struct Measured {
    /// One latency per read stream.
    latencies: Latencies,
    /// From the first question to the last answer.
    elapsed: Duration,
}

/// One way of reading.
#[derive(Debug, Serialize)]
struct Figure {
    name: &'static str,
    what: &'static str,
    streams: u64,
    streams_per_second: f64,
    events_per_second: f64,
    latency: LatencySummary,
}

impl Figure {
    fn new(name: &'static str, what: &'static str, length: u32, measured: &Measured) -> Self {
        let streams = measured.latencies.count();
        let events = streams.saturating_mul(u64::from(length));
        Self {
            name,
            what,
            streams,
            streams_per_second: per_second(streams, measured.elapsed),
            events_per_second: per_second(events, measured.elapsed),
            latency: measured.latencies.summary(),
        }
    }
}

/// The figures against the limits of the same run.
#[derive(Debug, Serialize)]
struct Ratios {
    /// Median of `alone` against that of R40.
    alone_p50: f64,
    /// Rate of `many` against that of R40x16.
    many_rate: f64,
    /// Rate of `bare` against that of R40x16.
    bare_rate: f64,
}

impl Ratios {
    fn of(figures: &[Figure], limits: &[Limit]) -> Option<Self> {
        let limit = |name: &str| limits.iter().find(|limit| limit.name == name);
        let figure = |name: &str| figures.iter().find(|figure| figure.name == name);
        let many = limit("R40x16")?.per_second;
        let rate = |name: &str| Some(hundredths(figure(name)?.streams_per_second / many));
        Some(Self {
            alone_p50: hundredths(figure("alone")?.latency.p50_us / limit("R40")?.latency.p50_us),
            many_rate: rate("many")?,
            bare_rate: rate("bare")?,
        })
    }
}

#[derive(Debug, Serialize)]
struct Report {
    bench: &'static str,
    machine: Machine,
    system: SystemLine,
    events: u64,
    streams: u32,
    /// Events of each stream.
    length: u32,
    size: usize,
    in_flight: u16,
    limits: Vec<Limit>,
    figures: Vec<Figure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratios: Option<Ratios>,
}

impl Report {
    fn to_table(&self) -> String {
        use Alignment::{Left, Right};
        let mut table = LatencySummary::table(&[
            ("READ", Left),
            ("WHAT", Left),
            ("STREAMS/S", Right),
            ("EVENTS/S", Right),
        ]);
        for figure in &self.figures {
            let first = [
                figure.name.to_owned(),
                figure.what.to_owned(),
                format!("{:.0}", figure.streams_per_second),
                format!("{:.0}", figure.events_per_second),
            ];
            table.row(first.into_iter().chain(figure.latency.cells()));
        }
        let mut text = format!(
            "{}\nsync: {}\nload: whole streams of {} events of {} bytes, out of {} events in {} \
             streams, {} in flight; CRC and signature of every event checked\n{}{}",
            self.machine.to_line(),
            sync_mode(&self.system.durability),
            self.length,
            self.size,
            self.events,
            self.streams,
            self.in_flight,
            limits_table(&self.limits),
            table.render(),
        );
        if let Some(Ratios { alone_p50, many_rate, bare_rate }) = &self.ratios {
            text.push_str(&format!(
                "alone p50 = {alone_p50:.2} x R40, many = {many_rate:.2} x R40x16, bare = \
                 {bare_rate:.2} x R40x16\n"
            ));
        }
        text
    }
}
