//! The hosted partitions as the pair loop sees them, and which of them have moved.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use broker::net::{Queue, Waker};
use broker::witness::{PartitionName, Sequences};
use crossbeam_channel::Receiver;

use super::message::{Listing, Mark};
use crate::event::{LogMark, Sequence};
use crate::server::directory::{Directory, Hosted};
use crate::{LogReader, Moved, Partition, Store};

/// All hosted partitions, by name.
pub(super) struct Logs {
    directory: Directory,
    /// Change of the directory that is followed; `None` at the beginning.
    followed: Option<u64>,
    logs: BTreeMap<PartitionName, Log>,
    /// Whether the syncs of this node are of no interest to the loop.
    leading: Arc<AtomicBool>,
    moved: Queue<Arc<Moving>>,
    moves: Receiver<Arc<Moving>>,
}

/// One hosted partition.
pub(super) struct Log {
    pub(super) hosted: Hosted,
    pub(super) reader: Arc<LogReader>,
    /// Batches handed to the writer that it has not answered.
    pub(super) outstanding: Arc<AtomicUsize>,
    /// What was synced when it was looked at last, and since when that has not moved although
    /// more is written.
    stalled: Option<(Sequence, Instant)>,
}

/// Wakes the loop once, however often a partition moves before it looks.
struct Moving {
    name: PartitionName,
    pending: AtomicBool,
}

impl Log {
    pub(super) const fn partition(&self) -> &Partition {
        &self.hosted.partition
    }
}

impl Logs {
    pub(super) fn new(directory: &Directory, waker: &Waker) -> Self {
        directory.watch(waker);
        let (moved, moves) = Queue::new(waker.clone());
        let directory = directory.clone();
        let (leading, logs) = (Arc::default(), BTreeMap::new());
        Self { directory, followed: None, logs, leading, moved, moves }
    }

    /// Follows the directory; the partitions that came, or came anew.
    pub(super) fn follow_directory(&mut self) -> Vec<PartitionName> {
        if self.followed == Some(self.directory.changes()) {
            return Vec::new();
        }
        let (changes, hosted) = self.directory.snapshot();
        self.followed = Some(changes);
        let mut former = std::mem::take(&mut self.logs);
        let mut new = Vec::new();
        for hosted in hosted {
            let name = name_of(&hosted);
            let known = former.remove(&name).filter(|log| is_same(&log.hosted, &hosted));
            let log = match known {
                Some(log) => Log { hosted, ..log },
                None => {
                    new.push(name.clone());
                    self.watch(&name, hosted)
                }
            };
            self.logs.insert(name, log);
        }
        new
    }

    fn watch(&self, name: &PartitionName, hosted: Hosted) -> Log {
        let moving = Arc::new(Moving { name: name.clone(), pending: AtomicBool::new(false) });
        let moved = self.moved.clone();
        let leading = Arc::clone(&self.leading);
        hosted.partition.watermarks().on_move(Arc::new(move |moved_mark| {
            // A leader sends what is written, and hears from its follower what counts.
            let is_news = moved_mark == Moved::Written || !leading.load(Ordering::Acquire);
            if is_news && !moving.pending.swap(true, Ordering::AcqRel) {
                moved.send(Arc::clone(&moving));
            }
        }));
        let reader = Arc::new(hosted.partition.log_reader());
        Log { hosted, reader, outstanding: Arc::default(), stalled: None }
    }

    /// Whether this node leads: then it is told only of what is written.
    pub(super) fn set_leading(&self, leading: bool) {
        self.leading.store(leading, Ordering::Release);
    }

    /// Takes the name of a partition that has moved since it was last taken.
    pub(super) fn take_moved(&self) -> Option<PartitionName> {
        let moving = self.moves.try_recv().ok()?;
        // Taken back before the marks are read: what moves after that is told again.
        moving.pending.swap(false, Ordering::AcqRel);
        Some(moving.name.clone())
    }

    pub(super) fn get(&self, name: &PartitionName) -> Option<&Log> {
        self.logs.get(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&PartitionName, &Log)> {
        self.logs.iter()
    }

    /// Whether a writer still has records that were handed to it.
    pub(super) fn has_outstanding(&self) -> bool {
        self.logs.values().any(|log| log.outstanding.load(Ordering::Acquire) > 0)
    }

    /// Newest sequences that count at this level of durability, and those known to be committed on
    /// every member.
    pub(super) fn positions(&self) -> (Sequences, Sequences) {
        // At level memory nothing is said to be synced: what is written is what the node has, for
        // as long as its process, and with it its incarnation, lasts.
        let durable = |log: &Log| {
            let marks = log.partition().watermarks();
            let end = if marks.commits_unsynced() { marks.written() } else { marks.durable() };
            end.0
        };
        let held = |log: &Log| log.partition().held().0;
        let durable = self.logs.iter().map(|(name, log)| (name.clone(), durable(log)));
        let held = self.logs.iter().map(|(name, log)| (name.clone(), held(log)));
        (durable.collect(), held.collect())
    }

    /// Whether any partition has records.
    pub(super) fn has_data(&self) -> bool {
        self.logs.values().any(|log| log.partition().watermarks().written() > Sequence::ZERO)
    }

    /// The stores with what of them is hosted.
    pub(super) fn listings(&self) -> Vec<Listing> {
        self.directory.stores().iter().filter_map(listing).collect()
    }

    /// Whether a sync has been under way for longer than `patience`.
    pub(super) fn is_stalled(&mut self, now: Instant, patience: Duration) -> bool {
        let mut stalled = false;
        for log in self.logs.values_mut() {
            let marks = log.hosted.partition.watermarks();
            let durable = marks.durable();
            if marks.written() <= durable {
                log.stalled = None;
                continue;
            }
            let since = match log.stalled {
                Some((seen, since)) if seen == durable => since,
                _ => now,
            };
            log.stalled = Some((durable, since));
            stalled |= now.saturating_duration_since(since) > patience;
        }
        stalled
    }
}

/// Whether two listings are of one open partition: after a cut it is another one.
fn is_same(one: &Hosted, other: &Hosted) -> bool {
    std::ptr::eq(one.partition.watermarks(), other.partition.watermarks())
}

fn name_of(hosted: &Hosted) -> PartitionName {
    PartitionName(format!("{}/{}", hosted.store, hosted.partition.number().0))
}

fn listing(store: &Store) -> Option<Listing> {
    let numbers = || store.hosted().map(|partition| partition.number().0);
    let (first, last) = (numbers().min()?, numbers().max()?);
    Some(Listing { store: store.name().to_string(), partitions: store.partitions(), first, last })
}

impl From<LogMark> for Mark {
    fn from(mark: LogMark) -> Self {
        Self { sequence: mark.sequence.0, epoch: mark.epoch.0, chain: mark.chain }
    }
}

impl From<Mark> for LogMark {
    fn from(mark: Mark) -> Self {
        let (sequence, epoch) = (Sequence(mark.sequence), crate::Epoch(mark.epoch));
        Self { sequence, epoch, chain: mark.chain }
    }
}
