//! What a partition is asked to do, and what it answers.

use std::collections::HashSet;

use thiserror::Error;

use crate::event::{
    APPEND_EVENTS_MAX, EVENT_DATA_BYTES_MAX, EVENT_METADATA_BYTES_MAX, Epoch, EventId,
    ExpectedVersion, NewEvent, Sequence, Signature, Version, Versions,
};
use crate::names::StreamName;
use crate::record::encoded_length;
use crate::slot::{PartitionNumber, Slot};

/// What must have happened to a record before its append is acknowledged and it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Durability {
    /// Handed to the operating system: survives the death of the process.
    Memory,
    /// Synced to the disk of this node: survives a power loss.
    #[default]
    Local,
    /// Synced to the disks of all nodes that must have it: survives the loss of one of them.
    Pair,
}

impl Durability {
    /// The level as it is written in flags and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Local => "local",
            Self::Pair => "pair",
        }
    }
}

impl std::fmt::Display for Durability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Events for streams of one partition: all of them are appended, or none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Append {
    /// What goes to which stream; each stream at most once.
    pub writes: Vec<StreamWrite>,
    /// Level to wait for if it is higher than the store's own.
    pub durability: Option<Durability>,
}

impl Append {
    /// Events for one stream, at the store's durability level.
    #[must_use]
    pub fn to(stream: StreamName, expected: ExpectedVersion, events: Vec<NewEvent>) -> Self {
        Self { writes: vec![StreamWrite { stream, expected, events }], durability: None }
    }

    /// The same append with events for one more stream; both or none will be in the log. Without
    /// events it only checks that stream's version.
    #[must_use]
    pub fn and(
        mut self,
        stream: StreamName,
        expected: ExpectedVersion,
        events: Vec<NewEvent>,
    ) -> Self {
        self.writes.push(StreamWrite { stream, expected, events });
        self
    }

    /// The same append, answered only once it is this durable.
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    /// Number of events.
    #[must_use]
    pub fn event_count(&self) -> usize {
        self.writes.iter().map(|write| write.events.len()).sum()
    }

    /// Bytes of all its records.
    #[must_use]
    pub fn record_bytes(&self) -> usize {
        self.events().map(|(stream, event)| encoded_length(stream, event)).sum()
    }

    /// All events in order, each with its stream.
    pub fn events(&self) -> impl Iterator<Item = (&StreamName, &NewEvent)> {
        self.writes
            .iter()
            .flat_map(|write| write.events.iter().map(move |event| (&write.stream, event)))
    }

    /// Checks every signature that the producer sent. The expensive part of checking an append,
    /// and independent of the log: a thread before the writer may do it.
    ///
    /// # Errors
    /// [`AppendError::BadSignature`] for the first wrong one.
    pub fn check_signatures(&self) -> Result<(), AppendError> {
        for (stream, event) in self.events() {
            if event.signature.is_some_and(|given| given != Signature::of(stream, event)) {
                return Err(AppendError::BadSignature { id: event.id });
            }
        }
        Ok(())
    }

    /// Checks everything else that does not depend on the log.
    pub(crate) fn check_shape(&self, allowed: &Allowed) -> Result<(), AppendError> {
        let invalid = |reason: String| Err(AppendError::InvalidArgument { reason });
        let count = self.event_count();
        if count == 0 {
            return invalid("an append needs at least one event".to_owned());
        }
        if count > APPEND_EVENTS_MAX {
            return Err(AppendError::BatchTooLarge {
                what: "events",
                value: count,
                max: APPEND_EVENTS_MAX,
            });
        }
        for (_, event) in self.events() {
            check_size("data", event.data.len(), EVENT_DATA_BYTES_MAX)?;
            check_size("metadata", event.metadata.len(), EVENT_METADATA_BYTES_MAX)?;
        }
        let bytes = self.record_bytes();
        if bytes > allowed.bytes_max {
            let max = allowed.bytes_max;
            return Err(AppendError::BatchTooLarge { what: "bytes", value: bytes, max });
        }
        let mut streams = HashSet::new();
        for StreamWrite { stream, .. } in &self.writes {
            if self.writes.len() > 1 && !streams.insert(stream) {
                return invalid(format!("stream {stream} stands twice in one append"));
            }
            if stream.is_system() && allowed.origin == Origin::Application {
                return invalid(format!("stream {stream} is the system's: choose another name"));
            }
            let home = Slot::of(stream).partition(allowed.partitions);
            // System streams tell about a partition and exist in each.
            if home != allowed.partition && !stream.is_system() {
                return Err(AppendError::CrossPartition {
                    stream: stream.clone(),
                    partition: home,
                });
            }
        }
        let mut ids = HashSet::new();
        match self.events().find(|(_, event)| count > 1 && !ids.insert(event.id)) {
            Some((_, event)) => invalid(format!("id {} stands twice in one append", event.id)),
            None => Ok(()),
        }
    }
}

/// What a partition takes, apart from what its log says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowed {
    /// The partition.
    pub(crate) partition: PartitionNumber,
    /// Partitions of its store.
    pub(crate) partitions: u16,
    /// Most record bytes of one append.
    pub(crate) bytes_max: usize,
    /// Who asks.
    pub(crate) origin: Origin,
}

fn check_size(field: &'static str, bytes: usize, bytes_max: usize) -> Result<(), AppendError> {
    if bytes > bytes_max {
        return Err(AppendError::EventTooLarge { field, bytes, bytes_max });
    }
    Ok(())
}

