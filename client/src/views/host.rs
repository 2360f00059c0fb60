//! Running a projection: subscribe from its checkpoint, handle, commit, go on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::batch::ViewBatch;
use super::error::{HostError, ViewError};
use super::progress::{ProgressError, ProgressService};
use super::projection::Projection;
use super::store::{ViewStore, write_checkpoint};
use crate::handle::StoreHandle;
use crate::position::Checkpoint;
use crate::subscription::options::described;
use crate::subscription::{Batch, OnGap, SubscribeOptions, Subscription, SubscriptionCounters};
use store::Filter;
use store::slot::PartitionNumber;

/// How long the host waits for events before it looks at its stop flag.
const WAIT: Duration = Duration::from_millis(100);

/// What to do when the views were made by another version of the projection, or from other events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnChanged {
    /// Empty them and start from the first event.
    #[default]
    Rebuild,
    /// Stop with [`HostError::Changed`] or [`HostError::FilterChanged`].
    Refuse,
}

/// How a projection is run.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// Only the events of a category or of one stream; `None` for all. The checkpoint has passed
    /// over all others, so a projection that is run with another filter counts as changed.
    pub filter: Option<Filter>,
    /// Partitions; `None` for all of the store, or for the one where the filter's stream lives.
    pub partitions: Option<Vec<PartitionNumber>>,
    /// What to do when the projection has changed.
    pub on_changed: OnChanged,
    /// What to do about missing feed messages.
    pub on_gap: OnGap,
    /// Whether the projection is given events of the system's streams too.
    pub system_streams: bool,
    /// A transaction is committed at the latest after this time while events go on coming; when
    /// none are waiting it is committed at once. Default 100 ms.
    pub commit_interval: Duration,
    /// A transaction is committed at the latest after so many events. Default 10,000.
    pub commit_events_max: usize,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self {
            filter: None,
            partitions: None,
            on_changed: OnChanged::default(),
            on_gap: OnGap::default(),
            system_streams: false,
            commit_interval: Duration::from_millis(100),
            commit_events_max: 10_000,
        }
    }
}

/// Ends a running host from another thread.
#[derive(Debug, Clone, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// A flag that is not raised.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the host to commit what it has and return.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it was raised.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// How a host is getting on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostCounters {
    /// What its subscription went through.
    pub subscription: SubscriptionCounters,
    /// Events handled and committed in this run.
    pub events: u64,
    /// Transactions committed.
    pub commits: u64,
    /// Events that are committed in the store and not yet in the views, as far as is known.
    pub lag: u64,
    /// Whether history is behind and everything known is in the views.
    pub caught_up: bool,
    /// What the last commit reached.
    pub checkpoint: Checkpoint,
    /// Why the last run ended, if it failed.
    pub error: Option<String>,
}

/// A look at a running host from other threads.
#[derive(Debug, Clone, Default)]
pub struct HostProgress(Arc<Mutex<HostCounters>>);

impl HostProgress {
    /// The counters as of the last commit or idle moment.
    #[must_use]
    pub fn counters(&self) -> HostCounters {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, counters: HostCounters) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = counters;
    }

    fn failed(&self, error: &HostError) {
        let error = Some(error.to_string());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).error = error;
    }
}

/// Feeds one projection from one store.
#[derive(Debug)]
pub struct ProjectionHost {
    store: StoreHandle,
    views: ViewStore,
    options: HostOptions,
    progress: HostProgress,
}

impl ProjectionHost {
    /// A host that is not running yet.
    #[must_use]
    pub fn new(store: StoreHandle, views: ViewStore, options: HostOptions) -> Self {
        Self { store, views, options, progress: HostProgress::default() }
    }

    /// A look at its counters, for other threads.
    #[must_use]
    pub fn progress(&self) -> HostProgress {
        self.progress.clone()
    }

    /// Tells whoever asks the brokers how far the projection of this name is, and why it has
    /// failed, until the service is dropped: `starlog doctor` asks. It does so whether the host
    /// runs or stands still.
    ///
    /// # Errors
    /// [`ProgressError`] when the name gives no service name, or a socket or thread is missing.
    pub fn tell_progress(&self, projection: &str) -> Result<ProgressService, ProgressError> {
        ProgressService::start(self, projection)
    }

    pub(super) fn store(&self) -> &StoreHandle {
        &self.store
    }

    /// The partitions whose events the projection gets.
    pub(super) fn followed(&self) -> Vec<PartitionNumber> {
        match (&self.options.partitions, &self.options.filter) {
            (Some(partitions), _) => partitions.clone(),
            (None, Some(Filter::Stream(stream))) => vec![self.store.partition_of(stream)],
            (None, _) => (0..self.store.partitions()).map(PartitionNumber).collect(),
        }
    }

