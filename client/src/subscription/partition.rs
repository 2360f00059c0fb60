//! One partition of a subscription: its splice, and the replay that is under way for it.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use broker::dialect::{MemberTopology, Topology};
use broker::error_code::ErrorCode;
use broker::net::Waker;
use store::event::{Epoch, Event, Sequence};
use store::slot::PartitionNumber;
use store::wire::feed::Topic;
use store::wire::replay::{BLOCK_BYTES_MAX, Read, ReadDirection, ReadSource, RequestNumber};
use uuid::Uuid;

use super::decode::{Damage, Expected, replayed_block};
use super::error::SubscriptionError;
use super::options::{Batch, OnGap, described};
use super::splice::{FeedMessage, Splice, SpliceInput, SpliceOutput, StopReason};
use crate::client::{Client, Next, OpenRead, ReadEvent};
use crate::position::Position;

/// Subscribing so many times in a row, which takes some seconds, is told to people.
const COMPLAIN_AT_ATTEMPT: u32 = 4;

/// What one partition needs of the subscription that it belongs to.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// The feed is silent: subscribe to the topic again. How many times in a row, from 1.
    pub(super) subscribe: Option<u32>,
    /// A replay is needed, and nobody is known who could give it.
    pub(super) topology: bool,
    /// What to hand out.
    pub(super) batches: Vec<Batch>,
}

impl Wanted {
    pub(super) fn has_events(&self) -> bool {
        self.batches.iter().any(|batch| !batch.events.is_empty())
    }

    /// Notes a batch to hand out. One that only says how far its partition is gives way to the
    /// next of that partition: heartbeats that have piled up are not worth a batch each.
    fn hand_out(&mut self, batch: Batch) {
        let passed = |older: &Batch| older.partition == batch.partition && older.events.is_empty();
        self.batches.retain(|older| !passed(older));
        self.batches.push(batch);
    }
}

/// See the module's comment.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) topic: Topic,
    client: Client,
    waker: Waker,
    system_streams: bool,
    splice: Splice<Vec<Event>>,
    replay: Option<Replay>,
    /// Whom history was last asked of in vain.
    avoid: Option<String>,
}

#[derive(Debug)]
struct Replay {
    open: OpenRead,
    endpoint: String,
    /// Sequence before the next one that it will bring.
    at: Sequence,
    taken_bytes: u64,
    granted_bytes: u64,
    /// When it counts as silent.
    silent_at: Instant,
}

/// How a replay is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    /// The store is told.
    Politely,
    /// The store says nothing, so its connection is not to be trusted.
    Silent,
}

impl Partition {
    pub(super) fn new(now: Instant, given: Given) -> Self {
        let Given { topic, client, waker, position, on_gap, system_streams } = given;
        let splice = Splice::new(now, position, on_gap, seed());
        Self { topic, client, waker, system_streams, splice, replay: None, avoid: None }
    }

    pub(super) fn splice(&self) -> &Splice<Vec<Event>> {
        &self.splice
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let replay = self.replay.as_ref().map(|replay| replay.silent_at);
        self.splice.deadline().into_iter().chain(replay).min()
    }

    /// Says once that nothing is heard of a filter. Unlike a whole partition, a store may ignore it
    /// while it serves others.
    pub(super) fn complain(&self, attempt: u32) {
        let Topic { store, partition, filter } = &self.topic;
        if filter.is_some() && attempt == COMPLAIN_AT_ATTEMPT {
            let filter = described(filter.as_ref());
            log::warn!(
                "nothing is heard of {filter} in partition {partition} of {store}: its store is \
                 away, of a version without such feeds, or serves as many of them as it can"
            );
        }
    }

    /// Takes a message of the feed.
    pub(super) fn feed(
        &mut self,
        now: Instant,
        message: FeedMessage<Vec<Event>>,
        wanted: &mut Wanted,
    ) -> Result<(), SubscriptionError> {
        let before = self.splice.counters().failovers;
        self.give(now, SpliceInput::Feed(message), wanted)?;
        // Whoever leads now may be known by other endpoints than the member that is gone.
        wanted.topology |= self.splice.counters().failovers > before;
        Ok(())
    }

