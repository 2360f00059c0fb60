//! One store as seen by a client.

use std::sync::Arc;

use store::event::{Event, EventId, ExpectedVersion, NewEvent};
use store::names::{CategoryName, StoreName, StreamName};
use store::slot::{PartitionNumber, Slot};

use crate::append::{Append, PendingAppend, checked, stream_name};
use crate::client::{Client, Mark};
use crate::pending::Pending;
use crate::read::{
    ReadAll, ReadAllOptions, ReadCategory, ReadCategoryOptions, ReadError, ReadOptions, ReadStream,
    find,
};
use crate::subscription::{SubscribeOptions, Subscription, SubscriptionError};

/// One store. Cheap to clone; many threads can use one handle.
#[derive(Debug, Clone)]
pub struct StoreHandle {
    client: Client,
    name: Arc<StoreName>,
    partitions: u16,
}

impl StoreHandle {
    pub(crate) fn new(client: Client, name: StoreName, partitions: u16) -> Self {
        Self { client, name: Arc::new(name), partitions }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &StoreName {
        &self.name
    }

    /// How many partitions it has; fixed when the store was created.
    #[must_use]
    pub fn partitions(&self) -> u16 {
        self.partitions
    }

    /// The client it belongs to.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Where a stream lives.
    #[must_use]
    pub fn partition_of(&self, stream: &StreamName) -> PartitionNumber {
        Slot::of(stream).partition(self.partitions)
    }

    /// What this client was told is committed in a partition.
    pub(crate) fn acknowledged(&self, partition: PartitionNumber) -> Mark {
        self.client.acknowledged(&self.name, partition)
    }

    /// Appends events to a stream if it is at the expected version.
    ///
    /// Returns at once. Appends of one client to one stream are done in the order of the calls.
    pub fn append<S>(
        &self,
        stream: S,
        expected: ExpectedVersion,
        events: Vec<NewEvent>,
    ) -> PendingAppend
    where
        S: TryInto<StreamName>,
        S::Error: std::fmt::Display,
    {
        match stream_name(stream) {
            Ok(stream) => self.append_many(Append::to(stream, expected, events)),
            Err(error) => Pending::ready(Err(error)),
        }
    }

    /// Appends to several streams of one partition: all of it or nothing.
    pub fn append_many(&self, append: Append) -> PendingAppend {
        match checked(append, self.partitions) {
            Ok((partition, append)) => self.client.append(&self.name, partition, &append),
            Err(error) => Pending::ready(Err(error)),
        }
    }

    /// Reads a stream, lazily. A stream that does not exist has no events.
    pub fn read_stream<S>(&self, stream: S, options: ReadOptions) -> ReadStream
    where
        S: TryInto<StreamName>,
        S::Error: std::fmt::Display,
    {
        ReadStream::new(self.clone(), stream_name(stream), &options)
    }

    /// Reads a partition, lazily.
    #[must_use]
    pub fn read_all(&self, partition: PartitionNumber, options: ReadAllOptions) -> ReadAll {
        ReadAll::new(self.clone(), partition, &options)
    }

    /// Reads the events of all streams of a category (the part of their names before the first
    /// dash), lazily. A category that does not exist has no events.
    pub fn read_category<C>(&self, category: C, options: ReadCategoryOptions) -> ReadCategory
    where
        C: TryInto<CategoryName>,
        C::Error: std::fmt::Display,
    {
        let category = category.try_into();
        let category = category.map_err(|error| ReadError::InvalidArgument(error.to_string()));
        ReadCategory::new(self.clone(), category, &options)
    }

    /// Finds events by their ids, among all streams that live in the same partition as `stream`:
    /// the scope of an id is its partition. `None` where no committed event has the id.
    ///
    /// Blocks. The leader answers, and only after its place was confirmed since it was asked, so
    /// that an absent id was absent then.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn find<S>(&self, stream: S, ids: &[EventId]) -> Result<Vec<Option<Event>>, ReadError>
    where
        S: TryInto<StreamName>,
        S::Error: std::fmt::Display,
    {
        let stream = stream_name(stream);
        let stream = stream.map_err(|error| ReadError::InvalidArgument(error.to_string()))?;
        find(self, self.partition_of(&stream), ids)
    }

    /// Subscribes to what was and will be appended: every event once, in order within each
    /// partition.
    ///
    /// # Errors
    /// [`SubscriptionError`] when a partition does not exist or has nothing to do with the filter,
    /// or sockets can't be made.
    pub fn subscribe(&self, options: SubscribeOptions) -> Result<Subscription, SubscriptionError> {
        Subscription::new(self.clone(), options)
    }
}
