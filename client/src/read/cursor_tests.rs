use bytes::Bytes;
use store::event::{Signature, Version};
use uuid::Uuid;

use super::*;
use crate::samples::record_bytes;

fn block(places: &[(u64, u64)], end: bool) -> Block {
    let records: Vec<u8> =
        places.iter().flat_map(|place| record_bytes("a", *place, None)).collect();
    Block {
        request: RequestNumber(1),
        lineage: Uuid::nil(),
        incarnation: Uuid::nil(),
        epoch: Epoch(1),
        first: Sequence(places.first().map_or(0, |place| place.0)),
        last: Sequence(places.last().map_or(0, |place| place.0)),
        head: Sequence(100),
        count: u32::try_from(places.len()).unwrap(),
        end,
        records: Bytes::from(records),
    }
}

fn store() -> StoreName {
    StoreName::new("orders").unwrap()
}

fn all(options: &ReadAllOptions) -> Cursor {
    Cursor::all(store(), 0, options)
}

fn stream(options: &ReadOptions) -> Cursor {
    Cursor::stream(store(), 0, StreamName::try_from("a").unwrap(), options)
}

fn sequences(events: Vec<Event>) -> Vec<u64> {
    events.into_iter().map(|event| event.sequence.0).collect()
}

#[test]
fn a_read_goes_on_behind_what_it_took() {
    let mut cursor = all(&ReadAllOptions { limit: Some(5), ..ReadAllOptions::default() });
    assert_eq!((cursor.request(9).from, cursor.request(9).count_max), (0, 5));
    let events = cursor.take(&block(&[(7, 1), (8, 2)], false)).unwrap();
    assert_eq!(sequences(events), [7, 8], "what was kept begins at 7");
    let again = cursor.request(9);
    assert_eq!((again.from, again.count_max, again.to), (8, 4, 100), "up to the first head");
    let events = cursor.take(&block(&[(8, 2), (9, 3)], false)).unwrap();
    assert_eq!(sequences(events), [9]);
    assert_eq!(cursor.head(), Some(Sequence(100)));
    assert!(!cursor.is_done());
}

#[test]
fn ends() {
    let to_eight = ReadAllOptions { to: Some(Sequence(8)), ..ReadAllOptions::default() };
    let two = ReadAllOptions { limit: Some(2), ..ReadAllOptions::default() };
    let down = ReadAllOptions { direction: Direction::Backward, ..ReadAllOptions::default() };
    // Options, records that come, whether they end the block's read, taken, done afterwards.
    let rows = [
        (ReadAllOptions::default(), vec![(7, 1), (8, 2)], false, vec![7, 8], false),
        (ReadAllOptions::default(), vec![(7, 1), (8, 2)], true, vec![7, 8], true),
        (ReadAllOptions::default(), vec![], true, vec![], true),
        (to_eight, vec![(7, 1), (8, 2), (9, 3)], false, vec![7, 8], true),
        (two, vec![(7, 1), (8, 2), (9, 3)], false, vec![7, 8], true),
        (down.clone(), vec![(3, 3), (2, 2)], false, vec![3, 2], false),
        (down, vec![(2, 2), (1, 1)], false, vec![2, 1], true),
    ];
    for (options, places, end, taken, done) in rows {
        let mut cursor = all(&options);
        let events = cursor.take(&block(&places, end)).unwrap();
        assert_eq!((sequences(events), cursor.is_done()), (taken, done), "{options:?}");
    }
}

#[test]
fn nothing_is_asked_for_that_can_not_be() {
    let backward = Direction::Backward;
    let none = ReadOptions { limit: Some(0), ..ReadOptions::default() };
    assert!(stream(&none).is_done());
    let below =
        ReadOptions { from: Some(Version(0)), direction: backward, ..ReadOptions::default() };
    assert!(stream(&below).is_done());
    let (low, high) = (Some(Sequence(3)), Some(Sequence(5)));
    let upside_down = ReadAllOptions { from: high, to: low, ..ReadAllOptions::default() };
    assert!(all(&upside_down).is_done());
    let down =
        ReadAllOptions { from: high, to: low, direction: backward, ..ReadAllOptions::default() };
    assert!(!all(&down).is_done());
}

#[test]
fn what_was_not_asked_for_is_not_taken() {
    let from_seven = || all(&ReadAllOptions { from: Some(Sequence(7)), ..Default::default() });
    assert!(from_seven().take(&block(&[(9, 1)], false)).is_ok(), "7 and 8 are no longer kept");
    for places in [vec![(6, 1)], vec![(7, 1), (9, 2)], vec![(7, 1), (7, 1)]] {
        let taken = from_seven().take(&block(&places, false));
        assert!(matches!(taken, Err(BlockError::Corrupt(_))), "{places:?}");
    }
    let other =
        Cursor::stream(store(), 0, StreamName::try_from("b").unwrap(), &ReadOptions::default())
            .take(&block(&[(1, 1)], true));
    assert!(matches!(other, Err(BlockError::Corrupt(_))));
    let mut damaged = block(&[(1, 1)], true);
    let mut bytes = damaged.records.to_vec();
    bytes[125] ^= 1;
    damaged.records = bytes.into();
    let taken = stream(&ReadOptions::default()).take(&damaged);
    assert!(matches!(taken, Err(BlockError::Corrupt(_))));
}

