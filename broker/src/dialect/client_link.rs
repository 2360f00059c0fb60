//! A client's conversation with one broker: hello, requests and replies, silence and reopening.

use std::time::{Duration, Instant};

use super::Welcome;
use super::control::Role;
use super::conversation::{Conversation, Heard, LinkSettings, milliseconds};
use super::header::{Header, Kind, ServiceName, SessionId, flags};
use crate::error_code::ErrorCode;
use crate::net::Frames;

/// A request, as the client gives it to the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRequest {
    /// The service, for example `orders/3`, `mmi.topology` or the name of an MDP service.
    pub service: ServiceName,
    /// Number within the client's session and the service, from 1.
    pub number: u64,
    /// Lowest number of this service that is still unanswered (inclusive).
    pub lowest: u64,
    /// [`flags::NO_RESEND`] or nothing.
    pub flags: u8,
    /// What is left of the deadline.
    pub time_left: Duration,
    /// The body frames.
    pub body: Frames,
}

/// The answer, matched by service and number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientReply {
    /// Service of the request.
    pub service: ServiceName,
    /// Number of the request.
    pub number: u64,
    /// The epoch that answered; 0 from services that have none.
    pub epoch: u64,
    /// The error, if it is one; the body then is an [`ErrorBody`](super::ErrorBody).
    pub code: Option<ErrorCode>,
    /// With an error: when it makes sense to try again. Zero: nothing said.
    pub retry_after: Duration,
    /// Whether more replies to the same request follow.
    pub more: bool,
    /// The body frames.
    pub body: Frames,
}

/// What the loop tells the machine.
#[derive(Clone, Debug)]
pub enum ClientInput {
    /// A new socket is connected. The session is the client's own: the same on every socket and at
    /// every broker, because request numbers count within it.
    Opened {
        /// The client's session.
        session: SessionId,
    },
    /// The socket delivered a message.
    Frames(Frames),
    /// Time has gone by.
    Tick,
    /// Send a request. While the link is down nothing is sent: after [`ClientOutput::Up`] the
    /// client sends whatever is unanswered, in the order of the numbers.
    Request(ClientRequest),
    /// Leave on purpose; the broker forgets what is unanswered.
    Goodbye,
}

/// What the loop has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientOutput {
    /// Send on the socket.
    Send(Frames),
    /// Hand an answer to whoever asked.
    Reply(ClientReply),
    /// The broker listens: send what is unanswered.
    Up(Welcome),
    /// Close the socket, connect a new one (here or at another broker) at or after `at`, then say
    /// [`ClientInput::Opened`].
    Reopen {
        /// Not before this instant.
        at: Instant,
    },
}

/// A client's conversation with one broker: hello, heartbeats, requests and replies, and the
/// notice that the broker has fallen silent. Which broker to use next is not decided here.
#[derive(Debug)]
pub struct ClientLink {
    conversation: Conversation,
}

impl ClientLink {
    /// A link whose loop has not opened a socket yet.
    pub fn new(settings: LinkSettings) -> ClientLink {
        ClientLink { conversation: Conversation::new(Role::Client, settings) }
    }

    /// Whether the broker listens.
    pub fn is_up(&self) -> bool {
        self.conversation.session().is_some()
    }

    /// When to call with [`ClientInput::Tick`] at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        self.conversation.deadline()
    }

    /// Takes one input; what is to be done is appended to `outputs`.
    pub fn handle(&mut self, now: Instant, input: ClientInput, outputs: &mut Vec<ClientOutput>) {
        let heard = match input {
            ClientInput::Opened { session } => {
                outputs.push(ClientOutput::Send(self.conversation.open(now, session)));
                Heard::Nothing
            }
            ClientInput::Frames(frames) => self.conversation.receive(now, frames),
            ClientInput::Tick => {
                let mut outgoing = Vec::new();
                let heard = self.conversation.tick(now, &mut outgoing);
                outputs.extend(outgoing.into_iter().map(ClientOutput::Send));
                heard
            }
            ClientInput::Request(request) => {
                self.request(now, request, outputs);
                Heard::Nothing
            }
            ClientInput::Goodbye => {
                outputs.extend(self.conversation.close().map(ClientOutput::Send));
                Heard::Nothing
            }
        };
        match heard {
            Heard::Nothing | Heard::Refused { .. } => {}
            Heard::Up(welcome) => outputs.push(ClientOutput::Up(welcome)),
            Heard::Down { reopen_at } => outputs.push(ClientOutput::Reopen { at: reopen_at }),
            Heard::Message { header, body } if header.kind == Kind::Reply => {
                outputs.push(ClientOutput::Reply(reply(header, body)));
            }
            Heard::Message { .. } => {}
        }
    }

    fn request(&mut self, now: Instant, request: ClientRequest, outputs: &mut Vec<ClientOutput>) {
        let Some(session) = self.conversation.session() else {
            return;
        };
        let mut header = Header::new(Kind::Request, session);
        header.service = request.service;
        header.number = request.number;
        header.lowest = request.lowest;
        header.flags = request.flags & flags::NO_RESEND;
        header.time_ms = milliseconds(request.time_left);
        let mut frames = Frames::with_capacity(1 + request.body.len());
        frames.push(header.encode().into());
        frames.extend(request.body);
        self.conversation.sent(now);
        outputs.push(ClientOutput::Send(frames));
    }
}

fn reply(header: Header, body: Frames) -> ClientReply {
    let more = header.has(flags::MORE);
    ClientReply {
        service: header.service,
        number: header.number,
        epoch: header.epoch,
        code: header.code,
        retry_after: Duration::from_millis(u64::from(header.time_ms)),
        more,
        body,
    }
}

#[cfg(test)]
mod tests;
