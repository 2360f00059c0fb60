//! `starlog bench fanout`: how long an event takes from its producer to a live subscriber.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::{
    Checkpoint, ContentType, EventType, ExpectedVersion, NewEvent, PartitionNumber, PendingAppend,
    Position, StoreHandle, SubscribeOptions, Subscription, SubscriptionCounters,
};
use serde::Serialize;
use store::event::EVENT_DATA_BYTES_MAX;
use uuid::Uuid;

use super::append::{Floor, hundredths, sync_mode};
use super::latency::{Latencies, LatencySummary};
use super::limits::{Limit, Which, limits_table, measure_for};
use super::load::random_bytes;
use super::machine::Machine;
use super::streams::{Random, Streams};
use super::system::{System, SystemLine};
use super::{broken, now, per_second};
use crate::cli::failure::{Failure, Stop};
use crate::cli::flags::{FanoutFlags, LimitsFlags};
use crate::cli::output::Alignment;
use crate::cli::session::Session;
use crate::cli::tail::head;

/// Longest time that one limit is measured.
const LIMIT_DURATION_MAX: Duration = Duration::from_secs(2);
/// How long subscribers may take to come online, and to get the last events.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a subscriber waits before it looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);
/// Appends after the last subscriber is online, before counting starts.
const WARM_UP: u64 = 50;

/// Runs the measurement and prints it.
///
/// # Errors
/// [`Stop`] when the system can't be started, an append fails, or a subscriber misses an event.
pub fn run(session: &Session, flags: &FanoutFlags) -> Result<(), Stop> {
    if !(STAMP_BYTES..=EVENT_DATA_BYTES_MAX).contains(&flags.size) {
        let sentence = format!("--size is from {STAMP_BYTES} to {EVENT_DATA_BYTES_MAX}");
        return Err(Failure::usage(sentence).into());
    }
    let system = System::start(session, &flags.system)?;
    let which = if system.is_pair() { Which::Pair } else { Which::Single };
    let limits = LimitsFlags {
        data: None,
        duration: flags.duration.min(LIMIT_DURATION_MAX),
        size: flags.size,
    };
    let limits = measure_for(system.folder(), &limits, which)?;
    let publisher = system.connect()?;
    let subscribers =
        (0..flags.subscribers).map(|_| system.connect()).collect::<Result<Vec<_>, Failure>>()?;
    let measured = Fanout::new(flags).run(&publisher, &subscribers)?;
    let report = Report::new(&system, flags, limits, &measured)?;
    session.printer().document(&report, || report.to_table())
}

/// What every event of a run carries at the start of its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    /// Tells this run's events from all others.
    run: u64,
    /// 0 before counting starts, then from 1.
    number: u64,
    /// When append was called, since the start of the run.
    sent_nanoseconds: u64,
}

const STAMP_BYTES: usize = 24;

impl Stamp {
    fn write(self, data: &mut [u8]) {
        let fields = [self.run, self.number, self.sent_nanoseconds];
        for (place, field) in data.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
    }

    fn read(data: &[u8]) -> Option<Self> {
        let field = |at: usize| {
            let bytes = data.get(at..at + 8)?;
            bytes.try_into().ok().map(u64::from_le_bytes)
        };
        Some(Self { run: field(0)?, number: field(8)?, sent_nanoseconds: field(16)? })
    }
}

/// What publisher and subscribers share.
struct Fanout<'a> {
    flags: &'a FanoutFlags,
    run: u64,
    started: Instant,
    /// Subscribers that have had an event.
    online: AtomicU16,
    /// Counted events; 0 while that is not known.
    last: AtomicU64,
    /// Whether somebody has failed, so that nobody waits for it.
    failed: AtomicBool,
}

/// What was measured.
struct Measured {
    /// One latency per counted event and subscriber.
    latencies: Latencies,
    /// Counted events.
    events: u64,
    /// From the first counted append to the last.
    elapsed: Duration,
    gaps_found: u64,
    gaps_repaired: u64,
}

impl<'a> Fanout<'a> {
    fn new(flags: &'a FanoutFlags) -> Self {
        Self {
            flags,
            run: Uuid::new_v4().as_u64_pair().0,
            started: now(),
            online: AtomicU16::new(0),
            last: AtomicU64::new(0),
            failed: AtomicBool::new(false),
        }
    }

