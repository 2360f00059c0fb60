//! The pair thread: one loop around the machine, the lease, the timers and replication.
//!
//! ```text
//!  other node ◄──► sockets ──► Pair (when to ask, what to commit) ──► partitions, node file, Reign
//!  witness    ◄──►         ──► Leader / Follower (records)        ──► partitions, worker
//!  other loops ──► PairHandle ──► wishes        watermarks ──► moves      clock ──► timers
//! ```
//!
//! It waits for nothing but the node file, which is saved rarely. Reading old records, cutting and
//! making stores is the worker's; appending the leader's records is the writers'. What arrived is
//! always taken before time is looked at: a process that stood still hears what it has missed
//! before it draws conclusions from the silence.

mod catalogue;
mod following;
mod leading;
mod outputs;
mod peer;
mod reigning;
mod report;
mod witness;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::net::{self, Queue, TICK, Waker};
use broker::witness::{Incarnation, Lineage, PartitionName, ProcessId};
use crossbeam_channel::Receiver;
use uuid::Uuid;
use zmq::{Context, POLLIN};

use self::catalogue::Early;
use self::following::FollowerSide;
use self::leading::LeaderSide;
use self::peer::Session;
use self::report::Counts;
use self::witness::WitnessSide;
use super::handle::{ConfirmReply, HandOverReply, PairHandle, Wish};
use super::lease::Lease;
use super::links::Links;
use super::logs::Logs;
use super::machine::Pair;
use super::protocol::{Input, PairRecord, PairSetup, Timer};
use super::refusals::Refusals;
use super::replication::Counted;
use super::settings::{PairError, PairSettings};
use super::timers::Timers;
use super::worker::Worker;
use crate::Node;
use crate::partition::Durability;
use crate::server::directory::Directory;
use crate::server::lifecycle::Lifecycle;
use crate::server::reign::Reign;

/// Messages taken from one socket before the others have their turn.
const ROUND_MESSAGES: usize = 64;

/// What the pair loop shares with the other loops of the process.
pub(crate) struct PairShared {
    pub(crate) node: Arc<Node>,
    pub(crate) directory: Directory,
    pub(crate) reign: Reign,
    pub(crate) lifecycle: Lifecycle,
}

/// The loop and all that it owns.
pub(crate) struct PairLoop {
    settings: PairSettings,
    shared: PairShared,
    me: Incarnation,
    process: ProcessId,
    waker: Waker,
    links: Links,
    handle: PairHandle,
    wishes: Receiver<Wish>,
    machine: Pair,
    /// Inputs that wait until the machine is done with the one before.
    inputs: VecDeque<Input>,
    timers: Timers,
    lease: Lease<ConfirmReply>,
    logs: Logs,
    worker: Worker<Done>,
    done: Receiver<Done>,
    done_queue: Queue<Done>,
    session: Option<Session>,
    refusals: Refusals,
    /// How often this process began with a follower.
    beginnings: u64,
    leader: Option<LeaderSide>,
    follower: Option<FollowerSide>,
    early: Early,
    witness: WitnessSide,
    /// Who waits for the other node to lead, and since when.
    hand_over: Vec<(Instant, HandOverReply)>,
    counts: Counts,
    /// Whether this node numbers events, as the other loops were told.
    leading: bool,
    /// The newest epoch that `$topology` is to tell of, and where it does not yet.
    topology: (u64, BTreeSet<PartitionName>),
    ticked_at: Instant,
}

/// What the worker, or a writer, has done.
enum Done {
    Leading(leading::Done),
    Following(following::Done),
}

impl PairLoop {
    /// Binds the socket for the other node. All stores of the node are served already.
    ///
    /// # Errors
    /// [`PairError`] says what to do.
    #[expect(clippy::disallowed_methods, reason = "a loop reads the clock")]
    pub(crate) fn bind(
        context: &Context,
        settings: PairSettings,
        shared: PairShared,
    ) -> Result<(Self, PairHandle), PairError> {
        let now = Instant::now();
        let waker = Waker::new()?;
        shared.lifecycle.rest.register(&waker);
        let places = (&settings.listen, &settings.peer, &settings.witness);
        let (links, bound) = Links::open(context, places, now)?;
        let (handle, wishes) = PairHandle::new(bound, &waker);
        let mut logs = Logs::new(&shared.directory, &waker);
        logs.follow_directory();
        let process = ProcessId(Uuid::new_v4());
        let machine = machine(&settings, (&shared.node, &logs), process)?;
        let (done_queue, done) = Queue::new(waker.clone());
        let worker = Worker::start(&shared.lifecycle, done_queue.clone())?;
        let pair_loop = Self {
            me: Incarnation(shared.node.incarnation()),
            process,
            waker,
            links,
            handle: handle.clone(),
            wishes,
            machine,
            inputs: VecDeque::new(),
            timers: Timers::new(settings.timing),
            lease: Lease::new(settings.timing.leader_patience / 2),
            logs,
            worker,
            done,
            done_queue,
            session: None,
            refusals: Refusals::default(),
            beginnings: 0,
            leader: None,
            follower: None,
            early: Early::default(),
            witness: WitnessSide::default(),
            hand_over: Vec::new(),
            counts: Counts::default(),
            leading: false,
            topology: Default::default(),
            ticked_at: now,
            settings,
            shared,
        };
        Ok((pair_loop, handle))
    }

