//! Starlog's own dialect: many requests under way, matched by number, with credit and epochs.
//!
//! [`Header`] and the control bodies are the messages; [`WorkerLink`] and [`ClientLink`] are the
//! two machines that hold a conversation with one broker. A worker's socket is around the first one
//! in [`BrokerLink`](crate::link::BrokerLink); the loops are in the store, in Titanic and in the
//! client. `PROTOCOL.md` draws the bytes.

mod client_link;
mod control;
mod conversation;
mod header;
mod topology;
mod worker_link;

pub use client_link::{ClientInput, ClientLink, ClientOutput, ClientReply, ClientRequest};
pub use control::{
    BodyError, Detail, ErrorBody, Hello, PartitionRegistration, Registration, Role, Welcome,
    decode_body, encode_body,
};
pub use conversation::{LinkSettings, VERSION_MAX, VERSION_MIN};
pub use header::{HEADER_BYTES, Header, HeaderError, Kind, MAGIC, ServiceName, SessionId, flags};
pub use topology::{
    AgentTopology, MemberTopology, PairTopology, ServiceTopology, StoreTopology, Topology,
    WitnessTopology, WitnessedNode,
};
pub use worker_link::{
    Window, WorkerInput, WorkerLink, WorkerOffer, WorkerOutput, WorkerReply, WorkerRequest,
};
