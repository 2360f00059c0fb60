//! Makers of nodes that lead or follow.

use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use store::{
    Append, AppendError, CommitRule, Epoch, Event, ExpectedVersion, LogMark, Node, NodeOptions,
    OpenError, Partition, Receipt, ReplicateError, Replicated, Sequence, Store, Submission,
};
use uuid::Uuid;

use crate::crashing_disk::CrashingDisk;
use crate::fixture::{event_with, name, partition, stream};

pub const DIR: &str = "/node";
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A node that belongs to a pair, with one partition.
pub struct Member {
    pub node: Node,
    pub store: Store,
    pub partition: Partition,
}

pub fn disk() -> CrashingDisk {
    CrashingDisk::new(Path::new(DIR))
}

pub fn folder() -> PathBuf {
    Path::new(DIR).join("orders").join("0")
}

impl Member {
    /// Opens a member on a disk, or makes one.
    pub fn open(disk: &CrashingDisk, options: &NodeOptions) -> Result<Self, OpenError> {
        let node = Node::open_member_on(Arc::new(disk.clone()), Path::new(DIR), options)?;
        let store = match node.ensure_store(&name("orders"), 1, 0..=0) {
            Ok(store) => store,
            Err(store::StoreError::Open(error)) => return Err(error),
            Err(error) => panic!("{error}"),
        };
        if !store.problems().is_empty() {
            return Err(OpenError::Missing { path: format!("{:?}", store.problems()).into() });
        }
        let partition = partition(&store);
        Ok(Self { node, store, partition })
    }

    /// Knows of an epoch, durably.
    pub fn save(&self, epoch: u64) -> Result<(), OpenError> {
        self.node.save_pair_record(b"record", Uuid::from_u128(7), Epoch(epoch))
    }

    pub fn lead(&self, epoch: u64, rule: CommitRule) {
        self.save(epoch).unwrap();
        self.partition.lead(Epoch(epoch));
        self.partition.set_rule(rule);
    }

    pub fn follow(&self, epoch: u64) {
        self.save(epoch).unwrap();
        self.partition.set_rule(CommitRule::Told);
        self.partition.follow(Epoch(epoch));
    }

    /// Everything that is written, as it stands on disk.
    pub fn log(&self) -> Vec<u8> {
        self.log_from(Sequence(1))
    }

    pub fn log_from(&self, mut from: Sequence) -> Vec<u8> {
        let reader = self.partition.log_reader();
        let mut bytes = Vec::new();
        loop {
            let block = reader.read(from, 100_000).unwrap();
            bytes.extend_from_slice(&block.records);
            if block.at_end {
                return bytes;
            }
            from = block.last.next();
        }
    }

    pub fn events(&self) -> Vec<Event> {
        let bytes = Bytes::from(self.log());
        store::record::iterate(&bytes).collect::<Result<_, _>>().unwrap()
    }

    /// Hands a batch to the writer and waits until it is written.
    pub fn take(&self, batch: Replicated) -> Result<Sequence, ReplicateError> {
        let (sender, answer) = mpsc::channel();
        let done = Box::new(move |result| sender.send(result).unwrap());
        self.partition.replicate(batch, done).unwrap();
        answer.recv_timeout(PATIENCE).unwrap()
    }

    /// The next batch that another node lacks.
    pub fn next_for(&self, other: LogMark, bytes_max: usize) -> Option<Replicated> {
        let block = self.partition.log_reader().read(other.sequence.next(), bytes_max).unwrap();
        (block.count > 0).then(|| Replicated { records: block.records, previous: other.sequence })
    }

    /// Copies everything that the leader has.
    pub fn copy_all(&self, leader: &Self) {
        while let Some(batch) = leader.next_for(self.partition.mark(), 50_000) {
            self.take(batch).unwrap();
        }
    }

    /// Waits until everything that is written is durable.
    pub fn sync(&self) {
        let marks = self.partition.watermarks();
        wait_for(|| marks.durable() == marks.written());
    }

    /// Appends without waiting; the answers come through the channel.
    pub fn submit(&self, append: Append) -> mpsc::Receiver<Result<Receipt, AppendError>> {
        let (sender, answer) = mpsc::channel();
        let answered = Box::new(move |results: Vec<_>| {
            for result in results {
                let _ = sender.send(result);
            }
        });
        self.partition.submit(Submission::new(vec![append], answered)).unwrap();
        answer
    }
}

pub fn wait_for(reached: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !reached() {
        assert!(Instant::now() < deadline, "it never happens");
        std::thread::yield_now();
    }
}

/// An append of one event to one of three streams.
pub fn one(id: u128, data_bytes: usize) -> Append {
    let data = "x".repeat(data_bytes);
    let stream = stream(&format!("{{shop}}-{}", id % 3));
    Append::to(stream, ExpectedVersion::Any, vec![event_with(id, &data)])
}

/// An append of three events to two streams; its ids are `id` and the two after it.
pub fn three(id: u128, data_bytes: usize) -> Append {
    let data = "y".repeat(data_bytes);
    one(id, data_bytes).and(
        stream("{shop}-other"),
        ExpectedVersion::Any,
        vec![event_with(id + 1, &data), event_with(id + 2, "2")],
    )
}
