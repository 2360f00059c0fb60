//! How to subscribe, and what a subscription hands out.

use std::fmt;

use store::Filter;
use store::event::Event;
use store::slot::PartitionNumber;

use crate::position::{Checkpoint, Position};

/// What a subscription does about missing feed messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnGap {
    /// Ask the replayer for them and go on.
    #[default]
    Repair,
    /// Stop with an error, for those who want to be told.
    Stop,
}

/// What to subscribe to, and from where.
#[derive(Debug, Clone, Default)]
pub struct SubscribeOptions {
    /// Last events already taken (inclusive); partitions not named start at the beginning.
    pub from: Checkpoint,
    /// Only the events of a category or of one stream; `None` for all. Their positions are
    /// sequences of the partition, too: a checkpoint says how far the filter was covered, and so
    /// means nothing to a subscription with another filter.
    pub filter: Option<Filter>,
    /// Partitions; `None` for all of the store, or for the one where the filter's stream lives.
    pub partitions: Option<Vec<PartitionNumber>>,
    /// What to do about missing feed messages.
    pub on_gap: OnGap,
    /// Whether events of the system's own streams (`$…`) are handed out. They are counted by gap
    /// detection in any case. A filter that names a system stream, or a category of them, is given
    /// its events without this.
    pub system_streams: bool,
}

impl SubscribeOptions {
    /// All partitions, on from `checkpoint`.
    #[must_use]
    pub fn from(checkpoint: Checkpoint) -> Self {
        Self { from: checkpoint, ..Self::default() }
    }

    /// The same, but for these events only.
    #[must_use]
    pub fn only(self, filter: Filter) -> Self {
        Self { filter: Some(filter), ..self }
    }
}

/// Which events a filter lets through.
pub(crate) fn described(filter: Option<&Filter>) -> String {
    match filter {
        None => "all events".to_owned(),
        Some(Filter::Category(category)) => format!("category {category}"),
        Some(Filter::Stream(stream)) => format!("stream {stream}"),
    }
}

/// Some events of one partition, in order, and where one stands after them.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The partition.
    pub partition: PartitionNumber,
    /// The events; empty if all that happened was in streams that were not asked for. A filtered
    /// subscription to a quiet category hears of that once per heartbeat, so that its checkpoint
    /// does not stay behind.
    pub events: Vec<Event>,
    /// The checkpoint after this batch: store it together with the batch's effects.
    pub position: Position,
}

/// What a subscription went through since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SubscriptionCounters {
    /// Events handed out.
    pub events: u64,
    /// Times that feed messages were missing.
    pub gaps_found: u64,
    /// Gaps filled by replay.
    pub gaps_repaired: u64,
    /// Events that were in the log and were never handed out. A gap is repaired or the
    /// subscription stops, so anything but 0 is a fault.
    pub events_lost: u64,
    /// Feed messages that brought events which were had already.
    pub duplicates_dropped: u64,
    /// Times that a silent feed was subscribed to again.
    pub reconnects: u64,
    /// Blocks of history taken instead of feed messages while catching up with the feed.
    pub pull_mode_blocks: u64,
    /// Times that a partition went on in a new reign: another leader, or the same one after a
    /// restart or with other members.
    pub failovers: u64,
}

impl fmt::Display for SubscriptionCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} events, gaps found {}, repaired {}, lost {}, doubled dropped {}, reconnects {}, \
             failovers {}",
            self.events,
            self.gaps_found,
            self.gaps_repaired,
            self.events_lost,
            self.duplicates_dropped,
            self.reconnects,
            self.failovers
        )
    }
}
