//! The feed loop: publishes committed records to whoever listens, and heads when all is quiet.
//!
//! ```text
//! writer ── commit ──► eventfd ──► feed loop ── own Reader ──► XPUB ──► SUB, SUB, …
//! ```
//!
//! The loop is handed no payload by the writer: it reads through a [`Reader`], which shows nothing
//! above the committed head, so it *cannot* publish an uncommitted record. A topic that nobody
//! listens to costs nothing: its chain just follows the head.
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

mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::net::{self, TICK, Waker};
use bytes::Bytes;
use thiserror::Error;
use zmq::{Context, POLLIN, Socket, SocketType};

use self::topics::Topics;
use super::Identity;
use super::directory::{Directory, Hosted};
use super::lifecycle::Lifecycle;
use super::reign::{Reign, ReignState};
use crate::event::{Epoch, Sequence};
use crate::wire::feed::{FEED_BYTES_MAX, FeedHeader, FeedKind, Topic};
use crate::{Reader, Watermarks};

/// Messages that may wait for one subscriber: at most 32 MiB of batches, or 512 large records.
const SUBSCRIBER_MESSAGES_MAX: i32 = 512;
/// Longest message that a subscriber may send: a subscription is a short topic.
const SUBSCRIPTION_BYTES_MAX: i64 = 256;
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
    chains: BTreeMap<Vec<u8>, Chain>,
    followed: u64,
    /// The reign as it was when the loop last looked.
    state: Arc<ReignState>,
}

