//! Starlog's broker: Majordomo for any client and worker, and a dialect of our own for stores.
//!
//! What it is: message types of MDP/0.1, MDP/0.2 and the dialect, an MDP [`Client`](mdp::Client)
//! and [`Worker`](mdp::Worker), the machines that hold a conversation in the dialect and a worker's
//! [`link`] around one of them, the [`witness`] that says who leads a pair of stores, what all
//! server processes need of sockets ([`net`]) and threads ([`process`]), and the broker itself, as
//! a library and as the program `starlog-broker`.
//!
//! What it is not: it knows nothing of events, keeps no data of its users, and imports nothing else
//! of Starlog. A broker that is lost costs time, never an acknowledged event.
//!
//! ```text
//!   MDP client   MDP worker   dialect client   store worker    members of pairs
//!        └───────────┴──────┬───────┴───────────────┘                  │
//!                      one ROUTER                                 one ROUTER     server: sockets,
//!                           │ frames                                   │         clock, outboxes
//!                     RoutingTable                                 Witness       pure decisions
//!                     │           │                                    │
//!             mdp::message   dialect::Header                     witness::codec  codecs
//! ```
//!
//! A service and somebody who asks it:
//!
//! ```
//! use broker::config::Config;
//! use broker::mdp::{Client, ClientConfig, Worker, WorkerConfig};
//!
//! # let data = tempfile::tempdir()?;
//! let listen = vec!["tcp://127.0.0.1:*".parse()?];
//! let config = Config { listen, data: data.path().into(), ..Config::default() };
//! let broker = broker::server::start(config)?;
//! let endpoint = broker.endpoints()[0].clone();
//! let mut worker = Worker::ready(WorkerConfig::new(endpoint.clone(), "echo"))?;
//! let service = std::thread::spawn(move || {
//!     let job = worker.receive()?;
//!     let answer = job.body.clone();
//!     worker.reply(job, answer)
//! });
//! let mut client = Client::connect(ClientConfig::new(endpoint))?;
//! assert_eq!(client.request("echo", vec!["hello".into()])?, ["hello"]);
//! service.join().expect("the worker does not panic")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Ownership: a socket belongs to the one thread whose loop it is. Machines own no socket, no
//! thread and no clock; they are given `now` and what arrived, and return what is to be done. The
//! messages are drawn in `PROTOCOL.md`.

pub mod config;
pub mod dialect;
pub mod error_code;
pub mod link;
pub mod liveness;
pub mod mdp;
pub mod net;
pub mod process;
pub mod routing;
pub mod server;
pub mod slot;
pub mod witness;

#[cfg(test)]
mod tests {
    #[test]
    fn libzmq_is_4_3_5_with_curve() {
        assert_eq!(zmq::version(), (4, 3, 5));
        assert_eq!(zmq::has("curve"), Some(true));
    }
}
