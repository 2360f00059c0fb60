//! Which read gets the next block: credit, fairness and limits, without sockets and disks.
//!
//! ```text
//!            READ                    fetch turn                 read from disk
//!   client ───────► Ready ──────────────────────► Fetching ──────────────────┐
//!                     ▲ credit left                  ▲  │ head or index not   ▼
//!                     ├───────── Starved ◄──┐        │  └──► Waiting ──┘   Sending ──► end
//!                     └─────────────────────┴────────┴── delivered ──────────┘
//! ```
//!
//! A read has one block on its way at most, and a peer only a few: its other reads wait, each a few
//! hundred bytes. So what a peer can make us hold is bounded, and many small reads at a time are as
//! good as a few long ones. Peers take turns, and so do the reads of each.

mod protocol;
mod standing;
mod turns;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use broker::error_code::ErrorCode;
use bytes::Bytes;

use crate::event::Epoch;
use crate::server::answer::Failure;
use crate::wire::replay::{BLOCK_BYTES_MAX, Block, Read, ReadSource, ReplayAnswer, RequestNumber};

pub(super) use self::protocol::{Delivery, Fetch, Fetcher, Input, Outcome, Output, Ticket};
use self::turns::Turns;

/// Smallest block that is worth a message.
const BLOCK_BYTES_MIN: u32 = 4096;
/// Largest block that the loop fetches itself: the events of a usual stream fit in.
const HERE_BYTES_MAX: u32 = 64 * 1024;
/// How often the head or the index is looked at again for a read that waits for it.
const HEAD_RETRY: Duration = Duration::from_millis(10);
/// How soon a message that found its pipe full is offered again.
const FULL_RETRY: Duration = Duration::from_millis(20);

/// Bounds of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Most reads of one peer, those included that wait for their turn.
    pub(super) peer_reads_max: usize,
    /// Most reads of all peers.
    pub(super) reads_max: usize,
    /// Most blocks that are being read for one peer, or that it has not taken.
    pub(super) peer_blocks_max: usize,
    /// Most such blocks of all peers.
    pub(super) blocks_max: usize,
    /// Most fetches under way: one on the disk and one behind it keep the disk busy.
    pub(super) fetches_max: usize,
    /// How long a read waits for the head to reach its `at_least`, for the index, and for the
    /// leader to be confirmed.
    pub(super) head_wait: Duration,
    /// How long a read may stand without credit, or unable to be sent, before it is forgotten.
    pub(super) idle_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            peer_reads_max: 256,
            reads_max: 4096,
            peer_blocks_max: 4,
            blocks_max: 64,
            fetches_max: 2,
            head_wait: Duration::from_secs(5),
            idle_max: Duration::from_secs(60),
        }
    }
}

/// All reads under way.
#[derive(Debug)]
pub(super) struct ReplaySchedule {
    limits: Limits,
    reads: BTreeMap<Ticket, Reading>,
    turns: Turns,
    fetching: usize,
    tickets: u64,
}

#[derive(Debug)]
struct Reading {
    peer: Bytes,
    /// What is still to be read.
    read: Read,
    sent_bytes: u64,
    state: State,
    moved: Instant,
    /// Since when it has waited for the head or the index.
    behind: Option<Instant>,
}

#[derive(Debug)]
enum State {
    Confirming { until: Instant },
    Ready,
    Fetching,
    Waiting { again: Instant },
    Sending { answer: ReplayAnswer, last: bool, again: Option<Instant> },
    Starved,
}

impl ReplaySchedule {
    pub(super) fn new(limits: Limits) -> Self {
        let turns = Turns::new(limits.peer_blocks_max, limits.blocks_max);
        Self { limits, reads: BTreeMap::new(), turns, fetching: 0, tickets: 0 }
    }

