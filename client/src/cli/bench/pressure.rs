//! A load that goes on while something happens to what it is put on, and what it notices.
//!
//! Each client has a connection and a thread of its own, in a closed loop (as many appends under
//! way as it was told) or an open one (so many per second, whether answered or not). A failed
//! append ends nothing here; it is counted.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::{
    AppendError, AppendReceipt, ContentType, EventType, ExpectedVersion, NewEvent, Outcome,
    PendingAppend, StoreHandle,
};

use super::latency::Latencies;
use super::load::random_bytes;
use super::streams::{Random, Streams};
use super::{broken, now};
use crate::cli::failure::Failure;

/// How long a thread waits before it looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);

/// How fast a client sends.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// The next append is sent when one is answered; so many are under way.
    Closed { in_flight: usize },
    /// So many appends a second, whatever comes back.
    Open { per_second: f64 },
}

/// What is sent.
#[derive(Debug, Clone)]
pub struct Shape {
    /// How fast, each client.
    pub pace: Pace,
    /// Events per append.
    pub batch: u16,
    /// Bytes of data per event.
    pub size: usize,
    /// Streams that the events are spread over.
    pub streams: u32,
}

/// Counts of appends since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Acknowledged events.
    pub acknowledged: u64,
    /// Appends that are definitely not done.
    pub refused: u64,
    /// Appends whose outcome is unknown.
    pub unknown: u64,
}

/// A running load.
#[derive(Debug)]
pub struct Pressure {
    stop: Arc<AtomicBool>,
    meters: Vec<Arc<Meter>>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Meter {
    acknowledged: AtomicU64,
    refused: AtomicU64,
    unknown: AtomicU64,
    noticed: Mutex<Noticed>,
}

#[derive(Debug)]
struct Noticed {
    /// Last acknowledgement, and the longest time between two.
    last: Instant,
    longest: Duration,
    latencies: Latencies,
}

impl Meter {
    fn new() -> Result<Self, Failure> {
        let noticed =
            Noticed { last: now(), longest: Duration::ZERO, latencies: Latencies::new()? };
        let count = AtomicU64::default;
        let (acknowledged, refused, unknown) = (count(), count(), count());
        Ok(Self { acknowledged, refused, unknown, noticed: Mutex::new(noticed) })
    }

