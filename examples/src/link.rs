//! A link between two processes that can be cut: a TCP forwarder in this process.
//!
//! ```text
//!   one end --connects--> | Link: a thread per connection and direction | --connects--> other end
//!                         |   Out: bytes of the end that connected      |
//!                         |   Back: bytes of the end that listens       |
//! ```
//!
//! What a cut link holds arrives once it is healed, late and in order, as on a network that sends
//! again: the old messages are a part of the fault. A severed link closes its connections, and new
//! ones are closed at once. Bytes that are held stay with the kernel, which stops the sender when
//! its buffers are full; at most [`BLOCK_BYTES`] of a direction are in hand.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use broker::net::Endpoint;

/// Bytes handed on at a time.
pub const BLOCK_BYTES: usize = 64 * 1024;

/// Which bytes of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// From the end that connects.
    Out,
    /// From the end that listens.
    Back,
}

/// Both of them.
pub const DIRECTIONS: [Direction; 2] = [Direction::Out, Direction::Back];

/// A link that is open until somebody cuts it. Dropping it closes its connections.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    target: Option<SocketAddr>,
    held_out: bool,
    held_back: bool,
    severed: bool,
    ended: bool,
    delay: Duration,
    /// Both sockets of every connection, to close them.
    connections: HashMap<u64, [TcpStream; 2]>,
    next_connection: u64,
}

impl Link {
    /// Listens on a free port of the loopback. Until [`Link::lead_to`] has been called,
    /// connections are closed as those to a process that is not there.
    ///
    /// # Errors
    /// Without a port or a thread.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        let name = String::from("link");
        let work = move || accept(&listener, &accepting);
        let acceptor = std::thread::Builder::new().name(name).spawn(work)?;
        Ok(Self { address, shared, acceptor: Some(acceptor) })
    }

    /// Where to connect instead of to the other end.
    ///
    /// # Errors
    /// None in practice: an address makes an endpoint.
    pub fn endpoint(&self) -> Result<Endpoint, broker::net::EndpointError> {
        format!("tcp://{}", self.address).parse()
    }

    /// Says where the other end listens.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] unless the endpoint is a TCP address in numbers.
    pub fn lead_to(&self, target: &Endpoint) -> io::Result<()> {
        let address = target.as_str().strip_prefix("tcp://").and_then(|text| text.parse().ok());
        let address = address.ok_or(io::ErrorKind::InvalidInput)?;
        self.shared.change(|state| state.target = Some(address));
        Ok(())
    }

    /// Nothing passes any more, and nobody is told.
    pub fn cut(&self) {
        DIRECTIONS.into_iter().for_each(|direction| self.hold(direction));
    }

    /// The bytes of one direction do not pass any more.
    pub fn hold(&self, direction: Direction) {
        self.shared.change(|state| *state.held(direction) = true);
    }

    /// Closes all connections; new ones are closed at once.
    pub fn sever(&self) {
        self.shared.change(|state| {
            state.severed = true;
            state.close_all();
        });
    }

    /// Everything passes again, first what was held.
    pub fn heal(&self) {
        self.shared.change(|state| {
            state.severed = false;
            DIRECTIONS.into_iter().for_each(|direction| *state.held(direction) = false);
        });
    }

    /// Every block of bytes waits that long.
    pub fn delay(&self, delay: Duration) {
        self.shared.change(|state| state.delay = delay);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.change(|state| {
            state.ended = true;
            state.close_all();
        });
        // The acceptor waits for a connection: here it is.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            // A panic of it has been printed; there is nothing to add while dropping.
            let _ = acceptor.join();
        }
    }
}

impl State {
    fn held(&mut self, direction: Direction) -> &mut bool {
        match direction {
            Direction::Out => &mut self.held_out,
            Direction::Back => &mut self.held_back,
        }
    }

    fn close_all(&mut self) {
        for stream in self.connections.drain().flat_map(|(_, ends)| ends) {
            // It may be closed already, which is what is wanted.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    const fn is_closed(&self) -> bool {
        self.severed || self.ended
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits until `may_pass`. `None`: the link is closed.
    fn wait_until(&self, may_pass: impl Fn(&mut State) -> bool) -> Option<MutexGuard<'_, State>> {
        let waits = |state: &mut State| !state.is_closed() && !may_pass(state);
        let state = self.changed.wait_while(self.lock(), waits);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        (!state.is_closed()).then_some(state)
    }
}

/// Takes connections until the link is dropped.
fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.lock().ended {
            return;
        }
        let Ok(near) = stream else { continue };
        let serving = Arc::clone(shared);
        let name = String::from("link-connection");
        let serve = move || {
            // A connection that does not come about, or breaks, is closed at both ends.
            let _ = serve(near, &serving);
        };
        if let Err(error) = std::thread::Builder::new().name(name).spawn(serve) {
            log::error!("a link has no thread for a connection: {error}");
        }
    }
}

/// Connects to the other end and hands bytes on until one end closes or the link is severed.
fn serve(near: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    // Through a link that is cut in both directions no connection comes about.
    let target = shared.wait_until(|state| !(state.held_out && state.held_back));
    let target = target.and_then(|state| state.target).ok_or(io::ErrorKind::NotConnected)?;
    let far = TcpStream::connect(target)?;
    for stream in [&near, &far] {
        stream.set_nodelay(true)?;
    }
    let ends = [near.try_clone()?, far.try_clone()?];
    let number = {
        let mut state = shared.lock();
        if state.is_closed() {
            return Ok(());
        }
        state.next_connection += 1;
        let number = state.next_connection;
        state.connections.insert(number, ends);
        number
    };
    let (back, backwards) = ((far.try_clone()?, near.try_clone()?), Arc::clone(shared));
    let name = String::from("link-back");
    let pumping = move || pump(back, Direction::Back, &backwards);
    let back = std::thread::Builder::new().name(name).spawn(pumping)?;
    pump((near, far), Direction::Out, shared);
    // The other direction ends with this one: its sockets are shut.
    let _ = back.join();
    shared.lock().connections.remove(&number);
    Ok(())
}

