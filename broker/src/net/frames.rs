//! Receiving and sending whole multipart messages without ever waiting.

use bytes::Bytes;
use zmq::{DONTWAIT, Error, Message, SNDMORE, Socket};

/// One multipart message. Cloning it copies no payload.
pub type Frames = Vec<Bytes>;

/// More frames than this in one message are never meant: such a message is taken off the socket
/// and dropped.
pub const FRAMES_MAX: usize = 64;

/// From this size on a received frame stays where libzmq put it. A smaller one is copied out,
/// because it may point into a receive buffer of 8 KiB that would live as long as the frame.
const COPY_BYTES_MAX: usize = 8 * 1024;

/// What became of a message that was offered to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Sent {
    /// libzmq has it.
    Done,
    /// The pipe to that peer (or every pipe) is full; nothing was sent.
    Full,
    /// A ROUTER knows no such peer; nothing was sent.
    Unreachable,
}

/// A libzmq message as the owner of the memory behind `Bytes`.
struct Owner(Message);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Takes one whole message off the socket without waiting. `None`: there is none.
///
/// A message of more than [`FRAMES_MAX`] frames comes back as an empty list.
///
/// # Errors
/// Those of `zmq_msg_recv`; `EAGAIN` and `EINTR` are dealt with here.
pub fn receive(socket: &Socket) -> Result<Option<Frames>, Error> {
    let mut message = match receive_frame(socket) {
        Ok(message) => message,
        Err(Error::EAGAIN) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut frames = Frames::with_capacity(6);
    let mut oversized = false;
    loop {
        let more = message.get_more();
        oversized |= frames.len() == FRAMES_MAX;
        if !oversized {
            frames.push(into_bytes(message));
        }
        if !more {
            break;
        }
        // Frames of one message arrive together, so this does not find the socket empty.
        message = receive_frame(socket)?;
    }
    if oversized {
        frames.clear();
    }
    Ok(Some(frames))
}

fn receive_frame(socket: &Socket) -> Result<Message, Error> {
    loop {
        match socket.recv_msg(DONTWAIT) {
            Err(Error::EINTR) => {}
            result => return result,
        }
    }
}

fn into_bytes(message: Message) -> Bytes {
    if message.is_empty() {
        Bytes::new()
    } else if message.len() < COPY_BYTES_MAX {
        Bytes::copy_from_slice(&message)
    } else {
        Bytes::from_owner(Owner(message))
    }
}

/// Offers one whole message to the socket without waiting. An empty list is sent as nothing.
///
/// # Errors
/// Those of `zmq_msg_send`; `EAGAIN`, `EHOSTUNREACH` and `EINTR` are dealt with here.
pub fn send(socket: &Socket, frames: &[Bytes]) -> Result<Sent, Error> {
    let Some((last, leading)) = frames.split_last() else {
        return Ok(Sent::Done);
    };
    // Only the first frame can fail for lack of room or of a peer: libzmq keeps a message whole.
    for frame in leading {
        match send_frame(socket, frame, DONTWAIT | SNDMORE) {
            Ok(()) => {}
            Err(error) => return refused(error),
        }
    }
    match send_frame(socket, last, DONTWAIT) {
        Ok(()) => Ok(Sent::Done),
        Err(error) => refused(error),
    }
}

/// Offers one whole message for one peer to a ROUTER without waiting, as [`send`] does.
///
/// # Errors
/// As [`send`].
pub fn send_to(socket: &Socket, routing_id: &Bytes, frames: &[Bytes]) -> Result<Sent, Error> {
    if frames.is_empty() {
        return Ok(Sent::Done);
    }
    match send_frame(socket, routing_id, DONTWAIT | SNDMORE) {
        Ok(()) => send(socket, frames),
        Err(error) => refused(error),
    }
}

fn send_frame(socket: &Socket, frame: &Bytes, flags: i32) -> Result<(), Error> {
    loop {
        match socket.send(Message::from(frame.as_ref()), flags) {
            Err(Error::EINTR) => {}
            result => return result,
        }
    }
}

fn refused(error: Error) -> Result<Sent, Error> {
    match error {
        Error::EAGAIN => Ok(Sent::Full),
        Error::EHOSTUNREACH => Ok(Sent::Unreachable),
        other => Err(other),
    }
}
