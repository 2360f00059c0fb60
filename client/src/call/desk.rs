//! The calls of a client: numbered, sent, sent again, and judged.
//!
//! A call keeps its number for all its attempts, so that broker and worker can tell a repetition.
//! It is *in doubt* from the first attempt on that may have reached a worker without an answer to
//! it having come back; then only a reply ends well.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use broker::dialect::{ClientReply, ClientRequest, ErrorBody, ServiceName, decode_body, flags};
use broker::error_code::{ErrorCode, Outcome};
use broker::net::Frames;

use crate::error::Refusal;

/// First pause after a refusal that names none; it doubles with every refusal in a row.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// Longest pause after a refusal.
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// How much longer than its time a call waits for the broker to say what became of it.
const GRACE: Duration = Duration::from_millis(100);
/// Most bytes, and frames, of a reply that comes in parts.
const PARTS_BYTES_MAX: usize = 16 * 1024 * 1024;
const PARTS_FRAMES_MAX: usize = 1024;

/// What is to be called.
#[derive(Debug, Clone)]
pub struct Call {
    /// The service.
    pub service: ServiceName,
    /// The body frames.
    pub body: Frames,
    /// Whether it may be delivered once only.
    pub once: bool,
    /// When to give up.
    pub deadline: Instant,
}

/// Something that happened.
#[derive(Debug)]
pub enum CallInput<T> {
    /// A call to be made; `T` is whoever waits for it.
    Submit(Call, T),
    /// A broker listens.
    LinkUp,
    /// The broker is gone; what was under way may or may not have been carried out.
    LinkDown,
    /// An answer of a service that is called.
    Reply(ClientReply),
    /// The time of [`CallDesk::deadline`] has come.
    Tick,
}

