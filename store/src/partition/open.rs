//! Opening a partition: recovery first, then its threads.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::background::Background;
use super::batcher::{Batcher, Past};
use super::commits::Commits;
use super::core::{Core, Parts, Reign};
use super::evidence::Evidence;
use super::index_work::IndexWork;
use super::poison::Poison;
use super::queue::{Queue, QueueLimits};
use super::reader::ReadSide;
use super::watermarks::{CommitRule, KnownLog, Watermarks};
use super::{Durability, Partition, Running, Shared, Signal};
use crate::event::{Epoch, Sequence};
use crate::log::OpenError;
use crate::log::appender::{Appender, LogEnd, Place};
use crate::log::control::Control;
use crate::log::fetch::fetch_one;
use crate::log::recovery::recover;
use crate::log::segments::Segments;
use crate::log::spare::SpareShelf;
use crate::record::decode;

/// The threads that all partitions of a node share.
#[derive(Clone)]
pub(crate) struct Backgrounds {
    /// Makes spare segments.
    pub(crate) preparer: Arc<Background>,
    /// Builds runs of the index.
    pub(crate) indexer: Arc<Background>,
}

/// How a partition is to run.
#[derive(Clone)]
pub(crate) struct Setup {
    /// The node leads alone, or else follows until it is told otherwise.
    pub(crate) leads: bool,
    pub(crate) epoch: Epoch,
    pub(crate) level: Durability,
    pub(crate) segment_bytes: u32,
    pub(crate) queue: QueueLimits,
    pub(crate) batch_bytes_max: usize,
    pub(crate) backgrounds: Backgrounds,
}

impl Setup {
    /// Limits of the queue before a writer.
    pub(crate) const fn queue_limits(messages_max: usize, bytes_max: usize) -> QueueLimits {
        QueueLimits { messages_max, bytes_max }
    }
}

impl Partition {
    /// Recovers the log in a folder whose control file was read, and starts to serve it.
    pub(crate) fn open(place: &Place, control: &Control, setup: &Setup) -> Result<Self, OpenError> {
        let recovered = recover(place, control, setup.epoch)?;
        let open = Arc::new(recovered.open);
        let segments = Arc::new(Segments::new(
            Arc::clone(&place.disk),
            place.dir.clone(),
            recovered.sealed,
            Arc::clone(&open),
        ));
        let indexer = Arc::clone(&setup.backgrounds.indexer);
        let index =
            IndexWork::new(recovered.index, Arc::clone(&segments), indexer, recovered.unindexed);
        let last = recovered.end.last;
        let watermarks = Arc::new(first_marks(setup, &segments, (recovered.held, last)));
        let poison = Arc::new(Poison::new(place.dir.display().to_string()));
        let disk = Arc::clone(&place.disk);
        let shelf = Arc::new(SpareShelf::new(disk, &place.dir, setup.segment_bytes));
        let read = Arc::new(ReadSide::new(
            Arc::clone(&segments),
            Arc::clone(&index),
            Arc::clone(&watermarks),
            (setup.epoch, recovered.end),
        ));
        let parts = Parts {
            number: control.number,
            partitions: control.partitions,
            level: setup.level,
            watermarks: Arc::clone(&watermarks),
            index: Arc::clone(&index),
            read: Arc::clone(&read),
            shelf: Arc::clone(&shelf),
            preparer: Arc::clone(&setup.backgrounds.preparer),
            poison: Arc::clone(&poison),
        };
        let past = Past { segments: Arc::clone(&segments), index: Arc::clone(&index) };
        let end = LogEnd { epoch: setup.epoch, ..recovered.end };
        let appender = Appender::new(
            place.clone(),
            Arc::clone(&segments),
            Arc::clone(&shelf),
            (open, recovered.end),
        );
        let core = Core {
            batcher: Batcher::new(past, end),
            appender,
            parts,
            reign: Reign { leads: setup.leads, epoch: setup.epoch },
            // The tail was synced by recovery.
            evidence: Evidence { doubtful: recovered.doubtful.then_some(last) },
        };
        let signal = Arc::new(Signal::default());
        signal.listen_to(&watermarks);
        let shared = Arc::new(Shared {
            number: control.number,
            id: control.partition_id,
            level: setup.level,
            batch_bytes_max: setup.batch_bytes_max,
            torn_bytes: recovered.torn_bytes,
            parked: recovered.parked,
            queue: Queue::new(setup.queue),
            core: Mutex::new(Some(core)),
            commits: Commits::new(Arc::clone(&watermarks), Arc::clone(&poison)),
            poison,
            read,
            shelf,
            signal,
        });
        let threads = start_threads(&shared).map_err(OpenError::io(&place.dir))?;
        Ok(Self { running: Arc::new(Running { shared, threads: Mutex::new(threads) }) })
    }
}

/// The marks of a log that was just recovered: all of it is durable. A node that leads alone has
/// committed it by that; another one knows only so much of it.
fn first_marks(
    setup: &Setup,
    segments: &Segments,
    (held, last): (Sequence, Sequence),
) -> Watermarks {
    let (rule, committed) = match setup.leads {
        true => (CommitRule::Alone, last),
        false => (CommitRule::Held, held.max(said_by_last(segments, last))),
    };
    Watermarks::new(setup.level, rule, KnownLog { first: segments.first(), last, committed })
}

/// Up to where the last record says that the log is committed; it may stand in a sealed segment.
/// Where it can't be read, nothing is said: the readers will say why.
fn said_by_last(segments: &Segments, last: Sequence) -> Sequence {
    if last == Sequence::ZERO {
        return last;
    }
    let said = fetch_one(segments, last).ok().and_then(|bytes| {
        let view = decode(&bytes).ok()?;
        Some(view.committed_up_to())
    });
    said.unwrap_or_default().min(last)
}

/// The writer, then the syncer.
fn start_threads(shared: &Arc<Shared>) -> std::io::Result<Vec<JoinHandle<()>>> {
    let (for_writer, for_syncer) = (Arc::clone(shared), Arc::clone(shared));
    let name = |what| format!("store-{what}-{}", shared.number);
    let writer =
        std::thread::Builder::new().name(name("writer")).spawn(move || for_writer.run_writer())?;
    let syncer = std::thread::Builder::new()
        .name(name("syncer"))
        .spawn(move || for_syncer.commits.run_syncer());
    match syncer {
        Ok(syncer) => Ok(vec![writer, syncer]),
        Err(error) => {
            shared.queue.close();
            Err(error)
        }
    }
}
