//! Joining feed and replay of one partition: every record once, in order, whoever leads.
//!
//! ```text
//!   Joining ── proof: a heartbeat or records ──┬── nothing missing ──> Following
//!                                              │                      │      ^
//!                                              └── history missing ──>│ gap, │ the replay met
//!                                                                     v cut? │ what is buffered,
//!                                                                  Replaying ┘ or the head
//! ```
//!
//! While history is replayed, feed messages are kept in a bounded buffer of one unbroken run. A
//! subscriber that is slower than the feed therefore ends up reading nothing but replayed blocks,
//! at its own pace: that is pull mode, and it needs no state of its own.
//!
//! A new reign goes on where the former ones end. Its messages say where that is (`cut`), and if
//! that lies before what was read, the subscription stops. Whoever missed a reign in between
//! takes no message before a store has found, by an epoch sent along with the question, that what
//! was read is still in the log.
//!
//! A filtered feed, and filtered history, follow the same rules: places are sequences of the
//! partition, and what is covered moves on by what was looked at, with or without records.

mod buffer;
mod footing;
mod message;

use std::time::{Duration, Instant};

use broker::error_code::ErrorCode;
use store::event::{Epoch, Sequence};

use self::buffer::Buffer;
use self::footing::{Announcement, Footing, Ground};
pub use self::message::{
    FeedMessage, ReplayedBlock, SpliceCounters, SpliceInput, SpliceOutput, StopReason,
};
use super::options::OnGap;
use crate::error::Refusal;
use crate::gap::{GapDetector, Span, Verdict};
use crate::pause::Pauses;
use crate::position::Position;

/// Heartbeats missed before the feed counts as silent.
const HEARTBEATS_MISSED_MAX: u32 = 2;
/// Bounds of a publisher's heartbeat interval as we believe it, and what is assumed at first.
const HEARTBEAT_MIN: Duration = Duration::from_millis(100);
const HEARTBEAT_MAX: Duration = Duration::from_secs(10);
const HEARTBEAT_ASSUMED: Duration = Duration::from_millis(500);

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
    footing: Footing,
    /// Knows the place, and the highest epoch heard of: above the footing's while that epoch's
    /// log is not known to reach to the place.
    detector: GapDetector,
    /// Newest committed sequence heard of in the newest reign (inclusive).
    head: Sequence,
    buffer: Buffer<T>,
    /// Whether the read under way has not answered yet: its store has compared our place with its
    /// log as it was then.
    fresh: bool,
    /// When to subscribe again if nothing is heard.
    silent_at: Instant,
    silent_attempts: u32,
    heartbeat: Duration,
    /// When to ask again for history that did not come.
    replay_at: Option<Instant>,
    pauses: Pauses,
    counters: SpliceCounters,
}

