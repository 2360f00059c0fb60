//! Real pairs of processes, with every link in our hands, and what may befall them.
//!
//! Each test starts a pair under load with a subscription, does something to it, waits for what
//! has to come of it, and then proves the same of all: every acknowledged event once, in order,
//! the same bytes on both nodes, versions and sequences gapless, the subscription complete.

mod bad_input; //  refused with a sentence, and nothing deleted
mod brokers; //    several of them, side by side
mod disks; //      wiped, full, failing
mod handover; //   a planned change of the leader
mod kills; //      kill -9 of each node and of both
mod links; //      each link cut, in one direction, healed in each order
mod listener; //   a subscription that takes down what it is given
mod long_run; //   one trouble after the other
mod pauses; //     stopped and resumed
mod trial; //      the pair under load, and the proof
mod witness; //    killed, and without its record
