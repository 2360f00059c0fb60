//! One hosted partition as the brokers' requests see it.

use broker::dialect::{ServiceName, SessionId, WorkerRequest, flags};
use broker::error_code::ErrorCode;
use broker::link::LinkNumber;
use broker::net::Queue;
use bytes::Bytes;
use uuid::Uuid;

use super::Circumstances;
use super::gate::CLOSED_RETRY;
use crate::event::Epoch;
use crate::server::answer::{Answer, Failure, append_reply, plain_appended};
use crate::server::directory::Hosted;
use crate::server::plain;
use crate::server::reading::ReadThread;
use crate::server::reign::{ReignState, Term};
use crate::server::session::{Arrival, Decision, SessionTable};
use crate::wire::append::AppendMessage;
use crate::wire::plain::{PlainRead, PlainRequest};
use crate::{
    Append, AppendError, Durability, Mode, Receipt, SignatureCheck, StreamWrite, Submission,
};

/// What every service needs from the loop.
pub(super) struct Tools {
    /// Where writers and reader thread leave their results.
    pub(super) queue: Queue<Completed>,
    pub(super) reads: ReadThread,
    /// Whether this node belongs to a pair.
    pub(super) has_peer: bool,
}

/// The result of something that was under way.
pub(super) struct Completed {
    pub(super) service: ServiceName,
    pub(super) session: SessionId,
    pub(super) number: u64,
    asker: LinkNumber,
    /// In which it was begun.
    term: Term,
    result: Outcome,
}

enum Outcome {
    /// A numbered message was executed.
    Executed(Vec<Result<Receipt, AppendError>>),
    /// A message was looked up in the log.
    LookedUp(Vec<Result<Receipt, AppendError>>),
    /// An ordinary client's append.
    PlainAppended(Vec<Result<Receipt, AppendError>>),
    /// An ordinary client's read: the map to send.
    PlainRead(Bytes),
}

/// What follows from a request at once.
pub(super) enum Effect {
    /// Nothing: its answer comes through the queue.
    Later,
    /// This answer.
    Answer(Answer),
}

/// A hosted partition with the sessions of its clients.
pub(super) struct Service {
    name: ServiceName,
    hosted: Hosted,
    sessions: SessionTable,
    under_way: usize,
    /// Appends that are to be taken in together.
    held: Vec<Submission>,
    leaving: bool,
    term: Term,
    registered: Registered,
}

/// What the brokers know of this node's part in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Registered {
    incarnation: Uuid,
    lineage: Uuid,
    epoch: Epoch,
    leader: bool,
}

impl Registered {
    pub(super) const fn new(state: &ReignState) -> Self {
        let ReignState { incarnation, lineage, epoch, leading: leader, .. } = *state;
        Self { incarnation, lineage, epoch, leader }
    }

    /// Whether the brokers take back what they sent under the other one: not where a leader goes
    /// on in a new epoch.
    pub(super) const fn is_of_another_reign(&self, other: &Self) -> bool {
        self.leader != other.leader
    }
}

impl Service {
    pub(super) fn new(name: ServiceName, hosted: Hosted, state: &ReignState) -> Self {
        let (term, registered) = (state.term(), Registered::new(state));
        let sessions = SessionTable::default();
        let held = Vec::new();
        Self { name, hosted, sessions, under_way: 0, held, leaving: false, term, registered }
    }

    pub(super) const fn registered_as(&self) -> Registered {
        self.registered
    }

    /// The brokers are told otherwise of the same partition.
    pub(super) const fn register(&mut self, registered: Registered) {
        self.registered = registered;
    }

    /// The sessions of another leadership count no more: another node may have gone on with them.
    pub(super) fn follow(&mut self, state: &ReignState) {
        if self.term != state.term() {
            self.term = state.term();
            self.sessions = SessionTable::default();
        }
    }

    pub(super) const fn under_way(&self) -> usize {
        self.under_way
    }

    /// Whether it is this very partition that is served, and goes on being served.
    pub(super) fn serves(&self, hosted: &Hosted) -> bool {
        !self.leaving && self.hosted.since == hosted.since
    }

    /// No new requests; those under way are still answered.
    pub(super) const fn start_leaving(&mut self) {
        self.leaving = true;
    }

