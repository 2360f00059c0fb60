use proptest::prelude::*;

use super::super::page_tests::dump;
use super::*;

fn topic(store: &str, partition: u16) -> Topic {
    Topic { store: StoreName::new(store).unwrap(), partition, filter: None }
}

fn filtered(filter: Filter) -> Topic {
    Topic { filter: Some(filter), ..topic("orders", 1) }
}

fn category(name: &str) -> Topic {
    filtered(Filter::Category(name.parse().unwrap()))
}

fn stream(name: &str) -> Topic {
    filtered(Filter::Stream(name.parse().unwrap()))
}

proptest! {
    #[test]
    fn a_filtered_topic_survives_the_way_there_and_back(name in "[a-zä]{1,120}", partition: u16) {
        for topic in [category(&name), stream(&format!("{name}-1"))] {
            let topic = Topic { partition, ..topic };
            prop_assert!(topic.encode().len() <= TOPIC_BYTES_MAX);
            prop_assert_eq!(Topic::decode(&topic.encode()).unwrap(), topic);
        }
    }

    #[test]
    fn a_topic_survives_the_way_there_and_back(store in "[a-z][a-z0-9]{2,40}", partition: u16) {
        let topic = topic(&store, partition);
        prop_assert!(topic.encode().len() <= TOPIC_BYTES_MAX);
        prop_assert_eq!(Topic::decode(&topic.encode()).unwrap(), topic);
    }

    #[test]
    fn a_header_survives_the_way_there_and_back(
        lineage: u128, places: [u64; 4], numbers: [u32; 2], heartbeat: bool,
    ) {
        let [epoch, previous, last, cut] = places;
        let header = FeedHeader {
            kind: if heartbeat { FeedKind::Heartbeat } else { FeedKind::Records },
            lineage: Uuid::from_u128(lineage),
            epoch: Epoch(epoch),
            previous: Sequence(previous),
            last: Sequence(last),
            count: numbers[0],
            heartbeat_ms: numbers[1],
            cut: Sequence(cut),
        };
        let frame = header.encode();
        prop_assert_eq!(frame.len(), HEADER_BYTES);
        prop_assert_eq!(FeedHeader::decode(Bytes::from(frame.clone())).unwrap(), header);
        for cut in 0..frame.len() {
            prop_assert!(FeedHeader::decode(Bytes::copy_from_slice(&frame[..cut])).is_err());
        }
    }

    #[test]
    fn random_bytes_are_refused_without_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..80)
    ) {
        let mut framed = b"SLF\x01".to_vec();
        framed.extend_from_slice(&bytes);
        let _ = FeedHeader::decode(Bytes::from(framed));
        let mut framed = b"P".to_vec();
        framed.extend_from_slice(&bytes);
        let _ = Topic::decode(&framed);
        let mut framed = b"Corders\0\0\x01".to_vec();
        framed.extend_from_slice(&bytes);
        let _ = Topic::decode(&framed);
        let _ = Topic::decode(&bytes);
    }
}

#[test]
fn the_fields_stand_where_the_drawing_has_them() {
    let header = FeedHeader {
        kind: FeedKind::Heartbeat,
        lineage: Uuid::from_bytes([7; 16]),
        epoch: Epoch(3),
        previous: Sequence(41),
        last: Sequence(41),
        count: 0,
        heartbeat_ms: 500,
        cut: Sequence(17),
    };
    let mut expected = b"SLF\x01\x02\0\0\0".to_vec();
    expected.extend_from_slice(&[7; 16]);
    for number in [3_u64, 41, 41] {
        expected.extend_from_slice(&number.to_le_bytes());
    }
    expected.extend_from_slice(&[0, 0, 0, 0, 0xf4, 1, 0, 0]);
    expected.extend_from_slice(&17_u64.to_le_bytes());
    assert_eq!(header.encode(), expected);
}

#[test]
fn the_example_of_the_protocol_page() {
    assert_eq!(topic("orders", 1).encode(), b"Porders\0\0\x01");
    assert_eq!(category("order").encode(), b"Corders\0\0\x01order\0");
    assert_eq!(stream("order-17").encode(), b"Sorders\0\0\x01order-17\0");
}

#[test]
fn the_dumps_of_the_protocol_page() {
    assert_eq!(dump("frame 0 of both"), topic("orders", 1).encode());
    assert_eq!(dump("category, frame 0 of both"), category("order").encode());
    let rows = [
        ("heartbeat, frame 1", FeedKind::Heartbeat, 1, 1, 0),
        ("records, frame 1", FeedKind::Records, 1, 2, 1),
        ("category, heartbeat, frame 1", FeedKind::Heartbeat, 7, 9, 0),
        ("category, records, frame 1", FeedKind::Records, 7, 12, 1),
    ];
    for (title, kind, previous, last, count) in rows {
        let expected = FeedHeader {
            kind,
            lineage: Uuid::from_u128(0xd004_bbb4_49bd_4b1b_bb43_7b2d_d1a9_175a),
            epoch: Epoch(1),
            previous: Sequence(previous),
            last: Sequence(last),
            count,
            heartbeat_ms: 500,
            cut: Sequence(0),
        };
        assert_eq!(dump(title), expected.encode(), "{title}");
    }
}

/// A subscription is a prefix match: no topic may be the prefix of another one.
#[test]
fn no_topic_is_the_prefix_of_another() {
    let topics = [
        topic("order", 1),
        topic("orders", 1),
        topic("orders", 10),
        topic("orders", 256),
        topic("orders", 257),
        topic("orders", 0),
        category("order"),
        category("orders"),
        stream("order"),
        stream("order-1"),
        stream("order-17"),
    ];
    for one in &topics {
        for other in topics.iter().filter(|other| *other != one) {
            assert!(!other.encode().starts_with(&one.encode()), "{one:?} {other:?}");
        }
    }
}
