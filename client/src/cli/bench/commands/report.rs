//! What is told of the measurement.

use client::Durability;
use serde::Serialize;

use super::load::Measured;
use crate::cli::bench::latency::LatencySummary;
use crate::cli::bench::limits::{Limit, limits_table};
use crate::cli::bench::machine::Machine;
use crate::cli::bench::system::SystemLine;
use crate::cli::bench::{append, approximate, per_second};
use crate::cli::output::Alignment;

/// The three figures of one round.
#[derive(Debug, Serialize)]
pub struct Round {
    /// Accepts one after the other.
    pub accept: Figure,
    /// Accepts with 64 in flight.
    pub accept64: Figure,
    /// From sending to the reply.
    pub reply: Figure,
    /// The same against what they must take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratios: Option<Ratios>,
}

/// One figure.
#[derive(Debug, Serialize)]
pub struct Figure {
    count: u64,
    per_second: f64,
    latency: LatencySummary,
}

impl From<&Measured> for Figure {
    fn from(measured: &Measured) -> Self {
        let count = measured.latencies.count();
        let latency = measured.latencies.summary();
        Self { count, per_second: per_second(count, measured.elapsed), latency }
    }
}

/// The figures against the limits of the same run.
#[derive(Debug, Serialize)]
pub struct Ratios {
    /// Median of one accept against S + 2R.
    accept_p50: f64,
    /// Rate of accepts with 64 in flight against RT64.
    accept64_rate: f64,
    /// Median of a reply against 3(S + R) + 4R.
    reply_p50: f64,
}

impl Ratios {
    /// `None` where a limit was not measured.
    pub fn of(figures: (&Figure, &Figure, &Figure), basis: &Basis) -> Self {
        let (accept, accept64, reply) = figures;
        let Basis { sync_us, round_trip_us, many_per_second } = basis;
        let accept_basis = sync_us + 2.0 * round_trip_us;
        let reply_basis = 3.0 * (sync_us + round_trip_us) + 4.0 * round_trip_us;
        Self {
            accept_p50: append::hundredths(accept.latency.p50_us / accept_basis),
            accept64_rate: append::hundredths(accept64.per_second / many_per_second),
            reply_p50: append::hundredths(reply.latency.p50_us / reply_basis),
        }
    }
}

/// The limits that the ratios rest on.
#[derive(Debug, Clone, Copy)]
pub struct Basis {
    /// What one commit must wait for, beside messages.
    sync_us: f64,
    round_trip_us: f64,
    many_per_second: f64,
}

impl Basis {
    /// The limits that count at this level; a pair syncs on two disks and asks the other node.
    pub fn of(limits: &[Limit], durability: &str) -> Option<Self> {
        let find = |name: &str| limits.iter().find(|limit| limit.name == name);
        let p50 = |name: &str| find(name).map(|limit| limit.latency.p50_us);
        let sync_us = match durability {
            level if level == Durability::Memory.as_str() => 0.0,
            level if level == Durability::Pair.as_str() => p50("S2")? + p50("P")?,
            _ => p50("S")?,
        };
        let many_per_second = find("RT64")?.per_second;
        Some(Self { sync_us, round_trip_us: p50("R")?, many_per_second })
    }
}

/// What many commands do to Titanic.
#[derive(Debug, Serialize)]
pub struct Filled {
    /// Open or closed.
    pub state: &'static str,
    /// How many.
    pub commands: u32,
    /// How fast they were accepted.
    pub accepts_per_second: f64,
    /// From the start of its process until Titanic answered.
    pub start_seconds: f64,
    /// Memory of its process then.
    pub memory_bytes: u64,
    /// Memory of one that was just started on an empty store.
    pub memory_bytes_empty: u64,
    /// The figures with all that.
    pub round: Round,
}

impl Filled {
    /// Memory per command, as far as it grew.
    fn bytes_per_command(&self) -> f64 {
        let grown = self.memory_bytes.saturating_sub(self.memory_bytes_empty);
        (approximate(grown) / f64::from(self.commands)).round()
    }
}

/// The whole measurement.
#[derive(Debug, Serialize)]
pub struct Report {
    /// `commands`.
    pub bench: &'static str,
    /// Where it was measured.
    pub machine: Machine,
    /// On what.
    pub system: SystemLine,
    /// Bytes of a command's body.
    pub size: usize,
    /// Limits of the same run.
    pub limits: Vec<Limit>,
    /// The figures.
    #[serde(flatten)]
    pub round: Round,
    /// The figures with many commands.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filled: Vec<Filled>,
}

impl Report {
    /// The report for people.
    pub fn to_table(&self) -> String {
        let mut text = format!(
            "{}\nsync: {}\nload: commands of {} bytes\n{}{}",
            self.machine.to_line(),
            append::sync_mode(&self.system.durability),
            self.size,
            limits_table(&self.limits),
            self.round.to_table(),
        );
        for filled in &self.filled {
            text.push_str(&format!(
                "with {} {} commands, accepted at {:.0}/s: start to serving {:.2} s, {:.1} MiB of \
                 memory ({:.1} MiB without, {:.0} bytes per command)\n{}",
                filled.commands,
                filled.state,
                filled.accepts_per_second,
                filled.start_seconds,
                mebibytes(filled.memory_bytes),
                mebibytes(filled.memory_bytes_empty),
                filled.bytes_per_command(),
                filled.round.to_table(),
            ));
        }
        text
    }
}

fn mebibytes(bytes: u64) -> f64 {
    approximate(bytes) / f64::from(1 << 20)
}

impl Round {
    fn to_table(&self) -> String {
        use Alignment::{Left, Right};
        let mut table = LatencySummary::table(&[
            ("FIGURE", Left),
            ("WHAT", Left),
            ("COUNT", Right),
            ("PER SECOND", Right),
        ]);
        let rows = [
            ("accept", "one accept after the other", &self.accept),
            ("accept64", "accepts, 64 in flight", &self.accept64),
            ("reply", "from sending to the reply", &self.reply),
        ];
        for (name, what, Figure { count, per_second, latency }) in rows {
            let first =
                [name.to_owned(), what.to_owned(), count.to_string(), format!("{per_second:.0}")];
            table.row(first.into_iter().chain(latency.cells()));
        }
        let mut text = table.render();
        if let Some(Ratios { accept_p50, accept64_rate, reply_p50 }) = &self.ratios {
            text.push_str(&format!(
                "accept p50 = {accept_p50:.2} x (S + 2R), accept64 = {accept64_rate:.2} x RT64, \
                 reply p50 = {reply_p50:.2} x (3(S + R) + 4R)\n"
            ));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::latency::Latencies;
    use std::time::Duration;

    fn figure(p50_us: u64, count: u64) -> Figure {
        let mut latencies = Latencies::new().unwrap();
        for _ in 0..count {
            latencies.record(Duration::from_micros(p50_us));
        }
        Figure::from(&Measured { latencies, elapsed: Duration::from_secs(1) })
    }

    #[test]
    fn ratios_rest_on_what_a_command_must_pay() {
        let basis = Basis { sync_us: 100.0, round_trip_us: 200.0, many_per_second: 400.0 };
        let (accept, accept64, reply) = (figure(1000, 1), figure(1, 200), figure(3400, 1));
        let ratios = Ratios::of((&accept, &accept64, &reply), &basis);
        assert!((ratios.accept_p50 - 2.0).abs() < 0.01, "{ratios:?}");
        assert!((ratios.accept64_rate - 0.5).abs() < 0.01, "{ratios:?}");
        assert!((ratios.reply_p50 - 2.0).abs() < 0.01, "{ratios:?}");
    }
}