    /// Takes at most one block of the replay under way, and lets time pass.
    pub(super) fn turn(
        &mut self,
        now: Instant,
        feed_drained: bool,
        wanted: &mut Wanted,
    ) -> Result<(), SubscriptionError> {
        if let Some(next) = self.replay.as_mut().map(|replay| replay.open.look()) {
            match next {
                Next::Event(ReadEvent::Block(block)) => self.block(now, &block, wanted)?,
                Next::Event(ReadEvent::Refused(refusal)) => {
                    self.leave_member(Leaving::Politely);
                    // Whoever lost its place knows less than the topology does by now.
                    wanted.topology |= refusal.code == ErrorCode::NOT_LEADER;
                    self.give(now, SpliceInput::ReplayFailed(Some(refusal)), wanted)?;
                }
                Next::Lost => {
                    self.leave_member(Leaving::Politely);
                    wanted.topology = true;
                    self.give(now, SpliceInput::ReplayFailed(None), wanted)?;
                }
                Next::Nothing if self.is_silent(now) => {
                    self.leave_member(Leaving::Silent);
                    wanted.topology = true;
                    self.give(now, SpliceInput::ReplayFailed(None), wanted)?;
                }
                Next::Nothing => {}
            }
        }
        self.give(now, SpliceInput::Tick { feed_drained }, wanted)
    }

    /// Whether the member that replays says nothing, or can't any more.
    fn is_silent(&self, now: Instant) -> bool {
        let gone = |replay: &Replay| replay.silent_at <= now || self.is_gone(&replay.endpoint);
        self.replay.as_ref().is_some_and(gone)
    }

    fn block(
        &mut self,
        now: Instant,
        block: &store::wire::replay::Block,
        wanted: &mut Wanted,
    ) -> Result<(), SubscriptionError> {
        let Some(replay) = &mut self.replay else { return Ok(()) };
        let config = self.client.config();
        let partition = self.topic.partition;
        let check_signatures = config.check_signatures;
        let expected = Expected { filter: self.topic.filter.as_ref(), check_signatures };
        let decoded = replayed_block(block, replay.at, expected)
            .map_err(|damage| damaged(partition, damage))?;
        self.avoid = None;
        replay.at = decoded.span.last;
        replay.silent_at = now + config.attempt_timeout;
        let bytes = u64::try_from(block.records.len()).unwrap_or(u64::MAX);
        replay.taken_bytes = replay.taken_bytes.saturating_add(bytes);
        let window = window(config.read_window_bytes);
        let granted = replay.taken_bytes.saturating_add(window);
        if !block.end && granted.saturating_sub(replay.granted_bytes) >= window / 2 {
            replay.granted_bytes = granted;
            replay.open.grant(granted);
        }
        if block.end {
            self.replay = None;
        }
        self.give(now, SpliceInput::Block(decoded), wanted)
    }

    fn give(
        &mut self,
        now: Instant,
        input: SpliceInput<Vec<Event>>,
        wanted: &mut Wanted,
    ) -> Result<(), SubscriptionError> {
        let mut outputs = Vec::new();
        self.splice.handle(now, input, &mut outputs);
        for output in outputs {
            match output {
                SpliceOutput::Deliver { after, records, position } => {
                    wanted.hand_out(self.batch(after, records, position));
                }
                SpliceOutput::Moved { position } => {
                    let partition = PartitionNumber(self.topic.partition);
                    wanted.hand_out(Batch { partition, events: Vec::new(), position });
                }
                SpliceOutput::Replay { from, epoch } => {
                    self.start_replay(now, (from, epoch), wanted);
                }
                SpliceOutput::StopReplay { behind: true } => self.leave_member(Leaving::Politely),
                SpliceOutput::StopReplay { behind: false } => self.replay = None,
                SpliceOutput::Subscribe { attempt } => wanted.subscribe = Some(attempt),
                SpliceOutput::Stop(reason) => return Err(self.stopped(reason)),
            }
        }
        Ok(())
    }

    fn batch(&self, after: Sequence, mut events: Vec<Event>, position: Position) -> Batch {
        let system_streams = self.system_streams;
        events.retain(|event| {
            event.sequence > after && (system_streams || !event.stream.is_system())
        });
        Batch { partition: PartitionNumber(self.topic.partition), events, position }
    }

