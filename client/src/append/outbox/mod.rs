//! The numbered append messages of one partition: sent in order, sent again, and judged.
//!
//! ```text
//!           submit ──> ToSend ──send──> UnderWay ──answered──> results
//!                        ^                  │
//!                        └── refused, lost ─┘        lost leaves a doubt, a refusal does not
//! ```
//!
//! The leader takes the messages of a session in the order of their numbers. It refuses a message
//! behind a hole and says which number it expects, so going back is always safe: nothing behind
//! the hole was done. After a refusal the outbox pauses, then sends the lowest message alone and
//! the others once that one is answered.
//!
//! A message is *in doubt* from the first attempt on of which neither an answer nor a definite
//! refusal came. A later refusal does not end the doubt, because a broker or a queue may still
//! hold the earlier attempt. Only success does, or a conflict that can never turn into success.

mod verdict;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::error_code::{ErrorCode, Outcome};
use bytes::Bytes;
use store::event::Epoch;
use store::wire::append::AppendDone;
use uuid::Uuid;

use super::AppendError;
use crate::append::coalescer::Window;
use crate::error::Refusal;
pub use verdict::Conclusion;
use verdict::{conclude_expired, conclude_refused, conclude_result};

/// First pause after a refusal that names none; it doubles with every refusal in a row.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// Longest pause after a refusal.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Longest pause while a leader is looked for: another one takes over within a second, and what
/// waits then should not add to that.
const LEADER_PAUSE_MAX: Duration = Duration::from_millis(100);

/// An answered message's contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Epoch that answered.
    pub epoch: Epoch,
    /// Nodes on which the appends are durable.
    pub durable_on: Arc<[Uuid]>,
    /// One result for each append of the message.
    pub results: Vec<Result<AppendDone, AppendError>>,
    /// Whether a conflict seen at this durability level is there to stay: at level `pair`, and at
    /// `local` without a peer.
    pub conflicts_last: bool,
}

/// Something that happened.
#[derive(Debug)]
pub enum OutboxInput<T> {
    /// A message to be sent behind all others.
    Submit {
        /// Its body.
        payload: Bytes,
        /// The appends in it, in order.
        appends: Vec<T>,
        /// When to give up.
        deadline: Instant,
    },
    /// A broker listens.
    LinkUp,
    /// The broker is gone; what was under way may or may not have arrived.
    LinkDown,
    /// The leader answered a message.
    Answered {
        /// Its number.
        number: u64,
        /// The answer.
        answer: Answer,
    },
    /// Broker or leader refused a message as a whole.
    Refused {
        /// Its number.
        number: u64,
        /// How.
        refusal: Refusal,
    },
    /// The time of [`Outbox::deadline`] has come.
    Tick,
}

/// Something for the loop to do.
#[derive(Debug, PartialEq, Eq)]
pub enum OutboxOutput<T> {
    /// Send a message.
    Send {
        /// Its number.
        number: u64,
        /// Lowest unanswered number (inclusive).
        lowest: u64,
        /// What is left of its time.
        time_left: Duration,
        /// Its body.
        payload: Bytes,
    },
    /// An append is over.
    Concluded {
        /// The append.
        append: T,
        /// How it ended.
        conclusion: Conclusion,
    },
    /// The refusal hints at a change of leaders or partitions: ask for the topology.
    AskTopology,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    ToSend,
    /// Sent at `since`, as the `order`-th of all attempts.
    UnderWay {
        since: Instant,
        order: u64,
    },
}

#[derive(Debug)]
struct Message<T> {
    number: u64,
    payload: Bytes,
    appends: Vec<T>,
    deadline: Instant,
    state: State,
    /// Whether it was sent at all.
    sent: bool,
    /// Whether an attempt ended without an answer.
    doubt: bool,
    /// The last definite refusal.
    refusal: Option<Refusal>,
}

/// See the module's comment.
#[derive(Debug)]
pub struct Outbox<T> {
    attempt_timeout: Duration,
    link_up: bool,
    /// Number of the next message.
    next_number: u64,
    attempts: u64,
    messages: VecDeque<Message<T>>,
    /// No sending before this.
    paused_until: Option<Instant>,
    refusals_in_a_row: u32,
    /// A refusal or a loss has not been followed by an answer yet: messages are sent singly.
    trouble: bool,
    /// The message that travels alone in times of trouble.
    probe: Option<u64>,
}

