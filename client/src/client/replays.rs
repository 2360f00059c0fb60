//! The sockets to the stores' replayers, shared by all reads of a client.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use broker::dialect::{ErrorBody, decode_body};
use broker::error_code::ErrorCode;
use broker::net::{self, Endpoint, Sent};
use bytes::Bytes;
use store::wire::replay::{Read, ReplayAnswer, ReplayRequest, RequestNumber};
use store::wire::status::StatusReply;

use super::command::{HandOverPromise, ReadEvent, ReadSink, StatusPromise};
use super::hand_over::HandOverFailure;
use crate::error::Refusal;

/// What a block counts at least, so that empty ones can't pile up without bound.
const BLOCK_BYTES_COUNTED_MIN: u64 = 128;
/// By how much a store may overdraw its credit: one block, and one record of the largest size.
const OVERDRAFT_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Reads on one socket. A store takes more of one peer, and sends a few of them at a time.
const READS_PER_SOCKET_MAX: usize = 32;
/// Most sockets to one replayer. What does not fit into them is answered BUSY and tried again.
const SOCKETS_PER_REPLAYER_MAX: usize = 8;
/// A socket without reads is closed after this time.
const IDLE_MAX: Duration = Duration::from_secs(30);

struct OpenRead {
    sink: ReadSink,
    credit_bytes: u64,
    received_bytes: u64,
}

/// Something else than a read that a process is asked, and who waits for its answer.
pub(super) enum Question {
    Status(StatusPromise),
    HandOver(HandOverPromise),
}

impl Question {
    /// No answer came, or none could.
    fn fail(self, reason: String) {
        match self {
            Self::Status(promise) => promise.fulfil(Err(reason)),
            Self::HandOver(promise) => promise.fulfil(Err(HandOverFailure::Silent)),
        }
    }

    fn refuse(self, refusal: Refusal) {
        match self {
            Self::Status(promise) => promise.fulfil(Err(refusal.to_string())),
            Self::HandOver(promise) => promise.fulfil(Err(HandOverFailure::Refused(refusal))),
        }
    }
}

struct Replayer {
    endpoint: String,
    socket: zmq::Socket,
    reads: HashMap<RequestNumber, OpenRead>,
    questions: HashMap<RequestNumber, (Instant, Question)>,
    used_at: Instant,
}

/// DEALERs to the replayers, connected when first needed: one more to the same replayer whenever
/// the others have as many reads as a store takes from one peer.
pub(super) struct Replays {
    context: zmq::Context,
    replayers: Vec<Replayer>,
}

impl Replays {
    pub(super) fn new(context: &zmq::Context) -> Self {
        Self { context: context.clone(), replayers: Vec::new() }
    }

    pub(super) fn poll_items(&self) -> impl Iterator<Item = zmq::PollItem<'_>> {
        self.replayers.iter().map(|replayer| replayer.socket.as_poll_item(zmq::POLLIN))
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let questions = |replayer: &Replayer| replayer.questions.values().map(|(at, _)| *at).min();
        self.replayers.iter().filter_map(questions).min()
    }

    /// Starts a read. If it can't be sent its sink is dropped, which tells the reader.
    pub(super) fn read(&mut self, now: Instant, endpoint: &str, read: Read, sink: ReadSink) {
        let (request, credit_bytes) = (read.request, read.credit_bytes);
        let Some(replayer) = self.replayer(now, endpoint) else { return };
        if replayer.send(&ReplayRequest::Read(read)) {
            replayer.reads.insert(request, OpenRead { sink, credit_bytes, received_bytes: 0 });
        }
    }

    /// Lets the store send more of a read.
    pub(super) fn credit(&mut self, now: Instant, request: RequestNumber, credit_bytes: u64) {
        let replayer = self.replayers.iter_mut().find(|r| r.reads.contains_key(&request));
        let Some(replayer) = replayer else { return };
        replayer.used_at = now;
        let sent = replayer.send(&ReplayRequest::Credit { request, credit_bytes });
        match replayer.reads.get_mut(&request) {
            Some(read) if sent => read.credit_bytes = credit_bytes,
            // Without credit the read would stand still: the reader is to start it again.
            _ => drop(replayer.reads.remove(&request)),
        }
    }

    /// Forgets a read. A silent store's socket is closed: whatever it still holds back would come
    /// too late, and its other readers start again elsewhere too.
    pub(super) fn cancel(&mut self, request: RequestNumber, silent: bool) {
        let of = |replayer: &mut Replayer| replayer.reads.remove(&request).is_some();
        let Some(place) = self.replayers.iter_mut().position(of) else { return };
        if silent {
            self.replayers.swap_remove(place);
        } else if let Some(replayer) = self.replayers.get(place) {
            replayer.send(&ReplayRequest::Cancel { request });
        }
    }

    /// Asks a process something that it answers at once, or by the deadline.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        endpoint: &str,
        (request, deadline): (RequestNumber, Instant),
        question: Question,
    ) {
        let message = match question {
            Question::Status(_) => ReplayRequest::Status { request },
            Question::HandOver(_) => ReplayRequest::HandOver { request },
        };
        match self.replayer(now, endpoint) {
            Some(replayer) if replayer.send(&message) => {
                replayer.questions.insert(request, (deadline, question));
            }
            _ => question.fail(format!("{endpoint} can't be reached")),
        }
    }

    /// Takes what the sockets have, and lets time pass.
    pub(super) fn turn(&mut self, now: Instant) {
        for replayer in &mut self.replayers {
            while let Ok(Some(frames)) = net::receive(&replayer.socket) {
                if let Err(error) = replayer.take(now, frames) {
                    let endpoint = &replayer.endpoint;
                    log::warn!("{endpoint} sent what is no replay message: {error}");
                }
            }
            let late = |(at, _): &mut (Instant, Question)| *at <= now;
            for (_, (_, question)) in replayer.questions.extract_if(|_, question| late(question)) {
                question.fail(format!("{} gave no answer in time", replayer.endpoint));
            }
        }
        self.replayers.retain(|replayer| {
            !replayer.reads.is_empty()
                || !replayer.questions.is_empty()
                || now < replayer.used_at + IDLE_MAX
        });
    }

    /// A socket to this replayer that has room for one more read.
    fn replayer(&mut self, now: Instant, endpoint: &str) -> Option<&mut Replayer> {
        let same = |replayer: &Replayer| replayer.endpoint == endpoint;
        let roomy = |replayer: &Replayer| replayer.reads.len() < READS_PER_SOCKET_MAX;
        let full = self.replayers.iter().filter(|replayer| same(replayer)).count();
        let fitting = |r: &Replayer| same(r) && (roomy(r) || full >= SOCKETS_PER_REPLAYER_MAX);
        let place = match self.replayers.iter().position(fitting) {
            Some(place) => place,
            None => match connect(&self.context, endpoint) {
                Ok(socket) => {
                    self.replayers.push(Replayer::new(now, endpoint, socket));
                    self.replayers.len() - 1
                }
                Err(error) => {
                    log::warn!("no socket to the replayer {endpoint}: {error}");
                    return None;
                }
            },
        };
        let replayer = self.replayers.get_mut(place)?;
        replayer.used_at = now;
        Some(replayer)
    }
}

