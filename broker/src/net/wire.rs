//! One DEALER to one peer: opened, filled and closed as the machine of a conversation asks for it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use zmq::{Context, Error, Socket, SocketType};

use super::{Endpoint, Frames, Sent, connect, receive, send, socket};

/// How soon a full socket is tried again.
const FULL_RETRY: Duration = Duration::from_millis(10);
/// What a closing socket may still take to send its last words.
const FAREWELL_MS: i32 = 500;

/// The socket of one conversation after the other with the same peer, and the messages that wait
/// because it is full.
pub struct Wire {
    endpoint: Endpoint,
    outbox_max: usize,
    socket: Option<Socket>,
    open_at: Option<Instant>,
    outbox: VecDeque<Frames>,
}

impl Wire {
    /// A wire that is to be opened now. If more than `outbox_max` messages wait for a full socket
    /// the wire [is stuck](Wire::is_stuck).
    pub fn new(endpoint: Endpoint, outbox_max: usize, now: Instant) -> Wire {
        let (socket, outbox) = (None, VecDeque::new());
        Wire { endpoint, outbox_max, socket, open_at: Some(now), outbox }
    }

    /// The peer.
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// For the loop's poll set; nothing while the wire is closed.
    pub const fn socket(&self) -> Option<&Socket> {
        self.socket.as_ref()
    }

    /// When there is something to do without anything having arrived.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let full = (!self.outbox.is_empty()).then(|| now + FULL_RETRY);
        self.open_at.into_iter().chain(full).min()
    }

    /// Opens the socket if that is due; whether it did.
    ///
    /// # Errors
    /// A socket cannot be made.
    pub fn open_when_due(&mut self, context: &Context, now: Instant) -> Result<bool, Error> {
        if self.open_at.is_none_or(|at| now < at) {
            return Ok(false);
        }
        let socket = socket(context, SocketType::DEALER)?;
        connect(&socket, &self.endpoint)?;
        self.socket = Some(socket);
        self.open_at = None;
        Ok(true)
    }

    /// Closes the socket, to be opened again then. What waited is of no use to another
    /// conversation.
    pub fn close(&mut self, open_at: Instant) {
        self.socket = None;
        self.outbox.clear();
        self.open_at = Some(open_at);
    }

    /// One message from the peer, if there is any.
    ///
    /// # Errors
    /// The socket failed.
    pub fn receive(&self) -> Result<Option<Frames>, Error> {
        self.socket.as_ref().map_or(Ok(None), receive)
    }

    /// Puts a message behind those that wait for the socket.
    pub fn push(&mut self, frames: Frames) {
        self.outbox.push_back(frames);
    }

    /// Whether the peer takes nothing any more: then the wire is to be closed.
    pub fn is_stuck(&self) -> bool {
        self.outbox.len() > self.outbox_max
    }

    /// Sends what waits, as far as the socket takes it.
    ///
    /// # Errors
    /// The socket failed.
    pub fn flush(&mut self) -> Result<(), Error> {
        let Some(socket) = &self.socket else {
            return Ok(());
        };
        while let Some(frames) = self.outbox.front() {
            match send(socket, frames)? {
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
    pub fn leave(mut self) -> Result<(), Error> {
        self.flush()?;
        self.socket.as_ref().map_or(Ok(()), |socket| socket.set_linger(FAREWELL_MS))
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test stands in for the loop")]
mod tests {
    use super::*;
    use crate::net::{TICK, bind, poll};
    use bytes::Bytes;

    const LATER: Duration = Duration::from_millis(50);

    fn message(number: u32) -> Frames {
        vec![Bytes::copy_from_slice(&number.to_le_bytes())]
    }

    fn router(context: &Context) -> (Socket, Endpoint) {
        let router = socket(context, SocketType::ROUTER).unwrap();
        let bound = bind(&router, &"tcp://127.0.0.1:*".parse().unwrap()).unwrap();
        (router, bound)
    }

    fn wait(socket: &Socket) -> Frames {
        for _ in 0..10 {
            poll(&mut [socket.as_poll_item(zmq::POLLIN)], Some(TICK)).unwrap();
            if let Some(frames) = receive(socket).unwrap() {
                return frames;
            }
        }
        panic!("no message within ten seconds");
    }

    #[test]
    fn it_opens_when_due_and_what_waited_goes_out_in_order() {
        let context = Context::new();
        let (router, bound) = router(&context);
        let now = Instant::now();
        let mut wire = Wire::new(bound, 10, now + LATER);
        wire.push(message(1));
        wire.push(message(2));
        assert!(!wire.open_when_due(&context, now).unwrap());
        wire.flush().unwrap();
        assert!(wire.socket().is_none() && wire.receive().unwrap().is_none());
        assert_eq!(wire.deadline(now), Some(now + FULL_RETRY), "two messages wait");

        assert!(wire.open_when_due(&context, now + LATER).unwrap());
        assert!(!wire.open_when_due(&context, now + LATER).unwrap(), "it is open");
        wire.flush().unwrap();
        assert_eq!(wire.deadline(now), None);
        let (first, second) = (wait(&router), wait(&router));
        assert_eq!((&first[1..], &second[1..]), (&message(1)[..], &message(2)[..]));

        assert_eq!(send(&router, &[first[0].clone(), message(3)[0].clone()]).unwrap(), Sent::Done);
        assert_eq!(wait(wire.socket().unwrap()), message(3));
        wire.push(message(4));
        wire.leave().unwrap();
        assert_eq!(wait(&router)[1..], message(4));
    }

    #[test]
    fn a_peer_that_takes_nothing_is_noticed_and_given_up() {
        let context = Context::new();
        let now = Instant::now();
        // Nobody is bound there, so libzmq keeps what it may keep, and then takes nothing more.
        let mut wire = Wire::new("inproc://nobody".parse().unwrap(), 2, now);
        assert!(wire.open_when_due(&context, now).unwrap());
        let mut number = 0;
        while wire.deadline(now).is_none() {
            assert!(number < 100_000, "libzmq keeps no more than its mark");
            number += 1;
            wire.push(message(number));
            wire.flush().unwrap();
        }
        assert!(!wire.is_stuck());
        for more in 1..=2 {
            wire.push(message(number + more));
            wire.flush().unwrap();
        }
        assert!(wire.is_stuck());

        wire.close(now + LATER);
        assert!(wire.socket().is_none() && !wire.is_stuck());
        assert_eq!(wire.deadline(now), Some(now + LATER));
    }
}
