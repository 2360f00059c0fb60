//! Integration tests: a real broker on a real socket, and peers that are written from the RFCs with
//! nothing of the library's codecs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::as_conversions,
    clippy::disallowed_methods,
    reason = "a test panics when something is wrong, and its loops read the clock"
)]

/// The dialect over the socket: store-like workers, clients, slow readers.
mod dialect;
/// `zeromq.md` §1.4, row by row: the faults of the Guide's brokers.
mod guide_faults;
/// Random frames, random bytes, invented names.
mod hostile;
/// Leaders that come and go, brokers that die.
mod leaders;
/// `mdp::Client` and `mdp::Worker` against brokers that misbehave.
mod library;
/// Loops around the dialect's links, as store and client have them.
mod links;
/// `zeromq.md` §1.3, row by row: what RFC 7 and RFC 18 ask of a broker.
mod mandatory;
/// `PROTOCOL.md` against the code: error codes and limits.
mod pages;
/// The program: lines, signals, exit codes.
mod process;
/// Raw peers and brokers with short times.
mod support;
/// The witness on its socket: decisions, restarts, loss of its record, bad bytes.
mod witness;
