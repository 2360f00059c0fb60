//! Who leads right now, shared by all loops of the process.
//!
//! A node without a peer reigns alone from its start to its end. In a pair the pair loop writes
//! here what was decided, and the others follow: the broker loop registers anew, the feed
//! publishes or falls silent, replays say whose epoch they answer from.
//!
//! The *lease* is what keeps a process that stood still from answering as the leader it no longer
//! is. It is about freshness alone: that nothing is acknowledged by two nodes rests on commits.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use broker::net::Waker;
use uuid::Uuid;

use crate::Node;
use crate::event::Epoch;
use crate::pair::PairHandle;

/// What holds now. Clones share it.
#[derive(Clone)]
pub(crate) struct Reign(Arc<Shared>);

struct Shared {
    state: Mutex<Arc<ReignState>>,
    /// Number of the newest change.
    changes: AtomicU64,
    lease: Mutex<Lease>,
    /// Whether somebody wants to know when the lease is renewed.
    lease_wanted: AtomicBool,
    watchers: Mutex<Vec<Waker>>,
    pair: OnceLock<PairHandle>,
}

/// Until when nobody else can have taken the lead.
#[derive(Clone, Copy)]
enum Lease {
    /// Not known.
    None,
    /// Until then (exclusive).
    Until(Instant),
    /// Only this node can change that.
    Unlimited,
}

/// One state of the reign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReignState {
    /// The epoch that this node leads or follows.
    pub(crate) epoch: Epoch,
    /// History that the logs belong to.
    pub(crate) lineage: Uuid,
    /// This node's data.
    pub(crate) incarnation: Uuid,
    /// Whether this node numbers events.
    pub(crate) leading: bool,
    /// Whether new appends are taken.
    pub(crate) intake: Intake,
    /// Who must have an event before it is acknowledged; just this node if it has no peer.
    pub(crate) members: Vec<Uuid>,
    /// Who leads, if that is known.
    pub(crate) leader: Option<Uuid>,
    /// What this node is, in a word or two for people.
    pub(crate) standing: &'static str,
    /// Whether committed records are shown.
    pub(crate) serving: bool,
    /// The epoch with which the present unbroken leadership of this node began.
    since: Epoch,
    /// Counts the changes of `leading`. What was under way before one is answered by nobody here.
    term: Term,
}

/// One unbroken time of leading, or of not leading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Term(u64);

/// Whether appends are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Intake {
    /// Yes.
    Open,
    /// No.
    Closed(Closed),
}

/// Why no appends are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    /// Another node leads, or nobody.
    NotLeader,
    /// Only one copy is left, and at least two are wanted.
    OneCopy,
    /// The other node is about to lead.
    HandingOver,
    /// Neither the other node nor the witness answers.
    Stalled,
}

impl ReignState {
    /// The epoch with which the present unbroken leadership of this node began.
    pub(crate) const fn since(&self) -> Epoch {
        self.since
    }

    /// Which unbroken time of leading, or of not leading, this is.
    pub(crate) const fn term(&self) -> Term {
        self.term
    }
}

impl Reign {
    /// That of a node without a peer.
    pub(crate) fn alone(node: &Node) -> Self {
        let me = node.incarnation();
        let state = ReignState {
            leading: true,
            intake: Intake::Open,
            leader: Some(me),
            standing: "alone",
            ..Self::beginning(node)
        };
        Self::new(state, Lease::Unlimited)
    }

    /// That of a node of a pair before anything is decided.
    pub(crate) fn member(node: &Node) -> Self {
        Self::new(Self::beginning(node), Lease::None)
    }

    fn beginning(node: &Node) -> ReignState {
        ReignState {
            epoch: node.epoch(),
            lineage: node.lineage(),
            incarnation: node.incarnation(),
            leading: false,
            intake: Intake::Closed(Closed::NotLeader),
            members: vec![node.incarnation()],
            leader: None,
            standing: "joining",
            serving: true,
            since: node.epoch(),
            term: Term::default(),
        }
    }

