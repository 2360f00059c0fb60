//! Sagas: what is to be done because something happened.
//!
//! ```text
//!                         react(event)            submit, same ids each time
//! Subscription ──batches──> Saga ──commands──> Titanic ──> workers of their services
//!      ^                     │                    │ accepted, all of them
//!      │                     v                    v
//!      └── checkpoint <── one transaction of a ViewStore: documents, then how far it is
//! ```
//!
//! The id of every command is derived from the event that caused it, and the checkpoint moves on
//! only when all commands of a batch are accepted. A saga that is killed anywhere reacts to the
//! same events again when it comes back, in the state that it had then, and sends the same
//! commands with the same ids, which Titanic keeps once. So each command is kept exactly once;
//! that it is also carried out only once is up to its worker, who may be given an id to look at.

mod host;
mod reaction;
mod sending;

pub use self::host::SagaHost;
pub use self::reaction::Reaction;
pub use self::sending::SendError;

use crate::views::HandleError;

/// A rule that turns events into commands.
///
/// It must be repeatable: the same event and the same documents have to give the same commands in
/// the same order, or Titanic refuses them as other commands under known ids. So it keeps its state
/// in its views, reads time from the event, and draws nothing at random.
pub trait Saga {
    /// Its name, unique within a view store. It is part of the commands' ids: a saga under another
    /// name sends everything again.
    fn name(&self) -> &str;

    /// The views that hold its state, if it needs any; nobody else writes them.
    fn views(&self) -> &[&str] {
        &[]
    }

    /// Takes one event, and says with [`Reaction::send`] what is to be done about it. Events come
    /// in order within their partition.
    ///
    /// # Errors
    /// Any error ends the host; nothing of the transaction is kept, and commands that were already
    /// accepted for it keep their ids for the next run.
    fn react(&mut self, reaction: &mut Reaction<'_, '_>) -> Result<(), HandleError>;
}
