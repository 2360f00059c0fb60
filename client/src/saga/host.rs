//! Running a saga: a projection that counts a batch as handled when its commands are accepted.

use super::Saga;
use super::reaction::{Origin, Reaction};
use super::sending::{Interrupted, NotSent, Sending};
use crate::command::Commands;
use crate::handle::StoreHandle;
use crate::subscription::Batch;
use crate::views::{
    HandleError, HostCounters, HostError, HostOptions, HostProgress, ProgressError,
    ProgressService, Projection, ProjectionHost, StopFlag, ViewBatch, ViewStore,
};
use store::names::StoreName;

/// The version of every saga's views: what a saga sends is told apart by its name alone.
const VERSION: u32 = 1;

/// Feeds one saga from one store, and sends its commands through the same client.
///
/// While commands wait to be accepted the view store's one write transaction is open: give a saga a
/// file of its own.
#[derive(Debug)]
pub struct SagaHost {
    store: StoreName,
    commands: Commands,
    host: ProjectionHost,
}

impl SagaHost {
    /// A host that is not running yet. Without a checkpoint in `views` it starts with the first
    /// event of the store, or of the filter. With another filter than before it starts over, unless
    /// `on_changed` refuses that: commands that were sent already keep their ids, so that Titanic
    /// knows them.
    #[must_use]
    pub fn new(store: StoreHandle, views: ViewStore, options: HostOptions) -> Self {
        let (name, commands) = (store.name().clone(), store.client().commands());
        Self { store: name, commands, host: ProjectionHost::new(store, views, options) }
    }

    /// A look at its counters, for other threads.
    #[must_use]
    pub fn progress(&self) -> HostProgress {
        self.host.progress()
    }

    /// Tells whoever asks the brokers how far the saga of this name is: see
    /// [`ProjectionHost::tell_progress`].
    ///
    /// # Errors
    /// [`ProgressError`] when the name gives no service name, or a socket or thread is missing.
    pub fn tell_progress(&self, saga: &str) -> Result<ProgressService, ProgressError> {
        self.host.tell_progress(saga)
    }

    /// Runs the saga on the caller's thread until the flag is raised. While Titanic is away it
    /// waits.
    ///
    /// # Errors
    /// [`HostError`]; a [`SendError`](super::SendError) is the source of [`HostError::Handle`].
    /// Everything up to the last commit stands, and a new run goes on from there.
    pub fn run(&self, saga: &mut dyn Saga, stop: &StopFlag) -> Result<HostCounters, HostError> {
        let (store, commands) = (&self.store, &self.commands);
        let mut sending = SagaProjection { saga, store, commands, stop };
        match self.host.run(&mut sending, stop) {
            // What was under way is redone, under the same ids, by the next run.
            Err(HostError::Handle { source, .. }) if source.is::<Interrupted>() => {
                Ok(HostCounters { error: None, ..self.progress().counters() })
            }
            ended => ended,
        }
    }
}

/// A saga as the projection host sees it.
struct SagaProjection<'a> {
    saga: &'a mut dyn Saga,
    store: &'a StoreName,
    commands: &'a Commands,
    stop: &'a StopFlag,
}

impl Projection for SagaProjection<'_> {
    fn name(&self) -> &str {
        self.saga.name()
    }

    fn version(&self) -> u32 {
        VERSION
    }

    fn views(&self) -> &[&str] {
        self.saga.views()
    }

    fn handle(&mut self, batch: &Batch, views: &mut ViewBatch<'_>) -> Result<(), HandleError> {
        let name = self.saga.name().to_owned();
        let origin = Origin { saga: &name, store: self.store };
        let mut sending = Sending::new(self.commands, self.stop);
        for event in &batch.events {
            let mut reaction = Reaction::new(origin, event, views);
            self.saga.react(&mut reaction)?;
            for command in reaction.into_commands() {
                sending.send(command).map_err(unwrapped)?;
            }
        }
        sending.finish().map_err(unwrapped)
    }
}

/// The reason itself, so that it can be found in the host's error.
fn unwrapped(error: NotSent) -> HandleError {
    match error {
        NotSent::Refused(refused) => Box::new(refused),
        NotSent::Interrupted(interrupted) => Box::new(interrupted),
    }
}
