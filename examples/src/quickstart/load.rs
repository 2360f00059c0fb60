//! The aggregates: threads that append batch after batch with expected versions.
//!
//! A thread keeps a window of appends under way and looks at their answers in the order in which
//! it sent them. What was not acknowledged is sent again with the same ids, which is harmless
//! whatever became of the earlier attempt, before anything behind it is counted.

use std::{collections::VecDeque, time::Duration};

use client::{AppendError, AppendReceipt, PendingAppend, StoreHandle};
use store::{ExpectedVersion, Signature, Version};
use thiserror::Error;

use crate::{
    batch::{Batch, BatchError},
    clock::{self, Deadline},
    history::{Acknowledged, SentEvent},
    quickstart::meter::Meter,
};

/// How long one append may take, all attempts together.
const APPEND_PATIENCE: Duration = Duration::from_secs(60);
/// Pause before an append is sent again that the store could not take just now.
const RETRY_PAUSE: Duration = Duration::from_millis(10);
/// A definite refusal of an append whose predecessors are all acknowledged is final. Before that
/// it may have been refused for the sake of a predecessor that was not there yet.
const FINAL_REFUSALS_MAX: u32 = 2;

/// Why a load ended early.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The source of the events.
    #[error(transparent)]
    Source(#[from] BatchError),
    /// An append failed for good.
    #[error("an append of {events} events to {stream} after version {after} failed: {reason}")]
    Append {
        /// Where to.
        stream: String,
        /// How many.
        events: usize,
        /// Expected version.
        after: Version,
        /// The last answer.
        reason: AppendError,
    },
    /// The answer contradicts the append.
    #[error("the answer to an append to {stream} is wrong: {reason}")]
    Answer {
        /// Where to.
        stream: String,
        /// What does not fit.
        reason: String,
    },
    /// The thread panicked.
    #[error("an appending thread panicked")]
    Panicked,
}

/// One appending thread.
#[derive(Debug)]
pub struct Appender<'a> {
    orders: StoreHandle,
    meter: &'a Meter,
    window: usize,
    under_way: VecDeque<(Batch, PendingAppend)>,
    acknowledged: Vec<Acknowledged>,
}

impl<'a> Appender<'a> {
    /// An appender that keeps up to `window` appends under way.
    #[must_use]
    pub fn new(orders: StoreHandle, meter: &'a Meter, window: usize) -> Self {
        let (under_way, acknowledged) = (VecDeque::with_capacity(window), Vec::new());
        Self { orders, meter, window, under_way, acknowledged }
    }

    /// Appends all batches of a source; returns what was acknowledged.
    ///
    /// # Errors
    /// [`LoadError`] if an append fails for good.
    pub fn run(
        mut self,
        batches: impl Iterator<Item = Result<Batch, BatchError>>,
    ) -> Result<Vec<Acknowledged>, LoadError> {
        for batch in batches {
            let batch = batch?;
            if self.under_way.len() >= self.window {
                self.take_answer()?;
            }
            if !self.meter.submit(count(batch.events.len())) {
                break;
            }
            let pending = self.send(&batch);
            self.under_way.push_back((batch, pending));
        }
        while !self.under_way.is_empty() {
            self.take_answer()?;
        }
        Ok(self.acknowledged)
    }

    fn send(&self, batch: &Batch) -> PendingAppend {
        let expected = match batch.after {
            Version::ZERO => ExpectedVersion::None,
            version => ExpectedVersion::Exact(version),
        };
        self.orders.append(batch.stream.clone(), expected, batch.events.clone())
    }

    /// Waits for the oldest append under way, and sends it again until it is acknowledged.
    fn take_answer(&mut self) -> Result<(), LoadError> {
        let Some((batch, mut pending)) = self.under_way.pop_front() else { return Ok(()) };
        let deadline = Deadline::after(APPEND_PATIENCE);
        let mut refusals = 0;
        loop {
            let error = match pending.wait() {
                Ok(receipt) => return self.acknowledge(&batch, &receipt),
                Err(error) => error,
            };
            let definite = error.outcome() == client::Outcome::NotDone && !error.retry();
            refusals += u32::from(definite);
            if refusals >= FINAL_REFUSALS_MAX || deadline.passed() || self.meter.is_aborted() {
                return Err(LoadError::Append {
                    stream: batch.stream.to_string(),
                    events: batch.events.len(),
                    after: batch.after,
                    reason: error,
                });
            }
            self.meter.retry();
            std::thread::sleep(RETRY_PAUSE);
            pending = self.send(&batch);
        }
    }

    fn acknowledge(&mut self, batch: &Batch, receipt: &AppendReceipt) -> Result<(), LoadError> {
        let events = count(batch.events.len());
        let version = Version(batch.after.0 + events);
        let last = receipt.first_sequence.0 + events - 1;
        if receipt.version() != version || receipt.last_sequence.0 != last {
            let reason = format!(
                "{events} events after version {} cannot be {}..{}, version {}",
                batch.after,
                receipt.first_sequence,
                receipt.last_sequence,
                receipt.version()
            );
            return Err(LoadError::Answer { stream: batch.stream.to_string(), reason });
        }
        self.meter.acknowledge(receipt.partition.0, receipt.epoch, events, clock::now());
        let sent = |event: &store::NewEvent| SentEvent {
            id: event.id,
            digest: Signature::of(&batch.stream, event),
        };
        self.acknowledged.push(Acknowledged {
            partition: receipt.partition.0,
            stream: batch.stream.clone(),
            first_version: batch.after.next(),
            first_sequence: receipt.first_sequence,
            events: batch.events.iter().map(sent).collect(),
        });
        Ok(())
    }
}

fn count(events: usize) -> u64 {
    u64::try_from(events).unwrap_or(u64::MAX)
}
