//! What goes into a [`Splice`](super::Splice), and what comes out of it.

use std::time::Duration;

use store::event::{Epoch, Sequence};

use crate::error::Refusal;
use crate::gap::Span;
use crate::position::{Lineage, Position};

/// A message of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedMessage<T> {
    /// Lineage of the publisher's history.
    pub lineage: Lineage,
    /// What it covers; a heartbeat shows the head. In a filtered feed it covers more than records.
    pub span: Span,
    /// Where the former reigns end: the last sequence before the publisher's own (inclusive).
    pub cut: Sequence,
    /// The publisher's heartbeat interval.
    pub heartbeat: Duration,
    /// The first record's sequence (inclusive); zero in a heartbeat.
    pub first: Sequence,
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
    /// What it covers; `previous` and `last` are equal if it holds no records, unless the history
    /// is filtered.
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
    /// The time of [`Splice::deadline`](super::Splice::deadline) has come.
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
    /// Nothing for the subscriber lies between its last position and this one.
    Moved {
        /// The subscriber's position.
        position: Position,
    },
    /// Ask for history from this sequence on (inclusive), up to the head. Replaces what was asked
    /// for before.
    Replay {
        /// First sequence needed.
        from: Sequence,
        /// Highest epoch whose log is known to reach to the place before it; the store refuses if
        /// its log parts from that one earlier.
        epoch: Epoch,
    },
    /// History is no longer needed, or not from the member that sends it.
    StopReplay {
        /// Whether that member is behind the others.
        behind: bool,
    },
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
    /// The log parts from what the subscriber has read, or is of another lineage.
    AheadOfLog {
        /// Where the subscriber is.
        position: Position,
        /// Where the log ends.
        head: Position,
        /// Last sequence that the log and what was read may have in common (inclusive).
        cut: Sequence,
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
    /// Times that a new reign began: another leader, or the same one after a restart or with
    /// other members. It is all that a subscriber notices of it.
    pub failovers: u64,
}
