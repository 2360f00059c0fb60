//! A pair, its witness, two brokers and clients in one thread, with virtual time, network and
//! disks: seeds decide what goes wrong, and a seed repeats its run exactly.
//!
//! ```text
//!                  Appender ── ClientLink, Outbox ──┐         ┌── Splice ── Reader
//!                                                   v         ^
//!   nemesis ──> network ──────────────> RoutingTable ×2       │ feed, replay
//!      │          │                                 │         │
//!      │          v                                 v         │
//!      └──> WitnessHost ── Witness        Member ×2 ── Pair, Leader, Follower, SessionTable
//!                                                   └── Partition (a log with an unsafe end)
//!                     everything that is shown, said or cut ──> Oracle
//! ```
//!
//! The machines are the shipped ones; what stands around them here are the loops, in small. After
//! every event the invariants are checked, and after all trouble everything must be well again
//! within bounded time.
//!
//! `STARLOG_SEED=17` repeats one seed and tells what happens. `STARLOG_SEEDS=5000` runs so many.
//! `SLOW_TESTS=1` runs many more.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a broken run panics")]

mod appender;
mod clock;
mod engine;
mod env;
mod member;
mod nemesis;
mod network;
mod oracle;
mod plan;
mod queue;
mod reader;
mod routing;
mod runs;
mod trace;
mod witness;
mod world;
