use store::event::{Epoch, Signature};
use store::wire::replay::RequestNumber;
use uuid::Uuid;

use super::*;
use crate::samples::record_bytes;

fn orders() -> Filter {
    Filter::Category("order".parse().unwrap())
}

/// Sequences of records of `order-1`, or of `cart-1` where the sequence is negative.
type Places = &'static [i64];

fn records(places: Places) -> Bytes {
    let of = |place: &i64| {
        let stream = if *place < 0 { "cart-1" } else { "order-1" };
        record_bytes(stream, (place.unsigned_abs(), 1), None)
    };
    places.iter().flat_map(of).collect::<Vec<u8>>().into()
}

fn count(places: Places) -> u32 {
    u32::try_from(places.len()).unwrap()
}

/// A message that covers what lies behind `previous` up to `last`; without places a heartbeat.
fn message(filter: Option<Filter>, (previous, last): (u64, u64), places: Places) -> Frames {
    let topic = Topic { store: "orders".parse().unwrap(), partition: 1, filter };
    let header = FeedHeader {
        kind: if places.is_empty() { FeedKind::Heartbeat } else { FeedKind::Records },
        lineage: Uuid::nil(),
        epoch: Epoch(1),
        previous: Sequence(previous),
        last: Sequence(last),
        count: count(places),
        heartbeat_ms: 500,
        cut: Sequence::ZERO,
    };
    let mut frames = vec![topic.encode().into(), header.encode().into()];
    if !places.is_empty() {
        frames.push(records(places));
    }
    frames
}

fn sequences(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.sequence.0).collect()
}

#[test]
fn messages_that_are_what_they_say() {
    // Filtered or not, what it covers, records, and the first record's sequence.
    let rows: [(bool, (u64, u64), Places, u64); 8] = [
        (false, (4, 6), &[5, -6], 5),
        (false, (6, 6), &[], 0),
        (true, (4, 6), &[5, 6], 5),
        (true, (4, 30), &[7, 19], 7),
        (true, (0, 30), &[30], 30),
        (true, (6, 6), &[], 0),
        (true, (6, 30), &[], 0),
        (true, (0, 0), &[], 0),
    ];
    for (filtered, (previous, last), places, first) in rows {
        let frames = message(filtered.then(orders), (previous, last), places);
        let (topic, message) = feed_message(frames, true).unwrap();
        assert_eq!(topic.filter.is_some(), filtered);
        let span = Span { epoch: Epoch(1), previous: Sequence(previous), last: Sequence(last) };
        assert_eq!((message.span, message.first), (span, Sequence(first)));
        let taken = message.records.map(|events| sequences(&events)).unwrap_or_default();
        assert!(taken.iter().zip(places).all(|(taken, place)| *taken == place.unsigned_abs()));
        assert_eq!(taken.len(), places.len());
    }
}

#[test]
fn messages_that_are_not() {
    let rows: [(bool, (u64, u64), Places); 12] = [
        // A hole, one missing at the end, one too many, one from before, backwards.
        (false, (4, 7), &[5, 7]),
        (false, (4, 7), &[5, 6]),
        (false, (4, 5), &[5, 6]),
        (false, (4, 5), &[4, 5]),
        // A heartbeat with a way to go.
        (false, (4, 7), &[]),
        (true, (4, 30), &[4, 7]),
        (true, (4, 30), &[9, 7]),
        (true, (4, 30), &[7, 7]),
        (true, (4, 30), &[7, 31]),
        // Of another category.
        (true, (4, 30), &[7, -8]),
        // Covers less than nothing.
        (true, (30, 7), &[]),
        (true, (30, 7), &[31]),
    ];
    for (filtered, covers, places) in rows {
        let found = feed_message(message(filtered.then(orders), covers, places), true);
        let corrupt = matches!(found, Err(Damage::Corrupt(_)));
        assert!(corrupt, "{filtered} {covers:?} {places:?}: {found:?}");
    }
    // One of two records is gone without a trace.
    let mut frames = message(Some(orders()), (4, 30), &[7, 8]);
    frames[2] = records(&[7]);
    assert!(matches!(feed_message(frames, true), Err(Damage::Corrupt(_))));
    let mut forged = message(Some(orders()), (4, 30), &[7]);
    forged[2] = record_bytes("order-1", (7, 1), Some(Signature([7; 20]))).into();
    let found = feed_message(forged.clone(), true);
    assert_eq!(found.unwrap_err(), Damage::Signature(Sequence(7)));
    assert!(feed_message(forged, false).is_ok());
    let nothing = [&message(None, (6, 6), &[])[..], &[Bytes::new()]].concat();
    assert!(feed_message(nothing[..1].to_vec(), true).is_err());
}

fn block(places: Places, head: u64, end: bool) -> Block {
    let place = |place: Option<&i64>| Sequence(place.map_or(0, |place| place.unsigned_abs()));
    Block {
        request: RequestNumber(1),
        lineage: Uuid::nil(),
        incarnation: Uuid::nil(),
        epoch: Epoch(1),
        first: place(places.first()),
        last: place(places.last()),
        head: Sequence(head),
        count: count(places),
        end,
        records: records(places),
    }
}

#[test]
fn blocks_of_filtered_history() {
    let filter = orders();
    let expected = Expected { filter: Some(&filter), check_signatures: true };
    let covers = |block: Block| {
        let taken = replayed_block(&block, Sequence(10), expected)?;
        Ok((taken.span.previous.0, taken.span.last.0, sequences(&taken.records)))
    };
    assert_eq!(covers(block(&[12, 19], 40, false)), Ok((10, 19, vec![12, 19])));
    assert_eq!(covers(block(&[12, 19], 40, true)), Ok((10, 40, vec![12, 19])));
    assert_eq!(covers(block(&[], 40, true)), Ok((10, 40, vec![])));
    assert_eq!(covers(block(&[], 40, false)), Ok((10, 10, vec![])));
    // Of a member that has less than what is covered already.
    assert_eq!(covers(block(&[], 7, true)), Ok((10, 10, vec![])));
    for places in [&[10, 12][..], &[12, 11], &[12, 12], &[-12], &[12, -13]] {
        let taken = covers(block(places, 40, true));
        assert!(matches!(taken, Err(Damage::Corrupt(_))), "{places:?}");
    }
    let lacks_one = Block { records: records(&[12]), ..block(&[12, 19], 40, true) };
    assert!(matches!(covers(lacks_one), Err(Damage::Corrupt(_))));
}