    /// Asks whoever serves the partition now for history. If nobody is known the splice is told
    /// that it failed, and asks again after a pause.
    fn start_replay(
        &mut self,
        now: Instant,
        (from, epoch): (Sequence, Epoch),
        wanted: &mut Wanted,
    ) {
        self.replay = None;
        let known = self.client.known_topology();
        let Some(endpoint) = known.and_then(|topology| self.choose(&topology)) else {
            wanted.topology = true;
            // It only notes when to ask again, so nothing comes of it at once.
            self.splice.handle(now, SpliceInput::ReplayFailed(None), &mut Vec::new());
            return;
        };
        let config = self.client.config();
        let granted_bytes = window(config.read_window_bytes);
        let read = Read {
            request: RequestNumber(0),
            store: self.topic.store.clone(),
            partition: self.topic.partition,
            source: match &self.topic.filter {
                None => ReadSource::All,
                Some(filter) => ReadSource::Filtered(filter.clone()),
            },
            direction: ReadDirection::Forward,
            from: from.0,
            to: 0,
            count_max: 0,
            at_least: Sequence::ZERO,
            epoch,
            credit_bytes: granted_bytes,
            block_bytes_max: BLOCK_BYTES_MAX / 4,
            strong: false,
        };
        let open = OpenRead::start(&self.client, &endpoint, read, Some(self.waker.clone()));
        self.replay = Some(Replay {
            open,
            endpoint,
            at: Sequence(from.0.saturating_sub(1)),
            taken_bytes: 0,
            granted_bytes,
            silent_at: now + config.attempt_timeout,
        });
    }

    /// The member to ask: the leader, unless it was asked in vain and there is another.
    fn choose(&self, topology: &Topology) -> Option<String> {
        let store = topology.store(self.topic.store.as_str())?;
        let mut members: Vec<&MemberTopology> =
            store.members.iter().filter(|m| m.partition == self.topic.partition).collect();
        members.sort_by_key(|member| {
            (self.avoid.as_ref() == Some(&member.replay), !member.leader, Reverse(member.epoch))
        });
        members.first().map(|member| member.replay.clone())
    }

    /// Whether the topology knows who serves the partition, and this member is not among them.
    fn is_gone(&self, endpoint: &str) -> bool {
        let topology = self.client.known_topology();
        let store = topology.as_ref().and_then(|t| t.store(self.topic.store.as_str()));
        let mut serving = store
            .into_iter()
            .flat_map(|store| &store.members)
            .filter(|member| member.partition == self.topic.partition)
            .peekable();
        serving.peek().is_some() && serving.all(|member| member.replay != endpoint)
    }

    /// Ends a replay that its member can't go on with: the next one is asked of another.
    fn leave_member(&mut self, how: Leaving) {
        let Some(replay) = self.replay.take() else { return };
        self.avoid = Some(replay.endpoint);
        if how == Leaving::Silent {
            replay.open.give_up();
        }
    }

    fn stopped(&mut self, reason: StopReason) -> SubscriptionError {
        self.replay = None;
        let partition = PartitionNumber(self.topic.partition);
        match reason {
            StopReason::AheadOfLog { position, head, cut, other_lineage } => {
                SubscriptionError::AheadOfLog { partition, position, head, cut, other_lineage }
            }
            StopReason::Gap { from, to } => SubscriptionError::Gap { partition, from, to },
            StopReason::Refused(refusal) => SubscriptionError::Refused { partition, refusal },
        }
    }
}

/// What a partition is made from.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) topic: Topic,
    pub(super) client: Client,
    pub(super) waker: Waker,
    pub(super) position: Position,
    pub(super) on_gap: OnGap,
    pub(super) system_streams: bool,
}

pub(super) fn damaged(partition: u16, damage: Damage) -> SubscriptionError {
    let partition = PartitionNumber(partition);
    match damage {
        Damage::Corrupt(reason) => SubscriptionError::Corrupt { partition, reason },
        Damage::Signature(sequence) => SubscriptionError::BadSignature { partition, sequence },
    }
}

fn window(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Every subscriber pauses differently.
fn seed() -> u64 {
    Uuid::new_v4().as_u64_pair().0
}

/// How long a subscription sleeps at most when no deadline is near.
pub(super) const SLEEP_MAX: Duration = Duration::from_millis(500);
