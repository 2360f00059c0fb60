//! Answers, to whoever asked, in the protocol of whoever asked.

use std::time::Duration;

use bytes::Bytes;

use super::RoutingTable;
use super::ids::RequestId;
use super::requests::{Origin, Place, Request};
use crate::dialect::{ErrorBody, Header, Kind, encode_body, flags};
use crate::error_code::ErrorCode;
use crate::mdp::message::{ERROR_FRAME, ToClient};
use crate::net::Frames;

/// A part of an answer, or all of it.
#[derive(Debug)]
pub(super) struct Answer {
    pub body: Frames,
    pub last: bool,
    /// The epoch that answered, 0 where there is none.
    pub epoch: u64,
}

/// An error that the broker itself finds.
#[derive(Debug)]
pub(super) struct Failure {
    pub code: ErrorCode,
    pub message: String,
    /// Zero if it does not matter when the client tries again.
    pub retry_after: Duration,
}

impl Failure {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into(), retry_after: Duration::ZERO }
    }
}

impl RoutingTable {
    /// Takes a request out of everything that knows it.
    pub(super) fn take(&mut self, id: RequestId) -> Option<Request> {
        let request = self.requests.remove(id)?;
        if let Some(service) = self.services.get_mut(request.service) {
            service.queue.remove(&id);
            service.requests -= 1;
            service.bytes -= request.bytes;
        }
        if let Place::Held(worker) = request.place
            && let Some(offer) = self.workers.offer_mut(worker, request.service)
        {
            offer.held.remove(&id);
        }
        match &request.origin {
            Origin::Mdp { peer, .. } => {
                if let Some(asked) = self.clients.get_mut(peer) {
                    asked.remove(&id);
                    if asked.is_empty() {
                        self.clients.remove(peer);
                    }
                }
            }
            Origin::Dialect { session, .. } => {
                if let Some(session) = self.sessions.get_mut(session) {
                    session.requests.remove(&id);
                    session.bytes -= request.bytes;
                }
            }
        }
        self.services.forget_if_idle(request.service);
        Some(request)
    }

    /// Ends a request with an error.
    pub(super) fn fail(&mut self, id: RequestId, failure: Failure) {
        if let Some(request) = self.take(id) {
            self.counters.failed += 1;
            self.refuse(&request.origin, failure);
        }
    }

    /// Tells somebody that the broker did not, or could not, have the request answered.
    pub(super) fn refuse(&mut self, origin: &Origin, failure: Failure) {
        match origin {
            Origin::Mdp { .. } => {
                let text = error_text(failure.code, &failure.message);
                self.reply_error_to_mdp(origin, text);
            }
            Origin::Dialect { .. } => {
                let mut header = Header::new(Kind::Reply, Default::default());
                header.code = Some(failure.code);
                header.time_ms = u32::try_from(failure.retry_after.as_millis()).unwrap_or(u32::MAX);
                let body = vec![encode_body(&ErrorBody::new(failure.message))];
                self.reply_to_dialect(origin, header, body);
            }
        }
    }

    /// Hands over what a worker said without an error.
    pub(super) fn reply(&mut self, origin: &Origin, answer: Answer) {
        match origin {
            Origin::Mdp { peer, version, asked } => {
                let message =
                    ToClient { service: asked.clone(), body: answer.body, last: answer.last };
                self.send(peer, message.encode(*version));
            }
            Origin::Dialect { .. } => {
                let mut header = Header::new(Kind::Reply, Default::default());
                header.epoch = answer.epoch;
                if !answer.last {
                    header.flags |= flags::MORE;
                }
                self.reply_to_dialect(origin, header, answer.body);
            }
        }
    }

    /// The two frames that stand for an error in MDP, unless silence was asked for.
    pub(super) fn reply_error_to_mdp(&mut self, origin: &Origin, text: String) {
        if !self.settings.mdp_errors {
            return;
        }
        let body = vec![Bytes::from_static(ERROR_FRAME), Bytes::from(text)];
        self.reply(origin, Answer { body, last: true, epoch: 0 });
    }

    /// Completes the header with session, service and number, and sends to the connection that
    /// said HELLO last.
    pub(super) fn reply_to_dialect(&mut self, origin: &Origin, mut header: Header, body: Frames) {
        let Origin::Dialect { session: id, asked, number } = origin else {
            return;
        };
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let Some(peer) = session.peer.clone() else {
            return;
        };
        session.pulse.sent(self.now);
        header.session = *id;
        header.service = asked.clone();
        header.number = *number;
        let mut frames = Frames::with_capacity(1 + body.len());
        frames.push(header.encode().into());
        frames.extend(body);
        self.send(&peer, frames);
    }
}

/// `CODE text`, the second frame of an error in MDP.
pub(super) fn error_text(code: ErrorCode, message: &str) -> String {
    format!("{code} {message}")
}