/// One partition's chain of messages.
struct Chain {
    hosted: Hosted,
    reader: Reader,
    /// Last sequence of the chain so far (inclusive).
    published: Sequence,
    /// The head at which reading failed: not tried again before it moves.
    failed_at: Option<Sequence>,
    /// While this node follows: the head when the topic's heartbeat was last due.
    told: Sequence,
    /// The cut of an epoch, once it is settled.
    cut: Option<(Epoch, Sequence)>,
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
        // A partition that was opened anew keeps its listeners: they won't subscribe again.
        let topics = &mut self.topics;
        self.chains.retain(|name, chain| match listed.get(name) {
            Some(listed) => listed.since == chain.hosted.since,
            None => {
                topics.remove(name);
                false
            }
        });
        for (name, hosted) in listed {
            self.topics.add(name.clone());
            let waker = &self.waker;
            self.chains
                .entry(name)
                .or_insert_with(|| Chain::new(hosted, waker, &self.identity.reign));
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
            self.send_heartbeat(&name)?;
        }
        Ok(heard)
    }

    /// Brings chains without listeners to their heads, so that a subscription is answered with
    /// the head and not with where the chain was when this loop last looked.
    fn follow_heads(&mut self) {
        for (name, chain) in &mut self.chains {
            if !self.topics.is_live(name) {
                chain.skip_to_head();
            }
        }
    }

    fn beat(&mut self, now: Instant) -> Result<(), FeedError> {
        let mut due = Vec::new();
        self.topics.tick(now, &mut due);
        due.iter().try_for_each(|name| self.send_heartbeat(name))
    }

    fn send_heartbeat(&mut self, name: &[u8]) -> Result<(), FeedError> {
        let Some(chain) = self.chains.get_mut(name) else {
            return Ok(());
        };
        if !self.state.leading {
            chain.follow_told();
            return Ok(());
        }
        let shown = chain.shown();
        self.state = self.identity.state();
        let Some(cut) = chain.cut(&self.state, self.has_peer) else {
            return Ok(());
        };
        let places = Places { previous: shown, last: shown, cut };
        let header = self.header(FeedKind::Heartbeat, &places, 0);
        self.send(&[Bytes::copy_from_slice(name), Bytes::from(header.encode())])
    }

    /// Publishes a few batches of every partition that has something new; whether one had.
    fn publish(&mut self) -> Result<bool, FeedError> {
        let mut published = false;
        let names = self.chains.keys().filter(|name| self.topics.is_live(name)).cloned();
        let names = names.collect::<Vec<_>>();
        for name in names {
            for _ in 0..ROUND_BATCHES {
                let Some((Batch { previous, last, count, records }, cut)) = self.next(&name) else {
                    break;
                };
                published = true;
                let header = self.header(FeedKind::Records, &Places { previous, last, cut }, count);
                let header = Bytes::from(header.encode());
                self.send(&[Bytes::copy_from_slice(&name), header, records])?;
            }
        }
        Ok(published)
    }

    /// What a topic's chain goes on with, and the cut to be told with it.
    fn next(&mut self, name: &[u8]) -> Option<(Batch, Sequence)> {
        let chain = self.chains.get_mut(name).filter(|_| self.state.leading)?;
        let batch = chain.next()?;
        self.state = self.identity.state();
        let cut = chain.cut(&self.state, self.has_peer)?;
        chain.published = batch.last;
        Some((batch, cut))
    }

    fn header(&self, kind: FeedKind, places: &Places, count: u32) -> FeedHeader {
        let heartbeat_ms = u32::try_from(self.heartbeat.as_millis()).unwrap_or(u32::MAX);
        let (lineage, epoch) = (self.state.lineage, self.state.epoch);
        let Places { previous, last, cut } = *places;
        FeedHeader { kind, lineage, epoch, previous, last, count, heartbeat_ms, cut }
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

/// A batch of a chain.
struct Batch {
    previous: Sequence,
    last: Sequence,
    count: u32,
    records: Bytes,
}

impl Chain {
    fn new(hosted: Hosted, waker: &Waker, reign: &Reign) -> Self {
        let reader = hosted.partition.reader();
        let (waker, reign) = (waker.clone(), reign.clone());
        let watermarks: &Watermarks = hosted.partition.watermarks();
        // A follower's chains are not in a hurry, and its two cores have other things to do.
        watermarks.on_commit(Arc::new(move || {
            if reign.state().leading {
                waker.wake();
            }
        }));
        let head = reader.head();
        Self { hosted, reader, published: head, failed_at: None, told: head, cut: None }
    }

    /// There is nobody whom a record is owed to.
    fn skip_to_head(&mut self) {
        self.published = self.reader.head();
        self.told = self.published;
        self.failed_at = None;
    }

    /// Another node publishes: the chain goes on to the head that was told a heartbeat ago.
    fn follow_told(&mut self) {
        self.published = self.published.max(self.told);
        self.told = self.reader.head();
        self.failed_at = None;
    }

    /// Where the reigns before this epoch end (inclusive); `None` while that is not settled. In a
    /// pair a new leader's log may hold more of them than is known to be committed, until its own
    /// first record is; without a peer all that was recovered is. `None`, too, if another node
    /// publishes.
    fn cut(&mut self, state: &ReignState, has_peer: bool) -> Option<Sequence> {
        if !state.leading {
            return None;
        }
        if let Some((epoch, cut)) = self.cut
            && epoch == state.epoch
        {
            return Some(cut);
        }
        let head = self.reader.head();
        let cut = match self.reader.last_of_epoch(Epoch(state.epoch.0.saturating_sub(1))) {
            Ok(cut) if has_peer && cut >= head => return None,
            Ok(cut) => cut,
            Err(error) => {
                let number = self.hosted.partition.number();
                log::error!("feed of {}/{number}: {error}", self.hosted.store);
                // Nobody is told wrongly that he is ahead; replays say what is damaged.
                head
            }
        };
        self.cut = Some((state.epoch, cut));
        Some(cut)
    }

    /// What a heartbeat says: the end of the chain, which is the head as soon as everything
    /// committed is published. If reading failed it is the head itself, so that subscribers see
    /// that they miss something.
    fn shown(&self) -> Sequence {
        self.failed_at.unwrap_or(self.published)
    }

    /// The next batch to publish; the chain does not go on by itself.
    fn next(&mut self) -> Option<Batch> {
        let head = self.reader.head();
        if head <= self.published || self.failed_at == Some(head) {
            return None;
        }
        let previous = self.published;
        match self.reader.read(previous.next(), FEED_BYTES_MAX) {
            Ok(block) if block.count > 0 => {
                self.failed_at = None;
                let crate::Block { last, count, records, .. } = block;
                Some(Batch { previous, last, count, records })
            }
            Ok(_) => None,
            Err(error) => {
                let number = self.hosted.partition.number();
                log::error!("feed of {}/{number}: {error}", self.hosted.store);
                // Subscribers find the reason by replay.
                self.failed_at = Some(head);
                None
            }
        }
    }
}

fn topic(hosted: &Hosted) -> Vec<u8> {
    Topic { store: hosted.store.clone(), partition: hosted.partition.number().0 }.encode()
}
