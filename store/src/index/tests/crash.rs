//! Power fails after every change to the disk while runs are built and merged.

use super::Random;
use super::world::{PARTITION, World, check, place, recover};
use crate::index::keys::Keys;
use crate::index::{Index, IndexError};

/// Seven runs, and an eighth segment whose run is due, and with it a merge.
fn before_a_merge() -> World {
    let mut random = Random::new(11);
    let mut world = World::new(Keys::new(&PARTITION));
    (0..7).for_each(|_| world.segment(&mut random, 30, 60));
    world.append(&mut random, 30, 60);
    world.seal();
    world.append(&mut random, 30, 10);
    world
}

#[test]
fn after_a_crash_anywhere_the_index_is_whole() {
    let whole = before_a_merge();
    let before = whole.disk.changes();
    whole.build().unwrap();
    let changes = whole.disk.changes() - before;
    assert_eq!(whole.disk.names().len(), 1, "the build merged eight runs");
    for crash in 0..changes {
        for seed in 0..8 {
            let world = before_a_merge();
            world.disk.fail_after(crash);
            let failed = world.build();
            // Removing the merged runs is not part of the answer: what stays goes when opening.
            assert!(matches!(failed, Ok(()) | Err(IndexError::Io { .. })), "{failed:?}");
            let disk = world.disk.after_crash(&mut Random::new(seed));
            let unindexed = Index::open(&place(&disk), &world.log.sealed).unwrap().unindexed;
            let lost = unindexed.iter().any(|segment| *segment != world.log.sealed[7]);
            assert!(!lost, "crash at change {crash}, seed {seed}: {unindexed:?}");
            let index = recover(&place(&disk), &world.keys, &world.log).unwrap();
            let damaged = check(&index, &world.log, &mut Random::new(seed), 40);
            assert_eq!(damaged, 0, "crash at change {crash}, seed {seed}");
            let runs = index.read().runs.len();
            assert_eq!(disk.names().len(), runs, "crash at change {crash}, seed {seed}");
        }
    }
}

#[test]
fn a_build_that_failed_can_be_repeated() {
    let whole = before_a_merge();
    let before = whole.disk.changes();
    whole.build().unwrap();
    for failing in 0..whole.disk.changes() - before {
        let world = before_a_merge();
        world.disk.fail_after(failing);
        let _ = world.build();
        assert_eq!(check(&world.index, &world.log, &mut Random::new(2), 40), 0);
        world.disk.fail_after(usize::MAX);
        world.index.build_run(world.log.sealed[7].first).unwrap();
        assert_eq!(check(&world.index, &world.log, &mut Random::new(2), 40), 0);
        assert_eq!(world.index.pending_segments(), 0);
    }
}
