//! A Majordomo worker of the service that the commands are for, on a thread of this process.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use broker::{
    mdp::{Worker, WorkerConfig, WorkerError},
    net::Endpoint,
};
use bytes::Bytes;

/// The service.
pub const SERVICE: &str = "warehouse";

/// How long the worker may not notice that it is to end.
const WAIT: Duration = Duration::from_millis(50);

/// Packs what it is told to pack, and notes how often it was told so.
#[derive(Debug, Default)]
pub struct Warehouse {
    packed: Mutex<BTreeMap<Bytes, u64>>,
    closed: AtomicBool,
}

impl Warehouse {
    /// Works until [`Warehouse::close`].
    ///
    /// # Errors
    /// [`WorkerError`] if its socket fails.
    pub fn work(&self, broker: &Endpoint) -> Result<(), WorkerError> {
        let mut worker = Worker::ready(WorkerConfig::new(broker.clone(), SERVICE))?;
        while !self.closed.load(Ordering::Relaxed) {
            let Some(job) = worker.receive_for(WAIT)? else { continue };
            let parcel = job.body.first().cloned().unwrap_or_default();
            let answer = packed(&parcel);
            self.note(parcel);
            worker.reply(job, vec![answer])?;
        }
        Ok(())
    }

    /// Ends the work.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Parcels that were packed more than once.
    pub fn repeated(&self) -> usize {
        let packed = self.packed.lock().unwrap_or_else(PoisonError::into_inner);
        packed.values().filter(|times| **times > 1).count()
    }

    fn note(&self, parcel: Bytes) {
        let mut packed = self.packed.lock().unwrap_or_else(PoisonError::into_inner);
        *packed.entry(parcel).or_default() += 1;
    }
}

/// What the worker answers.
pub fn packed(parcel: &[u8]) -> Bytes {
    [b"packed ", parcel].concat().into()
}
