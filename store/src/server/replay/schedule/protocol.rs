//! What goes into the schedule of reads, and what comes out of it.

use bytes::Bytes;

use crate::event::Sequence;
use crate::server::answer::Failure;
use crate::wire::replay::{Block, Read, ReadDirection, ReplayAnswer, RequestNumber};

/// One read; numbers are never used twice, so a late result can't reach another read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in super::super) struct Ticket(pub(in super::super) u64);

/// What the loop tells the machine.
#[derive(Debug, Clone)]
pub(in super::super) enum Input {
    /// A peer wants to read.
    Read {
        /// Its routing id.
        peer: Bytes,
        /// What it wants.
        read: Read,
    },
    /// A peer raises a read's credit.
    Credit {
        /// Its routing id.
        peer: Bytes,
        /// The read.
        request: RequestNumber,
        /// Cumulative.
        credit_bytes: u64,
    },
    /// A peer no longer wants a read.
    Cancel {
        /// Its routing id.
        peer: Bytes,
        /// The read.
        request: RequestNumber,
    },
    /// A [`Output::Confirm`] has been carried out.
    Confirmed {
        /// The read.
        ticket: Ticket,
        /// Why the read can't go on, if this node does not lead or could not be confirmed.
        refusal: Option<Failure>,
    },
    /// A [`Output::Fetch`] has been carried out.
    Fetched {
        /// The read.
        ticket: Ticket,
        /// What came of it.
        outcome: Outcome,
    },
    /// A [`Output::Send`] has been carried out.
    Delivered {
        /// The read.
        ticket: Ticket,
        /// What came of it.
        delivery: Delivery,
    },
    /// Time has gone by.
    Tick,
}

/// What came of a fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Outcome {
    /// A block, possibly empty; its request number and `end` are filled in here.
    Block {
        /// The block.
        block: Block,
        /// Where the read goes on.
        next: u64,
        /// Whether there is nothing more.
        end: bool,
    },
    /// The head has not reached `at_least`.
    Behind {
        /// Where it is.
        head: Sequence,
    },
    /// The index can't tell where the records are before part of it is made anew.
    IndexBehind,
    /// It can't be read.
    Failed(Failure),
}

/// What came of sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Delivery {
    /// libzmq has it.
    Done,
    /// No room now.
    Full,
    /// The peer is gone.
    Unreachable,
}

/// What the loop has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Output {
    /// Find out whether this node leads, at a time from now on, then say [`Input::Confirmed`].
    Confirm {
        /// The read.
        ticket: Ticket,
    },
    /// Have a block fetched, then say [`Input::Fetched`].
    Fetch {
        /// The read.
        ticket: Ticket,
        /// What to fetch.
        fetch: Fetch,
        /// By whom.
        by: Fetcher,
    },
    /// Send an answer of a read, then say [`Input::Delivered`].
    Send {
        /// The read.
        ticket: Ticket,
        /// To whom.
        peer: Bytes,
        /// What.
        answer: ReplayAnswer,
    },
    /// Send an answer that belongs to no read of ours; nothing follows.
    Tell {
        /// To whom.
        peer: Bytes,
        /// What.
        answer: ReplayAnswer,
    },
}

/// Which thread fetches a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Fetcher {
    /// The loop itself, before it does anything else.
    Loop,
    /// The reader thread.
    Reader,
}

/// The next part of a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Fetch {
    /// The read as the client asked for it, with `from` and `count_max` as far as they are still
    /// to be read.
    pub(in super::super) read: Read,
    /// Most bytes of records, unless a single one is larger.
    pub(in super::super) bytes_max: u32,
}

impl Fetch {
    /// Whether the read goes towards the head.
    pub(in super::super) fn is_forward(&self) -> bool {
        self.read.direction == ReadDirection::Forward
    }
}
