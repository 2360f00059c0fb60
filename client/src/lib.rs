//! The client of Starlog: append events, read them back, follow them, keep views of them.
//!
//! It is a library for applications and projection hosts, and what the tool `starlog` is made of.
//! It is no store (that is `starlog-store`, which can also be embedded without any network), and
//! it needs no async runtime, though what it returns can be `.await`ed.
//!
//! ```text
//!                 append            one message, many appends
//! application ───────────> Client ────────────────────────────> broker ──> leader of the partition
//!      ^                     │ ^                                                │      │
//!      │      receipt        │ └──────────── each append's result ──────────────┘      │
//!      ├─────────────────────┘                                                         │
//!      │  read_stream, read_all       blocks of history, as far as credit was given    │
//!      ├──────────────────────────────────────────────────────────────── replayer <────┤
//!      │  subscribe: every event once, in order    committed records, heartbeats       │
//!      ├────────────────────────────────────────────────────────────────── feed <──────┘
//!      │    └─> views: documents and checkpoint in one transaction
//!      │  call, commands                one request, one reply
//!      └────────────────────────────────────────────────────────────> broker ──> any worker,
//!                                                                               or Titanic
//! ```
//!
//! ```no_run
//! use client::{
//!     Client, EncodeEvent, ExpectedVersion, Filter, NewEvent, ReadOptions, SubscribeOptions,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let orders = Client::connect(["tcp://127.0.0.1:7400"])?.store("orders")?;
//! let placed = NewEvent::json("OrderPlaced", &serde_json::json!({ "total": 12 }))?;
//! let receipt = orders.append("order-17", ExpectedVersion::None, vec![placed]).wait()?;
//! for event in orders.read_stream("order-17", ReadOptions::default()) {
//!     println!("{}", event?.event_type);
//! }
//! let only_orders = Filter::Category("order".parse()?);
//! let mut subscription = orders.subscribe(SubscribeOptions::default().only(only_orders))?;
//! while let Some(batch) = subscription.next(std::time::Duration::from_secs(1))? {
//!     println!("{} events up to {}", batch.events.len(), batch.position);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! **Who owns what.** A [`Client`] owns one thread, and that thread owns the sockets to brokers
//! and replayers; handles, reads and pending appends only talk to it. A [`Subscription`] owns the
//! socket to the feed and uses it on the caller's thread. A view store owns its file. Nothing is
//! global: what is dropped is gone.
//!
//! **What an error means.** Every error tells its stable code, whether trying again can help, and
//! its facts as data. After a failed append [`AppendError::outcome`] says whether it is
//! definitely not done or unknown; an unknown one is settled by appending the same events with
//! the same ids again.

mod append;
mod call;
mod client;
pub mod command;
mod config;
mod error;
mod event;
mod failover;
mod gap;
mod handle;
mod pause;
mod pending;
mod position;
mod read;
#[cfg(feature = "views")]
pub mod saga;
#[cfg(test)]
mod samples;
mod subscription;
#[cfg(feature = "views")]
pub mod views;

/// The machines under the client, for those who drive them without a socket or a clock.
pub mod machines {
    pub use crate::append::coalescer::{Coalescer, Waiting, Window};
    pub use crate::append::outbox::{Answer, Conclusion, Outbox, OutboxInput, OutboxOutput};
    pub use crate::append::refusal::from_refusal;
    pub use crate::call::desk::{Call, CallConclusion, CallDesk, CallInput, CallOutput};
    pub use crate::failover::{Failover, FailoverInput, FailoverOutput};
    pub use crate::subscription::splice::{
        FeedMessage, ReplayedBlock, Splice, SpliceCounters, SpliceInput, SpliceOutput, StopReason,
    };
}

pub use append::{Append, AppendError, AppendReceipt, Durability, PendingAppend, StreamWrite};
pub use broker::dialect::{
    AgentTopology, Detail, MemberTopology, PairTopology, ServiceTopology, StoreTopology, Topology,
    WitnessTopology, WitnessedNode,
};
pub use broker::error_code::{ErrorCode, Outcome};
pub use broker::net::Endpoint;
pub use call::{CallError, PendingCall};
pub use client::{
    Client, FRAMES_LOG_TARGET, HandOver, HandOverError, HandedOver, ProcessStatus, Status,
};
pub use config::ClientConfig;
pub use error::{ConnectError, LookupError, Refusal, Unavailable};
pub use event::{DecodeEvent, EncodeEvent, EventError};
pub use gap::{GapDetector, Span, Verdict};
pub use handle::StoreHandle;
pub use pending::Pending;
pub use position::{Checkpoint, Lineage, Position};
pub use read::{
    Direction, ReadAll, ReadAllOptions, ReadCategory, ReadCategoryOptions, ReadError, ReadOptions,
    ReadStream,
};
pub use store::Filter;
pub use store::event::{
    ContentType, Epoch, Event, EventId, ExpectedVersion, NewEvent, Sequence, Signature, Version,
};
pub use store::names::{CategoryName, EventType, NameError, StoreName, StreamName};
pub use store::slot::PartitionNumber;
pub use store::wire::status::{
    DiskStatus, NeighbourStatus, PairStatus, PartitionStatus, ReadsStatus, StatusReply,
};
pub use subscription::{
    Batch, OnGap, SubscribeOptions, Subscription, SubscriptionCounters, SubscriptionError,
};