fn connect(context: &zmq::Context, endpoint: &str) -> Result<zmq::Socket, zmq::Error> {
    let endpoint: Endpoint = endpoint.parse().map_err(|_| zmq::Error::EINVAL)?;
    let socket = net::socket(context, zmq::DEALER)?;
    net::connect(&socket, &endpoint)?;
    Ok(socket)
}

impl Replayer {
    fn new(now: Instant, endpoint: &str, socket: zmq::Socket) -> Self {
        let endpoint = endpoint.to_owned();
        let (reads, questions) = (HashMap::new(), HashMap::new());
        Self { endpoint, socket, reads, questions, used_at: now }
    }

    /// Whether libzmq took it.
    fn send(&self, request: &ReplayRequest) -> bool {
        let Ok(frame) = request.encode() else { return false };
        matches!(net::send(&self.socket, &[Bytes::from(frame)]), Ok(Sent::Done))
    }

    fn take(&mut self, now: Instant, frames: net::Frames) -> Result<(), store::wire::WireError> {
        let Ok([head, body]) = <[Bytes; 2]>::try_from(frames) else { return Ok(()) };
        match ReplayAnswer::decode(head, body)? {
            ReplayAnswer::Block(block) => {
                self.used_at = now;
                let request = block.request;
                let end = block.end;
                let Some(read) = self.reads.get_mut(&request) else { return Ok(()) };
                let bytes = u64::try_from(block.records.len()).unwrap_or(u64::MAX);
                let counted = bytes.max(BLOCK_BYTES_COUNTED_MIN);
                read.received_bytes = read.received_bytes.saturating_add(counted);
                let overdrawn = read.received_bytes > read.credit_bytes + OVERDRAFT_BYTES_MAX;
                if overdrawn || !read.sink.send(ReadEvent::Block(block)) || end {
                    self.reads.remove(&request);
                }
            }
            ReplayAnswer::Fail { request, refusal } => {
                let code = ErrorCode::from_number(refusal.code).unwrap_or(ErrorCode::INTERNAL);
                let body = decode_body::<ErrorBody>(&refusal.body).unwrap_or_default();
                let refusal = Refusal::from_body(code, body);
                if let Some(read) = self.reads.remove(&request) {
                    read.sink.send(ReadEvent::Refused(refusal));
                } else if let Some((_, question)) = self.questions.remove(&request) {
                    question.refuse(refusal);
                }
            }
            ReplayAnswer::Status { request, body } => {
                if let Some((_, Question::Status(promise))) = self.questions.remove(&request) {
                    promise.fulfil(StatusReply::decode(&body).map_err(|error| error.to_string()));
                }
            }
            ReplayAnswer::Done { request } => {
                if let Some((_, Question::HandOver(promise))) = self.questions.remove(&request) {
                    promise.fulfil(Ok(()));
                }
            }
        }
        Ok(())
    }
}