    /// How many reads there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.reads.len()
    }

    /// How many reads of each peer have a block in hand, and what is counted for all.
    #[cfg(test)]
    fn blocks(&self) -> (BTreeMap<Bytes, usize>, usize) {
        let mut each = BTreeMap::new();
        for reading in self.reads.values() {
            if matches!(reading.state, State::Fetching | State::Sending { .. }) {
                *each.entry(reading.peer.clone()).or_default() += 1;
            }
        }
        (each, self.turns.blocks())
    }

    /// When to call with [`Input::Tick`] at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let due = |reading: &Reading| match &reading.state {
            State::Waiting { again: at }
            | State::Sending { again: Some(at), .. }
            | State::Confirming { until: at } => Some(*at),
            State::Starved => Some(reading.moved + self.limits.idle_max),
            State::Ready | State::Fetching | State::Sending { again: None, .. } => None,
        };
        self.reads.values().filter_map(due).min()
    }

    /// Takes one input; what is to be done is appended to `outputs`.
    pub(super) fn handle(&mut self, now: Instant, input: Input, outputs: &mut Vec<Output>) {
        match input {
            Input::Read { peer, read } => self.begin(now, peer, read, outputs),
            Input::Credit { peer, request, credit_bytes } => {
                self.credit(now, &peer, request, credit_bytes);
            }
            Input::Cancel { peer, request } => {
                if let Some(ticket) = self.turns.find(&peer, request) {
                    self.forget(ticket);
                }
            }
            Input::Confirmed { ticket, refusal } => self.confirmed(now, ticket, refusal, outputs),
            Input::Fetched { ticket, outcome } => self.fetched(now, ticket, outcome, outputs),
            Input::Delivered { ticket, delivery } => self.delivered(now, ticket, delivery),
            Input::Tick => self.tick(now, outputs),
        }
        self.give_turns(outputs);
    }

    fn begin(&mut self, now: Instant, peer: Bytes, read: Read, outputs: &mut Vec<Output>) {
        if let Some((code, sentence)) = self.refusal(&peer, read.request) {
            let answer = fail(read.request, &Failure::new(code, sentence));
            outputs.push(Output::Tell { peer, answer });
            return;
        }
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let state = if read.strong {
            outputs.push(Output::Confirm { ticket });
            State::Confirming { until: now + self.limits.head_wait }
        } else {
            State::Starved
        };
        self.turns.add(&peer, read.request, ticket);
        let reading = Reading { peer, read, sent_bytes: 0, state, moved: now, behind: None };
        self.reads.insert(ticket, reading);
        self.resume(ticket);
    }

    fn refusal(&self, peer: &Bytes, request: RequestNumber) -> Option<(ErrorCode, &'static str)> {
        let Limits { peer_reads_max, reads_max, .. } = self.limits;
        if self.turns.find(peer, request).is_some() {
            Some((ErrorCode::INVALID_ARGUMENT, "this request number is in use: choose another"))
        } else if self.turns.reads_of(peer) >= peer_reads_max || self.reads.len() >= reads_max {
            Some((ErrorCode::BUSY, "too many reads are under way: finish or cancel one first"))
        } else if self.turns.is_full() {
            Some((ErrorCode::BUSY, "too many readers don't take what they asked for: try again"))
        } else {
            None
        }
    }

    fn confirmed(
        &mut self,
        now: Instant,
        ticket: Ticket,
        refusal: Option<Failure>,
        outputs: &mut Vec<Output>,
    ) {
        let Some(reading) = self.reads.get_mut(&ticket) else {
            return;
        };
        // Only the first answer counts; none may come after the read was given up.
        if !matches!(reading.state, State::Confirming { .. }) {
            return;
        }
        (reading.state, reading.moved) = (State::Starved, now);
        match refusal {
            None => self.resume(ticket),
            Some(failure) => self.end(ticket, &failure, outputs),
        }
    }

    /// Ends a read that has not come to a fetch.
    fn end(&mut self, ticket: Ticket, failure: &Failure, outputs: &mut Vec<Output>) {
        if let Some(reading) = self.forget(ticket) {
            let answer = fail(reading.read.request, failure);
            outputs.push(Output::Tell { peer: reading.peer, answer });
        }
    }

    fn credit(&mut self, now: Instant, peer: &Bytes, request: RequestNumber, credit_bytes: u64) {
        let Some(ticket) = self.turns.find(peer, request) else {
            return;
        };
        if let Some(reading) = self.reads.get_mut(&ticket) {
            reading.moved = now;
            reading.read.credit_bytes = reading.read.credit_bytes.max(credit_bytes);
        }
        self.resume(ticket);
    }

    /// Makes a read that stands still for want of credit ready, if it has some now.
    fn resume(&mut self, ticket: Ticket) {
        if let Some(reading) = self.reads.get_mut(&ticket)
            && matches!(reading.state, State::Starved)
            && reading.sent_bytes < reading.read.credit_bytes
        {
            reading.state = State::Ready;
            self.turns.wait(&reading.peer, ticket);
        }
    }

    /// Ready reads are fetched for in turn, as many at a time as the disk can take.
    fn give_turns(&mut self, outputs: &mut Vec<Output>) {
        while self.fetching < self.limits.fetches_max
            && let Some(ticket) = self.turns.give()
        {
            if let Some(reading) = self.reads.get_mut(&ticket) {
                reading.state = State::Fetching;
                let mut fetch = reading.fetch();
                let by = reading.fetcher(self.fetching);
                if by == Fetcher::Loop {
                    fetch.bytes_max = fetch.bytes_max.min(HERE_BYTES_MAX);
                }
                self.fetching += 1;
                outputs.push(Output::Fetch { ticket, fetch, by });
            }
        }
    }

    fn fetched(
        &mut self,
        now: Instant,
        ticket: Ticket,
        outcome: Outcome,
        outputs: &mut Vec<Output>,
    ) {
        self.fetching = self.fetching.saturating_sub(1);
        // A read that was cancelled meanwhile is no longer here.
        let Some(reading) = self.reads.get_mut(&ticket) else {
            return;
        };
        let request = reading.read.request;
        let (answer, last) = match outcome {
            Outcome::Block { mut block, next, end } => {
                reading.advance(&block, next);
                reading.behind = None;
                (block.request, block.end) = (request, end);
                (ReplayAnswer::Block(block), end)
            }
            Outcome::Behind { .. } | Outcome::IndexBehind
                if now < *reading.behind.get_or_insert(now) + self.limits.head_wait =>
            {
                self.turns.release(&reading.peer);
                reading.state = State::Waiting { again: now + HEAD_RETRY };
                return;
            }
            Outcome::Behind { head } => {
                let failure = Failure::new(
                    ErrorCode::INDEX_BEHIND,
                    "the head has not reached the place that was asked for: try again",
                );
                let failure =
                    failure.number("have", head.0).number("want", reading.read.at_least.0);
                (fail(request, &failure), true)
            }
            Outcome::IndexBehind => {
                let sentence = "the index is being made anew from the log: try again";
                (fail(request, &Failure::new(ErrorCode::INDEX_BEHIND, sentence)), true)
            }
            Outcome::Failed(failure) => (fail(request, &failure), true),
        };
        let peer = reading.peer.clone();
        reading.moved = now;
        reading.state = State::Sending { answer: answer.clone(), last, again: None };
        outputs.push(Output::Send { ticket, peer, answer });
    }

    fn delivered(&mut self, now: Instant, ticket: Ticket, delivery: Delivery) {
        let idle_max = self.limits.idle_max;
        let Some(reading) = self.reads.get_mut(&ticket) else {
            return;
        };
        let State::Sending { last, again, .. } = &mut reading.state else {
            return;
        };
        match delivery {
            Delivery::Done if *last => drop(self.forget(ticket)),
            Delivery::Done => {
                self.turns.release(&reading.peer);
                reading.state = State::Starved;
                reading.moved = now;
                self.resume(ticket);
            }
            Delivery::Full if now < reading.moved + idle_max => *again = Some(now + FULL_RETRY),
            Delivery::Full => drop(self.forget(ticket)),
            Delivery::Unreachable => {
                for ticket in self.turns.remove_peer(&reading.peer.clone()) {
                    self.reads.remove(&ticket);
                }
            }
        }
    }

    fn tick(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        let mut given_up = Vec::new();
        for (ticket, reading) in &mut self.reads {
            match &mut reading.state {
                State::Waiting { again } if *again <= now => {
                    reading.state = State::Ready;
                    self.turns.wait(&reading.peer, *ticket);
                }
                State::Sending { answer, again, .. } if again.is_some_and(|at| at <= now) => {
                    *again = None;
                    let (peer, answer) = (reading.peer.clone(), answer.clone());
                    outputs.push(Output::Send { ticket: *ticket, peer, answer });
                }
                State::Starved if reading.moved + self.limits.idle_max <= now => {
                    let sentence = "no credit came for a minute: read again from where you are";
                    given_up.push((*ticket, Failure::new(ErrorCode::EXPIRED, sentence)));
                }
                State::Confirming { until } if *until <= now => {
                    let sentence = "the leader could not be confirmed in time: try again";
                    given_up.push((*ticket, Failure::new(ErrorCode::BUSY, sentence)));
                }
                _ => {}
            }
        }
        for (ticket, failure) in given_up {
            self.end(ticket, &failure, outputs);
        }
    }

    fn forget(&mut self, ticket: Ticket) -> Option<Reading> {
        let reading = self.reads.remove(&ticket)?;
        if matches!(reading.state, State::Fetching | State::Sending { .. }) {
            self.turns.release(&reading.peer);
        }
        self.turns.remove(&reading.peer, reading.read.request);
        Some(reading)
    }
}

