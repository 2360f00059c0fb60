//! How the follower's logs come to be, and stay, those of the leader. Two pure machines.
//!
//! ```text
//!  leader                                          follower
//!    CATALOGUE ------------------------------------> makes what it lacks
//!    <------------------------- MARK (end of its log), for each partition
//!    PROBE (a place) ------------------------------>                        until the last place
//!    <------------------------- MARK (what is there)                        of agreement is found
//!    CUT (that place) -----------------------------> parks what lies behind it
//!    <------------------------------------- CUT_DONE
//!    RECORDS, RECORDS, … --------------------------> writes, syncs
//!    <------------------------------------------ ACK
//! ```
//!
//! [`Leader`] and [`Follower`] do this for all partitions side by side. Nothing that they send has
//! to arrive: whatever waits for an answer asks again after [`PATIENCE_TICKS`] ticks, a follower
//! names the gap that it sees, and what comes twice is ignored. An epoch stands in everything, and
//! only the present one counts. If the same leader goes on in a new epoch (its members changed)
//! the follower goes on where it is, and acknowledges anew under that epoch.

mod follower;
mod lane;
mod leader;
mod progress;
mod search;

pub use follower::{Follower, FollowerInput, FollowerOutput, LogEnd, Replicated};
pub use leader::{Leader, LeaderInput, LeaderOutput, Sending};

/// Bytes that may be under way to the follower: sent, and not known to be written there.
pub const WINDOW_BYTES: usize = 8 * 1024 * 1024;
/// Most record bytes read, and sent, at once; a larger append travels alone.
pub const BLOCK_BYTES_MAX: usize = 1024 * 1024;
/// An answer that is missing after so many ticks is asked for again.
pub const PATIENCE_TICKS: u32 = 5;

/// What makes an acknowledgement count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// What the follower has written: level `memory`.
    Written,
    /// What the follower has synced.
    Durable,
}

#[cfg(test)]
mod tests;
