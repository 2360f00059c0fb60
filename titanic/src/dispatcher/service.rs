//! One service: what waits for it, what is with it, and where its workers are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use client::command::CommandId;

use crate::protocol::CallTicket;

/// Ending of the names under which workers register that want id and attempt.
const AWARE: &str = "+titanic";
/// How often a service without a worker is asked for, while they are few.
pub(super) const ASK_EVERY: Duration = Duration::from_millis(250);
/// Shortest sleep while something is due and cannot be begun.
const PAUSE: Duration = Duration::from_millis(10);
/// Knowledge of workers that is older is asked for again while it is being used.
const FRESH: Duration = Duration::from_secs(2);
/// How long an idle service is remembered, with its workers.
const REMEMBERED: Duration = Duration::from_secs(10);

/// Where a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Seat {
    /// Workers that say a status come first.
    is_plain: bool,
    /// Number of the broker.
    pub(super) broker: usize,
}

impl Seat {
    /// Whether the worker wants id and attempt, and says a status.
    pub(super) fn is_aware(self) -> bool {
        !self.is_plain
    }
}

/// The queue of one service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Service {
    /// By due time; the number of the attempt that is to begin.
    pub(super) due: BTreeMap<(u64, CommandId), u32>,
    pub(super) attempts: BTreeSet<CallTicket>,
    seats: BTreeSet<Seat>,
    /// Questions that are not answered yet.
    asking: usize,
    asked_at: Option<Instant>,
    known_at: Option<Instant>,
    used_at: Instant,
    /// Its place in the agenda.
    pub(super) wake: Option<Instant>,
}

impl Service {
    pub(super) fn new(now: Instant) -> Service {
        Service {
            due: BTreeMap::new(),
            attempts: BTreeSet::new(),
            seats: BTreeSet::new(),
            asking: 0,
            asked_at: None,
            known_at: None,
            used_at: now,
            wake: None,
        }
    }

    /// Something is to be done for it.
    pub(super) fn used(&mut self, now: Instant) {
        self.used_at = now;
    }

    /// Where to send, if anywhere.
    pub(super) fn seat(&self) -> Option<Seat> {
        self.seats.first().copied()
    }

    /// Whether its brokers should be asked now.
    pub(super) fn should_ask(&self, now: Instant, every: Duration) -> bool {
        let is_old = |at: Option<Instant>, age| at.is_none_or(|at| at + age <= now);
        let is_stale = self.seats.is_empty() || is_old(self.known_at, FRESH);
        self.asking == 0 && is_stale && is_old(self.asked_at, every)
    }

    pub(super) fn asks(&mut self, now: Instant, questions: usize) {
        self.asking += questions;
        self.asked_at = Some(now);
    }

    /// When to ask again while there is no worker.
    pub(super) fn asks_again(&self, now: Instant, every: Duration) -> Instant {
        self.asked_at.map_or(now, |at| at + every).max(now + PAUSE)
    }

    /// A broker answered.
    pub(super) fn answered(&mut self, now: Instant, seat: Seat, present: Option<bool>) {
        self.asking = self.asking.saturating_sub(1);
        match present {
            Some(true) => {
                self.known_at = Some(now);
                self.seats.insert(seat);
            }
            Some(false) => {
                self.seats.remove(&seat);
            }
            None => {}
        }
    }

    /// A worker replied from there.
    pub(super) fn confirmed(&mut self, now: Instant, seat: Seat) {
        if self.seats.contains(&seat) {
            self.known_at = Some(now);
        }
    }

    /// Nobody is there any more.
    pub(super) fn vacated(&mut self, seat: Seat) {
        self.seats.remove(&seat);
    }

    /// Nobody can be reached through this broker any more.
    pub(super) fn broker_down(&mut self, broker: usize) {
        self.seats.retain(|seat| seat.broker != broker);
    }

    /// When it may be forgotten; nothing while it has work.
    pub(super) fn forgotten_at(&self) -> Option<Instant> {
        let is_idle = self.due.is_empty() && self.attempts.is_empty() && self.asking == 0;
        is_idle.then(|| self.used_at + REMEMBERED)
    }
}

/// The name under which such a worker registers.
pub(super) fn registered_name(service: &str, is_aware: bool) -> String {
    if is_aware { format!("{service}{AWARE}") } else { service.to_owned() }
}

/// The service and the seat that an answer is about.
pub(super) fn seat_of(registered: &str, broker: usize) -> (&str, Seat) {
    match registered.strip_suffix(AWARE) {
        Some(service) => (service, Seat { is_plain: false, broker }),
        None => (registered, Seat { is_plain: true, broker }),
    }
}
