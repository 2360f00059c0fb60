//! A store as it is used in the same process: its partitions, found by stream.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::{ExpectedVersion, NewEvent, Sequence};
use crate::log::{OpenError, ReadError};
use crate::names::{StoreName, StreamName};
use crate::partition::{
    Append, AppendError, Events, FilteredQuery, Partition, Receipt, Signal, StreamQuery,
    Subscription,
};
use crate::slot::{PartitionNumber, Slot};

/// A store that is attached. Clones share it.
#[derive(Clone)]
pub struct Store {
    opened: Arc<Opened>,
}

struct Opened {
    name: StoreName,
    partitions: u16,
    hosted: BTreeMap<PartitionNumber, Partition>,
    problems: Vec<(PartitionNumber, Arc<OpenError>)>,
    signal: Arc<Signal>,
}

impl Store {
    pub(crate) fn new(
        name: StoreName,
        partitions: u16,
        results: Vec<(PartitionNumber, Result<Partition, OpenError>)>,
    ) -> Self {
        let signal = Arc::new(Signal::default());
        let mut hosted = BTreeMap::new();
        let mut problems = Vec::new();
        for (number, result) in results {
            match result {
                Ok(partition) => {
                    signal.listen_to(partition.watermarks());
                    hosted.insert(number, partition);
                }
                Err(error) => problems.push((number, Arc::new(error))),
            }
        }
        Self { opened: Arc::new(Opened { name, partitions, hosted, problems, signal }) }
    }

    /// The same store with one partition opened anew; the others stay as they are.
    pub(crate) fn reopened(&self, number: PartitionNumber, partition: Partition) -> Self {
        let Opened { name, partitions, hosted, problems, signal } = &*self.opened;
        signal.listen_to(partition.watermarks());
        let mut hosted = hosted.clone();
        hosted.insert(number, partition);
        let opened = Opened {
            name: name.clone(),
            partitions: *partitions,
            hosted,
            problems: problems.clone(),
            signal: Arc::clone(signal),
        };
        Self { opened: Arc::new(opened) }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &StoreName {
        &self.opened.name
    }

    /// Partitions of the whole store, here and elsewhere.
    #[must_use]
    pub fn partitions(&self) -> u16 {
        self.opened.partitions
    }

    /// The partitions that are served here, by number.
    pub fn hosted(&self) -> impl Iterator<Item = &Partition> {
        self.opened.hosted.values()
    }

    /// One partition, if it is served here.
    #[must_use]
    pub fn partition(&self, number: PartitionNumber) -> Option<&Partition> {
        self.opened.hosted.get(&number)
    }

    /// Partitions that should be served here but could not be opened: missing, exchanged, damaged.
    #[must_use]
    pub fn problems(&self) -> &[(PartitionNumber, Arc<OpenError>)] {
        &self.opened.problems
    }

    /// The partition in which a stream lives.
    #[must_use]
    pub fn partition_of(&self, stream: &StreamName) -> PartitionNumber {
        Slot::of(stream).partition(self.opened.partitions)
    }

    /// Appends events to one stream and waits until they are committed.
    ///
    /// # Errors
    /// [`AppendError`].
    pub fn append(
        &self,
        stream: &StreamName,
        expected: ExpectedVersion,
        events: Vec<NewEvent>,
    ) -> Result<Receipt, AppendError> {
        let number = self.partition_of(stream);
        let partition =
            self.partition(number).ok_or(AppendError::NotHosted { partition: number })?;
        partition.append(Append::to(stream.clone(), expected, events))
    }

    /// Events of one stream, read lazily.
    ///
    /// # Errors
    /// [`ReadError::NotHosted`]; others come out of the iterator.
    pub fn read_stream(&self, query: StreamQuery) -> Result<Events, ReadError> {
        let number = self.partition_of(&query.stream);
        let partition = self.partition(number).ok_or(ReadError::NotHosted { partition: number })?;
        Ok(Events::stream(partition.reader(), query))
    }

    /// Some of a partition's events in the order of its log, read lazily. A category may have
    /// events in every partition, so it is asked for in each.
    ///
    /// # Errors
    /// [`ReadError::NotHosted`]; others come out of the iterator.
    pub fn read_filtered(
        &self,
        number: PartitionNumber,
        query: FilteredQuery,
    ) -> Result<Events, ReadError> {
        let partition = self.partition(number).ok_or(ReadError::NotHosted { partition: number })?;
        Ok(Events::filtered(partition.reader(), query))
    }

    /// Events of one partition from a sequence on, up to the head of now, read lazily.
    ///
    /// # Errors
    /// [`ReadError::NotHosted`]; others come out of the iterator.
    pub fn read_all(&self, number: PartitionNumber, from: Sequence) -> Result<Events, ReadError> {
        let partition = self.partition(number).ok_or(ReadError::NotHosted { partition: number })?;
        Ok(partition.read_all(from))
    }

    /// Every event of the given partitions from these sequences on, as they are committed.
    ///
    /// # Errors
    /// [`ReadError::NotHosted`].
    pub fn subscribe(
        &self,
        from: &[(PartitionNumber, Sequence)],
    ) -> Result<Subscription, ReadError> {
        let sources: Result<Vec<_>, _> = from
            .iter()
            .map(|(number, sequence)| match self.partition(*number) {
                Some(partition) => Ok((partition.reader(), *sequence)),
                None => Err(ReadError::NotHosted { partition: *number }),
            })
            .collect();
        Ok(Subscription::new(sources?, Arc::clone(&self.opened.signal)))
    }

    /// Finishes what is queued and lets go of all files.
    pub(crate) fn close(&self) {
        for partition in self.hosted() {
            partition.close();
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("name", &self.opened.name)
            .field("hosted", &self.opened.hosted)
            .field("problems", &self.opened.problems)
            .finish_non_exhaustive()
    }
}
