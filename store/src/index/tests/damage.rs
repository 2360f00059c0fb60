//! A changed byte gives the right answer or an error, never a wrong answer.

use super::Random;
use super::world::{PARTITION, World, check, place, recover};
use crate::index::keys::Keys;
use crate::index::{Index, IndexError};

/// A world with a single run file, of one page of each kind.
fn small() -> (World, std::path::PathBuf) {
    let mut world = World::new(Keys::new(&PARTITION));
    world.segment(&mut Random::new(3), 6, 40);
    let names = world.disk.names();
    assert_eq!(names.len(), 1);
    let path = place(&world.disk).dir.join(&names[0]);
    assert_eq!(world.disk.bytes(&path).len(), 6 * 4096);
    (world, path)
}

/// Makes the checksum of a page right again after it was changed.
pub(super) fn reseal(bytes: &mut [u8], number: usize) {
    let page = &mut bytes[number * 4096..][..4096];
    let mut crc = crc32fast::Hasher::new();
    crc.update(&u64::try_from(number).unwrap().to_le_bytes());
    crc.update(&page[..4092]);
    page[4092..].copy_from_slice(&crc.finalize().to_le_bytes());
}

/// Offsets to change: all that hold something, checksums included, and some of the filling.
fn offsets(bytes: &[u8]) -> Vec<usize> {
    let filling = |at: &usize| at % 4096 < 4092 && bytes[*at] == 0 && !at.is_multiple_of(16);
    (0..bytes.len()).filter(|at| !filling(at)).collect()
}

#[test]
fn a_byte_that_changes_in_use_is_noticed() {
    let (world, path) = small();
    let mut random = Random::new(7);
    for at in offsets(&world.disk.bytes(&path)) {
        let flip = |bytes: &mut Vec<u8>| bytes[at] ^= 1 << (at % 8);
        world.disk.tamper(&path, flip);
        let damaged = check(&world.index, &world.log, &mut random, 3);
        // Ids, streams and places are read when they are asked for, one page of each.
        assert_eq!(damaged > 0, (1..=3).contains(&(at / 4096)), "byte {at}");
        world.disk.tamper(&path, flip);
    }
    assert_eq!(world.index.damaged_segments(), world.log.sealed);
}

#[test]
fn a_byte_that_changed_before_opening_is_noticed() {
    let (world, path) = small();
    let good = world.disk.bytes(&path);
    for at in offsets(&good) {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        world.disk.put(&path, bytes);
        let opened = Index::open(&place(&world.disk), &world.log.sealed).unwrap();
        // Opening reads all pages but those of ids and places.
        let refused = ![1, 3].contains(&(at / 4096));
        assert_eq!(opened.unindexed.len(), usize::from(refused), "byte {at}");
        if refused {
            assert_eq!(world.disk.names().len(), 0, "a refused file is removed");
        } else {
            let damaged = check(&opened.index, &world.log, &mut Random::new(1), 2);
            assert!(damaged > 0, "byte {at} was changed and nobody noticed");
        }
    }
}

#[test]
fn a_run_of_the_former_format_is_made_anew() {
    let (world, path) = small();
    let unindexed = |format: u8| {
        world.disk.tamper(&path, |bytes| {
            bytes[8] = format;
            reseal(bytes, 0);
        });
        Index::open(&place(&world.disk), &world.log.sealed).unwrap().unindexed
    };
    assert_eq!(unindexed(2), []);
    assert_eq!(unindexed(1), world.log.sealed);
    assert_eq!(world.disk.names().len(), 0);
}

#[test]
fn a_file_that_ends_early_or_late_is_refused() {
    let (world, path) = small();
    let good = world.disk.bytes(&path);
    for length in [0, 1, 4095, 4096, 5 * 4096, good.len() - 1, good.len() + 1, good.len() + 4096] {
        let mut bytes = good.clone();
        bytes.resize(length, 0);
        world.disk.put(&path, bytes);
        let opened = Index::open(&place(&world.disk), &world.log.sealed).unwrap();
        assert_eq!(opened.unindexed, world.log.sealed, "{length} bytes");
    }
}

