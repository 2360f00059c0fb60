//! Lazy reads of history, straight from the store's replayer.
//!
//! A read holds constant memory: the store sends blocks only as far as the reader has given
//! credit, and credit is given as events are taken. If the store falls silent, the read goes on
//! at the next event, at whichever member then serves the partition. A member that knows less
//! than what was read, or than what this client had acknowledged, is not believed.

mod category;
mod cursor;
mod error;
mod fetch;
mod find;
mod seen;

use std::collections::VecDeque;

use store::event::{Event, Sequence, Version};
use store::names::StreamName;
use store::slot::PartitionNumber;

pub use self::category::{ReadCategory, ReadCategoryOptions};
use self::cursor::Cursor;
pub use self::error::ReadError;
use self::fetch::Fetch;
pub(crate) use self::find::find;
use crate::append::AppendError;
use crate::handle::StoreHandle;

/// Which way a read goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Towards newer events.
    #[default]
    Forward,
    /// Towards older events.
    Backward,
}

/// How to read a stream. [`Default`] reads all of it, oldest first.
#[derive(Debug, Clone, Default)]
pub struct ReadOptions {
    /// First version to return (inclusive); `None` for the first one, or the last one backwards.
    pub from: Option<Version>,
    /// Which way.
    pub direction: Direction,
    /// Most events to return.
    pub limit: Option<u64>,
    /// The read must see the log at least up to here (inclusive), e.g. what another client had
    /// acknowledged. What this client had is always seen; at level `memory`, and at `local` with a
    /// peer, unless a failover has lost it.
    pub at_least: Option<Sequence>,
    /// Whether the read must see everything that was acknowledged to anybody before it began: the
    /// leader answers it, and only after every member has confirmed that it still leads.
    pub strong: bool,
}

impl ReadOptions {
    /// The newest event only.
    #[must_use]
    pub fn last() -> Self {
        Self { direction: Direction::Backward, limit: Some(1), ..Self::default() }
    }

    /// From this version on (inclusive).
    #[must_use]
    pub fn from(version: Version) -> Self {
        Self { from: Some(version), ..Self::default() }
    }
}

/// How to read a partition. [`Default`] reads all that is committed now, oldest first.
#[derive(Debug, Clone, Default)]
pub struct ReadAllOptions {
    /// First sequence to return (inclusive); `None` for the oldest, or the head backwards.
    pub from: Option<Sequence>,
    /// Last sequence to return (inclusive); `None` for the head when the read starts.
    pub to: Option<Sequence>,
    /// Which way.
    pub direction: Direction,
    /// Most events to return.
    pub limit: Option<u64>,
    /// The read must see the log at least up to here (inclusive); see [`ReadOptions::at_least`].
    pub at_least: Option<Sequence>,
    /// Whether it must see what was acknowledged to anybody; see [`ReadOptions::strong`].
    pub strong: bool,
    /// Whether the system's own streams (`$…`) are returned too.
    pub system_streams: bool,
}

/// The events of a stream, read lazily. Ends after the first error.
#[derive(Debug)]
pub struct ReadStream(Events);

/// The events of a partition, read lazily. Ends after the first error.
#[derive(Debug)]
pub struct ReadAll {
    events: Events,
    system_streams: bool,
}

impl ReadStream {
    pub(crate) fn new(
        store: StoreHandle,
        stream: Result<StreamName, AppendError>,
        options: &ReadOptions,
    ) -> Self {
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                let error = ReadError::InvalidArgument(error.to_string());
                return Self(Events { ready: VecDeque::from([Err(error)]), fetch: None });
            }
        };
        let partition = store.partition_of(&stream);
        let cursor = Cursor::stream(store.name().clone(), partition.0, stream, options);
        Self(Events::new(Fetch::new(store, partition, cursor)))
    }

    /// Newest committed sequence of the stream's partition when the read began; known from the
    /// first event on.
    #[must_use]
    pub fn head(&self) -> Option<Sequence> {
        self.0.head()
    }
}

impl ReadAll {
    pub(crate) fn new(
        store: StoreHandle,
        partition: PartitionNumber,
        options: &ReadAllOptions,
    ) -> Self {
        let system_streams = options.system_streams;
        if partition.0 >= store.partitions() {
            let partitions = store.partitions();
            let reason = format!("partition {partition} of {partitions} does not exist");
            let error = ReadError::InvalidArgument(reason);
            let events = Events { ready: VecDeque::from([Err(error)]), fetch: None };
            return Self { events, system_streams };
        }
        let cursor = Cursor::all(store.name().clone(), partition.0, options);
        Self { events: Events::new(Fetch::new(store, partition, cursor)), system_streams }
    }

    /// Newest committed sequence when the read began; known from the first event on.
    #[must_use]
    pub fn head(&self) -> Option<Sequence> {
        self.events.head()
    }
}

impl Iterator for ReadStream {
    type Item = Result<Event, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

impl Iterator for ReadAll {
    type Item = Result<Event, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let system_streams = self.system_streams;
        let wanted = |event: &Event| system_streams || !event.stream.is_system();
        self.events.find(|event| event.as_ref().map_or(true, wanted))
    }
}

/// The events of one block after the other.
#[derive(Debug)]
struct Events {
    ready: VecDeque<Result<Event, ReadError>>,
    /// `None` once it has ended.
    fetch: Option<Fetch>,
}

impl Events {
    fn new(fetch: Fetch) -> Self {
        Self { ready: VecDeque::new(), fetch: Some(fetch) }
    }

    fn head(&self) -> Option<Sequence> {
        self.fetch.as_ref().and_then(|fetch| fetch.cursor().head())
    }
}

impl Iterator for Events {
    type Item = Result<Event, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.is_empty() {
            match self.fetch.as_mut()?.next_block() {
                Ok(events) => self.ready.extend(events.into_iter().map(Ok)),
                Err(error) => self.ready.push_back(Err(error)),
            }
        }
        self.ready.pop_front()
    }
}