impl<T> Splice<T> {
    /// For a subscriber at `position` that is subscribing now. The seed decides how long pauses
    /// are.
    #[must_use]
    pub fn new(now: Instant, position: Position, on_gap: OnGap, seed: u64) -> Self {
        Self {
            on_gap,
            phase: Phase::Joining,
            footing: Footing::new(position),
            detector: GapDetector::new(position.sequence, position.epoch),
            head: Sequence::ZERO,
            buffer: Buffer::new(),
            fresh: false,
            silent_at: now + HEARTBEAT_ASSUMED * HEARTBEATS_MISSED_MAX,
            silent_attempts: 0,
            heartbeat: HEARTBEAT_ASSUMED,
            replay_at: None,
            pauses: Pauses::new(seed),
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

    /// Whether the feed has said nothing for longer than its heartbeats allow.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.silent_attempts > 0
    }

    /// Where the subscriber is.
    #[must_use]
    pub fn position(&self) -> Position {
        self.footing.at(self.detector.last())
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
        let Span { epoch, last: head, .. } = message.span;
        if epoch < self.detector.epoch() {
            return;
        }
        self.heartbeat = message.heartbeat.clamp(HEARTBEAT_MIN, HEARTBEAT_MAX);
        self.silent_at = now + self.heartbeat * HEARTBEATS_MISSED_MAX;
        self.silent_attempts = 0;
        let said = Announcement { lineage: message.lineage, epoch, cut: message.cut, head };
        let ground = self.footing.judge(self.detector.last(), &said);
        if let Ground::Lost { other_lineage } = ground {
            self.lost(&said, other_lineage, outputs);
            return;
        }
        self.raise(epoch);
        self.head = self.head.max(head);
        if ground == Ground::Firm {
            self.footing.confirm(message.lineage, epoch);
        }
        if matches!(self.phase, Phase::Replaying { .. }) {
            self.buffer.keep(message);
            return;
        }
        if ground == Ground::Unsure {
            self.replay(false, outputs);
            self.buffer.keep(message);
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

    /// Hears of a reign. What was heard of former ones may be cut off.
    fn raise(&mut self, epoch: Epoch) {
        if epoch > self.detector.epoch() {
            self.counters.failovers += u64::from(self.phase != Phase::Joining);
            self.detector.raise(epoch);
            self.buffer.clear();
            self.head = Sequence::ZERO;
        }
    }

    fn lost(
        &mut self,
        said: &Announcement,
        other_lineage: bool,
        outputs: &mut Vec<SpliceOutput<T>>,
    ) {
        let (lineage, epoch) = (Some(said.lineage), said.epoch);
        let head = Position { lineage, epoch, sequence: said.head.max(said.cut) };
        let position = self.position();
        let cut = if other_lineage { Sequence::ZERO } else { said.cut };
        self.stop(StopReason::AheadOfLog { position, head, cut, other_lineage }, outputs);
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
        self.replay(gap, outputs);
        self.buffer.keep(message);
    }

    fn replay(&mut self, gap: bool, outputs: &mut Vec<SpliceOutput<T>>) {
        self.phase = Phase::Replaying { gap };
        self.replay_at = None;
        self.fresh = true;
        let from = self.detector.last().next();
        outputs.push(SpliceOutput::Replay { from, epoch: self.footing.confirmed() });
    }

    /// Gives up the read under way; another one follows after a pause.
    fn replay_later(&mut self, now: Instant) {
        self.replay_at = Some(now + self.pauses.next());
    }

    fn block(&mut self, now: Instant, block: ReplayedBlock<T>, outputs: &mut Vec<SpliceOutput<T>>) {
        let Phase::Replaying { gap } = self.phase else { return };
        let Span { epoch, previous, .. } = block.span;
        let place = self.detector.last();
        if place > Sequence::ZERO && self.footing.is_other(block.lineage) {
            let (lineage, head) = (block.lineage, block.head);
            let said = Announcement { lineage, epoch, cut: Sequence::ZERO, head };
            self.lost(&said, true, outputs);
            return;
        }
        let unheard_of = epoch > self.footing.confirmed() && place > Sequence::ZERO;
        // A member that has not heard of the newest reign, or whose log does not reach to our
        // place and so can't tell whether it still is in the log, or that answers something else.
        let behind = epoch < self.detector.epoch() || (unheard_of && block.head < place);
        if behind || previous > place {
            self.replay_later(now);
            outputs.push(SpliceOutput::StopReplay { behind });
            return;
        }
        if unheard_of && !self.fresh {
            // The reign changed within a read: what it brings now was not compared with our place.
            self.raise(epoch);
            self.replay(gap, outputs);
            return;
        }
        self.fresh = false;
        self.raise(epoch);
        self.footing.confirm(block.lineage, epoch);
        self.head = self.head.max(block.head);
        let end = block.end;
        let progress = self.take(gap, block, outputs);
        let met = self.splice(outputs);
        if met || (end && self.detector.last() >= self.head) {
            self.phase = Phase::Following;
            self.counters.gaps_repaired += u64::from(gap);
            if !end {
                outputs.push(SpliceOutput::StopReplay { behind: false });
            }
        } else if end && progress {
            self.replay(gap, outputs);
        } else if end {
            self.replay_later(now);
        }
    }

    /// Hands out a block; whether it brought something new.
    fn take(
        &mut self,
        gap: bool,
        block: ReplayedBlock<T>,
        outputs: &mut Vec<SpliceOutput<T>>,
    ) -> bool {
        let (after, last) = (self.detector.last(), block.span.last);
        if last <= after {
            return false;
        }
        self.pauses.reset();
        self.counters.pull_mode_blocks += u64::from(gap);
        self.detector.delivered(last);
        let (records, position) = (block.records, self.position());
        outputs.push(SpliceOutput::Deliver { after, records, position });
        true
    }

    /// Hands out what is buffered, if the replay has reached it; whether it has.
    fn splice(&mut self, outputs: &mut Vec<SpliceOutput<T>>) -> bool {
        let mut met = false;
        while let Some(message) = self.buffer.next_behind(self.detector.last()) {
            met = true;
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
        let position = self.position();
        match message.records {
            Some(records) => {
                self.count_duplicate(message.first <= after);
                outputs.push(SpliceOutput::Deliver { after, records, position });
            }
            None => outputs.push(SpliceOutput::Moved { position }),
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
        match refusal {
            Some(refusal) if refusal.code == ErrorCode::AHEAD_OF_LOG => {
                self.refused_as_ahead(now, refusal, outputs);
            }
            Some(refusal) if is_for_good(refusal.code) => {
                self.stop(StopReason::Refused(refusal), outputs);
            }
            _ => self.replay_later(now),
        }
    }

    /// A store says that its log parts from what was read, and names its head, the cut, and its
    /// epoch.
    fn refused_as_ahead(
        &mut self,
        now: Instant,
        refusal: Refusal,
        outputs: &mut Vec<SpliceOutput<T>>,
    ) {
        let number = |name| refusal.number(name);
        let (Some(head), Some(cut)) = (number("head"), number("cut")) else {
            self.stop(StopReason::Refused(refusal), outputs);
            return;
        };
        let epoch = number("epoch").map_or(self.detector.epoch(), Epoch);
        let position = self.position();
        // A member of a reign that is over, or one that contradicts itself, is not believed.
        if epoch < self.detector.epoch() || cut >= position.sequence.0 {
            self.replay_later(now);
            return;
        }
        let lineage = position.lineage;
        let head = Position { lineage, epoch, sequence: Sequence(head) };
        let (cut, other_lineage) = (Sequence(cut), false);
        self.stop(StopReason::AheadOfLog { position, head, cut, other_lineage }, outputs);
    }

    fn tick(&mut self, now: Instant, feed_drained: bool, outputs: &mut Vec<SpliceOutput<T>>) {
        if self.replay_at.is_some_and(|at| at <= now) {
            self.replay_at = None;
            if let Phase::Replaying { gap } = self.phase {
                self.replay(gap, outputs);
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

/// Whether no other attempt can bring the history. A store's processes may just be changing, so
/// its absence is no end.
fn is_for_good(code: ErrorCode) -> bool {
    !code.retry() && code != ErrorCode::STORE_NOT_FOUND
}

#[cfg(test)]
mod history_tests;
#[cfg(test)]
mod tests;
