//! # Titanic: disconnected reliability on top of Starlog
//!
//! Titanic keeps commands while their sender, their worker, the broker or Titanic itself is away. A
//! sender hands in a command, goes away, and comes back for the reply; a worker is any Majordomo
//! worker of the target service. It speaks RFC 9/TSP with any Majordomo client, and its own
//! `titanic.command` with Starlog's. Commands are events in a Starlog store, so they are as durable
//! as everything else there, and Titanic itself has nothing that could be lost.
//!
//! It is not a workflow engine: a command goes to one service and has one reply. And it delivers at
//! least once: a worker that dies in the middle leaves open whether it had done its work.
//!
//! ```text
//!   sender ── titanic.request ──>              ── REQUEST ──> worker of the target service
//!          <─ 200, id ────────── ┌─────────┐   <── REPLY ───
//!          ── titanic.reply ───> │ Titanic │
//!          <─ 200, reply ─────── └─────────┘   Accepted, Dispatched, Failed, Replied, Closed,
//!          ── titanic.close ───>   │     ^     Dead, Requeued: one shard stream of a store per
//!          <─ 200 ──────────────   v     │     command, of 32, each dispatched by one process
//!                              append   subscribe
//! ```
//!
//! ```no_run
//! use client::command::NewCommand;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // One process, or several for the same store: `starlog-titanic --store commands`.
//! let titanic = titanic::server::start(&titanic::config::Config::default())?;
//!
//! // The sender may end after this, and ask for the reply from anywhere.
//! let commands = client::Client::connect(["tcp://127.0.0.1:7400"])?.commands();
//! let greet = NewCommand::new("greeter", vec!["hello".into()]);
//! let id = commands.submit(greet).wait()?;
//!
//! let reply = commands.reply(id, std::time::Duration::from_secs(10))?;
//! println!("{id}: {reply:?}");
//! commands.close(id)?;
//! titanic.stop()?;
//! # Ok(())
//! # }
//! ```
//!
//! **Who owns what.** The store owns the commands; everything here is a view over its shard streams
//! and can be thrown away. A process owns the shards that it has claimed, and dispatches only
//! theirs; but what keeps two processes from doubling anything is that step *k* of a command is an
//! event with an id of its own, which only one of them can write. [`Titanic`] is a machine without
//! socket, file, thread or clock; [`server`] owns those, and its thread `titanic-loop` owns the
//! machine.

mod bodies;
mod claims;
pub mod config;
mod desk;
mod dispatcher;
mod figures;
mod intent;
mod life;
#[cfg(test)]
mod model;
mod protocol;
mod reads;
mod record;
pub mod server;
mod titanic;
mod view;
mod writes;

pub use figures::Figures;
pub use protocol::*;
pub use record::*;
pub use titanic::*;
pub use view::Damaged;