impl<T> Outbox<T> {
    /// An empty outbox. An attempt without an answer is repeated after `attempt_timeout`.
    #[must_use]
    pub fn new(attempt_timeout: Duration) -> Self {
        Self {
            attempt_timeout,
            link_up: false,
            next_number: 1,
            attempts: 0,
            messages: VecDeque::new(),
            paused_until: None,
            refusals_in_a_row: 0,
            trouble: false,
            probe: None,
        }
    }

    /// What has not been answered.
    #[must_use]
    pub fn under_way(&self) -> Window {
        let bytes = self.messages.iter().map(|message| message.payload.len()).sum();
        Window { messages: self.messages.len(), bytes }
    }

    /// When to hand in [`OutboxInput::Tick`].
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let give_up = self.messages.front().map(|message| message.deadline);
        let attempts = self.messages.iter().filter_map(|message| match message.state {
            State::UnderWay { since, .. } => Some(since + self.attempt_timeout),
            State::ToSend => None,
        });
        // While a message travels alone the end of a pause lets nothing else leave: a loop that
        // woke for it would wake again and again until that message is answered.
        let waits = self.link_up && self.probe.is_none() && !self.messages.is_empty();
        let resume = self.paused_until.filter(|_| waits);
        attempts.chain(give_up).chain(resume).min()
    }

    /// Takes an input; what is to be done is appended to `outputs`.
    pub fn handle(
        &mut self,
        now: Instant,
        input: OutboxInput<T>,
        outputs: &mut Vec<OutboxOutput<T>>,
    ) {
        match input {
            OutboxInput::Submit { payload, appends, deadline } => {
                self.submit(payload, appends, deadline);
            }
            OutboxInput::LinkUp => self.link_changed(true),
            OutboxInput::LinkDown => self.link_changed(false),
            OutboxInput::Answered { number, answer } => self.answered(number, answer, outputs),
            OutboxInput::Refused { number, refusal } => {
                self.refused(now, number, refusal, outputs);
            }
            OutboxInput::Tick => self.tick(now, outputs),
        }
        self.send(now, outputs);
    }

    fn submit(&mut self, payload: Bytes, appends: Vec<T>, deadline: Instant) {
        // Deadlines never decrease along the queue, so that messages are given up from its front
        // and the lowest unanswered number leaves no hole behind.
        let before = self.messages.back().map_or(deadline, |message| message.deadline);
        self.messages.push_back(Message {
            number: self.next_number,
            payload,
            appends,
            deadline: deadline.max(before),
            state: State::ToSend,
            sent: false,
            doubt: false,
            refusal: None,
        });
        self.next_number += 1;
    }

    fn link_changed(&mut self, up: bool) {
        self.link_up = up;
        self.paused_until = None;
        self.refusals_in_a_row = 0;
        self.probe = None;
        self.trouble = self.messages.iter().any(|message| message.sent);
        for message in &mut self.messages {
            message.lose();
        }
    }

    fn answered(&mut self, number: u64, answer: Answer, outputs: &mut Vec<OutboxOutput<T>>) {
        let Some(place) = self.place(number) else { return };
        if self.messages.get(place).is_none_or(|m| m.appends.len() != answer.results.len()) {
            // A reply that does not fit its request says nothing; the attempt will time out.
            return;
        }
        let Some(message) = self.messages.remove(place) else { return };
        self.refusals_in_a_row = 0;
        self.trouble = false;
        self.end_probe(number);
        for (append, result) in message.appends.into_iter().zip(answer.results) {
            let done = result.map(|done| (done, answer.epoch, answer.durable_on.clone()));
            let conclusion = conclude_result(done, message.doubt, answer.conflicts_last);
            outputs.push(OutboxOutput::Concluded { append, conclusion });
        }
    }

    fn refused(
        &mut self,
        now: Instant,
        number: u64,
        refusal: Refusal,
        outputs: &mut Vec<OutboxOutput<T>>,
    ) {
        let Some(place) = self.place(number) else { return };
        let Some(message) = self.messages.get_mut(place) else { return };
        let State::UnderWay { order, .. } = message.state else { return };
        if !worth_repeating(refusal.code) {
            self.end_probe(number);
            if let Some(message) = self.messages.remove(place) {
                conclude_refused(message, &refusal, outputs);
            }
            return;
        }
        self.trouble = true;
        message.state = State::ToSend;
        message.doubt |= refusal.code.outcome() == Outcome::Unknown;
        message.refusal = Some(refusal.clone());
        if hints_at_topology(refusal.code) {
            outputs.push(OutboxOutput::AskTopology);
        }
        self.end_probe(number);
        if refusal.code == ErrorCode::UNEXPECTED_NUMBER && self.go_back(number, order, &refusal) {
            return;
        }
        let longest = if hints_at_topology(refusal.code) { LEADER_PAUSE_MAX } else { PAUSE_MAX };
        self.pause(now, refusal.retry_after, longest);
    }

    /// After the refusal of a message behind a hole: whether sending can go on at once, from the
    /// hole on.
    fn go_back(&mut self, number: u64, order: u64, refusal: &Refusal) -> bool {
        let expected = refusal.number("expected").unwrap_or(number);
        let mut found = false;
        let missing = |message: &&mut Message<T>| (expected..number).contains(&message.number);
        for message in self.messages.iter_mut().filter(missing) {
            found = true;
            // One that was sent before the refused one did not arrive. Any other is on its way
            // again already, or will be, and the refusal is old news.
            if matches!(message.state, State::UnderWay { order: earlier, .. } if earlier < order) {
                message.lose();
            }
        }
        found
    }

    fn tick(&mut self, now: Instant, outputs: &mut Vec<OutboxOutput<T>>) {
        while self.messages.front().is_some_and(|message| message.deadline <= now) {
            if let Some(message) = self.messages.pop_front() {
                self.end_probe(message.number);
                conclude_expired(message, outputs);
            }
        }
        for message in &mut self.messages {
            if let State::UnderWay { since, .. } = message.state
                && since + self.attempt_timeout <= now
            {
                message.lose();
                self.trouble = true;
                self.probe = None;
            }
        }
    }

    fn pause(&mut self, now: Instant, asked: Option<Duration>, longest: Duration) {
        let doublings = self.refusals_in_a_row.min(16);
        let own = PAUSE_MIN.saturating_mul(1 << doublings);
        self.refusals_in_a_row = self.refusals_in_a_row.saturating_add(1);
        let pause = asked.unwrap_or(own).min(longest);
        self.paused_until = Some(now + pause);
    }

    /// Sends what may be sent, in the order of the numbers.
    fn send(&mut self, now: Instant, outputs: &mut Vec<OutboxOutput<T>>) {
        if !self.link_up || self.probe.is_some() || self.paused_until.is_some_and(|t| now < t) {
            return;
        }
        self.paused_until = None;
        let Some(lowest) = self.messages.front().map(|message| message.number) else { return };
        for message in &mut self.messages {
            if message.state != State::ToSend {
                continue;
            }
            self.attempts += 1;
            message.state = State::UnderWay { since: now, order: self.attempts };
            message.sent = true;
            outputs.push(OutboxOutput::Send {
                number: message.number,
                lowest,
                time_left: message.deadline.saturating_duration_since(now),
                payload: message.payload.clone(),
            });
            if self.trouble {
                self.probe = Some(message.number);
                return;
            }
        }
    }

    fn place(&self, number: u64) -> Option<usize> {
        self.messages.iter().position(|message| message.number == number)
    }

    fn end_probe(&mut self, number: u64) {
        if self.probe == Some(number) {
            self.probe = None;
        }
    }

    /// Everything that is not answered, for when the client is closed.
    pub fn close(&mut self, outputs: &mut Vec<OutboxOutput<T>>) {
        for message in self.messages.drain(..) {
            conclude_expired(message, outputs);
        }
    }
}

impl<T> Message<T> {
    /// The attempt under way will have no answer.
    fn lose(&mut self) {
        if self.state != State::ToSend {
            self.state = State::ToSend;
            self.doubt = true;
        }
    }
}

/// Whether the same message can have another result later.
fn worth_repeating(code: ErrorCode) -> bool {
    match code {
        // The deadline is over, whoever says so; and the leader that no longer knows a number
        // will not know it later.
        ErrorCode::EXPIRED | ErrorCode::TIMEOUT_UNKNOWN => false,
        // The caller is to know at once; space does not come back by itself.
        ErrorCode::DISK_FULL => false,
        // The store was there when its handle was made: its processes are registering anew.
        ErrorCode::STORE_NOT_FOUND => true,
        code => code.retry(),
    }
}

fn hints_at_topology(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NOT_LEADER
            | ErrorCode::NO_WORKER
            | ErrorCode::STALE_TOPOLOGY
            | ErrorCode::SERVICE_NOT_FOUND
            | ErrorCode::STORE_NOT_FOUND
    )
}

#[cfg(test)]
mod tests;
