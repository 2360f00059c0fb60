//! `starlog bench failover`.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use client::Client;
use serde::Serialize;

use super::latency::{Latencies, LatencySummary};
use super::machine::Machine;
use super::pair::{NodeNumber, Pair, leader, look, wait_for};
use super::pressure::{Counts, Pace, Pressure, Shape};
use super::system::{System, SystemLine};
use super::{append, now, per_second};
use crate::cli::failure::{Failure, Stop};
use crate::cli::flags::{FailoverFlags, PressureFlags};
use crate::cli::output::{Alignment, Table};
use crate::cli::pair::PairReport;
use crate::cli::session::Session;

/// Runs the measurement and prints it.
///
/// # Errors
/// [`Stop`] when the pair can't be started, or does not become whole again.
pub fn run(session: &Session, flags: &FailoverFlags) -> Result<(), Stop> {
    let (system, mut pair) = System::start_pair(session, &flags.system)?;
    let client = system.client()?;
    let pressure = put_on(&system, &flags.pressure)?;
    let measured = match flags.quiet_duration {
        Some(duration) => Measured::quiet(&client, &pair, &pressure, duration)?,
        None => Measured::kills(&client, &mut pair, &pressure, flags)?,
    };
    let latency = pressure.latencies()?.summary();
    let counts = pressure.end()?;
    let report = Report {
        bench: "failover",
        machine: Machine::describe(system.folder()),
        system: system.describe()?,
        clients: flags.pressure.clients,
        in_flight: flags.pressure.in_flight,
        size: flags.pressure.size,
        acknowledged: counts.acknowledged,
        refused: counts.refused,
        unknown: counts.unknown,
        latency,
        measured,
    };
    session.printer().document(&report, || report.to_table())
}

/// Starts a closed loop on a system.
pub fn put_on(system: &System, flags: &PressureFlags) -> Result<Pressure, Failure> {
    let in_flight = usize::try_from(flags.in_flight).unwrap_or(usize::MAX);
    pressure(system, flags, Pace::Closed { in_flight }, 1)
}

/// Starts a load on a system.
pub fn pressure(
    system: &System,
    flags: &PressureFlags,
    pace: Pace,
    batch: u16,
) -> Result<Pressure, Failure> {
    let stores =
        (0..flags.clients).map(|_| system.connect()).collect::<Result<Vec<_>, Failure>>()?;
    let PressureFlags { size, streams, .. } = *flags;
    Pressure::start(stores, &Shape { pace, batch, size, streams })
}

/// What happened under load.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Measured {
    /// The leader was killed again and again.
    Kills {
        /// How often.
        kills: u64,
        /// Of them, how often the other node took over.
        taken_over: u64,
        /// Longest interval between two acknowledgements around each kill.
        outage: Milliseconds,
        /// From the restart of the killed process until it was a member again.
        rejoin: Milliseconds,
    },
    /// Nothing was done to it.
    Quiet {
        /// For how long.
        seconds: f64,
        /// Events per second.
        events_per_second: f64,
        /// How often another node came to lead.
        leader_changes: u64,
        /// How often the leader went on without its follower.
        shrinks: u64,
        /// How far the epoch rose.
        epochs: u64,
        /// Longest interval between two acknowledgements.
        longest_interval_ms: f64,
    },
}

impl Measured {
    fn kills(
        client: &Client,
        pair: &mut Pair,
        pressure: &Pressure,
        flags: &FailoverFlags,
    ) -> Result<Self, Failure> {
        let (mut outages, mut rejoins) = (Latencies::new()?, Latencies::new()?);
        let mut taken_over = 0;
        for kill in 1..=flags.kills {
            let (victim, _) = pair.wait_until_whole(client)?;
            thread::sleep(flags.between);
            pressure.forget_gaps();
            pair.kill(victim);
            taken_over += u64::from(wait_for_successor(client, pressure, victim)? != victim);
            let restarted = now();
            pair.restart(victim)?;
            pair.wait_until_whole(client)?;
            rejoins.record(now().saturating_duration_since(restarted));
            let outage = pressure.longest_gap();
            outages.record(outage);
            log::info!("kill {kill}: outage {outage:?}");
        }
        Ok(Self::Kills {
            kills: outages.count(),
            taken_over,
            outage: Milliseconds::of(&outages),
            rejoin: Milliseconds::of(&rejoins),
        })
    }

