//! The sockets of the pair loop.
//!
//! ```text
//! this node                                    other node
//!   bulk   DEALER ──── RECORDS, ACK, … ─────►  ROUTER  (its --pair-listen)
//!   beat   DEALER ──── BEAT ────────────────►
//!   ROUTER ◄───────────────────────────────── bulk, beat DEALER
//!
//!   witness DEALER ◄──────────────────────────► the witness
//! ```
//!
//! Each node speaks over its own two connections, so that a heartbeat never waits behind records,
//! and is answered there only for its HELLO.

use std::time::Instant;

use broker::net::{self, BindError, Endpoint, Frames, Sent};
use broker::witness::ProcessId;
use bytes::Bytes;
use zmq::{Context, Socket, SocketType};

/// Connections are tried again soon: a node that comes back is to be met within a few heartbeats.
const RECONNECT_MS_MIN: i32 = 20;
const RECONNECT_MS_MAX: i32 = 250;
/// Messages that may wait for the other node. What is under way is bounded by the window of
/// replication, in bytes; this is above what fits into it.
const MESSAGES_MAX: i32 = 64 * 1024;

/// All sockets.
pub(super) struct Links {
    context: Context,
    pub(super) router: Socket,
    pub(super) bulk: Channel,
    pub(super) beat: Channel,
    pub(super) witness: Channel,
}

/// A DEALER that is opened anew when nothing comes of it.
pub(super) struct Channel {
    endpoint: Endpoint,
    pub(super) socket: Socket,
    /// The process that has accepted us on this connection.
    pub(super) welcomed_by: Option<ProcessId>,
    opened_at: Instant,
}

impl Links {
    /// Binds and connects; also where the other node can reach us now.
    pub(super) fn open(
        context: &Context,
        (listen, peer, witness): (&Endpoint, &Endpoint, &Endpoint),
        now: Instant,
    ) -> Result<(Self, Endpoint), BindError> {
        let failed = |source| BindError::Other { endpoint: listen.clone(), source };
        let router = net::socket(context, SocketType::ROUTER).map_err(failed)?;
        router.set_rcvhwm(MESSAGES_MAX).map_err(failed)?;
        let bound = net::bind(&router, listen)?;
        let channel = |endpoint: &Endpoint| {
            let failed = |source| BindError::Other { endpoint: endpoint.clone(), source };
            Channel::open(context, endpoint, now).map_err(failed)
        };
        let (bulk, beat, witness) = (channel(peer)?, channel(peer)?, channel(witness)?);
        Ok((Self { context: context.clone(), router, bulk, beat, witness }, bound))
    }

    /// Connects to the other node anew, e.g. because the way was cut without either end knowing.
    pub(super) fn reopen_peer(&mut self, now: Instant) -> Result<(), zmq::Error> {
        self.bulk = Channel::open(&self.context, &self.bulk.endpoint, now)?;
        self.beat = Channel::open(&self.context, &self.beat.endpoint, now)?;
        Ok(())
    }

    /// Connects to the witness anew.
    pub(super) fn reopen_witness(&mut self, now: Instant) -> Result<(), zmq::Error> {
        self.witness = Channel::open(&self.context, &self.witness.endpoint, now)?;
        Ok(())
    }

    /// Answers a HELLO where it came from.
    pub(super) fn answer(&self, routing_id: &Bytes, frames: &Frames) -> Result<(), zmq::Error> {
        // Whoever is gone by now asks again.
        net::send_to(&self.router, routing_id, frames).map(|_| ())
    }
}

impl Channel {
    fn open(context: &Context, endpoint: &Endpoint, now: Instant) -> Result<Self, zmq::Error> {
        let socket = net::socket(context, SocketType::DEALER)?;
        socket.set_reconnect_ivl(RECONNECT_MS_MIN)?;
        socket.set_reconnect_ivl_max(RECONNECT_MS_MAX)?;
        socket.set_sndhwm(MESSAGES_MAX)?;
        // Nothing waits for a connection: what is said to one process is of no use to the next.
        socket.set_immediate(true)?;
        net::connect(&socket, endpoint)?;
        Ok(Self { endpoint: endpoint.clone(), socket, welcomed_by: None, opened_at: now })
    }

    /// Sends, or drops what can't be sent now: whatever matters is said again.
    pub(super) fn send(&self, frames: &[Bytes]) -> Result<(), zmq::Error> {
        let sent: Sent = net::send(&self.socket, frames)?;
        if sent != Sent::Done {
            log::trace!("{} takes nothing now", self.endpoint);
        }
        Ok(())
    }

    /// When the connection was opened last.
    pub(super) const fn opened_at(&self) -> Instant {
        self.opened_at
    }
}
