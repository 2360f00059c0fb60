//! `starlog bench rejoin`.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use client::Client;
use serde::Serialize;
use store::event::EVENT_DATA_BYTES_MAX;

use super::failover::{pressure, put_on};
use super::machine::Machine;
use super::pair::{self, NodeNumber, Pair, leader};
use super::pressure::{Pace, Pressure};
use super::system::{System, SystemLine};
use super::{append, approximate, now, per_second};
use crate::cli::failure::{Failure, Stop};
use crate::cli::flags::RejoinFlags;
use crate::cli::session::Session;

/// The load of the open loop, as a part of the largest possible one.
const PART: f64 = 0.25;
/// Load on the pair before and after, so that the window holds nothing but the rejoin.
const SETTLE: Duration = Duration::from_secs(1);
/// How the log is filled: fast, because that is not what is measured.
const FILL_IN_FLIGHT: usize = 8;
const FILL_BATCH: u16 = 100;
/// Bytes of a record without names and data (`store/FORMAT.md`).
const RECORD_BYTES: usize = 120;
/// Bytes of the names in a record of this load: `bench-` with a number, and `Measured`.
const NAME_BYTES: usize = 18;

/// Runs the measurement and prints it.
///
/// # Errors
/// [`Stop`] when the pair can't be started, or its follower does not come back.
pub fn run(session: &Session, flags: &RejoinFlags) -> Result<(), Stop> {
    if flags.pressure.size > EVENT_DATA_BYTES_MAX {
        return Err(Failure::usage(format!("--size is at most {EVENT_DATA_BYTES_MAX}")).into());
    }
    let (system, mut pair) = System::start_pair(session, &flags.system)?;
    let client = system.client()?;
    fill(&system, flags)?;
    let most = most(&system, flags)?;
    let rate = flags.rate.map_or(most * PART, f64::from);
    let clients = f64::from(flags.pressure.clients);
    let load = pressure(&system, &flags.pressure, Pace::Open { per_second: rate / clients }, 1)?;
    thread::sleep(SETTLE);
    let measured = Measured::take(&client, &mut pair, (&load, rate), flags)?;
    let counts = load.end()?;
    let report = Report {
        bench: "rejoin",
        machine: Machine::describe(system.folder()),
        system: system.describe()?,
        size: flags.pressure.size,
        most_events_per_second: most.round(),
        rate_events_per_second: rate.round(),
        refused: counts.refused,
        unknown: counts.unknown,
        measured,
    };
    session.printer().document(&report, || report.to_table())
}

/// Bytes of one record on disk, rounded up as they are there.
fn record_bytes(flags: &RejoinFlags) -> u64 {
    let bytes = (RECORD_BYTES + NAME_BYTES + flags.pressure.size).next_multiple_of(8);
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn fill(system: &System, flags: &RejoinFlags) -> Result<(), Failure> {
    let wanted = u64::try_from(flags.fill).unwrap_or(u64::MAX) / record_bytes(flags);
    let pace = Pace::Closed { in_flight: FILL_IN_FLIGHT };
    let load = pressure(system, &flags.pressure, pace, FILL_BATCH)?;
    pair::wait_for_long("the log is filled", || {
        (load.counts().acknowledged >= wanted).then_some(())
    })?;
    load.end().map(drop)
}

/// Events per second that the whole pair takes.
fn most(system: &System, flags: &RejoinFlags) -> Result<f64, Failure> {
    let load = put_on(system, &flags.pressure)?;
    let started = now();
    thread::sleep(flags.probe);
    let acknowledged = load.counts().acknowledged;
    let elapsed = now().saturating_duration_since(started);
    load.end()?;
    Ok(per_second(acknowledged, elapsed).max(1.0))
}

/// Records that each node has written, all partitions together.
fn written(client: &Client) -> Option<BTreeMap<String, u64>> {
    let processes = pair::status(client)?.processes;
    let replies = processes.into_iter().filter_map(|process| process.answer.ok());
    let of = |reply: client::StatusReply| {
        (reply.incarnation, reply.partitions.iter().map(|partition| partition.written).sum())
    };
    Some(replies.map(of).collect())
}

/// What the follower's return was like.
#[derive(Debug, Serialize)]
struct Measured {
    /// Bytes of records that it lacked and received.
    received_bytes: u64,
    /// From its first record to its last missing one.
    receiving_seconds: f64,
    received_mb_per_second: f64,
    /// What the leader added meanwhile.
    added_mb_per_second: f64,
    received_to_added: f64,
    /// From its start with an empty disk until it was a member.
    member_after_seconds: f64,
    /// Acknowledged in the window, of what was to be sent.
    rate_kept: f64,
    longest_interval_ms: f64,
}

/// A look at both logs.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: Instant,
    leader: u64,
    follower: u64,
}

