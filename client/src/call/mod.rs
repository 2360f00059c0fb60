//! Calls of any Majordomo service: many under way, each with an outcome that is known for what it
//! is.
//!
//! ```text
//! call() ──> CallDesk ──numbered──> broker ──> worker of the service
//!    ^          │ repeats what was refused for the moment, and what a lost broker held
//!    └──────────┘ the reply, or what is known
//! ```

pub(crate) mod desk;
mod error;

use bytes::Bytes;

pub use self::error::CallError;
use crate::pending::Pending;

/// The reply to a call that is still under way: its body frames.
pub type PendingCall = Pending<Vec<Bytes>, CallError>;
