//! Sockets with the settings of the house: every one is bounded, none lingers.

use std::time::Duration;

use zmq::{Context, Error, PollItem, Socket, SocketType};

use super::Endpoint;

/// Largest frame that a peer may send; a larger one costs it the connection.
pub const FRAME_BYTES_MAX: i64 = 16 * 1024 * 1024;

/// Every socket loop wakes at least this often.
pub const TICK: Duration = Duration::from_secs(1);

/// A peer that has not finished its handshake by then is cut off.
const HANDSHAKE_MS: i32 = 3_000;
const RECONNECT_MS_MIN: i32 = 50;
const RECONNECT_MS_MAX: i32 = 2_000;
const BACKLOG: i32 = 1_024;

/// Why a socket could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another socket holds the address.
    #[error("{0} is in use: stop the process that holds it, or choose another port")]
    InUse(Endpoint),
    /// The host is not one of this machine's.
    #[error("{0} names no address of this machine: use one of its addresses, or 127.0.0.1")]
    NotLocal(Endpoint),
    /// The user may not bind there.
    #[error("{0} may not be bound by this user: choose a port above 1023")]
    Denied(Endpoint),
    /// Anything else that libzmq reports.
    #[error("{endpoint} cannot be bound: {source}")]
    Other {
        /// What was to be bound.
        endpoint: Endpoint,
        /// What libzmq said.
        source: Error,
    },
}

/// A socket with the settings of the house: nothing lingers, frames and handshakes are limited,
/// reconnecting backs off, and a ROUTER reports peers that it cannot reach.
///
/// # Errors
/// Those of `zmq_socket`, first of all too many open sockets.
pub fn socket(context: &Context, kind: SocketType) -> Result<Socket, Error> {
    let socket = context.socket(kind)?;
    socket.set_linger(0)?;
    socket.set_maxmsgsize(FRAME_BYTES_MAX)?;
    socket.set_handshake_ivl(HANDSHAKE_MS)?;
    socket.set_reconnect_ivl(RECONNECT_MS_MIN)?;
    socket.set_reconnect_ivl_max(RECONNECT_MS_MAX)?;
    socket.set_backlog(BACKLOG)?;
    if kind == SocketType::ROUTER {
        socket.set_router_mandatory(true)?;
    }
    Ok(socket)
}

/// Binds and returns the endpoint that was really bound: `tcp://HOST:*` comes back with its port.
///
/// # Errors
/// A sentence for a person: in use, not local, not allowed, or what libzmq said.
pub fn bind(socket: &Socket, endpoint: &Endpoint) -> Result<Endpoint, BindError> {
    let other = |source| BindError::Other { endpoint: endpoint.clone(), source };
    socket.set_ipv6(!endpoint.is_ipv4()).map_err(other)?;
    socket.bind(endpoint.as_str()).map_err(|error| match error {
        Error::EADDRINUSE => BindError::InUse(endpoint.clone()),
        Error::EADDRNOTAVAIL | Error::ENODEV => BindError::NotLocal(endpoint.clone()),
        Error::EACCES => BindError::Denied(endpoint.clone()),
        error => other(error),
    })?;
    let bound = socket.get_last_endpoint().map_err(other)?;
    let parsed = bound.ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| other(Error::EINVAL))
}

/// Connects; the connection itself is made, and made again, in the background.
///
/// # Errors
/// `EINVAL` for an endpoint that libzmq cannot take.
pub fn connect(socket: &Socket, endpoint: &Endpoint) -> Result<(), Error> {
    socket.set_ipv6(!endpoint.is_ipv4())?;
    socket.connect(endpoint.as_str())
}

/// Waits until an item is ready or the time-out has passed; `None` waits for [`TICK`].
///
/// The time-out is rounded up to a millisecond. A signal ends the wait early, as a time-out does.
///
/// # Errors
/// Those of `zmq_poll` but `EINTR`.
pub fn poll(items: &mut [PollItem<'_>], timeout: Option<Duration>) -> Result<(), Error> {
    let timeout = timeout.unwrap_or(TICK).min(TICK);
    let milliseconds = i64::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(i64::MAX);
    match zmq::poll(items, milliseconds) {
        Ok(_) | Err(Error::EINTR) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{FRAMES_MAX, Sent, receive, send};
    use bytes::Bytes;

    fn pair() -> (Socket, Socket) {
        let context = Context::new();
        let router = socket(&context, SocketType::ROUTER).unwrap();
        let bound = bind(&router, &"tcp://127.0.0.1:*".parse().unwrap()).unwrap();
        let port = bound.as_str().strip_prefix("tcp://127.0.0.1:").unwrap();
        assert!(port.parse::<u16>().unwrap() > 0);
        let dealer = socket(&context, SocketType::DEALER).unwrap();
        connect(&dealer, &bound).unwrap();
        (router, dealer)
    }

    fn wait(socket: &Socket) -> Vec<Bytes> {
        for _ in 0..10 {
            let mut items = [socket.as_poll_item(zmq::POLLIN)];
            poll(&mut items, Some(TICK)).unwrap();
            if let Some(frames) = receive(socket).unwrap() {
                return frames;
            }
        }
        panic!("no message within ten seconds");
    }

    #[test]
    fn small_and_large_frames_travel_whole() {
        let (router, dealer) = pair();
        let frames = vec![Bytes::new(), Bytes::from_static(b"x"), Bytes::from(vec![7; 100_000])];
        assert_eq!(send(&dealer, &frames).unwrap(), Sent::Done);
        let mut received = wait(&router);
        let peer = received.remove(0);
        assert_eq!(received, frames);
        received.insert(0, peer);
        assert_eq!(send(&router, &received).unwrap(), Sent::Done);
        assert_eq!(wait(&dealer), frames);
    }

    #[test]
    fn a_message_of_too_many_frames_comes_back_empty_and_the_next_one_whole() {
        let (router, dealer) = pair();
        let many = vec![Bytes::from_static(b"f"); FRAMES_MAX];
        assert_eq!(send(&dealer, &many).unwrap(), Sent::Done);
        assert_eq!(send(&dealer, &[Bytes::from_static(b"next")]).unwrap(), Sent::Done);
        assert!(wait(&router).is_empty());
        assert_eq!(wait(&router).len(), 2);
    }

    #[test]
    fn an_unknown_peer_is_reported_and_a_taken_endpoint_explained() {
        let context = Context::new();
        let router = socket(&context, SocketType::ROUTER).unwrap();
        let bound = bind(&router, &"tcp://127.0.0.1:*".parse().unwrap()).unwrap();
        let frames = [Bytes::from_static(b"nobody"), Bytes::from_static(b"x")];
        assert_eq!(send(&router, &frames).unwrap(), Sent::Unreachable);
        assert!(receive(&router).unwrap().is_none());
        let second = socket(&context, SocketType::ROUTER).unwrap();
        assert!(matches!(bind(&second, &bound), Err(BindError::InUse(_))));
    }
}