    fn noticed(&self) -> MutexGuard<'_, Noticed> {
        self.noticed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answered(&self, append: &UnderWay, answer: &Result<AppendReceipt, AppendError>) {
        match answer {
            Ok(_) => {
                self.acknowledged.fetch_add(append.events, Ordering::Relaxed);
                let at = now();
                let mut noticed = self.noticed();
                noticed.longest = noticed.longest.max(at.saturating_duration_since(noticed.last));
                noticed.last = at;
                noticed.latencies.record(at.saturating_duration_since(append.sent));
            }
            Err(error) => {
                log::warn!("an append failed: {error}");
                let count = match error.outcome() {
                    Outcome::NotDone => &self.refused,
                    Outcome::Unknown => &self.unknown,
                };
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Pressure {
    /// Starts one client per store handle.
    ///
    /// # Errors
    /// [`Failure`] when a thread can't be started.
    pub fn start(stores: Vec<StoreHandle>, shape: &Shape) -> Result<Self, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        let streams = Streams::new(shape.streams, 0.0)?;
        let event_type: EventType = "Measured".parse().map_err(|_| broken("no event type"))?;
        let mut pressure = Self { stop, meters: Vec::new(), threads: Vec::new() };
        for (seed, store) in (1..).zip(stores) {
            let meter = Arc::new(Meter::new()?);
            pressure.meters.push(Arc::clone(&meter));
            let sender = Sender {
                store,
                shape: shape.clone(),
                streams: streams.clone(),
                event_type: event_type.clone(),
                data: random_bytes(shape.size, seed),
                random: Random::new(seed),
                under_way: VecDeque::new(),
                meter,
                stop: Arc::clone(&pressure.stop),
            };
            let thread = thread::Builder::new().name(format!("load-{seed}"));
            let thread = thread.spawn(move || sender.run());
            pressure
                .threads
                .push(thread.map_err(|error| Failure::system("can't start a thread", &error))?);
        }
        Ok(pressure)
    }

    /// Counts of all clients since the start.
    pub fn counts(&self) -> Counts {
        let sum = |of: fn(&Meter) -> &AtomicU64| {
            self.meters.iter().map(|meter| of(meter).load(Ordering::Relaxed)).sum()
        };
        Counts {
            acknowledged: sum(|meter| &meter.acknowledged),
            refused: sum(|meter| &meter.refused),
            unknown: sum(|meter| &meter.unknown),
        }
    }

    /// Looks for the longest interval from now on.
    pub fn forget_gaps(&self) {
        let at = now();
        for meter in &self.meters {
            let mut noticed = meter.noticed();
            // An interval that is open now began at its last acknowledgement.
            noticed.longest = at.saturating_duration_since(noticed.last);
        }
    }

    /// The longest interval between two acknowledgements at any one client; one that is still
    /// open counts as far as it goes.
    pub fn longest_gap(&self) -> Duration {
        let at = now();
        let of = |meter: &Arc<Meter>| {
            let noticed = meter.noticed();
            noticed.longest.max(at.saturating_duration_since(noticed.last))
        };
        self.meters.iter().map(of).max().unwrap_or_default()
    }

    /// Latencies of all acknowledged appends so far.
    ///
    /// # Errors
    /// [`Failure`] if the histogram library refuses.
    pub fn latencies(&self) -> Result<Latencies, Failure> {
        let mut all = Latencies::new()?;
        for meter in &self.meters {
            all.add(&meter.noticed().latencies)?;
        }
        Ok(all)
    }

    /// Sends nothing more, waits for what is under way, and counts.
    ///
    /// # Errors
    /// [`Failure`] when a thread has panicked.
    pub fn end(mut self) -> Result<Counts, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| broken("a client's thread ended early"))?;
        }
        Ok(self.counts())
    }
}

impl Drop for Pressure {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// One client.
struct Sender {
    store: StoreHandle,
    shape: Shape,
    streams: Streams,
    event_type: EventType,
    data: Bytes,
    random: Random,
    under_way: VecDeque<UnderWay>,
    meter: Arc<Meter>,
    stop: Arc<AtomicBool>,
}

struct UnderWay {
    pending: PendingAppend,
    sent: Instant,
    events: u64,
}

impl Sender {
    fn run(mut self) {
        let mut due = now();
        loop {
            let stopping = self.stop.load(Ordering::Relaxed);
            if stopping && self.under_way.is_empty() {
                return;
            }
            let mut pause = LOOK;
            if !stopping {
                match self.shape.pace {
                    Pace::Closed { in_flight } => {
                        while self.under_way.len() < in_flight && self.send() {}
                    }
                    Pace::Open { per_second } => {
                        let step = Duration::from_secs_f64(1.0 / per_second.max(0.001));
                        while due <= now() && self.send() {
                            due += step;
                        }
                        pause = due.saturating_duration_since(now()).min(LOOK);
                    }
                }
            }
            self.take(pause);
        }
    }

    /// Takes the answers that are there, in order; waits for the first for at most `pause`.
    fn take(&mut self, pause: Duration) {
        let Some(first) = self.under_way.front() else {
            thread::sleep(pause);
            return;
        };
        let mut answer = first.pending.wait_timeout(pause);
        while let Some(result) = answer.take() {
            let Some(append) = self.under_way.pop_front() else { return };
            self.meter.answered(&append, &result);
            answer = self.under_way.front().and_then(|append| append.pending.result());
        }
    }

    fn send(&mut self) -> bool {
        let Some(stream) = self.streams.choose(&mut self.random).cloned() else { return false };
        let events = (0..self.shape.batch)
            .map(|_| NewEvent::new(self.event_type.clone(), ContentType::Bytes, self.data.clone()));
        let pending = self.store.append(stream, ExpectedVersion::Any, events.collect());
        let events = u64::from(self.shape.batch);
        self.under_way.push_back(UnderWay { pending, sent: now(), events });
        true
    }
}
