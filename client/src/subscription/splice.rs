//! Joining feed and replay of one partition: every record once, in order.
//!
//! ```text
//!   Joining ── proof: a heartbeat or records ──┬── nothing missing ──> Following
//!                                              │                      │      ^
//!                                              └── history missing ──>│ gap  │ the replay met
//!                                                                     v      │ what is buffered,
//!                                                                  Replaying ┘ or the head
//! ```
//!
//! While history is replayed, feed messages are kept in a bounded buffer of one unbroken run; a
//! break or an overflow throws the older part away, because the replay will bring it. A subscriber
//! that is slower than the feed therefore ends up reading nothing but replayed blocks, at its own
//! pace: that is pull mode, and it needs no state of its own.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use store::event::{Epoch, Sequence};

use super::options::OnGap;
use crate::error::Refusal;
use crate::gap::{GapDetector, Span, Verdict};
use crate::position::{Lineage, Position};

/// Most bytes of feed messages kept while history is replayed.
const BUFFER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Heartbeats missed before the feed counts as silent.
const HEARTBEATS_MISSED_MAX: u32 = 2;
/// Bounds of a publisher's heartbeat interval as we believe it, and what is assumed at first.
const HEARTBEAT_MIN: Duration = Duration::from_millis(100);
const HEARTBEAT_MAX: Duration = Duration::from_secs(10);
const HEARTBEAT_ASSUMED: Duration = Duration::from_millis(500);
/// Pause before a failed replay is tried again.
const REPLAY_PAUSE: Duration = Duration::from_millis(50);

/// A message of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedMessage<T> {
    /// Lineage of the publisher's history.
    pub lineage: Lineage,
    /// What it covers; a heartbeat shows the head.
    pub span: Span,
    /// The publisher's heartbeat interval.
    pub heartbeat: Duration,
    /// Size of the records.
    pub bytes: usize,
    /// The records, checked to be those of the span; `None` in a heartbeat.
    pub records: Option<T>,
}

/// A block of history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayedBlock<T> {
    /// Lineage of the store's history.
    pub lineage: Lineage,
    /// What it covers; `previous` and `last` are equal if it holds no records.
    pub span: Span,
    /// Newest committed sequence when the block was made (inclusive).
    pub head: Sequence,
    /// Whether nothing more follows.
    pub end: bool,
    /// The records, checked to be those of the span.
    pub records: T,
}

/// Something that happened.
#[derive(Debug)]
pub enum SpliceInput<T> {
    /// The feed brought a message.
    Feed(FeedMessage<T>),
    /// The replay brought a block.
    Block(ReplayedBlock<T>),
    /// The replay broke off, or was refused.
    ReplayFailed(Option<Refusal>),
    /// The time of [`Splice::deadline`] has come.
    Tick {
        /// Whether the feed's socket was emptied just before. A subscriber that was busy finds
        /// proofs of life there, so silence is judged only then.
        feed_drained: bool,
    },
}

/// Something for the loop to do.
#[derive(Debug, PartialEq, Eq)]
pub enum SpliceOutput<T> {
    /// Hand out the records behind `after` (exclusive).
    Deliver {
        /// Records up to here (inclusive) were handed out before.
        after: Sequence,
        /// The records.
        records: T,
        /// The subscriber's position behind them.
        position: Position,
    },
    /// Ask for history from this sequence on (inclusive), up to the head. Replaces what was asked
    /// for before.
    Replay {
        /// First sequence needed.
        from: Sequence,
    },
    /// History is no longer needed.
    StopReplay,
    /// The feed is silent: subscribe again, to wherever the topology says.
    Subscribe {
        /// How many times in a row, from 1.
        attempt: u32,
    },
    /// The subscription ends.
    Stop(StopReason),
}

