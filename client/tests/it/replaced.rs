//! Stores whose folders are exchanged while somebody reads them.

use std::path::Path;
use std::time::Duration;

use client::{
    ErrorCode, ExpectedVersion, StoreHandle, SubscribeOptions, Subscription, SubscriptionError,
};
use store::server::admin::{self, AdminError};
use store::server::exit_code::EXIT_CUT;

use crate::world::{PATIENCE, World, clock, counted, wait_until};

/// A process that serves `users`, which its configuration does not name, and a reader of it.
struct Replaced {
    world: World,
    users: StoreHandle,
    subscription: Subscription,
}

impl Replaced {
    fn start() -> Self {
        let world = World::start(1);
        command(&world, "add users:1").unwrap();
        let users = world.client().store("users").unwrap();
        let subscription = users.subscribe(SubscribeOptions::default()).unwrap();
        Self { world, users, subscription }
    }

    /// Appends so many events.
    fn append(&self, count: u64) {
        let one = |number| self.users.append("user-1", ExpectedVersion::Any, vec![counted(number)]);
        for pending in (1..=count).map(one).collect::<Vec<_>>() {
            pending.wait().unwrap();
        }
    }

    /// Reads on until the subscriber stands at this sequence.
    fn read_up_to(&mut self, sequence: u64) {
        let subscription = &mut self.subscription;
        wait_until("all of it was read", || {
            let batch = subscription.next(Duration::from_millis(50)).unwrap();
            batch.is_some_and(|batch| batch.position.sequence.0 == sequence)
        });
    }

    /// The subscriber is told nothing, and hears nothing.
    fn falls_silent(&mut self) {
        let subscription = &mut self.subscription;
        wait_until("its partition is gone", || {
            assert!(subscription.next(Duration::from_millis(50)).unwrap().is_none());
            subscription.is_silent()
        });
    }

    /// Why the subscription ends.
    fn end(&mut self) -> SubscriptionError {
        let started = clock();
        loop {
            assert!(started.elapsed() < PATIENCE, "it is not told: {:?}", self.subscription);
            match self.subscription.next(Duration::from_millis(50)) {
                Ok(batch) => assert!(batch.is_none(), "it does not stand on that: {batch:?}"),
                Err(error) => return error,
            }
        }
    }
}

fn command(world: &World, line: &str) -> Result<String, AdminError> {
    admin::execute(&world.path("store"), &line.parse().unwrap())
}

/// A running process refused a command, and said where its readers stand.
#[track_caller]
fn assert_refused(result: Result<String, AdminError>, of_readers: &str) {
    let Err(AdminError::Refused { code: EXIT_CUT, sentence }) = result else {
        panic!("{result:?}");
    };
    assert!(sentence.starts_with("AHEAD_OF_LOG: users/0"), "{sentence}");
    assert!(sentence.contains(of_readers) && sentence.contains("start it again"), "{sentence}");
}

/// The subscriber stood above the place where the log was cut.
#[track_caller]
fn assert_told(error: &SubscriptionError, stood: u64, cut_at: u64) {
    assert_eq!(error.code(), ErrorCode::AHEAD_OF_LOG);
    let SubscriptionError::AheadOfLog { position, cut, other_lineage: false, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!((position.sequence.0, cut.0), (stood, cut_at), "{error}");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else {
            std::fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

#[test]
fn an_earlier_copy_is_served_after_a_start_which_tells_its_readers() {
    let mut it = Replaced::start();
    it.append(40);
    command(&it.world, "detach users").unwrap();
    let [folder, earlier] = ["store/users", "earlier"].map(|name| it.world.path(name));
    copy(&folder, &earlier);
    command(&it.world, "attach users").unwrap();
    it.append(40);
    it.read_up_to(80);

    command(&it.world, "detach users").unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    copy(&earlier, &folder);
    let refused = command(&it.world, "attach users");
    assert_refused(refused, "stand at sequence 80, but this log ends at 40");
    it.falls_silent();

    it.world.stop_store();
    it.world.start_store();
    command(&it.world, "attach users").unwrap();
    it.append(30);
    assert_told(&it.end(), 80, 40);
}

/// The command is done while no process runs: the process counts the next epoch but one.
#[test]
fn a_removed_store_is_made_anew_before_a_start_which_tells_its_readers() {
    let mut it = Replaced::start();
    it.append(5);
    it.read_up_to(5);
    command(&it.world, "remove users").unwrap();
    let refused = command(&it.world, "add users:1");
    assert_refused(refused, "stand at sequence 5, but this log ends at 0");
    it.falls_silent();

    it.world.stop_store();
    command(&it.world, "add users:1").unwrap();
    it.world.start_store();
    it.append(9);
    assert_told(&it.end(), 5, 0);
}
