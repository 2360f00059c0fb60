mod follower;
mod leader;
mod together;

use std::hash::{DefaultHasher, Hash, Hasher};

use broker::witness::PartitionName;

use crate::pair::message::Mark;

fn name(number: u8) -> PartitionName {
    PartitionName(format!("orders/{number}"))
}

/// A log as far as these machines see it: the chain of each record, and its epoch.
#[derive(Debug, Clone, Default)]
struct Log(Vec<Mark>);

impl Log {
    /// Records of one epoch, behind what is there.
    fn add(&mut self, epoch: u64, count: u64) {
        for _ in 0..count {
            let before = self.end();
            let sequence = before.sequence + 1;
            let mut hasher = DefaultHasher::new();
            (before.chain, epoch, sequence).hash(&mut hasher);
            let mut chain = [0; 16];
            chain[..8].copy_from_slice(&hasher.finish().to_le_bytes());
            self.0.push(Mark { sequence, epoch, chain });
        }
    }

    fn of(parts: &[(u64, u64)]) -> Self {
        let mut log = Self::default();
        for (epoch, count) in parts {
            log.add(*epoch, *count);
        }
        log
    }

    fn end(&self) -> Mark {
        self.0.last().copied().unwrap_or_default()
    }

    fn mark(&self, at: u64) -> Option<Mark> {
        match usize::try_from(at).unwrap() {
            0 => Some(Mark::default()),
            at => self.0.get(at - 1).copied(),
        }
    }
}