    /// Runs until the process is asked to stop.
    ///
    /// # Errors
    /// [`PairError`]: the process must not go on.
    #[expect(clippy::disallowed_methods, reason = "a loop reads the clock")]
    pub(crate) fn run(mut self) -> Result<(), PairError> {
        self.give(Input::Start, Instant::now())?;
        self.report(Instant::now());
        while !self.shared.lifecycle.rest.is_requested() {
            self.sleep(Instant::now())?;
            let now = Instant::now();
            self.look_back(now);
            self.receive(now)?;
            self.follow_directory(now)?;
            self.take_done(now)?;
            self.take_moves(now)?;
            self.take_wishes(now)?;
            while let Some(timer) = self.timers.elapsed(now) {
                if timer == Timer::Beat {
                    self.tick(now)?;
                }
                self.give(Input::Elapsed(timer), now)?;
            }
        }
        Ok(())
    }

    fn sleep(&self, now: Instant) -> Result<(), PairError> {
        let deadline = self.timers.deadline();
        let timeout = deadline.map_or(TICK, |deadline| deadline.saturating_duration_since(now));
        let Links { router, bulk, beat, witness, .. } = &self.links;
        let mut items = [
            self.waker.poll_item(),
            router.as_poll_item(POLLIN),
            bulk.socket.as_poll_item(POLLIN),
            beat.socket.as_poll_item(POLLIN),
            witness.socket.as_poll_item(POLLIN),
        ];
        net::poll(&mut items, Some(timeout))?;
        self.waker.drain();
        Ok(())
    }

    /// Whoever stood still, e.g. stopped by a signal, knows nothing of the present any more. The
    /// loop wakes every heartbeat, so this was no rest.
    fn look_back(&mut self, now: Instant) {
        let slept = now.saturating_duration_since(self.ticked_at);
        self.ticked_at = now;
        if slept > self.patience() / 2 {
            log::warn!("the process stood still for {slept:?}: it asks anew what holds");
            self.counts.pauses += 1;
            self.renew_lease_of_reign();
        }
    }

    /// Every heartbeat, before the machine hears of it.
    fn tick(&mut self, now: Instant) -> Result<(), PairError> {
        self.greet(now)?;
        self.watch_witness(now)?;
        let patience = self.settings.timing.leader_patience;
        if self.settings.durability != Durability::Memory && self.logs.is_stalled(now, patience) {
            self.give(Input::DiskStalled, now)?;
        }
        self.tick_leader(now)?;
        self.tick_follower(now)?;
        self.record_topology();
        self.give_up_hand_overs(now);
        self.report(now);
        Ok(())
    }

    fn take_done(&mut self, now: Instant) -> Result<(), PairError> {
        while let Ok(done) = self.done.try_recv() {
            match done {
                Done::Leading(done) => self.leading_done(done, now)?,
                Done::Following(done) => self.following_done(done, now)?,
            }
        }
        Ok(())
    }

    fn take_moves(&mut self, now: Instant) -> Result<(), PairError> {
        while let Some(name) = self.logs.take_moved() {
            self.leader_moved(&name, now)?;
            self.follower_moved(&name, now)?;
        }
        Ok(())
    }

    fn take_wishes(&mut self, now: Instant) -> Result<(), PairError> {
        let mut vote = false;
        while let Ok(wish) = self.wishes.try_recv() {
            match wish {
                // Brokers repeat them; one a turn is enough.
                Wish::Vote => vote = true,
                Wish::Brokers(any) => self.give(Input::Brokers(any), now)?,
                Wish::HandOver(reply) => self.wish_hand_over(reply, now)?,
                Wish::Confirm(reply) => {
                    if let Err(reply) = self.lease.ask(reply) {
                        reply(false);
                    }
                }
            }
        }
        if self.lease.is_awaited() {
            self.prove(now)?;
        }
        if vote {
            self.give(Input::Vote, now)?;
        }
        Ok(())
    }

    /// What makes an acknowledgement of the follower count.
    fn counted(&self) -> Counted {
        match self.settings.durability {
            Durability::Memory => Counted::Written,
            Durability::Local | Durability::Pair => Counted::Durable,
        }
    }

    /// After so much silence somebody counts as silent.
    const fn patience(&self) -> Duration {
        self.settings.timing.leader_patience
    }
}

/// The machine as it stands after a start.
fn machine(
    settings: &PairSettings,
    (node, logs): (&Node, &Logs),
    process: ProcessId,
) -> Result<Pair, PairError> {
    let record = match node.pair_record() {
        Some(bytes) => rmp_serde::from_slice::<PairRecord>(&bytes)
            .map_err(|error| PairError::Record(error.to_string()))?,
        None => PairRecord::default(),
    };
    let (durable, held) = logs.positions();
    let setup = PairSetup {
        me: Incarnation(node.incarnation()),
        process,
        lineage: Lineage(node.lineage()),
        epoch: node.epoch().0,
        role: settings.role,
        level: settings.durability,
        copies_min: settings.copies_min,
        brings_data: logs.has_data(),
        durable,
        held,
    };
    Ok(Pair::new(setup, record))
}
