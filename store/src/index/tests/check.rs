//! Runs are compared with the records.

use super::Random;
use super::damage::reseal;
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

/// Sums don't see it, but a search would go astray.
#[test]
fn places_out_of_order_are_noticed() {
    let mut world = World::new(Keys::new(&PARTITION));
    world.segment(&mut Random::new(3), 6, 40);
    assert_eq!(problems(&world, |_, offset| offset), [""; 0]);
    let path = place(&world.disk).dir.join(&world.disk.names()[0]);
    // Twice 40 places are on page 3. Where two of a stream have one of another stream between them,
    // and ascend, they are a category's, whose events have no versions that would tell.
    let places = world.disk.bytes(&path)[3 * 4096..].to_vec();
    let relative = |at: usize| places[at * 8];
    let stream = |at: usize| world.log.records[usize::from(relative(at))].stream.as_str();
    let at = (0..77).find(|at| {
        let ascend = relative(*at) < relative(at + 1) && relative(at + 1) < relative(at + 2);
        ascend && stream(*at) == stream(at + 2) && stream(*at) != stream(at + 1)
    });
    let at = 3 * 4096 + at.unwrap() * 8;
    world.disk.tamper(&path, |bytes| {
        bytes[at..at + 16].rotate_left(8);
        reseal(bytes, 3);
    });
    assert_eq!(problems(&world, |_, offset| offset), ["it says other things than the records"]);
}
