//! A follower that crashes, and its leader: the same bytes in the end, and never less than what
//! the follower has vouched for.

use store::{
    Append, AppendError, CommitRule, Durability, Epoch, ExpectedVersion, LogMark, NewEvent,
    NodeOptions, OpenError, Sequence, Submission, Version,
};

use crate::crashing_disk::{CrashingDisk, Leaves, Random};
use crate::fixture::options;
use crate::members::{Member, disk, one, three, wait_for};

/// What happens to a pair of logs.
struct Run {
    random: Random,
    level: Durability,
    leader: Member,
    follower_disk: CrashingDisk,
    follower: Option<Member>,
    /// The follower has said that it has synced this.
    vouched: Sequence,
    epoch: u64,
    next_id: u128,
    crashes: u32,
}

impl Run {
    fn new(seed: u64, level: Durability) -> Self {
        let leader = Member::open(&disk(), &with_level(level)).unwrap();
        leader.lead(1, CommitRule::Alone);
        let mut run = Self {
            random: Random(seed),
            level,
            leader,
            follower_disk: disk(),
            follower: None,
            vouched: Sequence(0),
            epoch: 1,
            next_id: 0,
            crashes: 0,
        };
        run.open_follower();
        run
    }

    /// Opens the follower, which may take several crashes.
    fn open_follower(&mut self) {
        loop {
            if self.random.below(4) == 0 {
                self.follower_disk.crash_at(1 + self.random.below(12));
            }
            let options = with_level(self.level);
            let opened = Member::open(&self.follower_disk, &options)
                .and_then(|member| member.save(self.epoch).map(|()| member));
            match opened {
                Ok(member) => {
                    assert!(member.partition.mark().sequence >= self.vouched, "synced, yet lost");
                    assert!(member.partition.held() <= self.leader.partition.mark().sequence);
                    member.partition.follow(Epoch(self.epoch));
                    self.follower = Some(member);
                    return;
                }
                Err(OpenError::Io { .. }) => self.reboot(),
                // Problems of the partition that are not the crash's are damage.
                Err(error) => {
                    assert!(error.to_string().contains("the machine has crashed"), "{error}");
                    self.reboot();
                }
            }
        }
    }

    fn reboot(&mut self) {
        self.crashes += 1;
        let leaves = match (self.level, self.random.below(3)) {
            (_, 0) => Leaves::All,
            (_, 1) => Leaves::Nothing,
            _ => Leaves::Some(self.random.next()),
        };
        self.follower = None;
        self.follower_disk = self.follower_disk.reboot(leaves);
    }

    fn append(&mut self) {
        let count = 1 + self.random.below(6);
        let appends: Vec<Append> = (0..count)
            .map(|_| {
                self.next_id += 10;
                let size = [10, 300, 7000][usize::try_from(self.random.below(3)).unwrap()];
                if self.random.below(3) == 0 {
                    three(self.next_id, size)
                } else {
                    one(self.next_id, size)
                }
            })
            .collect();
        let before = self.leader.partition.mark().sequence;
        let records: usize = appends.iter().map(Append::event_count).sum();
        let submission = Submission::new(appends, Box::new(|_| {}));
        assert!(self.leader.partition.submit(submission).is_ok());
        let last = Sequence(before.0 + records as u64);
        wait_for(|| self.leader.partition.mark().sequence == last);
        self.leader.sync_at(self.level);
    }

    fn copy(&mut self) {
        let Some(follower) = &self.follower else { return };
        let bytes_max = [1, 2000, 30_000, 400_000][usize::try_from(self.random.below(4)).unwrap()];
        let Some(batch) = self.leader.next_for(follower.partition.mark(), bytes_max) else {
            return;
        };
        let _ = follower.take(batch);
        if self.random.below(2) == 0 {
            let marks = follower.partition.watermarks();
            wait_for(|| marks.durable() == marks.written() || follower.partition.is_poisoned());
        }
        self.acknowledge();
    }

