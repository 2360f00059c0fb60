//! # Titanic: disconnected reliability on top of Starlog
//!
//! Titanic keeps commands while their sender, their worker or the broker is away: RFC 9/TSP for
//! any Majordomo client, on the same store as the events.
//!
//! ```text
//!   sender ── titanic.request ──>  Titanic  ──────────────> worker of the target service
//!          <─ titanic.reply ─────     │      <─ reply ─────
//!          ── titanic.close ────>     └── events in a Starlog store
//! ```
//!
//! The queue itself is not there yet. The binary says so and exits, so that nobody sends a command
//! to a queue that does not keep it; a broker without Titanic answers `mmi.service` for
//! `titanic.request` with 404, as RFC 8 asks.

/// What the binary says until the queue is there.
pub const NOT_YET: &str = "starlog-titanic does not keep commands yet and therefore does not \
start: nothing was registered at any broker. Send commands to their service through the broker \
directly.";

/// Exit code of the binary while it refuses to start (`EX_UNAVAILABLE` of sysexits.h).
pub const EXIT_UNAVAILABLE: u8 = 69;
