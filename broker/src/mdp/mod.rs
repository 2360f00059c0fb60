//! The Majordomo Protocol, versions 0.1 (RFC 7) and 0.2 (RFC 18): messages, [`Client`], [`Worker`].

mod client;
pub mod message;
mod worker;
mod worker_link;

pub use client::{Client, ClientConfig, ConnectError, Part, RequestError};
pub use message::Version;
pub use worker::{Job, Worker, WorkerConfig, WorkerError};
