//! Starlog at work: the quickstart, samples, and what the end-to-end tests are made of.
//!
//! This crate is no library for others. It runs the real servers as child processes, breaks them
//! on purpose, and checks what they promise; nothing in it is part of a server.
//!
//! ```text
//!   bin/quickstart -> quickstart   starts, loads, breaks, proves, reports
//!                        |
//!        +---------------+--------------+------------------+
//!        v               v              v                  v
//!     topology        orders, dump    faults             history, views
//!     children by     events          what goes wrong    what must hold
//!     --as ROLE       (batch)         and when           (pure)
//!        |
//!     process, roles, probe           one child, what it does, what it says of itself
//!     forwarder, link                 a feed that loses messages, a link that can be cut
//! ```
//!
//! A run of a few events, as the tests do it:
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use clap::Parser;
//! use starlog_examples::quickstart::flags::{Ending, Flags};
//!
//! let flags = Flags::parse_from(["quickstart", "--events", "2000", "--seed", "7"]);
//! assert_eq!(flags.run()?, Ending::Sound);
//! # Ok(())
//! # }
//! ```
//!
//! Ownership: a [`topology::Topology`] owns its child processes, and dropping it kills them; a
//! child that loses its parent otherwise ends as well. Everything written lies in one folder.

pub mod batch;
pub mod clock;
pub mod dump;
pub mod faults;
pub mod forwarder;
pub mod history;
pub mod link;
pub mod orders;
pub mod probe;
pub mod process;
pub mod quickstart;
pub mod random;
pub mod roles;
pub mod table;
pub mod topology;
pub mod views;