    fn quiet(
        client: &Client,
        pair: &Pair,
        pressure: &Pressure,
        duration: Duration,
    ) -> Result<Self, Failure> {
        let (leader, before) = pair.wait_until_whole(client)?;
        let acknowledged = pressure.counts().acknowledged;
        pressure.forget_gaps();
        let started = now();
        thread::sleep(duration);
        let elapsed = now().saturating_duration_since(started);
        let longest_interval_ms = milliseconds(pressure.longest_gap());
        let acknowledged = pressure.counts().acknowledged - acknowledged;
        let (still, after) = pair.wait_until_whole(client)?;
        let counted = |name| count(&after, name).saturating_sub(count(&before, name));
        Ok(Self::Quiet {
            seconds: elapsed.as_secs_f64(),
            events_per_second: per_second(acknowledged, elapsed),
            leader_changes: counted("failovers").max(u64::from(still != leader)),
            shrinks: counted("shrinks"),
            epochs: after.epoch.saturating_sub(before.epoch),
            longest_interval_ms,
        })
    }
}

/// How often something happened, at both nodes together.
fn count(report: &PairReport, name: &str) -> u64 {
    let of = |counts: &BTreeMap<String, u64>| counts.get(name).copied().unwrap_or_default();
    report.nodes.iter().map(|node| of(&node.counts)).sum()
}

/// Waits until appends are acknowledged again and says who leads then.
fn wait_for_successor(
    client: &Client,
    pressure: &Pressure,
    victim: NodeNumber,
) -> Result<NodeNumber, Failure> {
    let before: Counts = pressure.counts();
    wait_for("another node leads and acknowledges", || {
        let leader = leader(&look(client)?)?;
        let going_on = pressure.counts().acknowledged > before.acknowledged;
        (going_on && leader != victim).then_some(leader)
    })
}

/// Percentiles, in milliseconds.
#[derive(Debug, Serialize)]
struct Milliseconds {
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

impl Milliseconds {
    fn of(latencies: &Latencies) -> Self {
        let LatencySummary { p50_us, p95_us, p99_us, max_us, .. } = latencies.summary();
        let [p50_ms, p95_ms, p99_ms, max_ms] =
            [p50_us, p95_us, p99_us, max_us].map(|us| (us / 100.0).round() / 10.0);
        Self { p50_ms, p95_ms, p99_ms, max_ms }
    }

    fn cells(&self) -> [String; 4] {
        [self.p50_ms, self.p95_ms, self.p99_ms, self.max_ms].map(|ms| format!("{ms:.1}"))
    }
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e4).round() / 10.0
}

#[derive(Debug, Serialize)]
struct Report {
    bench: &'static str,
    machine: Machine,
    system: SystemLine,
    clients: u16,
    in_flight: u32,
    size: usize,
    /// Acknowledged events of the whole run.
    acknowledged: u64,
    /// Appends that were refused or whose outcome stayed unknown.
    refused: u64,
    unknown: u64,
    latency: LatencySummary,
    #[serde(flatten)]
    measured: Measured,
}

impl Report {
    fn to_table(&self) -> String {
        let Self { clients, in_flight, size, acknowledged, refused, unknown, .. } = self;
        let mut text = format!(
            "{}\nsync: {}\nload: {clients} clients x {in_flight} in flight x 1 event of {size} \
             bytes\n",
            self.machine.to_line(),
            append::sync_mode(&self.system.durability),
        );
        match &self.measured {
            Measured::Kills { kills, taken_over, outage, rejoin } => {
                text.push_str(&kills_table([("outage", outage), ("rejoin", rejoin)]));
                text.push_str(&format!(
                    "{kills} kills of the leader, {taken_over} times the other node took over\n"
                ));
            }
            Measured::Quiet {
                seconds,
                events_per_second,
                leader_changes,
                shrinks,
                epochs,
                longest_interval_ms,
            } => text.push_str(&format!(
                "{seconds:.1} s without faults at {events_per_second:.0} events/s: \
                 {leader_changes} leader changes, {shrinks} shrinks, {epochs} epochs; longest \
                 interval {longest_interval_ms:.1} ms\n"
            )),
        }
        text.push_str(&format!(
            "{acknowledged} events acknowledged, {refused} appends refused, {unknown} unknown\n"
        ));
        text
    }
}

fn kills_table(rows: [(&str, &Milliseconds); 2]) -> String {
    use Alignment::{Left, Right};
    let mut table = Table::new(&[
        ("", Left),
        ("P50 MS", Right),
        ("P95 MS", Right),
        ("P99 MS", Right),
        ("MAX MS", Right),
    ]);
    for (name, values) in rows {
        table.row(std::iter::once(name.to_owned()).chain(values.cells()));
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outages_are_told_in_milliseconds() {
        let mut outages = Latencies::new().unwrap();
        for ms in [700, 800, 900] {
            outages.record(Duration::from_millis(ms));
        }
        let told = Milliseconds::of(&outages);
        assert!((told.p50_ms - 800.0).abs() < 2.0 && (told.max_ms - 900.0).abs() < 2.0, "{told:?}");
        assert!((milliseconds(Duration::from_micros(1_250)) - 1.3).abs() < 0.11);
    }
}
