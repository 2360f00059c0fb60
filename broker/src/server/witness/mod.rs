//! The witness of pairs: a thread with a socket and files of its own, so that a slow disk holds up
//! no routing, and routing holds up no decision.
//!
//! ```text
//!   members ── ROUTER ── event_loop ──► registers ──► witness::Witness, one for each pair
//!                            │              └──────── presence: who was heard within the lease
//!                            ├──► records: one synced file for each pair
//!                            └──► board: what people see by mmi.topology
//! ```

mod board;
mod event_loop;
mod presence;
mod records;
mod registers;

use std::path::Path;
use std::time::Instant;

use uuid::Uuid;

use super::StartError;
use crate::config::WitnessConfig;
use crate::net::{self, Endpoint, Stop, Waker};
use crate::witness::WitnessId;

pub use event_loop::WitnessError;

pub(super) use board::Board;
pub(super) use event_loop::WitnessLoop;

use records::{LoadError, Records};
use registers::Registers;

/// Messages that libzmq may hold for one member, each way. Members repeat what got lost.
const PIPE_MESSAGES: i32 = 64;

/// Folder of the records in the broker's data directory.
const FOLDER: &str = "witness";

/// A witness that can be asked, or the reason why there is none.
pub(super) struct Opened {
    /// What people see of it.
    pub board: Board,
    /// The bound endpoint and the loop; nothing if a record is damaged. That must not keep the
    /// broker from routing: pairs go on in the configuration that they have.
    pub working: Option<(Endpoint, WitnessLoop)>,
}

/// Reads the records and binds the socket.
pub(super) fn open(
    config: &WitnessConfig,
    data: &Path,
    context: &zmq::Context,
    (now, stop): (Instant, &Stop),
) -> Result<Opened, StartError> {
    let board = Board::new(config);
    let loaded = Records::open(data.join(FOLDER))
        .and_then(|records| Ok((records.load(config.registers_max)?, records)));
    let (loaded, records) = match loaded {
        Ok(loaded) => loaded,
        Err(error @ (LoadError::Damaged(..) | LoadError::TooMany(..))) => {
            log::error!("{error}");
            board.stopped(error.to_string());
            return Ok(Opened { board, working: None });
        }
        Err(LoadError::Io(path, error)) => return Err(StartError::Directory(path, error)),
    };
    let socket = net::socket(context, zmq::ROUTER)?;
    socket.set_sndhwm(PIPE_MESSAGES)?;
    socket.set_rcvhwm(PIPE_MESSAGES)?;
    let endpoint = net::bind(&socket, &config.listen)?;
    board.bound(&endpoint);
    log::info!("witness on {endpoint}, {} pairs known", loaded.len());
    let waker = Waker::new()?;
    stop.register(&waker);
    let settings = (config.lease, config.registers_max);
    let registers = Registers::new(now, settings, WitnessId(Uuid::new_v4()), loaded);
    let witness =
        WitnessLoop::new((socket, registers, records), board.clone(), (stop.clone(), waker));
    Ok(Opened { board, working: Some((endpoint, witness)) })
}
