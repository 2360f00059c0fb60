use proptest::prelude::*;

use super::*;

pub(super) fn event() -> impl Strategy<Value = NewEvent> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    let signature = proptest::option::of(any::<[u8; 20]>().prop_map(Signature));
    (any::<u128>(), "[A-Za-zä]{1,20}", 0..3_u8, bytes(), bytes(), signature).prop_map(
        |(id, event_type, content_type, metadata, data, signature)| NewEvent {
            id: EventId(Uuid::from_u128(id)),
            event_type: EventType::new(event_type).unwrap(),
            content_type: ContentType::from_number(content_type).unwrap(),
            metadata,
            data,
            signature,
        },
    )
}

fn write() -> impl Strategy<Value = StreamWrite> {
    let expected = prop_oneof![
        Just(ExpectedVersion::Any),
        Just(ExpectedVersion::None),
        Just(ExpectedVersion::Exists),
        any::<u64>().prop_map(|version| ExpectedVersion::Exact(Version(version))),
    ];
    ("[a-z{}$-]{1,30}", expected, proptest::collection::vec(event(), 0..4)).prop_map(
        |(stream, expected, events)| StreamWrite {
            stream: StreamName::new(stream).unwrap(),
            expected,
            events,
        },
    )
}

fn message() -> impl Strategy<Value = AppendMessage> {
    let append = proptest::collection::vec(write(), 0..3);
    let durability = proptest::option::of(durability());
    (durability, proptest::collection::vec(append, 0..4))
        .prop_map(|(durability, appends)| AppendMessage { durability, appends })
}

fn durability() -> impl Strategy<Value = Durability> {
    prop_oneof![Just(Durability::Memory), Just(Durability::Local), Just(Durability::Pair)]
}

fn reply() -> impl Strategy<Value = AppendReply> {
    let versions = proptest::collection::vec(any::<u64>().prop_map(Version), 0..4);
    let done = (any::<[u64; 2]>(), versions, durability(), any::<bool>()).prop_map(
        |([first, last], versions, durability, duplicate)| {
            let (first, last) = (Sequence(first), Sequence(last));
            let versions = Versions::from(versions);
            AppendResult::Done(AppendDone { first, last, versions, durability, duplicate })
        },
    );
    let refused = (any::<u16>(), proptest::collection::vec(any::<u8>(), 0..20))
        .prop_map(|(code, body)| AppendResult::Refused(Refusal { code, body: Bytes::from(body) }));
    let nodes = proptest::collection::vec(any::<u128>().prop_map(Uuid::from_u128), 0..3);
    (nodes, proptest::collection::vec(prop_oneof![done, refused], 0..4))
        .prop_map(|(durable_on, results)| AppendReply { durable_on, results })
}

proptest! {
    #[test]
    fn a_message_survives_the_way_there_and_back(message in message()) {
        let bytes = message.encode().unwrap();
        let appends = message.appends.iter().map(|append| encoded_bytes(append)).sum::<usize>();
        prop_assert_eq!(bytes.len(), MESSAGE_HEADER_BYTES + appends);
        prop_assert_eq!(AppendMessage::decode(Bytes::from(bytes)).unwrap(), message);
    }

    #[test]
    fn a_reply_survives_the_way_there_and_back(reply in reply()) {
        let bytes = reply.encode().unwrap();
        prop_assert_eq!(AppendReply::decode(Bytes::from(bytes)).unwrap(), reply);
    }

    #[test]
    fn random_bytes_are_refused_without_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200)
    ) {
        let _ = AppendMessage::decode(Bytes::from(bytes.clone()));
        let _ = AppendReply::decode(Bytes::from(bytes));
    }

    #[test]
    fn a_message_cut_short_is_refused(message in message(), at in any::<prop::sample::Index>()) {
        let bytes = message.encode().unwrap();
        let cut = at.index(bytes.len());
        prop_assert!(AppendMessage::decode(Bytes::copy_from_slice(&bytes[..cut])).is_err());
    }
}

fn example() -> AppendMessage {
    let event = NewEvent::new(EventType::new("Placed").unwrap(), ContentType::Json, "{}")
        .with_id(EventId(Uuid::from_u128(7)))
        .with_metadata("m");
    let write = StreamWrite {
        stream: StreamName::new("order-1").unwrap(),
        expected: ExpectedVersion::Exact(Version(2)),
        events: vec![event],
    };
    AppendMessage { durability: Some(Durability::Local), appends: vec![vec![write]] }
}

/// Whatever one flipped bit turns a message into: no panic, and never the same message.
#[test]
fn every_flipped_bit_is_survived_and_seen() {
    let message = example();
    let bytes = message.encode().unwrap();
    for position in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[position / 8] ^= 1 << (position % 8);
        // Bytes 45..65 are the signature field, which says nothing while its flag is not set.
        if (45..65).contains(&(position / 8)) {
            continue;
        }
        if let Ok(decoded) = AppendMessage::decode(Bytes::from(flipped)) {
            assert_ne!(decoded, message, "bit {position}");
        }
    }
}

#[test]
fn the_example_of_the_protocol_page() {
    let bytes = example().encode().unwrap();
    let mut expected = vec![1, 2, 1, 0]; // version, local, one append
    expected.extend_from_slice(&[1, 0]); // one write
    expected.extend_from_slice(&[3, 0, 7, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    expected.extend_from_slice(b"order-1");
    expected.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
    expected.extend_from_slice(&[0; 20]); // no signature
    expected.extend_from_slice(&[1, 0, 6, 0, 1, 0, 0, 0, 2, 0, 0, 0]);
    expected.extend_from_slice(b"Placedm{}");
    assert_eq!(bytes, expected);
}

#[test]
fn counts_beyond_the_bytes_are_refused_before_anything_is_reserved() {
    // 65,535 writes, 4 billion events, 4 GB of data: each claims more than is there.
    let rows: [(&[u8], WireError); 3] = [
        (&[1, 0, 255, 15], WireError::Truncated { what: "appends" }),
        (&[1, 0, 1, 0, 200, 3], WireError::Truncated { what: "writes" }),
        (
            &[1, 0, 1, 0, 1, 0, 0, 0, 1, 0, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, b'a'],
            WireError::Truncated { what: "events" },
        ),
    ];
    for (bytes, error) in rows {
        assert_eq!(AppendMessage::decode(Bytes::copy_from_slice(bytes)), Err(error));
    }
}

#[test]
fn an_unknown_durability_is_refused() {
    let mut bytes = example().encode().unwrap();
    bytes[1] = 4;
    let error = AppendMessage::decode(Bytes::from(bytes)).unwrap_err();
    assert!(matches!(error, WireError::Unknown { number: 4, .. }), "{error}");
}