impl Reading {
    fn fetch(&self) -> Fetch {
        let credit = self.read.credit_bytes.saturating_sub(self.sent_bytes);
        let asked = self.read.block_bytes_max.min(u32::try_from(credit).unwrap_or(u32::MAX));
        let bytes_max = asked.clamp(BLOCK_BYTES_MIN, BLOCK_BYTES_MAX);
        Fetch { read: self.read.clone(), bytes_max }
    }

    /// Who fetches the next block while so many other fetches are under way. The first block of a
    /// stream, or events by their ids, are a few records whose places the index knows: while nobody
    /// else reads the loop does that sooner itself than it could hand it over. All else may take
    /// long, and STATUS and credit are not to wait for it.
    fn fetcher(&self, fetching: usize) -> Fetcher {
        match self.read.source {
            ReadSource::Stream(_) | ReadSource::Ids(_) if fetching == 0 && self.sent_bytes == 0 => {
                Fetcher::Loop
            }
            _ => Fetcher::Reader,
        }
    }

    fn advance(&mut self, block: &Block, next: u64) {
        let bytes = u64::try_from(block.records.len()).unwrap_or(u64::MAX);
        self.sent_bytes = self.sent_bytes.saturating_add(bytes);
        self.read.from = next;
        // What was sent is of the history that this node has.
        self.read.epoch = Epoch::ZERO;
        // A limit that is used up ends the read, so it never falls to 0, which means none.
        if self.read.count_max > 0 {
            let count = u64::from(block.count);
            self.read.count_max = self.read.count_max.saturating_sub(count).max(1);
        }
    }
}

fn fail(request: RequestNumber, failure: &Failure) -> ReplayAnswer {
    ReplayAnswer::Fail { request, refusal: failure.refusal() }
}

#[cfg(test)]
mod tests;