/// Hands the bytes of one direction on. Both sockets are shut when it ends.
fn pump((mut from, mut to): (TcpStream, TcpStream), direction: Direction, shared: &Shared) {
    let mut block = vec![0; BLOCK_BYTES];
    while let Ok(length @ 1..) = from.read(&mut block) {
        let Some(state) = shared.wait_until(|state| !*state.held(direction)) else { break };
        let delay = state.delay;
        drop(state);
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
        if to.write_all(block.get(..length).unwrap_or_default()).is_err() {
            break;
        }
    }
    for stream in [&from, &to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::now;

    const PATIENCE: Duration = Duration::from_secs(20);
    /// Longer than bytes need on the loopback, as far as a test may wait for nothing to happen.
    const A_WHILE: Duration = Duration::from_millis(60);

    /// A link with one connection through it: the end that connected, the end that accepted.
    fn connected() -> (Link, TcpListener, [TcpStream; 2]) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let link = Link::start().unwrap();
        let target = format!("tcp://{}", listener.local_addr().unwrap());
        link.lead_to(&target.parse().unwrap()).unwrap();
        let ends = connect(&link, &listener);
        (link, listener, ends)
    }

    fn connect(link: &Link, listener: &TcpListener) -> [TcpStream; 2] {
        let near = TcpStream::connect(link.address).unwrap();
        let (far, _) = listener.accept().unwrap();
        for stream in [&near, &far] {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        [near, far]
    }

    fn send(stream: &mut TcpStream, bytes: &[u8]) {
        stream.write_all(bytes).unwrap();
    }

    fn receives(stream: &mut TcpStream, bytes: &[u8]) {
        let mut received = vec![0; bytes.len()];
        stream.read_exact(&mut received).unwrap();
        assert_eq!(received, bytes);
    }

    fn receives_nothing(stream: &mut TcpStream) {
        stream.set_read_timeout(Some(A_WHILE)).unwrap();
        let error = stream.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
    }

    #[test]
    fn bytes_pass_in_both_directions() {
        let (_link, _listener, [mut near, mut far]) = connected();
        send(&mut near, b"there");
        receives(&mut far, b"there");
        send(&mut far, b"and back");
        receives(&mut near, b"and back");
    }

    #[test]
    fn what_a_cut_link_holds_arrives_when_it_is_healed() {
        let (link, _listener, [mut near, mut far]) = connected();
        link.cut();
        send(&mut near, b"first");
        send(&mut far, b"answer");
        receives_nothing(&mut far);
        receives_nothing(&mut near);
        send(&mut near, b", second");
        link.heal();
        receives(&mut far, b"first, second");
        receives(&mut near, b"answer");
    }

    #[test]
    fn one_direction_is_held_alone() {
        let (link, _listener, [mut near, mut far]) = connected();
        link.hold(Direction::Back);
        send(&mut near, b"there");
        receives(&mut far, b"there");
        send(&mut far, b"back");
        receives_nothing(&mut near);
        link.heal();
        receives(&mut near, b"back");
    }

    #[test]
    fn a_severed_link_closes_and_refuses_until_it_is_healed() {
        let (link, listener, [mut near, mut far]) = connected();
        link.sever();
        assert_eq!(near.read(&mut [0; 8]).unwrap_or(0), 0);
        assert_eq!(far.read(&mut [0; 8]).unwrap_or(0), 0);
        let mut refused = TcpStream::connect(link.address).unwrap();
        refused.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(refused.read(&mut [0; 8]).unwrap_or(0), 0, "closed, not silent");
        link.heal();
        let [mut near, mut far] = connect(&link, &listener);
        send(&mut near, b"again");
        receives(&mut far, b"again");
    }

    #[test]
    fn a_connection_to_nowhere_is_closed() {
        let link = Link::start().unwrap();
        let mut stream = TcpStream::connect(link.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(stream.read(&mut [0; 8]).unwrap_or(0), 0);
    }

    #[test]
    fn an_end_that_closes_is_noticed_at_the_other() {
        let (link, _listener, [near, mut far]) = connected();
        drop(near);
        assert_eq!(far.read(&mut [0; 8]).unwrap(), 0);
        drop(link);
    }

    #[test]
    fn a_delayed_link_is_slow() {
        let (link, _listener, [mut near, mut far]) = connected();
        link.delay(A_WHILE);
        let sent = now();
        send(&mut near, b"late");
        receives(&mut far, b"late");
        assert!(now().duration_since(sent) >= A_WHILE);
    }

    #[test]
    fn a_sender_is_stopped_when_the_buffers_are_full() {
        let (link, _listener, [mut near, _far]) = connected();
        link.cut();
        near.set_write_timeout(Some(A_WHILE)).unwrap();
        let block = vec![7; 1 << 20];
        let stopped = (0..256).any(|_| near.write_all(&block).is_err());
        assert!(stopped, "256 MiB are not kept anywhere");
    }
}
