//! One DEALER to one broker: opened, filled and closed as a link's machine asks for it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use broker::net::{self, Endpoint, Frames, Sent};
use zmq::{Context, Socket, SocketType};

/// How soon a full socket is tried again.
const FULL_RETRY: Duration = Duration::from_millis(10);
/// Messages that wait for a full socket. What may be under way keeps them far below this; a link
/// that gets here has lost its peer and is opened anew.
const OUTBOX_MAX: usize = 65_536;
/// What a closing socket may still take to send its last words.
const FAREWELL_MS: i32 = 500;

/// The socket of one conversation after the other with the same broker.
pub(super) struct Wire {
    context: Context,
    endpoint: Endpoint,
    socket: Option<Socket>,
    open_at: Option<Instant>,
    outbox: VecDeque<Frames>,
}

impl Wire {
    /// A wire that is to be opened now.
    pub(super) fn new(context: &Context, endpoint: Endpoint, now: Instant) -> Self {
        let (socket, outbox) = (None, VecDeque::new());
        Self { context: context.clone(), endpoint, socket, open_at: Some(now), outbox }
    }

    pub(super) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(super) const fn socket(&self) -> Option<&Socket> {
        self.socket.as_ref()
    }

    /// When there is something to do without anything having arrived.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let full = (!self.outbox.is_empty()).then(|| now + FULL_RETRY);
        self.open_at.into_iter().chain(full).min()
    }

    /// Opens the socket if that is due; whether it did.
    ///
    /// # Errors
    /// A socket cannot be made.
    pub(super) fn open_when_due(&mut self, now: Instant) -> Result<bool, zmq::Error> {
        if self.open_at.is_none_or(|at| now < at) {
            return Ok(false);
        }
        let socket = net::socket(&self.context, SocketType::DEALER)?;
        net::connect(&socket, &self.endpoint)?;
        self.socket = Some(socket);
        self.open_at = None;
        Ok(true)
    }

    /// Closes the socket, to be opened again then.
    pub(super) fn close(&mut self, open_at: Instant) {
        self.socket = None;
        self.outbox.clear();
        self.open_at = Some(open_at);
    }

    /// One message from the broker, if there is any.
    ///
    /// # Errors
    /// The socket failed.
    pub(super) fn receive(&self) -> Result<Option<Frames>, zmq::Error> {
        self.socket.as_ref().map_or(Ok(None), net::receive)
    }

    /// Puts a message behind those that wait for the socket.
    pub(super) fn push(&mut self, frames: Frames) {
        self.outbox.push_back(frames);
    }

    /// Whether the broker takes nothing any more.
    pub(super) fn is_stuck(&self) -> bool {
        self.outbox.len() > OUTBOX_MAX
    }

    /// Sends what waits, as far as the socket takes it.
    ///
    /// # Errors
    /// The socket failed.
    pub(super) fn flush(&mut self) -> Result<(), zmq::Error> {
        let Some(socket) = &self.socket else {
            return Ok(());
        };
        while let Some(frames) = self.outbox.front() {
            match net::send(socket, frames)? {
                Sent::Done => drop(self.outbox.pop_front()),
                Sent::Full | Sent::Unreachable => return Ok(()),
            }
        }
        Ok(())
    }

    /// Sends the last words and closes.
    ///
    /// # Errors
    /// The socket failed.
    pub(super) fn leave(mut self) -> Result<(), zmq::Error> {
        self.flush()?;
        self.socket.as_ref().map_or(Ok(()), |socket| socket.set_linger(FAREWELL_MS))
    }
}
