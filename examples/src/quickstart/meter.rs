//! What the appending threads and the thread that makes the faults share.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use store::Epoch;

/// Counts of a running load, the gate that holds it, and the first answers of every reign.
#[derive(Debug)]
pub struct Meter {
    submitted: AtomicU64,
    acknowledged: AtomicU64,
    retries: AtomicU64,
    gate: AtomicU64,
    aborted: AtomicBool,
    finished: AtomicBool,
    reigns: Mutex<BTreeMap<(u16, Epoch), Reign>>,
}

/// The answers that a partition gave in one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reign {
    /// When the first one came.
    pub first: Instant,
    /// When the last one came.
    pub last: Instant,
    /// Events acknowledged by them.
    pub events: u64,
}

/// How often a thread that stands at the gate looks whether it has opened.
const GATE_LOOK: Duration = Duration::from_micros(200);

impl Meter {
    /// Nothing done yet; the gate stands after `gate` events.
    #[must_use]
    pub fn new(gate: u64) -> Self {
        Self {
            submitted: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            gate: AtomicU64::new(gate),
            aborted: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            reigns: Mutex::default(),
        }
    }

    /// Waits until the gate lets these events through. `false`: the run is over, or given up.
    pub fn submit(&self, events: u64) -> bool {
        let submitted = self.submitted.fetch_add(events, Ordering::AcqRel);
        while submitted >= self.gate.load(Ordering::Acquire) {
            if self.is_over() {
                return false;
            }
            std::thread::sleep(GATE_LOOK);
        }
        !self.is_over()
    }

    /// Takes down an answer.
    pub fn acknowledge(&self, partition: u16, epoch: Epoch, events: u64, now: Instant) {
        self.acknowledged.fetch_add(events, Ordering::AcqRel);
        let mut reigns = self.reigns.lock().unwrap_or_else(PoisonError::into_inner);
        let new = Reign { first: now, last: now, events: 0 };
        let reign = reigns.entry((partition, epoch)).or_insert(new);
        reign.last = reign.last.max(now);
        reign.events += events;
    }

    /// What each partition has answered in each epoch.
    #[must_use]
    pub fn reigns(&self) -> BTreeMap<(u16, Epoch), Reign> {
        self.reigns.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes down that an append has to be sent again.
    pub fn retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// Lets the load go on up to that many events.
    pub fn open_gate(&self, events: u64) {
        self.gate.store(events, Ordering::Release);
    }

    /// Nothing more is submitted; what is under way is waited for.
    pub fn finish(&self) {
        self.finished.store(true, Ordering::Release);
    }

    fn is_over(&self) -> bool {
        self.finished.load(Ordering::Acquire) || self.is_aborted()
    }

    /// Gives up: every thread ends as soon as it can.
    pub fn abort(&self) {
        self.aborted.store(true, Ordering::Release);
    }

    /// Whether the run has been given up.
    #[must_use]
    pub fn is_aborted(&self) -> bool {
        self.aborted.load(Ordering::Acquire)
    }

    /// Events handed to the client, or waiting at the gate.
    #[must_use]
    pub fn submitted(&self) -> u64 {
        self.submitted.load(Ordering::Acquire)
    }

    /// Events acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Acquire)
    }

    /// Appends that had to be sent again by the application.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// How long these partitions took no appends: from the kill of a store process until each of
    /// them had answered under an epoch that began after it, be it at the other node or at the
    /// same one started again. `None` if one has not since.
    #[must_use]
    pub fn outage(&self, killed: Instant, partitions: &[u16]) -> Option<Duration> {
        let reigns = self.reigns.lock().unwrap_or_else(PoisonError::into_inner);
        let back = |partition: u16| {
            let of_partition = reigns.range((partition, Epoch(0))..=(partition, Epoch(u64::MAX)));
            of_partition.map(|(_, reign)| reign.first).find(|&first| first > killed)
        };
        let outages = partitions
            .iter()
            .map(|&partition| back(partition).map(|first| first.duration_since(killed)));
        outages.collect::<Option<Vec<_>>>()?.into_iter().max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::now;

    #[test]
    fn an_outage_ends_with_the_first_answer_of_a_new_reign_in_the_last_partition() {
        let meter = Meter::new(0);
        let start = now();
        let at = |ms| start + Duration::from_millis(ms);
        for partition in [0, 1] {
            meter.acknowledge(partition, Epoch(1), 1, at(1));
        }
        // An answer that was under way when the store died is of the old reign.
        meter.acknowledge(0, Epoch(1), 1, at(12));
        let killed = at(10);
        assert_eq!(meter.outage(killed, &[0, 1]), None);
        meter.acknowledge(0, Epoch(2), 1, at(50));
        assert_eq!(meter.outage(killed, &[0, 1]), None);
        meter.acknowledge(1, Epoch(2), 1, at(90));
        assert_eq!(meter.outage(killed, &[0, 1]), Some(Duration::from_millis(80)));
        assert_eq!(meter.acknowledged(), 5);
        let reign = meter.reigns()[&(0, Epoch(1))];
        assert_eq!(reign, Reign { first: at(1), last: at(12), events: 2 });
    }

    #[test]
    fn the_gate_holds_until_it_is_opened_or_the_run_given_up() {
        let meter = Meter::new(1);
        assert!(meter.submit(1));
        std::thread::scope(|scope| {
            let held = scope.spawn(|| meter.submit(1));
            while meter.submitted() < 2 {
                std::thread::yield_now();
            }
            meter.open_gate(10);
            assert!(held.join().unwrap());
            meter.open_gate(0);
            let given_up = scope.spawn(|| meter.submit(1));
            meter.abort();
            assert!(!given_up.join().unwrap());
        });
    }

    #[test]
    fn a_finished_run_takes_nothing_more_and_is_not_given_up() {
        let meter = Meter::new(10);
        assert!(meter.submit(1));
        meter.finish();
        assert!(!meter.submit(1));
        assert!(!meter.is_aborted());
    }
}
