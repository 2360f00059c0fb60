//! One partition's chain of messages, and those of the filtered topics beside it.
//!
//! The log is read once for all of them. They go on together: whatever was looked at for one topic
//! was looked at for all, so a filtered topic need only remember its newest record.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::{Duration, Instant};

use broker::net::Waker;
use bytes::Bytes;

use super::filters::{Filters, Part};
use crate::event::{Epoch, Sequence};
use crate::filter::Filter;
use crate::server::directory::Hosted;
use crate::server::reign::{Reign, ReignState};
use crate::wire::feed::FEED_BYTES_MAX;
use crate::{ReadError, Reader, Watermarks};

/// One partition's chain of messages.
pub(super) struct Chain {
    /// The topic frame of the partition.
    pub(super) name: Bytes,
    hosted: Hosted,
    reader: Reader,
    /// The filtered topics.
    pub(super) filters: Filters,
    /// Somebody is to be told of commits. A loop that publishes nothing is not woken by each of
    /// them: that would cost the writer as much as half of its answers.
    listened_to: Arc<AtomicBool>,
    /// Last sequence of the chain so far (inclusive).
    published: Sequence,
    /// The head at which reading failed: not tried again before it moves.
    failed_at: Option<Sequence>,
    /// While this node follows: the head when it last looked, and when to look again.
    told: (Sequence, Option<Instant>),
    /// The cut of an epoch, once it is settled.
    cut: Option<(Epoch, Sequence)>,
}

/// A batch of a chain.
pub(super) struct Batch {
    /// Last sequence before it (exclusive).
    pub(super) previous: Sequence,
    /// Its last sequence (inclusive).
    pub(super) last: Sequence,
    pub(super) count: u32,
    pub(super) records: Bytes,
}

impl Chain {
    pub(super) fn new(name: Bytes, hosted: Hosted, waker: &Waker, reign: &Reign) -> Self {
        let reader = hosted.partition.reader();
        let (waker, reign) = (waker.clone(), reign.clone());
        let watermarks: &Watermarks = hosted.partition.watermarks();
        let listened_to = Arc::new(AtomicBool::new(true));
        let listened = Arc::clone(&listened_to);
        // A follower's chains are not in a hurry, and its two cores have other things to do.
        watermarks.on_commit(Arc::new(move || {
            // The head was moved before this, and the loop looks at it after `listen`: with a fence
            // on both sides at least one of the two sees what the other one has done.
            fence(Ordering::SeqCst);
            if listened.load(Ordering::Relaxed) && reign.state().leading {
                waker.wake();
            }
        }));
        let published = reader.head();
        let (filters, told) = (Filters::default(), (published, None));
        let failed_at = None;
        Self { name, hosted, reader, filters, listened_to, published, failed_at, told, cut: None }
    }

    /// Whether commits wake the loop from now on. What was committed before is to be looked for
    /// afterwards.
    pub(super) fn listen(&self, listened_to: bool) {
        self.listened_to.store(listened_to, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The change of the directory that brought its partition.
    pub(super) const fn since(&self) -> u64 {
        self.hosted.since
    }

    /// The partition was opened anew; who listens goes on listening.
    pub(super) fn begin_anew(&mut self, fresh: Self) {
        let mut filters = std::mem::take(&mut self.filters);
        filters.forget_newest();
        *self = Self { filters, ..fresh };
    }

    /// There is nobody whom a record is owed to.
    pub(super) fn skip_to_head(&mut self) {
        self.published = self.reader.head();
        self.told = (self.published, None);
        self.failed_at = None;
        self.filters.forget_newest();
    }

    /// Another node publishes: once in a heartbeat the chain goes on to the head that was told a
    /// heartbeat ago, whichever of its topics has called.
    pub(super) fn follow_told(&mut self, now: Instant, heartbeat: Duration) {
        let (told, again) = self.told;
        if again.is_some_and(|again| now < again) {
            return;
        }
        self.published = self.published.max(told);
        self.told = (self.reader.head(), Some(now + heartbeat));
        self.failed_at = None;
        self.filters.forget_newest();
    }

    /// Where the reigns before this epoch end (inclusive); `None` while that is not settled. In a
    /// pair a new leader's log may hold more of them than is known to be committed, until its own
    /// first record is; without a peer all that was recovered is. `None`, too, if another node
    /// publishes.
    pub(super) fn cut(&mut self, state: &ReignState, has_peer: bool) -> Option<Sequence> {
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
                self.complain(&error);
                // Nobody is told wrongly that he is ahead; replays say what is damaged.
                head
            }
        };
        self.cut = Some((state.epoch, cut));
        Some(cut)
    }

    /// What a heartbeat says (previous and last): the end of the chain, which is the head as soon
    /// as everything committed is published. In a filtered topic it goes from the newest record to
    /// there. If reading failed both are the head itself, so that subscribers see that they miss
    /// something.
    pub(super) fn heartbeat(&mut self, filter: Option<&Filter>) -> (Sequence, Sequence) {
        match (self.failed_at, filter) {
            (Some(head), _) => (head, head),
            (None, None) => (self.published, self.published),
            (None, Some(filter)) => (self.newest(filter, self.published), self.published),
        }
    }

    /// The next batch to publish; the chain does not go on by itself.
    pub(super) fn next(&mut self) -> Option<Batch> {
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
                self.complain(&error);
                // Subscribers find the reason by replay.
                self.failed_at = Some(head);
                None
            }
        }
    }

    /// The chain has gone on with a batch: what of it goes to the filtered topics, each part with
    /// the last sequence of its topic before.
    pub(super) fn go_on(&mut self, batch: &Batch) -> Vec<(Part, Sequence)> {
        self.published = batch.last;
        if self.filters.is_empty() {
            return Vec::new();
        }
        let parts = match self.filters.sort(&batch.records) {
            Ok(parts) => parts,
            Err(error) => {
                self.complain(&ReadError::Undecodable { reason: error.to_string() });
                // The topics go on behind it, so that subscribers see that they miss something.
                self.filters.set_all(batch.last);
                return Vec::new();
            }
        };
        let with_previous = |part: Part| {
            let previous = self.newest(&part.filter, batch.previous);
            self.filters.set_newest(&part.filter, part.last);
            (part, previous)
        };
        parts.into_iter().map(with_previous).collect()
    }

    /// The newest record of a filtered topic up to a place of the chain, which none lies behind.
    fn newest(&mut self, filter: &Filter, up_to: Sequence) -> Sequence {
        if let Some(newest) = self.filters.newest(filter) {
            return newest;
        }
        let newest = self.reader.newest_of(filter, up_to).unwrap_or_else(|error| {
            self.complain(&error);
            // As if it were right there: subscribers that know less ask for it by replay.
            up_to
        });
        self.filters.set_newest(filter, newest);
        newest
    }

    fn complain(&self, error: &ReadError) {
        let number = self.hosted.partition.number();
        log::error!("feed of {}/{number}: {error}", self.hosted.store);
    }
}
