//! What surrounds every process of the simulation: time, network, chance, and the oracle.

use std::hash::Hash;
use std::time::Instant;

use broker::net::Frames;
use broker::witness::{WitnessAnswer, WitnessRequest};
use bytes::Bytes;
use starlog_examples::random::Random;
use uuid::Uuid;

use crate::clock::{Clock, Moment};
use crate::network::{Host, Lane, Network, Parcel, Way};
use crate::oracle::Oracle;
use crate::plan::Plan;
use crate::queue::Queue;
use crate::trace::Trace;

/// Everything that is ever sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Message {
    /// Between brokers and those who talk to them.
    Dialect(Frames),
    /// Between the members: heartbeats as datagrams, all else on a stream.
    Pair(Frames),
    /// To the witness, with a token that its answer brings back.
    Ask(u64, Box<WitnessRequest>),
    /// From the witness.
    Answer(u64, Box<WitnessAnswer>),
    /// A subscriber listens to a member's feed of a partition, or listens again.
    Subscribe(u16),
    /// A member's feed.
    Feed(Box<FeedPart>),
    /// A subscriber's question for history.
    Read { partition: u16, request: u64, from: u64, epoch: u64 },
    /// Its answer.
    Block { request: u64, block: Box<FeedPart>, end: bool, head: u64 },
    /// Its refusal.
    Refused { request: u64, ahead: Option<Ahead> },
}

/// Committed records of one partition, or none in a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FeedPart {
    pub partition: u16,
    pub lineage: Uuid,
    pub epoch: u64,
    pub previous: u64,
    pub last: u64,
    pub cut: u64,
    pub records: Bytes,
}

/// The log does not reach to where the subscriber is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ahead {
    pub head: u64,
    pub cut: u64,
    pub epoch: u64,
}

/// What happens next.
#[derive(Debug)]
pub enum Event {
    /// A message arrives.
    Arrive(Parcel<Message>),
    /// A process wanted to look at the time.
    Wake(Host),
    /// A sync of a member's partition ends; `life` is the process that began it.
    Synced { host: Host, life: u64, partition: usize, cuts: u64, fails: bool },
    /// The next thing that goes wrong, or right again.
    Nemesis,
    /// A process that was down starts.
    Start(Host),
    /// A process that was stopped goes on.
    Resume(Host),
    /// A cut ends.
    Heal(Host, Host),
}

/// See the module's comment.
pub struct Env {
    pub now: Moment,
    pub plan: Plan,
    pub queue: Queue<Event>,
    pub network: Network<Message>,
    pub random: Random,
    pub trace: Trace,
    pub oracle: Oracle,
    pub clocks: Vec<Clock>,
}

impl Env {
    /// The time as a process sees it.
    pub fn local(&self, host: Host) -> Instant {
        self.clocks[usize::from(host.0)].read(self.now)
    }

    /// When a process's clock will show that.
    pub fn moment_of(&self, host: Host, instant: Instant) -> Moment {
        self.clocks[usize::from(host.0)].moment_of(instant).max(self.now)
    }

    /// Sends from the end of a way that is `from`.
    pub fn send(&mut self, way: Way, from: Host, message: Message) {
        let mut arrivals = Vec::new();
        self.network.send(self.now, (way, from), message, &mut arrivals);
        self.put(arrivals);
    }

    /// Sends a datagram.
    pub fn send_datagram(&mut self, from: Host, to: Host, message: Message) {
        self.send(Way { client: from, server: to, lane: Lane::Datagrams }, from, message);
    }

    pub fn put(&mut self, arrivals: Vec<(Moment, Parcel<Message>)>) {
        for (at, parcel) in arrivals {
            self.queue.put(at, Event::Arrive(parcel));
        }
    }

    /// Whether things still go wrong.
    pub fn is_troubled(&self) -> bool {
        self.now < self.plan.trouble
    }

    pub fn note(&mut self, what: &impl Hash) {
        self.trace.event(self.now, what);
    }

    pub fn say(&mut self, host: Host, line: impl FnOnce() -> String) {
        self.trace.say(self.now, || format!("{host:<9} {}", line()));
    }

    pub fn uuid(&mut self) -> Uuid {
        let (high, low) = (self.random.next_u64(), self.random.next_u64());
        Uuid::from_u64_pair(high, low)
    }
}