    /// Runs the projection on the caller's thread until the flag is raised, then returns what was
    /// done.
    ///
    /// # Errors
    /// [`HostError`]; everything up to the last commit stands, and a new run goes on from there.
    pub fn run(
        &self,
        projection: &mut dyn Projection,
        stop: &StopFlag,
    ) -> Result<HostCounters, HostError> {
        self.follow(projection, stop).inspect_err(|error| self.progress.failed(error))
    }

    fn follow(
        &self,
        projection: &mut dyn Projection,
        stop: &StopFlag,
    ) -> Result<HostCounters, HostError> {
        self.check_fingerprint(projection)?;
        let checkpoint = self.views.checkpoint(projection.name())?;
        let mut subscription = self.store.subscribe(SubscribeOptions {
            from: checkpoint.clone(),
            filter: self.options.filter.clone(),
            partitions: self.options.partitions.clone(),
            on_gap: self.options.on_gap,
            system_streams: self.options.system_streams,
        })?;
        let mut counters = HostCounters { checkpoint, ..HostCounters::default() };
        self.progress.set(counters.clone());
        while !stop.is_stopped() {
            if let Some(batch) = subscription.next(WAIT)? {
                self.commit(projection, &mut subscription, batch, &mut counters)?;
            }
            observe(&subscription, &mut counters);
            self.progress.set(counters.clone());
        }
        Ok(counters)
    }

    /// Empties the projection's views, so that the next run begins with the first event.
    ///
    /// # Errors
    /// [`HostError::View`] when the view store fails; nothing is emptied then.
    pub fn rebuild(&self, projection: &dyn Projection) -> Result<(), HostError> {
        Ok(self.views.reset(projection)?)
    }

    fn check_fingerprint(&self, projection: &dyn Projection) -> Result<(), HostError> {
        let name = projection.name();
        let (version, filter) = (projection.version(), described(self.options.filter.as_ref()));
        let stored_version = self.views.made_by(name)?.filter(|stored| *stored != version);
        let stored_filter = self.views.made_from(name)?.filter(|stored| *stored != filter);
        let projection_name = name.to_owned();
        let changed = match (stored_version, stored_filter) {
            (None, None) => return Ok(()),
            (Some(stored), _) => {
                HostError::Changed { projection: projection_name, stored, current: version }
            }
            (None, Some(stored)) => {
                HostError::FilterChanged { projection: projection_name, stored, current: filter }
            }
        };
        match self.options.on_changed {
            OnChanged::Rebuild => Ok(self.views.reset(projection)?),
            OnChanged::Refuse => Err(changed),
        }
    }

    /// Handles `first` and what follows it at once, in one transaction together with the
    /// checkpoint behind it.
    fn commit(
        &self,
        projection: &mut dyn Projection,
        subscription: &mut Subscription,
        first: Batch,
        counters: &mut HostCounters,
    ) -> Result<(), HostError> {
        let until = clock() + self.options.commit_interval;
        let transaction = self.views.begin()?;
        let mut events = 0;
        let mut next = Some(first);
        while let Some(batch) = next {
            handle(projection, &batch, &transaction)?;
            events += batch.events.len();
            counters.checkpoint.set(batch.partition, batch.position);
            let room = events < self.options.commit_events_max && clock() < until;
            next = if room { subscription.next(Duration::ZERO)? } else { None };
        }
        let filter = self.options.filter.as_ref();
        write_checkpoint(&transaction, projection, filter, &counters.checkpoint)?;
        transaction.commit().map_err(ViewError::from)?;
        counters.events += u64::try_from(events).unwrap_or(0);
        counters.commits += 1;
        Ok(())
    }
}

fn handle(
    projection: &mut dyn Projection,
    batch: &Batch,
    transaction: &redb::WriteTransaction,
) -> Result<(), HostError> {
    // Names are few and short; a copy frees the projection for its own mutable use.
    let views: Vec<String> = projection.views().iter().map(|view| (*view).to_owned()).collect();
    let views: Vec<&str> = views.iter().map(String::as_str).collect();
    let mut view_batch = ViewBatch::new(transaction, &views)?;
    projection.handle(batch, &mut view_batch).map_err(|source| HostError::Handle {
        projection: projection.name().to_owned(),
        position: batch.position.to_string(),
        source,
    })
}

fn observe(subscription: &Subscription, counters: &mut HostCounters) {
    counters.subscription = subscription.counters();
    counters.caught_up = subscription.caught_up();
    let behind = |(partition, head): (PartitionNumber, store::event::Sequence)| {
        head.0.saturating_sub(counters.checkpoint.position(partition).sequence.0)
    };
    counters.lag = subscription.heads().into_iter().map(behind).sum();
}

#[expect(clippy::disallowed_methods, reason = "a loop reads the clock")]
fn clock() -> Instant {
    Instant::now()
}