/// Why a subscription ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// The log does not reach to where the subscriber is, or is of another lineage.
    AheadOfLog {
        /// Where the subscriber is.
        position: Position,
        /// Where the log ends.
        head: Position,
        /// Whether the log is another one.
        other_lineage: bool,
    },
    /// Messages are missing, and the subscriber does not want them repaired.
    Gap {
        /// First missing sequence (inclusive).
        from: Sequence,
        /// Last missing sequence (inclusive).
        to: Sequence,
    },
    /// The history that is needed was refused for good.
    Refused(Refusal),
}

/// What one partition went through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpliceCounters {
    /// Gaps in the feed.
    pub gaps_found: u64,
    /// Gaps filled.
    pub gaps_repaired: u64,
    /// Feed messages that were had already, in part or whole. Heartbeats don't count.
    pub duplicates_dropped: u64,
    /// Times the silent feed was subscribed to again.
    pub reconnects: u64,
    /// Blocks of history taken in place of missed feed messages.
    pub pull_mode_blocks: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Subscribed, no proof yet that the subscription works.
    Joining,
    /// The feed brings everything.
    Following,
    /// History is under way; `gap`: because feed messages went missing.
    Replaying { gap: bool },
    /// Ended.
    Stopped,
}

/// See the module's comment.
#[derive(Debug)]
pub struct Splice<T> {
    on_gap: OnGap,
    phase: Phase,
    lineage: Option<Lineage>,
    detector: GapDetector,
    /// Highest epoch whose log is known to reach to where we are.
    confirmed: Epoch,
    /// Newest committed sequence heard of (inclusive).
    head: Sequence,
    buffer: VecDeque<FeedMessage<T>>,
    buffer_bytes: usize,
    /// When to subscribe again if nothing is heard.
    silent_at: Instant,
    silent_attempts: u32,
    heartbeat: Duration,
    /// When to ask again for history that did not come.
    replay_at: Option<Instant>,
    counters: SpliceCounters,
}

