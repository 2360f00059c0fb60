//! The witness's loop: take what is there, hear all of it, decide, sync, answer.

use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use zmq::Socket;

use super::board::Board;
use super::records::Records;
use super::registers::Registers;
use crate::net::{self, Sent, Stop, TICK, Waker};
use crate::witness::{Token, WitnessOutput, WitnessRequest, decode_request, encode_answer};

/// So many requests are heard before the first of them is decided.
const BATCH: usize = 256;

/// How often people's view of the pairs is renewed at most.
const SHOW_EVERY: Duration = Duration::from_millis(100);

/// Why the witness ends.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// A decision could not be made durable, so it must not be told, and what the disk holds is
    /// not known any more.
    #[error(
        "the witness cannot make its record durable: {0}; make room or replace the disk, then \
         start the broker again"
    )]
    Record(#[from] io::Error),
    /// The socket failed.
    #[error("the witness's socket failed: {0}")]
    Socket(#[from] zmq::Error),
}

/// The thread around the registers.
pub(in crate::server) struct WitnessLoop {
    socket: Socket,
    registers: Registers,
    records: Records,
    board: Board,
    stop: Stop,
    waker: Waker,
    /// People were told that there is no room for another pair.
    is_full: bool,
}

/// A request, and where its answer goes.
struct Asked {
    peer: Bytes,
    token: Token,
    request: WitnessRequest,
}

#[expect(clippy::disallowed_methods, reason = "a loop reads the clock")]
fn clock() -> Instant {
    Instant::now()
}

impl WitnessLoop {
    pub(super) fn new(
        (socket, registers, records): (Socket, Registers, Records),
        board: Board,
        (stop, waker): (Stop, Waker),
    ) -> WitnessLoop {
        WitnessLoop { socket, registers, records, board, stop, waker, is_full: false }
    }

    pub(in crate::server) fn run(mut self) -> Result<(), WitnessError> {
        let mut show_at = None;
        while !self.stop.is_requested() {
            self.sleep(show_at)?;
            let now = clock();
            if self.turn(now)? {
                show_at = show_at.or(Some(now + SHOW_EVERY));
            }
            if show_at.is_some_and(|at| now >= at) {
                self.board.show(self.registers.view());
                show_at = None;
            }
        }
        Ok(())
    }

    fn sleep(&self, show_at: Option<Instant>) -> Result<(), zmq::Error> {
        let timeout = show_at.map_or(TICK, |at| at.saturating_duration_since(clock()));
        let mut items = [self.socket.as_poll_item(zmq::POLLIN), self.waker.poll_item()];
        net::poll(&mut items, Some(timeout))?;
        if items[1].is_readable() {
            self.waker.drain();
        }
        Ok(())
    }

    /// Deals with what has arrived; says whether there was anything.
    fn turn(&mut self, now: Instant) -> Result<bool, WitnessError> {
        let mut batch = Vec::new();
        for _ in 0..BATCH {
            let Some(mut frames) = net::receive(&self.socket)? else {
                break;
            };
            if frames.is_empty() {
                continue;
            }
            let peer = frames.remove(0);
            match decode_request(&frames) {
                Ok((token, request)) if self.registers.hear(now, &request) => {
                    batch.push(Asked { peer, token, request });
                }
                Ok((_, request)) => self.turn_away(&request),
                Err(error) => log::debug!("message dropped: {error}"),
            }
        }
        let any = !batch.is_empty();
        for asked in batch {
            self.answer(now, asked)?;
        }
        Ok(any)
    }

    fn turn_away(&mut self, request: &WitnessRequest) {
        if !std::mem::replace(&mut self.is_full, true) {
            let lineage = request.lineage.0;
            log::warn!("the pair {lineage} is not answered: there is no room for another one");
        }
    }

    fn answer(&mut self, now: Instant, asked: Asked) -> Result<(), WitnessError> {
        let mut outputs = Vec::new();
        self.registers.decide(now, asked.request, &mut outputs);
        for output in outputs {
            match output {
                WitnessOutput::Save(record) => self.records.save(&record)?,
                WitnessOutput::Answer(answer) => {
                    let frames = encode_answer(asked.token, &answer).map(Bytes::from);
                    match net::send_to(&self.socket, &asked.peer, &frames)? {
                        Sent::Done => {}
                        // Whoever still wants to know asks again.
                        Sent::Full | Sent::Unreachable => log::debug!("an answer found no way"),
                    }
                }
            }
        }
        Ok(())
    }
}