/// Something for the loop to do.
#[derive(Debug, PartialEq, Eq)]
pub enum CallOutput<T> {
    /// Send a request.
    Send(ClientRequest),
    /// A call is over.
    Concluded(T, CallConclusion),
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallConclusion {
    /// With this reply.
    Replied(Frames),
    /// It was refused; its code tells whether it may have been carried out.
    Refused(Refusal),
    /// Nothing left before its time was over.
    NeverLeft,
    /// Nobody can say.
    Unknown {
        /// What is known.
        reason: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// For as soon as a broker listens.
    ToSend,
    UnderWay,
    /// Refused for the moment.
    Paused {
        until: Instant,
    },
}

#[derive(Debug)]
struct Waiting<T> {
    call: Call,
    caller: T,
    state: State,
    /// Whether an attempt may have been carried out without an answer.
    doubt: bool,
    refusal: Option<Refusal>,
    refusals: u32,
    parts: Frames,
    parts_bytes: usize,
    /// When it is to be looked at next: its entry among the timers.
    due: Instant,
}

/// See the module's comment.
#[derive(Debug)]
pub struct CallDesk<T> {
    link_up: bool,
    /// One count for all services, so that none need be remembered for its numbers.
    next_number: u64,
    calls: BTreeMap<u64, Waiting<T>>,
    /// Unanswered numbers of each service.
    services: HashMap<ServiceName, BTreeSet<u64>>,
    timers: BTreeSet<(Instant, u64)>,
}

impl<T> Default for CallDesk<T> {
    fn default() -> Self {
        Self {
            link_up: false,
            next_number: 1,
            calls: BTreeMap::new(),
            services: HashMap::new(),
            timers: BTreeSet::new(),
        }
    }
}

impl<T> CallDesk<T> {
    /// When to hand in [`CallInput::Tick`].
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Takes an input; what is to be done is appended to `outputs`.
    pub fn handle(&mut self, now: Instant, input: CallInput<T>, outputs: &mut Vec<CallOutput<T>>) {
        match input {
            CallInput::Submit(call, caller) => self.submit(now, call, caller, outputs),
            CallInput::LinkUp => {
                self.link_up = true;
                let numbers: Vec<u64> = self.calls.keys().copied().collect();
                for number in numbers {
                    self.send(now, number, outputs);
                }
            }
            CallInput::LinkDown => self.link_down(outputs),
            CallInput::Reply(reply) => self.reply(now, reply, outputs),
            CallInput::Tick => self.tick(now, outputs),
        }
    }

    /// Everything that is not answered, for when the client is closed.
    pub fn close(&mut self, outputs: &mut Vec<CallOutput<T>>) {
        while let Some((number, _)) = self.calls.first_key_value() {
            self.give_up(*number, "the client was closed", outputs);
        }
    }

    fn submit(&mut self, now: Instant, call: Call, caller: T, outputs: &mut Vec<CallOutput<T>>) {
        let number = self.next_number;
        self.next_number += 1;
        self.services.entry(call.service.clone()).or_default().insert(number);
        let due = call.deadline;
        self.timers.insert((due, number));
        let waiting = Waiting {
            call,
            caller,
            state: State::ToSend,
            doubt: false,
            refusal: None,
            refusals: 0,
            parts: Frames::new(),
            parts_bytes: 0,
            due,
        };
        self.calls.insert(number, waiting);
        self.send(now, number, outputs);
    }

    fn send(&mut self, now: Instant, number: u64, outputs: &mut Vec<CallOutput<T>>) {
        let Some(waiting) = self.calls.get_mut(&number) else { return };
        if !self.link_up || waiting.state != State::ToSend || waiting.call.deadline <= now {
            return;
        }
        let service = &waiting.call.service;
        let lowest = self.services.get(service).and_then(BTreeSet::first).copied();
        waiting.state = State::UnderWay;
        outputs.push(CallOutput::Send(ClientRequest {
            service: service.clone(),
            number,
            lowest: lowest.unwrap_or(number),
            flags: if waiting.call.once { flags::NO_RESEND } else { 0 },
            time_left: (waiting.call.deadline - now).max(Duration::from_millis(1)),
            body: waiting.call.body.clone(),
        }));
        self.set_timer(number, |waiting| waiting.call.deadline + GRACE);
    }

    fn link_down(&mut self, outputs: &mut Vec<CallOutput<T>>) {
        self.link_up = false;
        let under_way = |(number, waiting): (&u64, &Waiting<T>)| {
            (waiting.state == State::UnderWay).then_some(*number)
        };
        let lost: Vec<u64> = self.calls.iter().filter_map(under_way).collect();
        for number in lost {
            let Some(waiting) = self.calls.get_mut(&number) else { continue };
            (waiting.state, waiting.doubt) = (State::ToSend, true);
            waiting.parts.clear();
            waiting.parts_bytes = 0;
            if waiting.call.once {
                self.give_up(number, "the broker was lost before it answered", outputs);
            } else {
                self.set_timer(number, |waiting| waiting.call.deadline);
            }
        }
    }

    fn reply(&mut self, now: Instant, reply: ClientReply, outputs: &mut Vec<CallOutput<T>>) {
        let number = reply.number;
        let Some(waiting) = self.calls.get_mut(&number) else { return };
        // An answer to an attempt that was given up as lost is an answer all the same.
        if waiting.call.service != reply.service {
            return;
        }
        if let Some(code) = reply.code {
            self.refused(now, code, reply, outputs);
            return;
        }
        let bytes: usize = reply.body.iter().map(bytes::Bytes::len).sum();
        waiting.parts_bytes = waiting.parts_bytes.saturating_add(bytes);
        let frames = waiting.parts.len().saturating_add(reply.body.len());
        if waiting.parts_bytes > PARTS_BYTES_MAX || frames > PARTS_FRAMES_MAX {
            let reason = "the reply comes in more parts than a client takes".to_owned();
            let refusal = Refusal::new(ErrorCode::INTERNAL, reason);
            self.conclude(number, CallConclusion::Refused(refusal), outputs);
            return;
        }
        waiting.parts.extend(reply.body);
        if !reply.more {
            let body = std::mem::take(&mut waiting.parts);
            self.conclude(number, CallConclusion::Replied(body), outputs);
        }
    }

    fn refused(
        &mut self,
        now: Instant,
        code: ErrorCode,
        reply: ClientReply,
        outputs: &mut Vec<CallOutput<T>>,
    ) {
        let Some(waiting) = self.calls.get_mut(&reply.number) else { return };
        let body = reply.body.first().map(|body| decode_body::<ErrorBody>(body));
        let mut refusal = Refusal::from_body(code, body.and_then(Result::ok).unwrap_or_default());
        refusal.retry_after = Some(reply.retry_after).filter(|after| !after.is_zero());
        let own = PAUSE_MIN.saturating_mul(1 << waiting.refusals.min(16)).min(PAUSE_MAX);
        let until = now + refusal.retry_after.unwrap_or(own).min(PAUSE_MAX);
        if waiting.call.once || !worth_repeating(code) || until >= waiting.call.deadline {
            let conclusion = match code.outcome() {
                Outcome::NotDone if waiting.doubt => CallConclusion::Unknown {
                    reason: format!("an attempt was lost, the last one refused: {refusal}"),
                },
                _ => CallConclusion::Refused(refusal),
            };
            self.conclude(reply.number, conclusion, outputs);
            return;
        }
        waiting.state = State::Paused { until };
        waiting.doubt |= code.outcome() == Outcome::Unknown;
        waiting.refusal = Some(refusal);
        waiting.refusals += 1;
        waiting.parts.clear();
        waiting.parts_bytes = 0;
        self.set_timer(reply.number, |_| until);
    }

    fn tick(&mut self, now: Instant, outputs: &mut Vec<CallOutput<T>>) {
        while let Some((_, number)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            let Some(waiting) = self.calls.get_mut(&number) else {
                self.timers.pop_first();
                continue;
            };
            match waiting.state {
                State::Paused { .. } if now < waiting.call.deadline => {
                    waiting.state = State::ToSend;
                    self.set_timer(number, |waiting| waiting.call.deadline);
                    self.send(now, number, outputs);
                }
                _ => self.give_up(number, "no answer came in time", outputs),
            }
        }
    }

    /// Ends a call whose time is over, or that nobody can go on with.
    fn give_up(&mut self, number: u64, reason: &str, outputs: &mut Vec<CallOutput<T>>) {
        let Some(waiting) = self.calls.get_mut(&number) else { return };
        let conclusion = if waiting.doubt || waiting.state == State::UnderWay {
            CallConclusion::Unknown { reason: reason.to_owned() }
        } else {
            match waiting.refusal.take() {
                Some(refusal) => CallConclusion::Refused(refusal),
                None => CallConclusion::NeverLeft,
            }
        };
        self.conclude(number, conclusion, outputs);
    }

    fn conclude(
        &mut self,
        number: u64,
        conclusion: CallConclusion,
        outputs: &mut Vec<CallOutput<T>>,
    ) {
        let Some(waiting) = self.calls.remove(&number) else { return };
        self.timers.remove(&(waiting.due, number));
        let service = &waiting.call.service;
        if let Some(numbers) = self.services.get_mut(service) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.services.remove(service);
            }
        }
        outputs.push(CallOutput::Concluded(waiting.caller, conclusion));
    }

    fn set_timer(&mut self, number: u64, at: impl FnOnce(&Waiting<T>) -> Instant) {
        let Some(waiting) = self.calls.get_mut(&number) else { return };
        let due = at(waiting);
        let before = std::mem::replace(&mut waiting.due, due);
        self.timers.remove(&(before, number));
        self.timers.insert((due, number));
    }
}

/// Whether the same call can have another result within its time. A request that has cost several
/// workers is not sent to more of them.
fn worth_repeating(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::BUSY
            | ErrorCode::NO_WORKER
            | ErrorCode::NOT_LEADER
            | ErrorCode::SERVICE_NOT_FOUND
            | ErrorCode::STALE_TOPOLOGY
            // Before the time is over: a broker that stops lets go of what it holds.
            | ErrorCode::TIMEOUT_UNKNOWN
    )
}

#[cfg(test)]
mod tests;