/// Events for one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamWrite {
    /// The stream.
    pub stream: StreamName,
    /// Condition on the stream before the append.
    pub expected: ExpectedVersion,
    /// The events in order. None at all is a mere check of the condition.
    pub events: Vec<NewEvent>,
}

/// Called exactly once with one result per append, on any thread, even if the writer dies. It must
/// not block.
pub type Answer = Box<dyn FnOnce(Vec<Result<Receipt, AppendError>>) + Send>;

/// Appends that are handed in and answered together. Each is atomic by itself.
pub struct Submission {
    /// The appends in order.
    pub appends: Vec<Append>,
    /// Whether to do them, or only to look whether they were done.
    pub mode: Mode,
    /// Who asks.
    pub origin: Origin,
    /// Whether the writer still has to check signatures.
    pub signatures: SignatureCheck,
    /// Takes the results.
    pub answer: Answer,
}

impl Submission {
    /// Appends of an application that are to be checked and done.
    #[must_use]
    pub fn new(appends: Vec<Append>, answer: Answer) -> Self {
        Self {
            appends,
            mode: Mode::Execute,
            origin: Origin::Application,
            signatures: SignatureCheck::Due,
            answer,
        }
    }
}

impl std::fmt::Debug for Submission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Submission")
            .field("appends", &self.appends.len())
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

/// What to do with appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Append them.
    Execute,
    /// Answer from the log alone: the receipt if the events are there, else
    /// [`AppendError::Unknown`].
    LookUp,
}

/// Who asks for an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Anyone outside; streams that start with `$` are closed to them.
    Application,
    /// The store itself.
    System,
}

/// Who checks the signatures of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureCheck {
    /// The writer.
    Due,
    /// Nobody any more: the caller had [`Append::check_signatures`] succeed.
    Done,
}

/// An append that is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Sequence of its first event.
    pub first: Sequence,
    /// Sequence of its last event, inclusive.
    pub last: Sequence,
    /// For each [`StreamWrite`] the version of its last event; of a mere check, the version of the
    /// stream, or 0.
    pub versions: Versions,
    /// Epoch in which it was appended.
    pub epoch: Epoch,
    /// Level that it has reached.
    pub durability: Durability,
    /// Whether another node was known to have it when this was answered.
    pub copied: bool,
    /// Whether it had been appended before; nothing was written this time.
    pub duplicate: bool,
}

/// Why an append was refused. In all cases but [`AppendError::Unknown`] nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AppendError {
    /// The stream is not where the caller expected it.
    #[error(
        "stream {stream} is at {}, expected {expected}: read it and decide again",
        actual.map_or_else(|| "none".to_owned(), |actual| actual.to_string())
    )]
    WrongExpectedVersion {
        /// The stream.
        stream: StreamName,
        /// What the caller expected.
        expected: ExpectedVersion,
        /// Its version; `None` if it does not exist.
        actual: Option<Version>,
    },
    /// Ids that other events, or the same in another append, already have.
    #[error("ids are known from another append: {}: give new events new ids", list(ids))]
    IdReused {
        /// Those ids.
        ids: Vec<EventId>,
    },
    /// Something about the append itself.
    #[error("{reason}")]
    InvalidArgument {
        /// What, and what to do.
        reason: String,
    },
    /// A field of an event is too long.
    #[error("{field} of an event has {bytes} bytes, at most {bytes_max} are allowed: split it")]
    EventTooLarge {
        /// The field.
        field: &'static str,
        /// Its bytes.
        bytes: usize,
        /// Most bytes.
        bytes_max: usize,
    },
    /// The append as a whole is too large.
    #[error("an append has {value} {what}, at most {max} are allowed: split it")]
    BatchTooLarge {
        /// What there are too many of: events or bytes.
        what: &'static str,
        /// How many.
        value: usize,
        /// How many are allowed.
        max: usize,
    },
    /// A stream lives in another partition.
    #[error(
        "stream {stream} lives in partition {partition}: streams that are appended together share \
         a {{key}} in their names"
    )]
    CrossPartition {
        /// The stream.
        stream: StreamName,
        /// Its partition.
        partition: PartitionNumber,
    },
    /// The content is not what the producer signed.
    #[error("the signature of event {id} is wrong: it was changed on its way, send it again")]
    BadSignature {
        /// The event.
        id: EventId,
    },
    /// The store does not serve this partition.
    #[error("partition {partition} is not served here: ask the node that hosts it")]
    NotHosted {
        /// The partition.
        partition: PartitionNumber,
    },
    /// An older record that decides about this append can't be read.
    #[error("the log can't be read where this append must be compared: {reason}")]
    LogUnreadable {
        /// What is wrong.
        reason: String,
    },
    /// No space for another segment.
    #[error("the disk is full: make space, appends go on by themselves then")]
    DiskFull,
    /// The queue is full, or the index lags too far behind.
    #[error("the partition is busy: try again a little later")]
    Busy,
    /// A write or sync failed earlier.
    #[error("the partition has stopped after a failed write or sync: restart the process")]
    Poisoned,
    /// The partition is closed.
    #[error("the partition is closed: open the node, or attach the store, again")]
    Closed,
    /// Another node numbers the events of this partition.
    #[error("this node does not lead the partition: send it to the node that does")]
    NotLeader,
    /// It may or may not have been done.
    #[error("it is unknown whether the append was done: send it again with the same ids")]
    Unknown,
}

fn list(ids: &[EventId]) -> String {
    let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
    ids.join(", ")
}