#[test]
fn streams_are_followed_by_version() {
    let mut cursor = stream(&ReadOptions::default());
    cursor.take(&block(&[(3, 1), (90, 2)], false)).unwrap();
    assert!(cursor.clone().take(&block(&[(91, 4)], false)).is_err());
    assert_eq!(cursor.request(1).from, 2);
    // Whoever goes on must have the last event where it was.
    for places in [vec![(91, 3)], vec![(89, 2), (91, 3)], vec![]] {
        let taken = cursor.clone().take(&block(&places, true));
        assert_eq!(taken, Err(BlockError::EpochChanged), "{places:?}");
    }
    assert_eq!(sequences(cursor.take(&block(&[(90, 2), (91, 3)], true)).unwrap()), [91]);
}

#[test]
fn a_wrong_signature_is_found_unless_it_is_not_asked_for() {
    let mut block = block(&[], true);
    block.records = record_bytes("a", (1, 1), Some(Signature([7; 20]))).into();
    let found = stream(&ReadOptions::default()).take(&block);
    assert_eq!(found, Err(BlockError::Signature(Sequence(1))));
    let mut careless = stream(&ReadOptions::default()).without_signatures(true);
    assert_eq!(careless.take(&block).unwrap().len(), 1);
}

fn category(name: &str, options: &ReadAllOptions) -> Cursor {
    let filter = Filter::Category(name.parse().unwrap());
    Cursor::filtered(store(), 0, filter, options)
}

#[test]
fn a_category_has_gaps_and_goes_on_behind_what_was_taken() {
    let mut cursor = category("a", &ReadAllOptions { limit: Some(9), ..Default::default() });
    let events = cursor.take(&block(&[(7, 1), (40, 2)], false)).unwrap();
    assert_eq!(sequences(events), [7, 40]);
    let again = cursor.request(9);
    assert_eq!((again.from, again.count_max, again.to), (40, 8, 100), "up to the first head");
    // Whoever goes on must have the last event where it was.
    assert_eq!(cursor.clone().take(&block(&[(41, 3)], true)), Err(BlockError::EpochChanged));
    let mut ended = cursor.clone();
    assert_eq!(ended.take(&block(&[(40, 2)], true)), Ok(Vec::new()));
    assert!(ended.is_done());
    // Nothing of the category need stand at the first head; what follows is not of this read.
    let events = cursor.take(&block(&[(40, 2), (99, 3), (101, 4)], false)).unwrap();
    assert_eq!((sequences(events), cursor.is_done()), (vec![99], true));
}

#[test]
fn a_category_backwards() {
    let (from, to) = (Some(Sequence(60)), Some(Sequence(10)));
    let down = ReadAllOptions { from, to, direction: Direction::Backward, ..Default::default() };
    let mut cursor = category("a", &down);
    assert_eq!(cursor.request(9).from, 60);
    assert_eq!(sequences(cursor.take(&block(&[(57, 9), (30, 8)], false)).unwrap()), [57, 30]);
    assert_eq!((cursor.request(9).from, cursor.request(9).to), (30, 10));
    let events = cursor.take(&block(&[(30, 8), (12, 7), (9, 6)], false)).unwrap();
    assert_eq!((sequences(events), cursor.is_done()), (vec![12], true));
}

#[test]
fn what_is_not_of_the_category_is_not_taken() {
    let down = || ReadAllOptions { direction: Direction::Backward, ..Default::default() };
    let rows = [
        (category("b", &ReadAllOptions::default()), vec![(7, 1)]),
        (category("a", &ReadAllOptions::default()), vec![(7, 1), (7, 1)]),
        (category("a", &ReadAllOptions::default()), vec![(7, 1), (5, 2)]),
        (category("a", &down()), vec![(7, 1), (8, 2)]),
        (category("a", &down()), vec![(7, 1), (7, 1)]),
        (category("a", &ReadAllOptions { from: Some(Sequence(8)), ..down() }), vec![(9, 1)]),
    ];
    for (mut cursor, places) in rows {
        let taken = cursor.take(&block(&places, false));
        assert!(matches!(taken, Err(BlockError::Corrupt(_))), "{places:?}");
    }
}

/// Events in [`block`] have their sequence for an id.
#[test]
fn ids_may_be_absent_but_come_in_their_order() {
    let id = |number: u128| EventId(Uuid::from_u128(number));
    let four = || Cursor::ids(store(), 0, vec![id(9), id(5), id(7), id(2)]);
    assert!(Cursor::ids(store(), 0, Vec::new()).is_done());
    let mut cursor = four();
    let request = cursor.request(9);
    assert_eq!((request.from, request.strong, request.epoch), (0, true, Epoch::ZERO));
    let events = cursor.take(&block(&[(9, 1), (7, 2)], false)).unwrap();
    assert_eq!(sequences(events), [9, 7]);
    assert_eq!(cursor.request(9).from, 3, "whoever answers now must have 7, too");
    let mut lacks_it = cursor.clone();
    assert_eq!(lacks_it.take(&block(&[(2, 1)], true)), Err(BlockError::EpochChanged));
    let events = cursor.take(&block(&[(7, 2), (2, 4)], true)).unwrap();
    assert_eq!(sequences(events), [2]);
    assert!(cursor.is_done());
    for places in [vec![(3, 1)], vec![(7, 1), (5, 2)], vec![(7, 1), (7, 1)]] {
        let taken = four().take(&block(&places, false));
        assert!(matches!(taken, Err(BlockError::Corrupt(_))), "{places:?}");
    }
}
