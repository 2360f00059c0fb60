//! End-to-end tests: real child processes on the loopback, and the style of the whole workspace.
//!
//! `SLOW_TESTS=1` makes the loops longer.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod dump; //      a small invented dump, imported, killed at, imported again
mod kill_loop; // seeds decide who is killed and stopped, and when
mod pair_faults; // real pairs, every link in our hands, one thing done to them at a time
mod program; //   runs a program with a deadline and keeps its words
mod quickstart; // the main job, with few events
mod samples; //   each sample does what its page says
mod tidy; //      lines, files, functions, purity, front pages
