//! Runs are compared with the records.

use super::Random;
use super::world::{PARTITION, World, place};
use crate::index::IndexCheck;
use crate::index::keys::Keys;

/// Checks the runs of a world; `change` sees each record's offset before it is noted.
fn problems(world: &World, change: impl Fn(u64, u32) -> u32) -> Vec<&'static str> {
    let place = place(&world.disk);
    let mut check = IndexCheck::new(&place);
    for segment in &world.log.sealed {
        for mut entry in world.log.entries(segment.first, segment.last) {
            entry.offset = change(entry.sequence.0, entry.offset);
            check.record(&entry);
        }
        check.end_segment(Some(*segment));
    }
    check.problems(&place).unwrap().into_iter().map(|problem| problem.reason).collect()
}

#[test]
fn runs_are_compared_with_the_records() {
    let mut world = World::new(Keys::new(&PARTITION));
    let mut random = Random::new(1);
    (0..10).for_each(|_| world.segment(&mut random, 20, 30));
    assert_eq!(world.disk.names().len(), 3);
    assert_eq!(problems(&world, |_, offset| offset), [""; 0]);
    let one = |sequence, offset| if sequence == 77 { offset + 8 } else { offset };
    assert_eq!(problems(&world, one), ["it says other things than the records"]);
    let path = place(&world.disk).dir.join(&world.disk.names()[1]);
    world.disk.tamper(&path, |bytes| bytes[3 * 4096] ^= 1);
    assert_eq!(problems(&world, |_, offset| offset), ["it is not what was written"]);
    world.log.sealed.pop();
    let missing = "it is not the index of sound segments that are here";
    assert_eq!(problems(&world, one).len(), 3);
    assert!(problems(&world, one).contains(&missing));
}
