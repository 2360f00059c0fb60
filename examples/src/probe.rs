//! Asks one store process directly: how it is, what it holds, to hand over.
//!
//! A client asks whoever leads, through a broker. What follower and leader say each of themselves,
//! also while a link is cut, needs a socket to that one process.

use std::time::Duration;

use broker::net::{self, Endpoint};
use bytes::{Bytes, BytesMut};
use store::{
    Epoch, Sequence, StoreName,
    wire::{
        WireError,
        replay::{
            BLOCK_BYTES_MAX, Read, ReadDirection, ReadSource, ReplayAnswer, ReplayRequest,
            RequestNumber,
        },
        status::StatusReply,
    },
};
use thiserror::Error;

use crate::clock::Deadline;

/// Every probe asks one question on a socket of its own.
const QUESTION: RequestNumber = RequestNumber(1);
/// Bytes of records that may be under way.
const CREDIT_BYTES: u64 = 4 << 20;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// A socket.
    #[error("a probe has no socket: {0}")]
    Socket(#[from] zmq::Error),
    /// Bytes that are no message.
    #[error("{endpoint} answers with what is no message: {reason}")]
    Wire {
        /// Who.
        endpoint: Endpoint,
        /// What is wrong.
        reason: WireError,
    },
    /// Nothing came.
    #[error("{0} does not answer")]
    Silent(Endpoint),
    /// A refusal.
    #[error("{endpoint} refuses with code {code}: {words}")]
    Refused {
        /// Who.
        endpoint: Endpoint,
        /// The error's number.
        code: u16,
        /// The map of the refusal, as far as it is text.
        words: String,
    },
}

/// Sockets to store processes.
#[derive(Clone)]
pub struct Probe {
    context: zmq::Context,
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Probe")
    }
}

impl Default for Probe {
    fn default() -> Self {
        Self::new()
    }
}

/// A question under way.
struct Asked<'a> {
    socket: zmq::Socket,
    endpoint: &'a Endpoint,
    deadline: Deadline,
}

impl Probe {
    /// A probe without any connection.
    #[must_use]
    pub fn new() -> Self {
        Self { context: zmq::Context::new() }
    }

    /// How the process behind this replay endpoint is.
    ///
    /// # Errors
    /// [`ProbeError`] without an answer in time.
    pub fn status(
        &self,
        endpoint: &Endpoint,
        patience: Duration,
    ) -> Result<StatusReply, ProbeError> {
        let asked = self.ask(endpoint, &ReplayRequest::Status { request: QUESTION }, patience)?;
        loop {
            if let ReplayAnswer::Status { body, .. } = asked.answer()? {
                return StatusReply::decode(&body).map_err(|reason| asked.garbled(reason));
            }
        }
    }

    /// Lets the other node of the pair lead.
    ///
    /// # Errors
    /// [`ProbeError::Refused`] with the store's sentence, or without an answer in time.
    pub fn hand_over(&self, endpoint: &Endpoint, patience: Duration) -> Result<(), ProbeError> {
        let asked = self.ask(endpoint, &ReplayRequest::HandOver { request: QUESTION }, patience)?;
        while !matches!(asked.answer()?, ReplayAnswer::Done { .. }) {}
        Ok(())
    }

    /// Every committed record of a partition as this process holds it, byte for byte.
    ///
    /// # Errors
    /// [`ProbeError`] if the process refuses, or does not send all of it in time.
    pub fn records(
        &self,
        endpoint: &Endpoint,
        (store, partition): (&StoreName, u16),
        patience: Duration,
    ) -> Result<Bytes, ProbeError> {
        let read = Read {
            request: QUESTION,
            store: store.clone(),
            partition,
            source: ReadSource::All,
            direction: ReadDirection::Forward,
            from: 0,
            to: 0,
            count_max: 0,
            at_least: Sequence::ZERO,
            credit_bytes: CREDIT_BYTES,
            epoch: Epoch(0),
            block_bytes_max: BLOCK_BYTES_MAX,
            strong: false,
        };
        let asked = self.ask(endpoint, &ReplayRequest::Read(read), patience)?;
        let mut records = BytesMut::new();
        loop {
            let ReplayAnswer::Block(block) = asked.answer()? else { continue };
            records.extend_from_slice(&block.records);
            if block.end {
                return Ok(records.freeze());
            }
            let received = u64::try_from(records.len()).unwrap_or(u64::MAX);
            let credit_bytes = received.saturating_add(CREDIT_BYTES);
            asked.send(&ReplayRequest::Credit { request: QUESTION, credit_bytes })?;
        }
    }

    fn ask<'a>(
        &self,
        endpoint: &'a Endpoint,
        request: &ReplayRequest,
        patience: Duration,
    ) -> Result<Asked<'a>, ProbeError> {
        let socket = net::socket(&self.context, zmq::DEALER)?;
        net::connect(&socket, endpoint)?;
        let asked = Asked { socket, endpoint, deadline: Deadline::after(patience) };
        asked.send(request)?;
        Ok(asked)
    }
}

impl Asked<'_> {
    fn send(&self, request: &ReplayRequest) -> Result<(), ProbeError> {
        let frame = request.encode().map_err(|reason| self.garbled(reason))?;
        // A full or dead connection shows as silence.
        let _sent = net::send(&self.socket, &[Bytes::from(frame)])?;
        Ok(())
    }

    fn answer(&self) -> Result<ReplayAnswer, ProbeError> {
        loop {
            if let Some(frames) = net::receive(&self.socket)? {
                let [head, body] = frames.as_slice() else { continue };
                let answer = ReplayAnswer::decode(head.clone(), body.clone());
                return match answer.map_err(|reason| self.garbled(reason))? {
                    ReplayAnswer::Fail { refusal, .. } => Err(ProbeError::Refused {
                        endpoint: self.endpoint.clone(),
                        code: refusal.code,
                        words: String::from_utf8_lossy(&refusal.body).into_owned(),
                    }),
                    answer => Ok(answer),
                };
            }
            if self.deadline.passed() {
                return Err(ProbeError::Silent(self.endpoint.clone()));
            }
            let mut items = [self.socket.as_poll_item(zmq::POLLIN)];
            net::poll(&mut items, Some(self.deadline.remaining()))?;
        }
    }

    fn garbled(&self, reason: WireError) -> ProbeError {
        ProbeError::Wire { endpoint: self.endpoint.clone(), reason }
    }
}