impl<T> Splice<T> {
    /// For a subscriber at `position` that is subscribing now.
    #[must_use]
    pub fn new(now: Instant, position: Position, on_gap: OnGap) -> Self {
        Self {
            on_gap,
            phase: Phase::Joining,
            lineage: position.lineage,
            detector: GapDetector::new(position.sequence, position.epoch),
            confirmed: position.epoch,
            head: Sequence::ZERO,
            buffer: VecDeque::new(),
            buffer_bytes: 0,
            silent_at: now + HEARTBEAT_ASSUMED * HEARTBEATS_MISSED_MAX,
            silent_attempts: 0,
            heartbeat: HEARTBEAT_ASSUMED,
            replay_at: None,
            counters: SpliceCounters::default(),
        }
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> SpliceCounters {
        self.counters
    }

    /// Newest committed sequence heard of (inclusive).
    #[must_use]
    pub fn head(&self) -> Sequence {
        self.head.max(self.detector.last())
    }

    /// Whether the feed alone brings everything now.
    #[must_use]
    pub fn is_following(&self) -> bool {
        self.phase == Phase::Following
    }

    /// Where the subscriber is.
    #[must_use]
    pub fn position(&self) -> Position {
        let (lineage, epoch) = (self.lineage, self.confirmed);
        Position { lineage, epoch, sequence: self.detector.last() }
    }

    /// When to hand in [`SpliceInput::Tick`].
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Stopped => None,
            _ => Some(self.replay_at.map_or(self.silent_at, |at| at.min(self.silent_at))),
        }
    }

    /// Takes an input; what is to be done is appended to `outputs`.
    pub fn handle(
        &mut self,
        now: Instant,
        input: SpliceInput<T>,
        outputs: &mut Vec<SpliceOutput<T>>,
    ) {
        if self.phase == Phase::Stopped {
            return;
        }
        match input {
            SpliceInput::Feed(message) => self.feed(now, message, outputs),
            SpliceInput::Block(block) => self.block(now, block, outputs),
            SpliceInput::ReplayFailed(refusal) => self.replay_failed(now, refusal, outputs),
            SpliceInput::Tick { feed_drained } => self.tick(now, feed_drained, outputs),
        }
    }

    fn feed(&mut self, now: Instant, message: FeedMessage<T>, outputs: &mut Vec<SpliceOutput<T>>) {
        let Span { epoch, last, .. } = message.span;
        if epoch < self.detector.epoch() {
            return;
        }
        self.heartbeat = message.heartbeat.clamp(HEARTBEAT_MIN, HEARTBEAT_MAX);
        self.silent_at = now + self.heartbeat * HEARTBEATS_MISSED_MAX;
        self.silent_attempts = 0;
        // Records may be published again by a new leader; only a heartbeat says where a log ends.
        let head = if message.records.is_none() { last } else { last.max(self.detector.last()) };
        if !self.belongs(message.lineage, epoch, head, outputs) {
            return;
        }
        self.head = self.head.max(last);
        if matches!(self.phase, Phase::Replaying { .. }) {
            self.keep(message);
            return;
        }
        match self.detector.observe(message.span) {
            Verdict::Stale => {}
            Verdict::Duplicate => {
                self.count_duplicate(message.records.is_some());
                self.phase = Phase::Following;
            }
            Verdict::Deliver { after } => {
                self.phase = Phase::Following;
                self.deliver(after, message, outputs);
            }
            Verdict::Gap { from, to } => self.gap(from, to, message, outputs),
        }
    }

    /// Whether a log of this lineage that reaches to `head` in this epoch is the one that we read;
    /// if it is not, the subscription stops.
    fn belongs(
        &mut self,
        lineage: Lineage,
        epoch: Epoch,
        head: Sequence,
        outputs: &mut Vec<SpliceOutput<T>>,
    ) -> bool {
        let last = self.detector.last();
        let other_lineage = self.lineage.is_some_and(|own| own != lineage);
        let read_something = last > Sequence::ZERO;
        if read_something && (other_lineage || (epoch > self.confirmed && head < last)) {
            let head = Position { lineage: Some(lineage), epoch, sequence: head };
            let position = self.position();
            let reason = StopReason::AheadOfLog { position, head, other_lineage };
            self.stop(reason, outputs);
            return false;
        }
        self.lineage = Some(lineage);
        self.confirmed = self.confirmed.max(epoch);
        self.detector.raise(epoch);
        true
    }

    fn gap(
        &mut self,
        from: Sequence,
        to: Sequence,
        message: FeedMessage<T>,
        outputs: &mut Vec<SpliceOutput<T>>,
    ) {
        // Before the subscription was proven, what is missing is history and not a gap.
        let gap = self.phase == Phase::Following;
        if gap {
            self.counters.gaps_found += 1;
            if self.on_gap == OnGap::Stop {
                self.stop(StopReason::Gap { from, to }, outputs);
                return;
            }
        }
        self.phase = Phase::Replaying { gap };
        self.keep(message);
        outputs.push(SpliceOutput::Replay { from });
    }

    /// Buffers a feed message until the replay has reached it.
    fn keep(&mut self, message: FeedMessage<T>) {
        if message.records.is_none() {
            return;
        }
        let unbroken = self.buffer.back().is_none_or(|b| b.span.last == message.span.previous);
        if !unbroken || self.buffer_bytes + message.bytes > BUFFER_BYTES_MAX {
            self.buffer.clear();
            self.buffer_bytes = 0;
        }
        self.buffer_bytes += message.bytes;
        self.buffer.push_back(message);
    }

    fn block(&mut self, now: Instant, block: ReplayedBlock<T>, outputs: &mut Vec<SpliceOutput<T>>) {
        let Phase::Replaying { gap } = self.phase else { return };
        let Span { epoch, previous, last } = block.span;
        // A member that has not heard of the newest epoch, or answers something else.
        if epoch < self.detector.epoch() || previous > self.detector.last() {
            self.replay_at = Some(now + REPLAY_PAUSE);
            outputs.push(SpliceOutput::StopReplay);
            return;
        }
        if !self.belongs(block.lineage, epoch, block.head, outputs) {
            return;
        }
        self.head = self.head.max(block.head);
        let progress = last > self.detector.last();
        if progress {
            self.counters.pull_mode_blocks += u64::from(gap);
            let after = self.detector.last();
            self.detector.delivered(last);
            let (records, position) = (block.records, self.position());
            outputs.push(SpliceOutput::Deliver { after, records, position });
        }
        let met = self.splice(outputs);
        if met || (block.end && self.detector.last() >= self.head) {
            self.phase = Phase::Following;
            self.counters.gaps_repaired += u64::from(gap);
            if !block.end {
                outputs.push(SpliceOutput::StopReplay);
            }
        } else if block.end && progress {
            outputs.push(SpliceOutput::Replay { from: self.detector.last().next() });
        } else if block.end {
            self.replay_at = Some(now + REPLAY_PAUSE);
        }
    }

    /// Hands out what is buffered, if the replay has reached it; whether it has.
    fn splice(&mut self, outputs: &mut Vec<SpliceOutput<T>>) -> bool {
        let mut met = false;
        while let Some(front) = self.buffer.front() {
            if front.span.previous > self.detector.last() {
                return false;
            }
            met = true;
            let Some(message) = self.buffer.pop_front() else { break };
            self.buffer_bytes -= message.bytes;
            match self.detector.observe(message.span) {
                Verdict::Deliver { after } => self.deliver(after, message, outputs),
                _ => self.count_duplicate(true),
            }
        }
        met
    }

    fn deliver(
        &mut self,
        after: Sequence,
        message: FeedMessage<T>,
        outputs: &mut Vec<SpliceOutput<T>>,
    ) {
        self.count_duplicate(message.span.previous < after);
        let position = self.position();
        if let Some(records) = message.records {
            outputs.push(SpliceOutput::Deliver { after, records, position });
        }
    }

    fn count_duplicate(&mut self, duplicate: bool) {
        self.counters.duplicates_dropped += u64::from(duplicate);
    }

    fn replay_failed(
        &mut self,
        now: Instant,
        refusal: Option<Refusal>,
        outputs: &mut Vec<SpliceOutput<T>>,
    ) {
        if !matches!(self.phase, Phase::Replaying { .. }) {
            return;
        }
        let for_good = |refusal: &Refusal| {
            // A store's processes may just be changing, so its absence is no end.
            !refusal.code.retry() && refusal.code != broker::error_code::ErrorCode::STORE_NOT_FOUND
        };
        match refusal {
            Some(refusal) if for_good(&refusal) => {
                self.stop(StopReason::Refused(refusal), outputs);
            }
            _ => self.replay_at = Some(now + REPLAY_PAUSE),
        }
    }

    fn tick(&mut self, now: Instant, feed_drained: bool, outputs: &mut Vec<SpliceOutput<T>>) {
        if self.replay_at.is_some_and(|at| at <= now) {
            self.replay_at = None;
            if matches!(self.phase, Phase::Replaying { .. }) {
                outputs.push(SpliceOutput::Replay { from: self.detector.last().next() });
            }
        }
        if self.silent_at <= now && feed_drained {
            self.counters.reconnects += 1;
            self.silent_attempts = self.silent_attempts.saturating_add(1);
            let patience = self.heartbeat * HEARTBEATS_MISSED_MAX;
            self.silent_at = now + patience * self.silent_attempts.min(4);
            outputs.push(SpliceOutput::Subscribe { attempt: self.silent_attempts });
        }
    }

    fn stop(&mut self, reason: StopReason, outputs: &mut Vec<SpliceOutput<T>>) {
        self.phase = Phase::Stopped;
        self.buffer.clear();
        outputs.push(SpliceOutput::Stop(reason));
    }
}

#[cfg(test)]
#[path = "splice_tests.rs"]
mod tests;
