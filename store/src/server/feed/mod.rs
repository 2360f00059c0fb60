//! The feed loop: publishes committed records to whoever listens, and heads when all is quiet.
//!
//! ```text
//! writer ── commit ──► eventfd ──► feed loop ── own Reader ──► XPUB ──► SUB, SUB, …
//! ```
//!
//! The loop is handed no payload by the writer: it reads through a [`Reader`](crate::Reader), which
//! shows nothing above the committed head, so it *cannot* publish an uncommitted record. A topic
//! that nobody listens to costs nothing: its chain just follows the head. Records are looked into
//! only while somebody listens to filtered topics of their partition.
//!
//! In a pair only the leader publishes, and only once a record of its own epoch is committed: then
//! it is settled for ever where the reigns before it end, and every message says that place. A
//! follower's chains stay a little behind the head that it is told. When it becomes leader it thus
//! begins with records that the former leader may or may not have published; subscribers drop what
//! they have.
//!
//! A message never carries, or tells of, a record of a later epoch than it says: the reign is
//! looked at after the records, and the pair loop changes it before it makes the first of an epoch.
//!
//! A slow subscriber loses messages at its high-water mark; the chain in the header makes it
//! notice, and the replayer has what it missed.

mod chain;
mod filters;
mod topics;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::net::{self, TICK, Waker};
use bytes::Bytes;
use thiserror::Error;
use zmq::{Context, POLLIN, Socket, SocketType};

use self::chain::{Batch, Chain};
use self::topics::{Due, Topics};
use super::Identity;
use super::directory::{Directory, Hosted};
use super::lifecycle::Lifecycle;
use super::reign::ReignState;
use crate::event::Sequence;
use crate::filter::Filter;
use crate::wire::feed::{FeedHeader, FeedKind, TOPIC_BYTES_MAX, Topic};

/// Messages that may wait for one subscriber: at most 32 MiB of batches, or 512 large records.
const SUBSCRIBER_MESSAGES_MAX: i32 = 512;
/// Longest message that a subscriber may send: a topic behind one byte, or from ZMTP 3.1 on behind
/// the command `\x09SUBSCRIBE` or `\x06CANCEL`.
const SUBSCRIPTION_BYTES_MAX: i64 = 512;
const _: () = assert!(TOPIC_BYTES_MAX + 10 <= 512, "every topic can be subscribed to");
/// Subscriptions taken before publishing has its turn.
const ROUND_SUBSCRIPTIONS: usize = 256;
/// Batches of one partition published before the others have their turn.
const ROUND_BATCHES: usize = 16;

