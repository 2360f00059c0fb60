//! The load of `bench append`: a closed loop per client.
//!
//! Each client has a connection and a thread of its own. It keeps a fixed number of appends under
//! way, and sends the next one when one is answered: the system sets the pace, and a latency is
//! what an application with that many requests would see.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::{ContentType, EventType, ExpectedVersion, NewEvent, PendingAppend, StoreHandle};
use indicatif::ProgressBar;

use super::latency::Latencies;
use super::streams::{Random, Streams};
use super::{broken, now};
use crate::cli::failure::Failure;
use crate::cli::flags::LoadFlags;

/// What is appended, by how many, for how long.
#[derive(Debug, Clone)]
pub struct Load {
    /// Clients, appends under way, events per append, sizes and streams.
    pub flags: LoadFlags,
    /// Seed of sizes and streams.
    pub seed: u64,
    /// Load of the same kind before counting starts.
    pub warmup: Duration,
    /// End after this long of counting.
    pub duration: Option<Duration>,
    /// End after this many counted events.
    pub events: Option<u64>,
}

/// What was measured.
#[derive(Debug)]
pub struct Measured {
    /// One latency per counted append.
    pub latencies: Latencies,
    /// Counted events.
    pub events: u64,
    /// From the start of counting to the last counted answer.
    pub elapsed: Duration,
}

/// What all clients share.
struct Shared<'a> {
    load: &'a Load,
    streams: Streams,
    event_type: EventType,
    data: Bytes,
    /// Counted events that are still to be sent.
    left: AtomicU64,
    counting: Instant,
    deadline: Option<Instant>,
    progress: &'a ProgressBar,
}

impl Load {
    /// Runs the load with one client per store handle.
    ///
    /// # Errors
    /// [`Failure`] at the first append that is refused or whose outcome is unknown: figures of a
    /// load that was not carried out would mislead.
    pub fn run(
        &self,
        clients: &[StoreHandle],
        progress: &ProgressBar,
    ) -> Result<Measured, Failure> {
        let counting = now() + self.warmup;
        let shared = Shared {
            load: self,
            streams: Streams::new(self.flags.streams, self.flags.skew)?,
            event_type: "Measured".parse().map_err(|_| broken("no event type"))?,
            data: random_bytes(self.flags.size, self.seed),
            left: AtomicU64::new(self.events.unwrap_or(u64::MAX)),
            counting,
            deadline: self.duration.map(|duration| counting + duration),
            progress,
        };
        let tallies: Vec<Result<Tally, Failure>> = thread::scope(|scope| {
            let threads: Vec<_> = (self.seed..)
                .zip(clients)
                .map(|(seed, store)| {
                    let shared = &shared;
                    scope.spawn(move || ClosedLoop::new(shared, store, seed)?.run())
                })
                .collect();
            let ended = |thread: thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|_| Err(broken("a client's thread ended early")))
            };
            threads.into_iter().map(ended).collect()
        });
        let mut all = Tally::new(counting)?;
        for tally in tallies {
            let tally = tally?;
            all.latencies.add(&tally.latencies)?;
            all.events += tally.events;
            all.last = all.last.max(tally.last);
        }
        let elapsed = all.last.saturating_duration_since(counting);
        Ok(Measured { latencies: all.latencies, events: all.events, elapsed })
    }
}

/// One client's counts.
struct Tally {
    latencies: Latencies,
    events: u64,
    last: Instant,
}

impl Tally {
    fn new(counting: Instant) -> Result<Self, Failure> {
        Ok(Self { latencies: Latencies::new()?, events: 0, last: counting })
    }
}

struct ClosedLoop<'a> {
    shared: &'a Shared<'a>,
    store: &'a StoreHandle,
    random: Random,
    under_way: VecDeque<UnderWay>,
    tally: Tally,
}

struct UnderWay {
    pending: PendingAppend,
    sent: Instant,
    events: u64,
}

impl<'a> ClosedLoop<'a> {
    fn new(shared: &'a Shared<'a>, store: &'a StoreHandle, seed: u64) -> Result<Self, Failure> {
        let tally = Tally::new(shared.counting)?;
        let random = Random::new(seed);
        Ok(Self { shared, store, random, under_way: VecDeque::new(), tally })
    }

    fn run(mut self) -> Result<Tally, Failure> {
        let in_flight = usize::try_from(self.shared.load.flags.in_flight).unwrap_or(usize::MAX);
        loop {
            while self.under_way.len() < in_flight && self.send()? {}
            let Some(oldest) = self.under_way.pop_front() else { break };
            let mut result = Some(oldest.pending.wait());
            let answered = now();
            // Answers come in groups; the whole group is taken with one look at the clock.
            let mut next = Some(oldest);
            while let (Some(append), Some(answer)) = (next.take(), result.take()) {
                answer?;
                self.count(&append, answered);
                result = self.under_way.front().and_then(|append| append.pending.result());
                if result.is_some() {
                    next = self.under_way.pop_front();
                }
            }
        }
        Ok(self.tally)
    }

    /// Sends one append, unless the load is over.
    fn send(&mut self) -> Result<bool, Failure> {
        let sent = now();
        if self.shared.deadline.is_some_and(|deadline| sent >= deadline) {
            return Ok(false);
        }
        let events = match sent < self.shared.counting {
            true => u64::from(self.shared.load.flags.batch),
            false => self.take_from_rest(),
        };
        if events == 0 {
            return Ok(false);
        }
        let stream = self.shared.streams.choose(&mut self.random).cloned();
        let stream = stream.ok_or_else(|| broken("there is no stream"))?;
        let batch = (0..events).map(|_| self.event()).collect();
        let pending = self.store.append(stream, ExpectedVersion::Any, batch);
        self.under_way.push_back(UnderWay { pending, sent, events });
        Ok(true)
    }

    /// Takes the events of one append out of what is left to send.
    fn take_from_rest(&self) -> u64 {
        let batch = u64::from(self.shared.load.flags.batch);
        let less = |left: u64| Some(left.saturating_sub(batch));
        let before = self.shared.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        before.unwrap_or_default().min(batch)
    }

    fn event(&self) -> NewEvent {
        let Shared { event_type, data, .. } = self.shared;
        NewEvent::new(event_type.clone(), ContentType::Bytes, data.clone())
    }

    fn count(&mut self, append: &UnderWay, answered: Instant) {
        let in_time = self.shared.deadline.is_none_or(|deadline| answered <= deadline);
        if append.sent >= self.shared.counting && in_time {
            self.tally.latencies.record(answered.saturating_duration_since(append.sent));
            self.tally.events += append.events;
            self.tally.last = answered;
            self.shared.progress.inc(append.events);
        }
    }
}

/// Data that neither a disk nor a file system can compress away.
pub fn random_bytes(count: usize, seed: u64) -> Bytes {
    let mut random = Random::new(seed);
    let words = std::iter::repeat_with(|| random.next().to_le_bytes());
    words.flatten().take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_has_the_size_that_was_asked_for() {
        for size in [0, 1, 8, 255] {
            assert_eq!(random_bytes(size, 1).len(), size);
        }
        assert_eq!(random_bytes(64, 1), random_bytes(64, 1));
        assert_ne!(random_bytes(64, 1), random_bytes(64, 2));
    }
}