    /// The follower says what it has synced, and is told what is committed.
    fn acknowledge(&mut self) {
        let Some(follower) = &self.follower else { return };
        self.vouched = self.vouched.max(follower.partition.watermarks().durable());
        self.leader.partition.raise_synced(self.vouched);
        let head = self.leader.partition.watermarks().committed();
        follower.partition.raise_told(head);
        assert!(follower.partition.watermarks().committed() <= head);
    }

    fn step(&mut self) {
        match self.random.below(20) {
            0..6 => self.append(),
            6..15 => self.copy(),
            15 => self.leader.partition.set_rule(CommitRule::Both),
            16 => self.leader.partition.set_rule(CommitRule::Alone),
            17 => {
                self.epoch += 1;
                self.leader.lead(self.epoch, CommitRule::Both);
                let saved = self.follower.as_ref().map(|follower| follower.save(self.epoch));
                match (saved, &self.follower) {
                    (Some(Ok(())), Some(follower)) => {
                        follower.partition.follow(Epoch(self.epoch));
                    }
                    _ => {
                        self.reboot();
                        self.open_follower();
                    }
                }
            }
            18 => self.follower_disk.crash_at(1 + self.random.below(25)),
            _ => {
                self.reboot();
                self.open_follower();
            }
        }
        if self.follower.as_ref().is_some_and(|follower| follower.partition.is_poisoned()) {
            self.reboot();
            self.open_follower();
        }
    }

    /// All faults end: the follower catches up, and leads.
    fn finish(mut self) -> u32 {
        self.reboot();
        let options = with_level(self.level);
        let follower = Member::open(&self.follower_disk, &options).unwrap();
        follower.follow(self.epoch);
        follower.copy_all(&self.leader);
        assert!(follower.log() == self.leader.log(), "the logs differ");
        assert_eq!(follower.partition.mark(), self.leader.partition.mark());
        follower.sync();
        follower.partition.raise_told(self.leader.partition.mark().sequence);
        follower.lead(self.epoch + 1, CommitRule::Alone);
        // It knows every id and every version: what was copied is refused or found.
        for event in self.leader.events() {
            let version = ExpectedVersion::Exact(Version(event.version.0 - 1));
            let known = NewEvent::new(event.event_type, event.content_type, event.data);
            let known = NewEvent { metadata: event.metadata, ..known }.with_id(event.id);
            let append = Append::to(event.stream, version, vec![known]);
            match follower.partition.append(append) {
                Ok(receipt) => assert!(receipt.duplicate && receipt.first == event.sequence),
                Err(AppendError::IdReused { ids }) => assert_eq!(ids, [event.id]),
                Err(error) => panic!("{error}"),
            }
        }
        self.crashes
    }
}

impl Member {
    fn sync_at(&self, level: Durability) {
        if level != Durability::Memory {
            self.sync();
        }
    }
}

fn with_level(durability: Durability) -> NodeOptions {
    NodeOptions { durability, ..options() }
}

#[test]
fn a_follower_that_crashes_has_its_leader_s_bytes_in_the_end() {
    let mut crashes = 0;
    for seed in 0..60 {
        for level in [Durability::Memory, Durability::Local, Durability::Pair] {
            eprintln!("seed {seed}, level {level}");
            let mut run = Run::new(seed, level);
            for _ in 0..60 {
                run.step();
            }
            crashes += run.finish();
        }
    }
    assert!(crashes > 300, "{crashes}");
}

#[test]
fn a_power_loss_while_a_long_log_is_copied_is_no_damage() {
    for seed in 0..40 {
        let leader = Member::open(&disk(), &options()).unwrap();
        leader.lead(1, CommitRule::Alone);
        for id in 1..=30 {
            // One after the other, so that each speaks of those before it.
            leader.partition.append(one(id * 10, 900)).unwrap();
        }
        let disk = disk();
        let follower = Member::open(&disk, &options()).unwrap();
        follower.follow(1);
        let batch = leader.next_for(LogMark::default(), 1_000_000).unwrap();
        // The write is done, the sync after it is not.
        disk.crash_at(4 + seed % 4);
        let _ = follower.take(batch);
        drop(follower);
        let follower = Member::open(&disk.reboot(Leaves::Some(seed)), &options()).unwrap();
        follower.follow(1);
        follower.copy_all(&leader);
        assert!(follower.log() == leader.log());
    }
}