    fn run(
        &self,
        publisher: &StoreHandle,
        subscribers: &[StoreHandle],
    ) -> Result<Measured, Failure> {
        let (published, followed) = thread::scope(|scope| {
            let threads: Vec<_> = subscribers
                .iter()
                .map(|store| scope.spawn(move || self.noted(self.follow(store))))
                .collect();
            let published = self.noted(self.publish(publisher));
            let ended = |thread: thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|_| Err(broken("a subscriber's thread ended early")))
            };
            (published, threads.into_iter().map(ended).collect::<Vec<_>>())
        });
        let (events, elapsed) = published?;
        let mut measured = Measured {
            latencies: Latencies::new()?,
            events,
            elapsed,
            gaps_found: 0,
            gaps_repaired: 0,
        };
        for one in followed {
            let (latencies, counters) = one?;
            measured.latencies.add(&latencies)?;
            measured.gaps_found += counters.gaps_found;
            measured.gaps_repaired += counters.gaps_repaired;
        }
        Ok(measured)
    }

    fn noted<T>(&self, result: Result<T, Failure>) -> Result<T, Failure> {
        if result.is_err() {
            self.failed.store(true, Ordering::Release);
        }
        result
    }

    /// Appends at the rate until everybody is online, and then for the duration that is counted.
    fn publish(&self, store: &StoreHandle) -> Result<(u64, Duration), Failure> {
        let mut publisher = Publisher::new(self, store)?;
        let patience = now() + PATIENCE;
        let mut warmed_up = 0;
        while warmed_up < WARM_UP {
            publisher.send(0)?;
            warmed_up += u64::from(self.online.load(Ordering::Acquire) == self.flags.subscribers);
            self.go_on(patience, "the subscribers do not come online")?;
        }
        let first = now();
        let mut number = 0;
        while now().saturating_duration_since(first) < self.flags.duration || number == 0 {
            number += 1;
            publisher.send(number)?;
        }
        let elapsed = now().saturating_duration_since(first);
        publisher.finish()?;
        self.last.store(number, Ordering::Release);
        Ok((number, elapsed))
    }

    fn follow(&self, store: &StoreHandle) -> Result<(Latencies, SubscriptionCounters), Failure> {
        let mut subscription = self.subscribe(store)?;
        let mut latencies = Latencies::new()?;
        let (mut online, mut patience) = (false, None);
        loop {
            let batch = subscription.next(LOOK).map_err(Failure::from)?;
            let received = now().saturating_duration_since(self.started);
            let events = batch.iter().flat_map(|batch| &batch.events);
            for stamp in events.filter_map(|event| Stamp::read(&event.data)) {
                if stamp.run != self.run {
                    continue;
                }
                if stamp.number > 0 {
                    let sent = Duration::from_nanos(stamp.sent_nanoseconds);
                    latencies.record(received.saturating_sub(sent));
                }
                if !std::mem::replace(&mut online, true) {
                    self.online.fetch_add(1, Ordering::AcqRel);
                }
            }
            let last = self.last.load(Ordering::Acquire);
            if last > 0 && latencies.count() >= last {
                return Ok((latencies, subscription.counters()));
            }
            let until = match last {
                0 => now() + PATIENCE,
                _ => *patience.get_or_insert_with(|| now() + PATIENCE),
            };
            self.go_on(until, "a subscriber does not get the last events")?;
        }
    }

    /// Subscribes to what is still to come.
    fn subscribe(&self, store: &StoreHandle) -> Result<Subscription, Failure> {
        let mut checkpoint = Checkpoint::default();
        for partition in (0..store.partitions()).map(PartitionNumber) {
            checkpoint.set(partition, Position::after(head(store, partition)?));
        }
        store.subscribe(SubscribeOptions::from(checkpoint)).map_err(Failure::from)
    }

    fn go_on(&self, until: Instant, else_sentence: &str) -> Result<(), Failure> {
        if self.failed.load(Ordering::Acquire) {
            return Err(broken("the other side of the measurement failed"));
        }
        (now() < until).then_some(()).ok_or_else(|| broken(else_sentence))
    }
}

/// The producer: one append at a time, each when it is due.
struct Publisher<'a> {
    fanout: &'a Fanout<'a>,
    store: &'a StoreHandle,
    streams: Streams,
    random: Random,
    event_type: EventType,
    data: Bytes,
    interval: Duration,
    due: Instant,
    under_way: VecDeque<PendingAppend>,
}

impl<'a> Publisher<'a> {
    fn new(fanout: &'a Fanout<'a>, store: &'a StoreHandle) -> Result<Self, Failure> {
        Ok(Self {
            fanout,
            store,
            streams: Streams::new(fanout.flags.streams, 0.0)?,
            random: Random::new(1),
            event_type: "Measured".parse().map_err(|_| broken("no event type"))?,
            data: random_bytes(fanout.flags.size, 1),
            interval: Duration::from_secs(1) / fanout.flags.rate,
            due: now(),
            under_way: VecDeque::new(),
        })
    }

