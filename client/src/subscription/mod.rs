//! Feed and replay joined: every event once, in order within each partition.
//!
//! The procedure: come online, subscribe, wait for proof that the subscription works, request
//! history from the last known sequence, splice, go on. [`splice`] decides, per partition.
//!
//! A subscription owns its SUB socket and uses it on the caller's thread, inside
//! [`Subscription::next`]; only history comes by way of the client's background thread. The caller
//! pulls, and that makes back-pressure natural: while it is busy nothing is read, the socket fills
//! up to its mark, libzmq drops what follows, and the next message shows a gap that is repaired
//! by replay. History comes as far as credit was given, and credit is given as batches are taken.
//! So a slow subscriber ends up pulling history at its own pace, with bounded memory, and without
//! slowing down anybody else.

mod decode;
mod error;
mod feed_socket;
pub(crate) mod options;
mod partition;
pub(crate) mod splice;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::dialect::Topology;
use broker::net::{self, Waker};
use store::Filter;
use store::event::Sequence;
use store::slot::PartitionNumber;
use store::wire::feed::Topic;

use self::decode::feed_message;
pub use self::error::SubscriptionError;
use self::feed_socket::FeedSocket;
pub use self::options::{Batch, OnGap, SubscribeOptions, SubscriptionCounters};
use self::partition::{Given, Partition, SLEEP_MAX, Wanted};
use crate::error::LookupError;
use crate::handle::StoreHandle;
use crate::pending::Pending;
use crate::position::Checkpoint;

/// Most feed messages taken before replays get their turn.
const MESSAGES_PER_TURN_MAX: usize = 64;
/// From this attempt in a row on, connections to a silent feed are made anew.
const RECONNECT_FROM_ATTEMPT: u32 = 2;

/// A subscription to some or all partitions of a store, or to some of their events.
///
/// It lives through restarts of stores and brokers: while they are away there simply is nothing.
/// Use it from one thread at a time.
#[derive(Debug)]
pub struct Subscription {
    // Declared first, so that it is closed before the client that its context belongs to.
    feed: FeedSocket,
    store: StoreHandle,
    waker: Waker,
    partitions: BTreeMap<u16, Partition>,
    ready: VecDeque<Batch>,
    checkpoint: Checkpoint,
    topology: Option<Pending<Arc<Topology>, LookupError>>,
    /// Whether connections are to be made anew with the topology that is awaited.
    reconnect: bool,
    events: u64,
}

impl Subscription {
    pub(crate) fn new(
        store: StoreHandle,
        options: SubscribeOptions,
    ) -> Result<Self, SubscriptionError> {
        let waker = Waker::new().map_err(|error| SubscriptionError::Socket(error.to_string()))?;
        let feed = FeedSocket::new(store.client().zmq_context())?;
        let mut partitions = BTreeMap::new();
        for partition in chosen_partitions(&store, &options)? {
            let filter = options.filter.clone();
            let topic = Topic { store: store.name().clone(), partition: partition.0, filter };
            feed.subscribe(&topic)?;
            let given = Given {
                topic,
                client: store.client().clone(),
                waker: waker.clone(),
                position: options.from.position(partition),
                on_gap: options.on_gap,
                system_streams: options.system_streams
                    || options.filter.as_ref().is_some_and(names_the_system),
            };
            partitions.insert(partition.0, Partition::new(clock(), given));
        }
        let mut subscription = Self {
            feed,
            store,
            waker,
            partitions,
            ready: VecDeque::new(),
            checkpoint: options.from,
            topology: None,
            reconnect: false,
            events: 0,
        };
        match subscription.store.client().known_topology() {
            Some(topology) => subscription.connect(&topology),
            None => subscription.ask_topology(),
        }
        Ok(subscription)
    }

