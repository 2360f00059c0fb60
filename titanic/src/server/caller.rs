//! One broker as its client sees it: calls to services, and whether anybody offers them.
//!
//! Every conversation has a session of its own, so that no answer of a former one arrives, and a
//! call is never sent twice: whoever wants it again makes another attempt of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::dialect::{
    ClientInput, ClientLink, ClientOutput, ClientReply, ClientRequest, ErrorBody, LinkSettings,
    ServiceName, SessionId, decode_body, flags,
};
use broker::error_code::ErrorCode;
use broker::net::{Frames, Wire};
use bytes::Bytes;
use zmq::{Context, Socket};

use crate::{Call, CallFailure, CallTicket};

/// The broker answers when a call's time is over; only if it does not, we do.
const ANSWER_GRACE: Duration = Duration::from_secs(2);
/// How long a broker may take to say who offers a service.
const PRESENCE_WAIT: Duration = Duration::from_secs(1);
/// The broker's service that knows who is there (RFC 8), and how it says yes.
const MMI_SERVICE: &str = "mmi.service";
const MMI_OFFERED: &[u8] = b"200";
/// An answer in parts is put together up to this size, and up to so many frames. No reply that is
/// larger could be kept.
const PARTS_BYTES_MAX: usize = 4 * 1024 * 1024;
const PARTS_FRAMES_MAX: usize = 4_096;

/// Calls through one broker.
pub(super) struct Caller {
    wire: Wire,
    link: ClientLink,
    last_number: u64,
    under_way: BTreeMap<u64, UnderWay>,
    deadlines: BTreeSet<(Instant, u64)>,
    events: Vec<CallerEvent>,
}

/// Something that the broker owes an answer to.
struct UnderWay {
    what: What,
    deadline: Instant,
    /// Parts of the answer that came before its last one.
    parts: Frames,
}

enum What {
    Call(CallTicket),
    Question(Arc<str>),
}

/// What the loop has to know of.
#[derive(Debug)]
pub(super) enum CallerEvent {
    /// The broker listens.
    Up,
    /// The broker is gone.
    Down,
    /// A call is over.
    Called(CallTicket, Result<Frames, CallFailure>),
    /// Whether anybody offers the service; nothing if the broker does not say.
    Presence(Arc<str>, Option<bool>),
}

impl Caller {
    pub(super) fn new(wire: Wire, settings: LinkSettings) -> Self {
        Self {
            wire,
            link: ClientLink::new(settings),
            last_number: 0,
            under_way: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            events: Vec::new(),
        }
    }