    /// Waits until the next append is due and sends it.
    fn send(&mut self, number: u64) -> Result<(), Failure> {
        thread::sleep(self.due.saturating_duration_since(now()));
        self.due += self.interval;
        let stream = self.streams.choose(&mut self.random).cloned();
        let stream = stream.ok_or_else(|| broken("there is no stream"))?;
        let mut data = self.data.to_vec();
        let sent = now().saturating_duration_since(self.fanout.started);
        let sent_nanoseconds = u64::try_from(sent.as_nanos()).unwrap_or(u64::MAX);
        Stamp { run: self.fanout.run, number, sent_nanoseconds }.write(&mut data);
        let event = NewEvent::new(self.event_type.clone(), ContentType::Bytes, data);
        let pending = self.store.append(stream, ExpectedVersion::Any, vec![event]);
        self.under_way.push_back(pending);
        while let Some(result) = self.under_way.front().and_then(PendingAppend::result) {
            result?;
            self.under_way.pop_front();
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Failure> {
        for pending in self.under_way {
            pending.wait()?;
        }
        Ok(())
    }
}

#[derive(Debug, Serialize)]
struct Report {
    bench: &'static str,
    machine: Machine,
    system: SystemLine,
    rate: u32,
    subscribers: u16,
    size: usize,
    streams: u32,
    limits: Vec<Limit>,
    /// Counted events; each was received by every subscriber.
    events: u64,
    appends_per_second: f64,
    gaps_found: u64,
    gaps_repaired: u64,
    /// From the call of append until a subscriber has the event.
    latency: LatencySummary,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratios: Option<Ratios>,
}

/// The figures against the limits of the same run.
#[derive(Debug, Serialize)]
struct Ratios {
    basis: &'static str,
    /// Median latency, without the extra, against the least that one append must take.
    p50_to_basis: f64,
    /// What the median has to pay once, whatever else it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    p50_extra: Option<&'static str>,
}

impl Report {
    fn new(
        system: &System,
        flags: &FanoutFlags,
        limits: Vec<Limit>,
        measured: &Measured,
    ) -> Result<Self, Failure> {
        let system_line = system.describe()?;
        let latency = measured.latencies.summary();
        let ratios = Floor::of(&limits, &system_line.durability).map(|floor| Ratios {
            basis: floor.basis,
            p50_to_basis: hundredths((latency.p50_us - floor.extra_us) / floor.latency_us),
            p50_extra: floor.extra,
        });
        Ok(Self {
            bench: "fanout",
            machine: Machine::describe(system.folder()),
            system: system_line,
            rate: flags.rate,
            subscribers: flags.subscribers,
            size: flags.size,
            streams: flags.streams,
            limits,
            events: measured.events,
            appends_per_second: per_second(measured.events, measured.elapsed),
            gaps_found: measured.gaps_found,
            gaps_repaired: measured.gaps_repaired,
            latency,
            ratios,
        })
    }

    fn to_table(&self) -> String {
        let names = ["EVENTS", "APPENDS/S", "GAPS", "REPAIRED"];
        let mut table = LatencySummary::table(&names.map(|name| (name, Alignment::Right)));
        let first = [
            self.events.to_string(),
            format!("{:.0}", self.appends_per_second),
            self.gaps_found.to_string(),
            self.gaps_repaired.to_string(),
        ];
        table.row(first.into_iter().chain(self.latency.cells()));
        let mut text = format!(
            "{}\nsync: {}\nload: {} appends a second of 1 event of {} bytes, {} streams, {} live \
             subscribers\n{}{}",
            self.machine.to_line(),
            sync_mode(&self.system.durability),
            self.rate,
            self.size,
            self.streams,
            self.subscribers,
            limits_table(&self.limits),
            table.render(),
        );
        if let Some(Ratios { basis, p50_to_basis, p50_extra }) = &self.ratios {
            let extra = p50_extra.map(|extra| format!(" + {extra}")).unwrap_or_default();
            text.push_str(&format!("p50 = {p50_to_basis:.2} x ({basis}){extra}\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_survives_the_journey() {
        let stamp = Stamp { run: 1 << 60, number: 7, sent_nanoseconds: 1_000_000_007 };
        let mut data = vec![0xff; STAMP_BYTES + 5];
        stamp.write(&mut data);
        assert_eq!(Stamp::read(&data), Some(stamp));
        assert_eq!(data.get(STAMP_BYTES..), Some(&[0xff; 5][..]));
        assert_eq!(Stamp::read(&data[..STAMP_BYTES - 1]), None);
    }
}
