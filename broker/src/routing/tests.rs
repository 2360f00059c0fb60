//! The table under a clock of the test's: what it says to whom, and how much it keeps.

mod bench;
mod dialect;
mod hostile;
mod leaders;
mod limits;
mod mdp;
mod partitions;
mod plain_store;