/// A world with a merged run of eight segments, and one of a ninth; the first is damaged in its
/// first page of ids.
fn damaged_in_use() -> World {
    let mut random = Random::new(3);
    let mut world = World::new(Keys::new(&PARTITION));
    (0..9).for_each(|_| world.segment(&mut random, 20, 30));
    let names = world.disk.names();
    assert_eq!(names.len(), 2);
    let path = place(&world.disk).dir.join(&names[0]);
    world.disk.tamper(&path, |bytes| bytes[4096] ^= 1);
    assert!(check(&world.index, &world.log, &mut random, 50) > 0);
    world
}

#[test]
fn a_damaged_run_is_rebuilt_from_its_segments() {
    let mut world = damaged_in_use();
    let mut random = Random::new(4);
    let damaged = world.index.damaged_segments();
    assert_eq!(damaged, world.log.sealed[..8]);
    for segment in damaged {
        assert!(check(&world.index, &world.log, &mut random, 50) > 0);
        let mut rebuild = world.index.rebuild(segment.first).unwrap();
        let entries = world.log.entries(segment.first, segment.last);
        entries.chunks(7).for_each(|some| rebuild.insert(some));
        rebuild.finish().unwrap();
    }
    assert_eq!(world.index.damaged_segments(), []);
    assert_eq!(check(&world.index, &world.log, &mut random, 500), 0);
    assert_eq!(world.disk.names().len(), 2, "the new runs are merged again");
    world.reopen();
    assert_eq!(check(&world.index, &world.log, &mut random, 500), 0);
}

#[test]
fn a_rebuild_that_was_cut_short_goes_on_after_opening() {
    let mut world = damaged_in_use();
    for segment in world.index.damaged_segments().into_iter().take(3) {
        let mut rebuild = world.index.rebuild(segment.first).unwrap();
        rebuild.insert(&world.log.entries(segment.first, segment.last));
        rebuild.finish().unwrap();
    }
    let first = world.log.sealed[3].first;
    let incomplete = world.index.rebuild(first).unwrap().finish();
    assert!(matches!(incomplete, Err(IndexError::NotSealed { .. })), "{incomplete:?}");
    let sound = world.index.rebuild(world.log.sealed[8].first).err();
    assert!(matches!(sound, Some(IndexError::NotSealed { .. })), "{sound:?}");
    let opened = Index::open(&place(&world.disk), &world.log.sealed).unwrap();
    assert_eq!(opened.unindexed, world.log.sealed[3..8]);
    world.index = recover(&place(&world.disk), &world.keys, &world.log).unwrap();
    assert_eq!(check(&world.index, &world.log, &mut Random::new(1), 500), 0);
}

#[test]
fn a_merge_over_a_damaged_run_fails_and_comes_later() {
    let mut random = Random::new(3);
    let mut world = World::new(Keys::new(&PARTITION));
    (0..7).for_each(|_| world.segment(&mut random, 20, 30));
    let path = place(&world.disk).dir.join(&world.disk.names()[2]);
    world.disk.tamper(&path, |bytes| bytes[4096] ^= 1);
    world.append(&mut random, 20, 30);
    world.seal();
    let built = world.build();
    assert!(matches!(built, Err(IndexError::Damaged { .. })), "{built:?}");
    assert_eq!(world.index.pending_segments(), 0, "the run itself was built");
    assert_eq!(world.index.damaged_segments(), world.log.sealed[2..3]);
    let segment = world.log.sealed[2];
    let mut rebuild = world.index.rebuild(segment.first).unwrap();
    rebuild.insert(&world.log.entries(segment.first, segment.last));
    rebuild.finish().unwrap();
    assert_eq!(world.disk.names().len(), 1);
    assert_eq!(check(&world.index, &world.log, &mut random, 500), 0);
}