    pub(super) const fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// Takes a request.
    pub(super) fn request(
        &mut self,
        asker: LinkNumber,
        request: &WorkerRequest,
        circumstances: &Circumstances,
        tools: &Tools,
    ) -> Effect {
        if request.flags & flags::PLAIN != 0 {
            return self.plain(asker, request, circumstances, tools);
        }
        if let Some(closed) = &circumstances.closed {
            return Effect::Answer(Answer::retry_later(closed, CLOSED_RETRY));
        }
        let WorkerRequest { session, number, lowest, .. } = *request;
        match self.sessions.arrive(Arrival { session, number, lowest, asker }) {
            Decision::Execute => self.execute(asker, request, circumstances, tools),
            Decision::UnderWay => Effect::Later,
            Decision::Again(answer) => Effect::Answer(answer),
            Decision::LookUp => self.look_up(asker, request, tools),
            Decision::Hole { expected } => refuse(
                &Failure::new(
                    ErrorCode::UNEXPECTED_NUMBER,
                    format!("message {expected} of this session is expected first: resend from it"),
                )
                .number("expected", expected),
            ),
            Decision::Full => refuse(&Failure::new(
                ErrorCode::BUSY,
                "too many sessions have messages under way: try again",
            )),
        }
    }

    fn execute(
        &mut self,
        asker: LinkNumber,
        request: &WorkerRequest,
        circumstances: &Circumstances,
        tools: &Tools,
    ) -> Effect {
        if circumstances.expired {
            return self.answer_now(request, &expired());
        }
        let appends = match decode(&request.body, tools) {
            Ok(appends) => appends,
            Err(failure) => return self.answer_now(request, &failure),
        };
        let submission = Submission {
            signatures: check_signatures(&appends),
            ..Submission::new(appends, self.answer_to(asker, request, tools, Outcome::Executed))
        };
        match self.submit(submission, circumstances.hold) {
            Ok(()) => Effect::Later,
            Err(failure) => {
                self.sessions.retract(request.session, request.number);
                refuse(&failure)
            }
        }
    }

    /// The message is settled without the writer; its number counts as used.
    fn answer_now(&mut self, request: &WorkerRequest, failure: &Failure) -> Effect {
        let answer = Answer::failed(failure);
        // Whoever else asks for it later gets the kept answer; nobody else waits for it yet.
        self.sessions.answered(request.session, request.number, &answer);
        Effect::Answer(answer)
    }

    fn look_up(&mut self, asker: LinkNumber, request: &WorkerRequest, tools: &Tools) -> Effect {
        let appends = match decode(&request.body, tools) {
            Ok(appends) => appends,
            Err(failure) => return refuse(&failure),
        };
        let answer = self.answer_to(asker, request, tools, Outcome::LookedUp);
        let submission = Submission { mode: Mode::LookUp, ..Submission::new(appends, answer) };
        self.submit(submission, false).map_or_else(|failure| refuse(&failure), |()| Effect::Later)
    }

    fn plain(
        &mut self,
        asker: LinkNumber,
        request: &WorkerRequest,
        circumstances: &Circumstances,
        tools: &Tools,
    ) -> Effect {
        if circumstances.expired {
            return refuse(&expired());
        }
        let [stream, map] = request.body.as_slice() else {
            let failure = Failure::new(
                ErrorCode::INVALID_ARGUMENT,
                "a request has two frames: the stream name, then one MessagePack map",
            );
            return Effect::Answer(Answer::done(failure.plain()));
        };
        let queued = match PlainRequest::decode(stream.clone(), map) {
            Ok(PlainRequest::Append { write, durability }) => {
                if let Some(closed) = &circumstances.closed {
                    return Effect::Answer(Answer::done(closed.plain()));
                }
                if let Err(failure) = check_durability(durability, tools) {
                    return Effect::Answer(Answer::done(failure.plain()));
                }
                let append = Append { writes: vec![write], durability };
                let answer = self.answer_to(asker, request, tools, Outcome::PlainAppended);
                self.submit(Submission::new(vec![append], answer), circumstances.hold)
            }
            Ok(PlainRequest::Read(read)) => self.plain_read(asker, request, read, tools),
            Err(error) => Err(Failure::from(&error)),
        };
        match queued {
            Ok(()) => Effect::Later,
            Err(failure) => Effect::Answer(Answer::done(failure.plain())),
        }
    }

    fn plain_read(
        &mut self,
        asker: LinkNumber,
        request: &WorkerRequest,
        read: PlainRead,
        tools: &Tools,
    ) -> Result<(), Failure> {
        let reader = self.hosted.partition.reader();
        let queue = tools.queue.clone();
        let completed = self.completed(asker, request);
        let job = Box::new(move || {
            queue.send(completed(Outcome::PlainRead(plain::read(&reader, &read))));
        });
        let queued = tools.reads.submit(job);
        queued.map_err(|_| Failure::new(ErrorCode::BUSY, "too many reads wait: try again"))?;
        self.under_way += 1;
        Ok(())
    }