    fn new(state: ReignState, lease: Lease) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(Arc::new(state)),
            changes: AtomicU64::new(0),
            lease: Mutex::new(lease),
            lease_wanted: AtomicBool::new(false),
            watchers: Mutex::default(),
            pair: OnceLock::new(),
        }))
    }

    /// What holds now.
    pub(crate) fn state(&self) -> Arc<ReignState> {
        Arc::clone(&lock(&self.0.state))
    }

    /// Number of the newest change.
    pub(crate) fn changes(&self) -> u64 {
        self.0.changes.load(Ordering::Acquire)
    }

    /// Changes what holds, and wakes all who watch. Where leading begins or ends, the lease is
    /// forgotten, and one without an end as soon as there is another member.
    pub(crate) fn change(&self, change: impl FnOnce(&mut ReignState)) {
        {
            let mut state = lock(&self.0.state);
            let mut next = ReignState::clone(&state);
            change(&mut next);
            if next == *Arc::as_ref(&state) {
                return;
            }
            if next.leading != state.leading {
                next.term = Term(state.term.0 + 1);
                next.since = next.epoch;
                *lock(&self.0.lease) = Lease::None;
            }
            let mut lease = lock(&self.0.lease);
            if next.members.len() > 1 && matches!(*lease, Lease::Unlimited) {
                *lease = Lease::None;
            }
            drop(lease);
            *state = Arc::new(next);
            self.0.changes.fetch_add(1, Ordering::Release);
        }
        self.wake();
    }

    /// Has `waker` woken at every change.
    pub(crate) fn watch(&self, waker: &Waker) {
        lock(&self.0.watchers).push(waker.clone());
    }

    /// Nobody else can have taken the lead before `until`.
    pub(crate) fn renew_lease(&self, until: Instant) {
        self.set_lease(Lease::Until(until));
    }

    /// Nobody else can take the lead at all: this node is the only member.
    pub(crate) fn need_no_lease(&self) {
        self.set_lease(Lease::Unlimited);
    }

    fn set_lease(&self, lease: Lease) {
        *lock(&self.0.lease) = lease;
        if self.0.lease_wanted.swap(false, Ordering::AcqRel) {
            self.wake();
        }
    }

    /// Whether nobody else can have taken the lead by now. If not, those who watch are woken when
    /// that is known again.
    pub(crate) fn is_confirmed(&self, now: Instant) -> bool {
        let confirmed = || match *lock(&self.0.lease) {
            Lease::None => false,
            Lease::Until(end) => now < end,
            Lease::Unlimited => true,
        };
        if confirmed() {
            return true;
        }
        self.0.lease_wanted.store(true, Ordering::Release);
        // A renewal between the look and the wish has woken nobody.
        confirmed()
    }

    /// Makes the pair's loop known to the others.
    pub(crate) fn set_pair(&self, pair: PairHandle) {
        // There is one pair loop, and it is made known once.
        let _ = self.0.pair.set(pair);
    }

    /// The pair's loop, if this node has a peer.
    pub(crate) fn pair(&self) -> Option<PairHandle> {
        self.0.pair.get().cloned()
    }

    fn wake(&self) {
        for waker in lock(&self.0.watchers).iter() {
            waker.wake();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A state of leading since one epoch, now in another.
#[cfg(test)]
pub(crate) fn leading(since: u64, epoch: u64) -> ReignState {
    ReignState {
        epoch: Epoch(epoch),
        lineage: Uuid::nil(),
        incarnation: Uuid::nil(),
        leading: true,
        intake: Intake::Open,
        members: vec![Uuid::nil()],
        leader: Some(Uuid::nil()),
        standing: "leading",
        serving: true,
        since: Epoch(since),
        term: Term::default(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn reign() -> Reign {
        let state = ReignState { leading: false, ..leading(4, 4) };
        Reign::new(state, Lease::None)
    }

    fn lead(reign: &Reign, epoch: u64) {
        reign.change(|state| {
            state.epoch = Epoch(epoch);
            state.leading = true;
        });
    }

    #[expect(clippy::disallowed_methods, reason = "any instant does as a beginning")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_leadership_begins_with_an_epoch_and_outlives_changes_of_it() {
        let reign = reign();
        lead(&reign, 5);
        let began = reign.state();
        lead(&reign, 6);
        let later = reign.state();
        assert_eq!((later.epoch, later.since()), (Epoch(6), Epoch(5)));
        assert_eq!(later.term(), began.term());
        reign.change(|state| state.leading = false);
        lead(&reign, 8);
        assert_eq!(reign.state().since(), Epoch(8));
        assert!(reign.state().term() > later.term());
    }

    #[test]
    fn only_a_change_counts() {
        let reign = reign();
        lead(&reign, 5);
        let changes = reign.changes();
        lead(&reign, 5);
        assert_eq!(reign.changes(), changes);
        lead(&reign, 6);
        assert_eq!(reign.changes(), changes + 1);
    }

    #[test]
    fn a_lease_ends_by_itself_and_with_the_leadership() {
        let (reign, start) = (reign(), start());
        assert!(!reign.is_confirmed(start));
        lead(&reign, 5);
        reign.renew_lease(start + Duration::from_secs(1));
        assert!(reign.is_confirmed(start));
        assert!(!reign.is_confirmed(start + Duration::from_secs(1)));
        lead(&reign, 6);
        assert!(reign.is_confirmed(start), "it leads on without a break");
        reign.change(|state| state.leading = false);
        lead(&reign, 7);
        assert!(!reign.is_confirmed(start), "the lease was another leadership's");
        reign.need_no_lease();
        assert!(reign.is_confirmed(start + Duration::from_secs(3600)));
        reign.change(|state| state.members.push(Uuid::from_u128(1)));
        assert!(!reign.is_confirmed(start), "the other one may take over from now on");
    }

    #[test]
    fn whoever_asked_in_vain_is_woken_by_the_next_renewal() {
        let (reign, start) = (reign(), start());
        let waker = Waker::new().unwrap();
        reign.watch(&waker);
        let woken = || {
            let mut items = [waker.poll_item()];
            broker::net::poll(&mut items, Some(Duration::ZERO)).unwrap();
            items.iter().any(zmq::PollItem::is_readable)
        };
        reign.renew_lease(start);
        assert!(!woken(), "nobody asked");
        assert!(!reign.is_confirmed(start));
        reign.renew_lease(start + Duration::from_secs(1));
        assert!(woken());
    }
}