impl Measured {
    fn take(
        client: &Client,
        pair: &mut Pair,
        (load, rate): (&Pressure, f64),
        flags: &RejoinFlags,
    ) -> Result<Self, Failure> {
        let (leading, report) = pair.wait_until_whole(client)?;
        let leader_node = report.leader.unwrap_or_default();
        load.forget_gaps();
        let (window, before) = (now(), load.counts().acknowledged);
        let follower: NodeNumber = leading.other();
        pair.kill(follower);
        pair.wipe(follower)?;
        let started = now();
        pair.restart(follower)?;
        let looks = watch(client, &leader_node)?;
        let member_after = now().saturating_duration_since(started);
        thread::sleep(SETTLE);
        let elapsed = now().saturating_duration_since(window);
        let acknowledged = load.counts().acknowledged - before;
        let bytes = record_bytes(flags);
        let Receiving { records, added, time } = Receiving::of(&looks);
        let megabytes = |records: u64| {
            approximate(records.saturating_mul(bytes)) / 1e6 / time.as_secs_f64().max(1e-3)
        };
        Ok(Self {
            received_bytes: records.saturating_mul(bytes),
            receiving_seconds: time.as_secs_f64(),
            received_mb_per_second: megabytes(records),
            added_mb_per_second: megabytes(added),
            received_to_added: approximate(records) / approximate(added.max(1)),
            member_after_seconds: member_after.as_secs_f64(),
            rate_kept: approximate(acknowledged) / (rate * elapsed.as_secs_f64()),
            longest_interval_ms: load.longest_gap().as_secs_f64() * 1e3,
        })
    }
}

/// Looks at both logs until the follower is a member.
fn watch(client: &Client, leader_node: &str) -> Result<Vec<Look>, Failure> {
    let mut looks = Vec::new();
    pair::wait_for_long("the follower is a member again", || {
        let written = written(client)?;
        let leader_has = written.get(leader_node).copied();
        let others = written.iter().filter(|(node, _)| *node != leader_node);
        let follower_has = others.map(|(_, records)| *records).max();
        if let (Some(leader), Some(follower)) = (leader_has, follower_has) {
            looks.push(Look { at: now(), leader, follower });
        }
        let report = pair::look(client)?;
        (report.is_whole() && leader(&report).is_some()).then_some(())
    })?;
    Ok(looks)
}

/// The time in which the follower received what it lacked.
struct Receiving {
    records: u64,
    added: u64,
    time: Duration,
}

impl Receiving {
    /// From the last look at an empty log to the first one at a full one.
    fn of(looks: &[Look]) -> Self {
        let first = looks.iter().rev().find(|look| look.follower == 0).or(looks.first());
        // Full: it has what the leader had when the follower came.
        let goal = first.map_or(0, |first| first.leader);
        let last = looks.iter().find(|look| look.follower >= goal).or(looks.last());
        match (first, last) {
            (Some(first), Some(last)) => Self {
                records: last.follower.saturating_sub(first.follower),
                added: last.leader.saturating_sub(first.leader),
                time: last.at.saturating_duration_since(first.at),
            },
            _ => Self { records: 0, added: 0, time: Duration::ZERO },
        }
    }
}

#[derive(Debug, Serialize)]
struct Report {
    bench: &'static str,
    machine: Machine,
    system: SystemLine,
    size: usize,
    most_events_per_second: f64,
    rate_events_per_second: f64,
    refused: u64,
    unknown: u64,
    #[serde(flatten)]
    measured: Measured,
}

impl Report {
    fn to_table(&self) -> String {
        let Measured {
            received_bytes,
            receiving_seconds,
            received_mb_per_second,
            added_mb_per_second,
            received_to_added,
            member_after_seconds,
            rate_kept,
            longest_interval_ms,
        } = &self.measured;
        format!(
            "{}\nsync: {}\nload: {:.0} events/s of {} bytes in an open loop, of {:.0} at most\n\
             received: {:.0} MB in {receiving_seconds:.2} s, {received_mb_per_second:.1} MB/s; \
             the leader added {added_mb_per_second:.1} MB/s ({received_to_added:.1} x)\n\
             member again after {member_after_seconds:.2} s\n\
             rate kept: {:.1} %, longest interval {longest_interval_ms:.1} ms, {} appends \
             refused, {} unknown\n",
            self.machine.to_line(),
            append::sync_mode(&self.system.durability),
            self.rate_events_per_second,
            self.size,
            self.most_events_per_second,
            approximate(*received_bytes) / 1e6,
            rate_kept * 100.0,
            self.refused,
            self.unknown,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transfer_ends_when_nothing_is_missing_of_what_was_there() {
        let start = now();
        let look = |ms, leader, follower| {
            let at = start + Duration::from_millis(ms);
            Look { at, leader, follower }
        };
        let looks = [
            look(0, 100, 0),
            look(100, 110, 0),
            look(200, 120, 60),
            look(300, 130, 112),
            look(900, 190, 190),
        ];
        let Receiving { records, added, time } = Receiving::of(&looks);
        assert_eq!((records, added, time), (112, 20, Duration::from_millis(200)));
    }
}