/// Why the loop ended.
#[derive(Debug, Error)]
pub(super) enum FeedError {
    /// A socket failed.
    #[error("the feed's socket failed: {0}")]
    Socket(#[from] zmq::Error),
    /// The loop could not be set up.
    #[error("the feed loop has no file descriptor left: {0}")]
    Waker(#[from] std::io::Error),
}

/// Makes the feed's socket; `bind` is the caller's.
///
/// # Errors
/// Those of `zmq_socket`.
pub(super) fn socket(context: &Context) -> Result<Socket, zmq::Error> {
    let socket = net::socket(context, SocketType::XPUB)?;
    socket.set_xpub_verbose(true)?;
    socket.set_sndhwm(SUBSCRIBER_MESSAGES_MAX)?;
    socket.set_maxmsgsize(SUBSCRIPTION_BYTES_MAX)?;
    Ok(socket)
}

/// The state of the loop.
pub(super) struct FeedLoop {
    socket: Socket,
    identity: Identity,
    has_peer: bool,
    heartbeat: Duration,
    directory: Directory,
    lifecycle: Lifecycle,
    waker: Waker,
    topics: Topics,
    /// By the topics of the partitions.
    chains: BTreeMap<Topic, Chain>,
    followed: u64,
    /// The reign as it was when the loop last looked.
    state: Arc<ReignState>,
}

impl FeedLoop {
    /// A loop around a bound socket.
    pub(super) fn new(
        socket: Socket,
        (identity, heartbeat): (Identity, Duration),
        (directory, lifecycle): (&Directory, &Lifecycle),
    ) -> Result<Self, FeedError> {
        let waker = Waker::new()?;
        directory.watch(&waker);
        identity.reign.watch(&waker);
        lifecycle.rest.register(&waker);
        let (state, has_peer) = (identity.state(), identity.reign.pair().is_some());
        Ok(Self {
            socket,
            identity,
            has_peer,
            heartbeat,
            directory: directory.clone(),
            lifecycle: lifecycle.clone(),
            waker,
            topics: Topics::new(heartbeat),
            chains: BTreeMap::new(),
            followed: u64::MAX,
            state,
        })
    }

    /// Runs until the process stops; then publishes what was committed last.
    #[expect(clippy::disallowed_methods, reason = "a loop reads the clock")]
    pub(super) fn run(mut self) -> Result<(), FeedError> {
        while !self.lifecycle.rest.is_requested() {
            self.state = self.identity.state();
            self.follow_directory();
            let listened = self.listen(Instant::now())?;
            let published = self.publish()?;
            self.beat(Instant::now())?;
            if !listened && !published {
                self.sleep(Instant::now())?;
            }
        }
        while self.publish()? {}
        Ok(())
    }

    fn sleep(&mut self, now: Instant) -> Result<(), FeedError> {
        let deadline = self.topics.deadline();
        let timeout = deadline.map_or(TICK, |deadline| deadline.saturating_duration_since(now));
        let mut items = [self.waker.poll_item(), self.socket.as_poll_item(POLLIN)];
        net::poll(&mut items, Some(timeout))?;
        self.waker.drain();
        Ok(())
    }

    fn follow_directory(&mut self) {
        if self.directory.changes() == self.followed {
            return;
        }
        let (changes, hosted) = self.directory.snapshot();
        self.followed = changes;
        let listed = hosted.into_iter().map(|hosted| (topic(&hosted), hosted));
        let listed = listed.collect::<BTreeMap<_, _>>();
        let topics = &mut self.topics;
        self.chains.retain(|topic, _| {
            let kept = listed.contains_key(topic);
            if !kept {
                topics.remove(&topic.encode());
            }
            kept
        });
        for (topic, hosted) in listed {
            let name = Bytes::from(topic.encode());
            self.topics.add(name.to_vec());
            let since = hosted.since;
            let fresh = || Chain::new(name, hosted, &self.waker, &self.identity.reign);
            match self.chains.entry(topic) {
                Entry::Vacant(vacant) => drop(vacant.insert(fresh())),
                Entry::Occupied(chain) if chain.get().since() == since => {}
                // A partition that was opened anew keeps its listeners: they won't subscribe again.
                Entry::Occupied(mut chain) => chain.get_mut().begin_anew(fresh()),
            }
        }
    }

    /// Hears subscribers; whether there was anything.
    fn listen(&mut self, now: Instant) -> Result<bool, FeedError> {
        let mut answers = Vec::new();
        let mut heard = false;
        for _ in 0..ROUND_SUBSCRIPTIONS {
            let Some(frames) = net::receive(&self.socket)? else {
                break;
            };
            if !heard {
                heard = true;
                self.follow_heads();
            }
            if let [message] = frames.as_slice() {
                self.topics.handle(now, message, &mut answers);
            }
        }
        // Many subscriptions to one topic are answered by one heartbeat, which all of them get.
        answers.sort_unstable();
        answers.dedup();
        for name in answers {
            if let Some((topic, Some(filter))) = partition_of(&name)
                && let Some(chain) = self.chains.get_mut(&topic)
            {
                chain.filters.add(&filter, Bytes::copy_from_slice(&name));
            }
            self.send_heartbeat(now, &name)?;
        }
        Ok(heard)
    }

    /// Brings chains without listeners to their heads, so that a subscription is answered with
    /// the head and not with where the chain was when this loop last looked.
    fn follow_heads(&mut self) {
        for chain in self.chains.values_mut() {
            if !is_listened_to(&self.topics, chain) {
                chain.skip_to_head();
            }
        }
    }

    fn beat(&mut self, now: Instant) -> Result<(), FeedError> {
        let mut due = Due::default();
        self.topics.tick(now, &mut due);
        for name in due.gone {
            if let Some((topic, Some(filter))) = partition_of(&name)
                && let Some(chain) = self.chains.get_mut(&topic)
            {
                chain.filters.remove(&filter);
            }
        }
        due.beats.iter().try_for_each(|name| self.send_heartbeat(now, name))
    }

    fn send_heartbeat(&mut self, now: Instant, name: &[u8]) -> Result<(), FeedError> {
        let Some((topic, filter)) = partition_of(name) else {
            return Ok(());
        };
        let Some(chain) = self.chains.get_mut(&topic) else {
            return Ok(());
        };
        if !self.state.leading {
            chain.follow_told(now, self.heartbeat);
            return Ok(());
        }
        let (previous, last) = chain.heartbeat(filter.as_ref());
        self.state = self.identity.state();
        let Some(cut) = chain.cut(&self.state, self.has_peer) else {
            return Ok(());
        };
        let header = self.header(FeedKind::Heartbeat, &Places { previous, last, cut }, 0);
        self.send(&[Bytes::copy_from_slice(name), header])
    }

    /// Publishes a few batches of every partition that has something new; whether one had.
    fn publish(&mut self) -> Result<bool, FeedError> {
        let mut published = false;
        let mut topics = Vec::new();
        for (topic, chain) in &self.chains {
            let listened_to = is_listened_to(&self.topics, chain);
            chain.listen(listened_to);
            if listened_to {
                topics.push(topic.clone());
            }
        }
        for topic in topics {
            for _ in 0..ROUND_BATCHES {
                let Some((batch, cut)) = self.next(&topic) else {
                    break;
                };
                published = true;
                self.send_batch(&topic, batch, cut)?;
            }
        }
        Ok(published)
    }

    /// What a chain goes on with, and the cut to be told with it.
    fn next(&mut self, topic: &Topic) -> Option<(Batch, Sequence)> {
        let chain = self.chains.get_mut(topic).filter(|_| self.state.leading)?;
        let batch = chain.next()?;
        self.state = self.identity.state();
        let cut = chain.cut(&self.state, self.has_peer)?;
        Some((batch, cut))
    }

    fn send_batch(&mut self, topic: &Topic, batch: Batch, cut: Sequence) -> Result<(), FeedError> {
        let Some(chain) = self.chains.get_mut(topic) else {
            return Ok(());
        };
        let (name, parts) = (chain.name.clone(), chain.go_on(&batch));
        let Batch { previous, last, count, records } = batch;
        if self.topics.is_live(&name) {
            let header = self.header(FeedKind::Records, &Places { previous, last, cut }, count);
            self.send(&[name, header, records])?;
        }
        for (part, previous) in parts {
            // The topic has nothing more up to the end of the batch, of which others may be.
            let places = Places { previous, last, cut };
            let header = self.header(FeedKind::Records, &places, part.count);
            self.send(&[part.topic, header, part.records])?;
        }
        Ok(())
    }

    fn header(&self, kind: FeedKind, places: &Places, count: u32) -> Bytes {
        let heartbeat_ms = u32::try_from(self.heartbeat.as_millis()).unwrap_or(u32::MAX);
        let (lineage, epoch) = (self.state.lineage, self.state.epoch);
        let Places { previous, last, cut } = *places;
        let header = FeedHeader { kind, lineage, epoch, previous, last, count, heartbeat_ms, cut };
        Bytes::from(header.encode())
    }

    /// An XPUB drops what a full subscriber can't take, and never says `Full`.
    fn send(&self, frames: &[Bytes]) -> Result<(), FeedError> {
        let _ = net::send(&self.socket, frames)?;
        Ok(())
    }
}

/// Where a message stands in its chain.
struct Places {
    previous: Sequence,
    last: Sequence,
    cut: Sequence,
}

/// The topic of a partition.
fn topic(hosted: &Hosted) -> Topic {
    Topic { store: hosted.store.clone(), partition: hosted.partition.number().0, filter: None }
}

/// The topic of the partition that a topic frame is about, and which of its events.
fn partition_of(name: &[u8]) -> Option<(Topic, Option<Filter>)> {
    let mut topic = Topic::decode(name).ok()?;
    let filter = topic.filter.take();
    Some((topic, filter))
}

/// Whether anybody may be listening to the partition or to some of its events.
fn is_listened_to(topics: &Topics, chain: &Chain) -> bool {
    !chain.filters.is_empty() || topics.is_live(&chain.name)
}