    /// The next batch, or `None` if there is none within `timeout`, which also is so while the
    /// store is away.
    ///
    /// # Errors
    /// [`SubscriptionError`] when going on would break the promise; see its variants. The
    /// subscription is over then.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Batch>, SubscriptionError> {
        let until = clock() + timeout;
        loop {
            if let Some(batch) = self.ready.pop_front() {
                self.checkpoint.set(batch.partition, batch.position);
                self.events += u64::try_from(batch.events.len()).unwrap_or(0);
                return Ok(Some(batch));
            }
            let now = clock();
            self.turn(now)?;
            if self.ready.is_empty() {
                if now >= until {
                    return Ok(None);
                }
                self.sleep(until);
            }
        }
    }

    /// Where the subscriber is after the last batch that it was given.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Newest committed sequence of each partition, as far as it is known.
    #[must_use]
    pub fn heads(&self) -> BTreeMap<PartitionNumber, Sequence> {
        let head = |(number, partition): (&u16, &Partition)| {
            (PartitionNumber(*number), partition.splice().head())
        };
        self.partitions.iter().map(head).collect()
    }

    /// Whether history is behind and everything that is known was handed out.
    #[must_use]
    pub fn caught_up(&self) -> bool {
        self.ready.is_empty() && self.partitions.values().all(|p| p.splice().is_following())
    }

    /// Whether a feed has said nothing for longer than its heartbeats allow: what is newest then
    /// may not be known here.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.partitions.values().any(|partition| partition.splice().is_silent())
    }

    /// What happened since the subscription was made.
    #[must_use]
    pub fn counters(&self) -> SubscriptionCounters {
        let mut counters =
            SubscriptionCounters { events: self.events, ..SubscriptionCounters::default() };
        for partition in self.partitions.values() {
            let one = partition.splice().counters();
            counters.gaps_found += one.gaps_found;
            counters.gaps_repaired += one.gaps_repaired;
            counters.duplicates_dropped += one.duplicates_dropped;
            counters.reconnects += one.reconnects;
            counters.pull_mode_blocks += one.pull_mode_blocks;
            counters.failovers += one.failovers;
        }
        counters
    }

    fn turn(&mut self, now: Instant) -> Result<(), SubscriptionError> {
        // Drained before anything is looked at, so that nothing is slept through.
        self.waker.drain();
        self.take_topology();
        let mut wanted = Wanted::default();
        let mut feed_drained = false;
        for _ in 0..MESSAGES_PER_TURN_MAX {
            if wanted.has_events() {
                break;
            }
            let Some(frames) = self.feed.receive()? else {
                feed_drained = true;
                break;
            };
            self.feed_message(now, frames, &mut wanted)?;
        }
        for partition in self.partitions.values_mut() {
            partition.turn(now, feed_drained, &mut wanted)?;
            if let Some(attempt) = wanted.subscribe.take() {
                log::debug!("{:?} is silent, subscribing again", partition.topic);
                partition.complain(attempt);
                self.feed.subscribe(&partition.topic)?;
                self.reconnect |= attempt >= RECONNECT_FROM_ATTEMPT;
                wanted.topology = true;
            }
        }
        if wanted.topology {
            self.ask_topology();
        }
        self.ready.extend(wanted.batches);
        Ok(())
    }

    fn feed_message(
        &mut self,
        now: Instant,
        frames: net::Frames,
        wanted: &mut Wanted,
    ) -> Result<(), SubscriptionError> {
        match feed_message(frames, self.store.client().config().check_signatures) {
            Ok((topic, message)) => match self.partitions.get_mut(&topic.partition) {
                Some(partition) if partition.topic == topic => partition.feed(now, message, wanted),
                _ => Ok(()),
            },
            // Dropping it leaves a gap, and the replay tells whether the log itself is damaged.
            Err(damage) => {
                log::warn!("a feed message was dropped: {damage:?}");
                Ok(())
            }
        }
    }

    fn ask_topology(&mut self) {
        if self.topology.is_none() {
            let client = self.store.client();
            self.topology = Some(client.ask_topology(client.config().request_timeout));
        }
    }

    fn take_topology(&mut self) {
        let Some(result) = self.topology.as_ref().and_then(Pending::result) else { return };
        self.topology = None;
        if let Ok(topology) = result {
            self.connect(&topology);
        }
    }

    /// Connects to the feeds of all members of all our partitions.
    fn connect(&mut self, topology: &Topology) {
        let Some(store) = topology.store(self.store.name().as_str()) else { return };
        let ours = store.members.iter().filter(|m| self.partitions.contains_key(&m.partition));
        let feeds: BTreeSet<String> = ours.map(|member| member.feed.clone()).collect();
        // A broker that has just started knows nobody yet, and that is no reason to leave.
        if !feeds.is_empty() {
            let anew = std::mem::take(&mut self.reconnect);
            self.feed.connect(feeds, anew);
        }
    }

    fn sleep(&self, until: Instant) {
        let deadlines = self.partitions.values().filter_map(Partition::deadline);
        let wake_at = deadlines.chain([until]).min().unwrap_or(until);
        let mut pause = wake_at.saturating_duration_since(clock()).min(SLEEP_MAX);
        if self.topology.is_some() {
            // The answer does not wake us, and is awaited for milliseconds.
            pause = pause.min(TOPOLOGY_POLL);
        }
        let mut items = [self.feed.poll_item(), self.waker.poll_item()];
        if let Err(error) = net::poll(&mut items, Some(pause)) {
            // Not expected; the pause keeps a repeated failure from becoming a busy loop.
            log::error!("a subscription's poll failed: {error}");
            std::thread::sleep(TOPOLOGY_POLL);
        }
    }
}

/// The partitions that were named, or all that can have events.
fn chosen_partitions(
    store: &StoreHandle,
    options: &SubscribeOptions,
) -> Result<Vec<PartitionNumber>, SubscriptionError> {
    let home = match &options.filter {
        Some(Filter::Stream(stream)) => Some((stream, store.partition_of(stream))),
        Some(Filter::Category(_)) | None => None,
    };
    let Some(named) = &options.partitions else {
        let all = || (0..store.partitions()).map(PartitionNumber).collect();
        return Ok(home.map_or_else(all, |(_, home)| vec![home]));
    };
    for &partition in named {
        if partition.0 >= store.partitions() {
            let partitions = store.partitions();
            return Err(SubscriptionError::NoSuchPartition { partition, partitions });
        }
        if let Some((stream, home)) = home.filter(|(_, home)| *home != partition) {
            let stream = stream.clone();
            return Err(SubscriptionError::NotInPartition { stream, home, partition });
        }
    }
    Ok(named.clone())
}

/// Whether whoever asks for these events asks for the system's.
fn names_the_system(filter: &Filter) -> bool {
    match filter {
        Filter::Category(category) => category.as_str().starts_with('$'),
        Filter::Stream(stream) => stream.is_system(),
    }
}

/// How often an awaited topology is looked for.
const TOPOLOGY_POLL: Duration = Duration::from_millis(10);

#[expect(clippy::disallowed_methods, reason = "a loop reads the clock")]
fn clock() -> Instant {
    Instant::now()
}