    pub(super) const fn socket(&self) -> Option<&Socket> {
        self.wire.socket()
    }

    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let call = self.deadlines.first().map(|(at, _)| *at);
        [self.link.deadline(), self.wire.deadline(now), call].into_iter().flatten().min()
    }

    /// Lets time pass and takes up to `messages_max` messages; how many there were.
    ///
    /// # Errors
    /// The socket failed, or cannot be made.
    pub(super) fn turn(
        &mut self,
        context: &Context,
        now: Instant,
        messages_max: usize,
    ) -> Result<usize, zmq::Error> {
        if self.wire.open_when_due(context, now)? {
            self.give(now, ClientInput::Opened { session: SessionId::random() })?;
        }
        self.give(now, ClientInput::Tick)?;
        self.expire(now);
        for received in 0..messages_max {
            let Some(frames) = self.wire.receive()? else {
                return Ok(received);
            };
            self.give(now, ClientInput::Frames(frames))?;
        }
        Ok(messages_max)
    }

    /// What has happened since this was last called.
    pub(super) fn take_events(&mut self) -> Vec<CallerEvent> {
        std::mem::take(&mut self.events)
    }

    /// Sends a call; exactly one [`CallerEvent::Called`] follows.
    ///
    /// # Errors
    /// The socket failed.
    pub(super) fn call(&mut self, now: Instant, call: Call) -> Result<(), zmq::Error> {
        let Call { ticket, service, body, timeout, .. } = call;
        match ServiceName::new(service.as_bytes().to_vec()) {
            None => {
                let text = format!("`{service}` is no name of a service");
                let failure = CallFailure { code: ErrorCode::INVALID_ARGUMENT, text };
                self.events.push(CallerEvent::Called(ticket, Err(failure)));
                Ok(())
            }
            Some(service) => {
                let request = (service, flags::NO_RESEND, body);
                self.send(now, What::Call(ticket), request, timeout)
            }
        }
    }

    /// Asks whether anybody offers a service; one [`CallerEvent::Presence`] follows.
    ///
    /// # Errors
    /// The socket failed.
    pub(super) fn ask(&mut self, now: Instant, service: Arc<str>) -> Result<(), zmq::Error> {
        let body = vec![Bytes::copy_from_slice(service.as_bytes())];
        let mmi = ServiceName::new(MMI_SERVICE).unwrap_or_default();
        self.send(now, What::Question(service), (mmi, 0, body), PRESENCE_WAIT)
    }

    /// Says goodbye: the broker forgets the calls that have not left it.
    ///
    /// # Errors
    /// The socket failed.
    pub(super) fn leave(mut self, now: Instant) -> Result<(), zmq::Error> {
        self.give(now, ClientInput::Goodbye)?;
        self.wire.leave()
    }

    fn send(
        &mut self,
        now: Instant,
        what: What,
        (service, flags, body): (ServiceName, u8, Frames),
        time_left: Duration,
    ) -> Result<(), zmq::Error> {
        if !self.link.is_up() {
            let text = format!("the broker {} is away", self.wire.endpoint());
            self.finish(what, Err(CallFailure { code: ErrorCode::NO_WORKER, text }));
            return Ok(());
        }
        self.last_number += 1;
        let number = self.last_number;
        let deadline = now + time_left + ANSWER_GRACE;
        self.under_way.insert(number, UnderWay { what, deadline, parts: Frames::new() });
        self.deadlines.insert((deadline, number));
        // One count serves all services, so what is lowest of all is not above any one's lowest.
        let lowest = self.under_way.first_key_value().map_or(number, |(lowest, _)| *lowest);
        let request = ClientRequest { service, number, lowest, flags, time_left, body };
        self.give(now, ClientInput::Request(request))
    }

    fn give(&mut self, now: Instant, input: ClientInput) -> Result<(), zmq::Error> {
        let mut outputs = Vec::new();
        self.link.handle(now, input, &mut outputs);
        for output in outputs {
            match output {
                ClientOutput::Send(frames) => self.wire.push(frames),
                ClientOutput::Reply(reply) => self.reply(reply),
                ClientOutput::Up(_) => self.events.push(CallerEvent::Up),
                ClientOutput::Reopen { at } => self.close(at),
            }
        }
        if self.wire.is_stuck() {
            self.close(now);
        }
        self.wire.flush()
    }

    fn reply(&mut self, reply: ClientReply) {
        let Some(mut under_way) = self.take(reply.number) else {
            return;
        };
        if reply.code.is_none() && reply.more {
            under_way.parts.extend(reply.body);
            let bytes: usize = under_way.parts.iter().map(Bytes::len).sum();
            if bytes <= PARTS_BYTES_MAX && under_way.parts.len() <= PARTS_FRAMES_MAX {
                self.deadlines.insert((under_way.deadline, reply.number));
                self.under_way.insert(reply.number, under_way);
                return;
            }
            let text = "the reply is larger than any that can be kept".to_owned();
            self.finish(under_way.what, Err(CallFailure { code: ErrorCode::INTERNAL, text }));
            return;
        }
        let result = match reply.code {
            None => {
                under_way.parts.extend(reply.body);
                Ok(under_way.parts)
            }
            Some(code) => {
                let error = reply.body.first().and_then(|frame| decode_body(frame).ok());
                let ErrorBody { message: text, .. } = error.unwrap_or_default();
                Err(CallFailure { code, text })
            }
        };
        self.finish(under_way.what, result);
    }

    fn take(&mut self, number: u64) -> Option<UnderWay> {
        let under_way = self.under_way.remove(&number)?;
        self.deadlines.remove(&(under_way.deadline, number));
        Some(under_way)
    }

    fn finish(&mut self, what: What, result: Result<Frames, CallFailure>) {
        self.events.push(match what {
            What::Call(ticket) => CallerEvent::Called(ticket, result),
            What::Question(service) => {
                let said = result.ok().and_then(|body| body.into_iter().next());
                CallerEvent::Presence(service, said.map(|said| said == MMI_OFFERED))
            }
        });
    }

    /// Ends what the broker has not answered although the time is over.
    fn expire(&mut self, now: Instant) {
        while let Some((at, number)) = self.deadlines.first().copied()
            && at <= now
            && let Some(under_way) = self.take(number)
        {
            let text = "no answer came in time, and none from the broker either".to_owned();
            let failure = CallFailure { code: ErrorCode::TIMEOUT_UNKNOWN, text };
            self.finish(under_way.what, Err(failure));
        }
    }

    /// The conversation is over, and with it whatever was under way in it.
    fn close(&mut self, open_at: Instant) {
        self.deadlines.clear();
        for under_way in std::mem::take(&mut self.under_way).into_values() {
            let text = format!("the broker {} was lost", self.wire.endpoint());
            let failure = CallFailure { code: ErrorCode::WORKER_LOST, text };
            self.finish(under_way.what, Err(failure));
        }
        self.events.push(CallerEvent::Down);
        self.wire.close(open_at);
    }
}
