//! One partition as the leader sees it: where the follower is, and what is under way to it.

use std::collections::VecDeque;

use super::search::Search;
use crate::pair::message::{Ack, Mark};

/// A follower that lacks no more records than this is near: a leader under load is always a little
/// ahead of what it has sent.
const NEAR_RECORDS: u64 = 1024;

/// One partition.
#[derive(Debug, Clone)]
pub(super) struct Lane {
    /// Newest sequence in our log (inclusive).
    pub(super) written: u64,
    /// Newest committed sequence (inclusive).
    pub(super) committed: u64,
    /// Newest sequence whose acknowledgement counts in this epoch (inclusive).
    pub(super) counted: u64,
    /// Newest sequence that the follower has synced (inclusive).
    pub(super) synced: u64,
    pub(super) stage: Stage,
    /// Ticks since something was last heard that this lane waits for.
    pub(super) waited: u32,
    /// Whether it stands in the queue of those that want to read.
    pub(super) queued: bool,
}

/// How far the two logs have come.
#[derive(Debug, Clone)]
pub(super) enum Stage {
    /// The follower has not said where its log ends.
    Unknown,
    /// Looking for the last place in which both agree.
    Searching(Search),
    /// The follower was told to cut.
    Cutting(Mark),
    /// Records flow.
    Streaming(Stream),
}

/// The flow of records.
#[derive(Debug, Clone, Default)]
pub(super) struct Stream {
    /// Newest sequence that was sent (inclusive).
    pub(super) sent: u64,
    /// Newest committed sequence that the follower was told (inclusive).
    pub(super) told: u64,
    /// Whether a block is being read.
    pub(super) reading: bool,
    /// Last sequence and bytes of what was sent and is not known to be written.
    flying: VecDeque<(u64, usize)>,
}

impl Lane {
    pub(super) const fn new(written: u64, committed: u64) -> Self {
        let stage = Stage::Unknown;
        Self { written, committed, counted: 0, synced: 0, stage, waited: 0, queued: false }
    }

    /// Whether records flow.
    pub(super) const fn is_streaming(&self) -> bool {
        matches!(self.stage, Stage::Streaming(_))
    }

    /// Whether what was not sent yet is little.
    pub(super) const fn is_near(&self) -> bool {
        match &self.stage {
            Stage::Streaming(stream) => stream.sent.saturating_add(NEAR_RECORDS) >= self.written,
            _ => false,
        }
    }

    /// Whether the follower owes acknowledgements.
    pub(super) const fn owes(&self) -> bool {
        self.counted < self.written
    }

    /// The next sequence to read, if there is one and no other read is under way.
    pub(super) const fn wanted(&self) -> Option<u64> {
        match &self.stage {
            Stage::Streaming(stream) if !stream.reading && stream.sent < self.written => {
                Some(stream.sent + 1)
            }
            _ => None,
        }
    }

    /// Bytes that are sent and not known to be written.
    pub(super) fn flying_bytes(&self) -> usize {
        match &self.stage {
            Stage::Streaming(stream) => stream.flying.iter().map(|(_, bytes)| bytes).sum(),
            _ => 0,
        }
    }
}

impl Stream {
    /// A flow that begins behind `sent`.
    pub(super) fn after(sent: u64) -> Self {
        Self { sent, ..Self::default() }
    }

    /// A block has left.
    pub(super) fn sent(&mut self, last: u64, bytes: usize) {
        self.sent = last;
        self.flying.push_back((last, bytes));
    }

    /// The follower has written up to here, and asks for what follows `accepted` if there is a
    /// gap. How many bytes are no longer under way.
    pub(super) fn acknowledged(&mut self, ack: &Ack) -> usize {
        let mut landed = 0;
        while let Some((last, bytes)) = self.flying.front().copied() {
            if last > ack.written {
                break;
            }
            landed += bytes;
            self.flying.pop_front();
        }
        if ack.gap && ack.accepted < self.sent {
            self.sent = ack.accepted;
            while let Some((last, bytes)) = self.flying.back().copied() {
                if last <= ack.accepted {
                    break;
                }
                landed += bytes;
                self.flying.pop_back();
            }
        }
        landed
    }
}
