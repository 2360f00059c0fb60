//! The broker's one loop: receive, decode, hand to the routing table, send, sleep.

use std::time::{Duration, Instant};

use zmq::Socket;

use super::outboxes::Outboxes;
use super::witness::Board;
use crate::config::Config;
use crate::net::{self, Sent, Stop, TICK, Waker};
use crate::routing::{Identity, Input, Output, PeerId, RoutingTable};

/// So many messages are taken before the clock is looked at and waiting messages are tried again.
const BATCH: usize = 256;

/// How soon a full pipe is tried again. libzmq tells when *some* pipe has room, not which.
const RETRY: Duration = Duration::from_millis(1);

/// How long goodbyes may take to get out.
const FAREWELL: Duration = Duration::from_millis(500);
const FAREWELL_MS: i32 = 500;

/// The thread around the table: receives, decides, sends, sleeps until the next deadline.
pub(super) struct EventLoop {
    socket: Socket,
    table: RoutingTable,
    outboxes: Outboxes,
    outputs: Vec<Output>,
    stop: Stop,
    waker: Waker,
    drain: Duration,
    /// What the witness in this process shows, if there is one.
    board: Option<Board>,
    /// The last turn left messages on the socket, so the next one does not sleep.
    more_waits: bool,
}

#[expect(clippy::disallowed_methods, reason = "a loop reads the clock")]
pub(super) fn clock() -> Instant {
    Instant::now()
}

impl EventLoop {
    pub(super) fn new(
        config: Config,
        identity: Identity,
        socket: Socket,
        (stop, waker): (Stop, Waker),
        board: Option<Board>,
    ) -> EventLoop {
        EventLoop {
            socket,
            outboxes: Outboxes::new(&config.routing.limits),
            table: RoutingTable::new(clock(), config.routing, identity),
            outputs: Vec::new(),
            stop,
            waker,
            drain: config.drain,
            board,
            more_waits: false,
        }
    }

    pub(super) fn run(mut self) -> Result<(), zmq::Error> {
        while !self.stop.is_requested() {
            self.turn()?;
        }
        log::info!("draining: {:?}", self.table.load());
        self.handle(clock(), Input::Drain)?;
        let drained_by = clock() + self.drain;
        while !self.table.is_drained() && clock() < drained_by {
            self.turn()?;
        }
        self.handle(clock(), Input::Farewell)?;
        let gone_by = clock() + FAREWELL;
        while !self.outboxes.is_empty() && clock() < gone_by {
            std::thread::sleep(RETRY);
            self.flush(clock())?;
        }
        log::info!("stopped: {:?}", self.table.counters());
        self.socket.set_linger(FAREWELL_MS)
    }

    /// Sleeps until there is something to do, and does some of it.
    fn turn(&mut self) -> Result<(), zmq::Error> {
        if !self.more_waits {
            self.sleep()?;
        }
        let now = clock();
        self.more_waits = self.receive(now)? == BATCH;
        self.flush(now)?;
        if now >= self.table.deadline() {
            if let Some(board) = &self.board {
                self.handle(now, Input::Witness(board.view()))?;
            }
            self.handle(now, Input::Tick)?;
        }
        Ok(())
    }

    fn sleep(&self) -> Result<(), zmq::Error> {
        let until_deadline = self.table.deadline().saturating_duration_since(clock());
        let timeout =
            if self.outboxes.is_empty() { until_deadline } else { until_deadline.min(RETRY) };
        let mut items = [self.socket.as_poll_item(zmq::POLLIN), self.waker.poll_item()];
        net::poll(&mut items, Some(timeout.min(TICK)))?;
        if items[1].is_readable() {
            self.waker.drain();
        }
        Ok(())
    }

    /// Takes up to [`BATCH`] messages and says how many there were.
    fn receive(&mut self, now: Instant) -> Result<usize, zmq::Error> {
        for count in 0..BATCH {
            let Some(mut frames) = net::receive(&self.socket)? else {
                return Ok(count);
            };
            if frames.is_empty() {
                // More frames than any message has; its sender is not known any more.
                continue;
            }
            let peer = PeerId(frames.remove(0));
            self.handle(now, Input::Received { peer, frames })?;
        }
        Ok(BATCH)
    }

    /// Gives the table an input and carries out what it decides, until nobody else turns out to
    /// be gone.
    fn handle(&mut self, now: Instant, input: Input) -> Result<(), zmq::Error> {
        let mut next = Some(input);
        let mut gone = Vec::new();
        while let Some(input) = next.take().or_else(|| gone.pop()) {
            let mut outputs = std::mem::take(&mut self.outputs);
            self.table.handle(now, input, &mut outputs);
            for Output::Send { peer, frames } in outputs.drain(..) {
                let lost = self.send(now, peer, frames)?;
                gone.extend(lost.map(|peer| Input::PeerGone { peer }));
            }
            self.outputs = outputs;
        }
        Ok(())
    }

    /// Sends, or keeps for later. Returns a peer that turns out to be gone, or too slow.
    fn send(
        &mut self,
        now: Instant,
        peer: PeerId,
        frames: net::Frames,
    ) -> Result<Option<PeerId>, zmq::Error> {
        if !self.outboxes.holds_for(&peer) {
            match net::send_to(&self.socket, &peer.0, &frames)? {
                Sent::Done => return Ok(None),
                Sent::Unreachable => return Ok(Some(peer)),
                Sent::Full => {}
            }
        }
        Ok(self.outboxes.push(now, &peer, frames))
    }

    fn flush(&mut self, now: Instant) -> Result<(), zmq::Error> {
        if self.outboxes.is_empty() {
            return Ok(());
        }
        let socket = &self.socket;
        let gone =
            self.outboxes.flush(now, |peer, frames| net::send_to(socket, &peer.0, frames))?;
        for peer in gone {
            self.handle(now, Input::PeerGone { peer })?;
        }
        Ok(())
    }
}