    fn submit(&mut self, submission: Submission, hold: bool) -> Result<(), Failure> {
        if hold {
            self.held.push(submission);
        } else {
            let submitted = self.hosted.partition.submit(submission);
            submitted.map_err(|_| Failure::from(&AppendError::Busy))?;
        }
        self.under_way += 1;
        Ok(())
    }

    /// Has everything that was held back appended together, on this thread if that may be.
    pub(super) fn release(&mut self) {
        if !self.held.is_empty() {
            self.hosted.partition.append_here(std::mem::take(&mut self.held));
        }
    }

    /// What the writer calls with the results.
    fn answer_to(
        &self,
        asker: LinkNumber,
        request: &WorkerRequest,
        tools: &Tools,
        outcome: fn(Vec<Result<Receipt, AppendError>>) -> Outcome,
    ) -> crate::Answer {
        let queue = tools.queue.clone();
        let completed = self.completed(asker, request);
        Box::new(move |results| queue.send(completed(outcome(results))))
    }

    fn completed(
        &self,
        asker: LinkNumber,
        request: &WorkerRequest,
    ) -> impl FnOnce(Outcome) -> Completed + Send + 'static {
        let (service, term) = (self.name.clone(), self.term);
        let WorkerRequest { session, number, .. } = *request;
        move |result| Completed { service, session, number, asker, term, result }
    }

    /// Something under way has ended: who gets which answer. Nobody, if this node has stopped
    /// leading since it was begun: the brokers have given the request to the next leader, and only
    /// that one knows whether an append whose outcome was open here is in the log.
    pub(super) fn complete(
        &mut self,
        completed: &Completed,
        state: &ReignState,
    ) -> Option<(Vec<LinkNumber>, Answer)> {
        self.under_way = self.under_way.saturating_sub(1);
        if completed.term != self.term {
            return None;
        }
        let one = vec![completed.asker];
        Some(match &completed.result {
            Outcome::Executed(results) => {
                let answer = append_reply(state, results);
                let (session, number) = (completed.session, completed.number);
                (self.sessions.answered(session, number, &answer), answer)
            }
            Outcome::LookedUp(results) => (one, append_reply(state, results)),
            Outcome::PlainAppended(results) => {
                let partition = self.hosted.partition.number().0;
                (one, Answer::done(plain_appended(partition, state, results.first())))
            }
            Outcome::PlainRead(map) => (one, Answer::done(map.clone())),
        })
    }
}

fn refuse(failure: &Failure) -> Effect {
    Effect::Answer(Answer::failed(failure))
}

fn expired() -> Failure {
    Failure::new(
        ErrorCode::EXPIRED,
        "the deadline passed before the request's turn came: it was not done",
    )
}

fn decode(body: &[Bytes], tools: &Tools) -> Result<Vec<Append>, Failure> {
    let [body] = body else {
        return Err(Failure::new(
            ErrorCode::INVALID_ARGUMENT,
            "an append has exactly one body frame: see store/PROTOCOL.md",
        ));
    };
    let message = AppendMessage::decode(body.clone()).map_err(|error| Failure::from(&error))?;
    let durability = message.durability;
    check_durability(durability, tools)?;
    let append = |writes: Vec<StreamWrite>| Append { writes, durability };
    Ok(message.appends.into_iter().map(append).collect())
}

fn check_durability(asked: Option<Durability>, tools: &Tools) -> Result<(), Failure> {
    if asked == Some(Durability::Pair) && !tools.has_peer {
        let sentence = "this store has no peer: ask for memory or local, or for nothing at all";
        return Err(Failure::new(ErrorCode::INVALID_ARGUMENT, sentence));
    }
    Ok(())
}

/// Signatures are checked here, beside the writer, so that it has less to do. If one is wrong the
/// writer checks again, to refuse the append that it belongs to and no other.
fn check_signatures(appends: &[Append]) -> SignatureCheck {
    let wrong = appends.iter().any(|append| append.check_signatures().is_err());
    if wrong { SignatureCheck::Due } else { SignatureCheck::Done }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The broker goes on with what it has sent to a leader whose epoch alone rises: whoever
    /// dropped that would leave it unanswered.
    #[test]
    fn an_epoch_alone_is_no_other_reign() {
        let (incarnation, lineage) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let registered =
            |epoch, leader| Registered { incarnation, lineage, epoch: Epoch(epoch), leader };
        assert!(!registered(4, true).is_of_another_reign(&registered(5, true)));
        assert!(registered(4, true).is_of_another_reign(&registered(5, false)));
        assert!(registered(4, false).is_of_another_reign(&registered(4, true)));
    }
}
