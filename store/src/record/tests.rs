use bytes::Bytes;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::event::{ContentType, EventId};
use crate::names::EventType;

fn event(data: &[u8]) -> NewEvent {
    NewEvent::new(
        EventType::new("Placed").unwrap(),
        ContentType::Json,
        Bytes::copy_from_slice(data),
    )
    .with_id(EventId(Uuid::from_u128(7)))
}

fn numbered<'a>(stream: &'a StreamName, event: &'a NewEvent) -> Numbered<'a> {
    Numbered {
        stream,
        event,
        sequence: Sequence(12),
        version: Version(3),
        epoch: Epoch(2),
        committed_up_to: Sequence(11),
        time_micros: 1_700_000_000_000_000,
        ends_append: true,
    }
}

prop_compose! {
    fn any_event()(
        id in any::<u128>(),
        event_type in "[a-zA-Zäß]{1,20}",
        content in 0u8..3,
        metadata in prop::collection::vec(any::<u8>(), 0..40),
        data in prop::collection::vec(any::<u8>(), 0..200),
        signed in any::<bool>(),
    ) -> (NewEvent, bool) {
        let event = NewEvent::new(
            EventType::new(event_type).unwrap(),
            ContentType::from_number(content).unwrap(),
            data,
        );
        (event.with_id(EventId(Uuid::from_u128(id))).with_metadata(metadata), signed)
    }
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(
        (mut event, signed) in any_event(),
        stream in "[a-z]{1,8}-[0-9]{1,5}",
        (sequence, version, epoch, committed) in any::<(u64, u64, u64, u64)>(),
        (time_micros, ends_append) in any::<(u64, bool)>(),
    ) {
        let stream = StreamName::new(stream).unwrap();
        let signature = Signature::of(&stream, &event);
        event.signature = signed.then_some(signature);
        let record = Numbered {
            stream: &stream,
            event: &event,
            sequence: Sequence(sequence),
            version: Version(version),
            epoch: Epoch(epoch),
            committed_up_to: Sequence(committed),
            time_micros,
            ends_append,
        };
        let mut buffer = vec![0xaa; 16];
        let before = Chain([9; 16]);
        let chain = encode(&record, before, &mut buffer);
        let block = Bytes::from(buffer).slice(16..);
        prop_assert_eq!(block.len(), encoded_length(&stream, &event));

        let view = decode(&block).unwrap();
        prop_assert_eq!(view.committed_up_to(), Sequence(committed));
        prop_assert_eq!(view.chain(), chain);
        prop_assert!(view.continues(before));
        prop_assert!(!view.continues(Chain([8; 16])));
        let events: Vec<_> = iterate(&block).collect::<Result<_, _>>().unwrap();
        let [read] = events.as_slice() else { panic!("one record, {} events", events.len()) };
        prop_assert_eq!(&read.stream, &stream);
        prop_assert_eq!(
            (read.sequence, read.version, read.epoch, read.time_micros),
            (Sequence(sequence), Version(version), Epoch(epoch), time_micros)
        );
        prop_assert_eq!((read.id, &read.event_type), (event.id, &event.event_type));
        prop_assert_eq!((read.content_type, &read.metadata), (event.content_type, &event.metadata));
        prop_assert_eq!((&read.data, read.signature), (&event.data, signature));
        prop_assert_eq!((read.signed_by_store, read.ends_append), (!signed, ends_append));
        prop_assert!(read.signature_is_valid());
    }

    #[test]
    fn bytes_from_anywhere_are_refused_not_believed(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        prop_assert!(decode(&bytes).is_err());
    }
}

#[test]
fn every_flipped_bit_is_found() {
    let stream = StreamName::try_from("order-17").unwrap();
    let event = event(b"{\"total\":12}");
    let mut buffer = Vec::new();
    encode(&numbered(&stream, &event), Chain::default(), &mut buffer);
    assert!(decode(&buffer).is_ok());
    for bit in 0..buffer.len() * 8 {
        buffer[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&buffer).is_err(), "bit {bit}");
        buffer[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn a_cut_record_says_what_it_lacks() {
    let stream = StreamName::try_from("order-17").unwrap();
    let event = event(&[1; 100]);
    let mut buffer = Vec::new();
    encode(&numbered(&stream, &event), Chain::default(), &mut buffer);
    for length in 0..buffer.len() {
        let cut = decode(&buffer[..length]).unwrap_err();
        let needed = if length < RECORD_HEADER_BYTES { RECORD_HEADER_BYTES } else { buffer.len() };
        assert_eq!(cut, RecordError::Truncated { have: length, needed });
    }
}

#[test]
fn a_block_ends_at_its_first_error() {
    let stream = StreamName::try_from("order-17").unwrap();
    let event = event(b"x");
    let mut buffer = Vec::new();
    for _ in 0..3 {
        encode(&numbered(&stream, &event), Chain::default(), &mut buffer);
    }
    let middle = buffer.len() / 3 + RECORD_HEADER_BYTES;
    buffer[middle] ^= 1;
    let results: Vec<_> = iterate(&Bytes::from(buffer.clone())).collect();
    assert!(matches!(results.as_slice(), [Ok(_), Err(RecordError::BodyChecksum)]));
    let seen: Vec<_> = views(&buffer).map(|view| view.map(|_| ())).collect();
    assert_eq!(seen, [Ok(()), Err(RecordError::BodyChecksum)]);
}

#[test]
fn a_record_of_a_newer_format_is_refused_although_its_checksums_are_right() {
    let stream = StreamName::try_from("order-17").unwrap();
    let event = event(b"x");
    let rows = [
        (AT_KIND, 2, "kind"),
        (AT_FLAGS, 4, "flags"),
        (AT_CONTENT_TYPE, 3, "content type"),
        (AT_RESERVED, 1, "reserved"),
        (AT_STREAM_LENGTH, 0, "stream length"),
        (AT_TYPE_LENGTH, 129, "type length"),
        (AT_METADATA_LENGTH + 3, 1, "metadata length"),
        (AT_DATA_LENGTH + 3, 1, "data length"),
        (AT_DATA_LENGTH, 200, "length"),
    ];
    for (at, value, field) in rows {
        let mut buffer = Vec::new();
        encode(&numbered(&stream, &event), Chain::default(), &mut buffer);
        buffer[at] = value;
        let header: [u8; RECORD_HEADER_BYTES] = *buffer.first_chunk().unwrap();
        put(&mut buffer, AT_HEADER_CRC, &header_crc(&header).to_le_bytes());
        assert_eq!(decode(&buffer).unwrap_err(), RecordError::Field { field });
    }
}

#[test]
fn the_bytes_are_those_of_format_1() {
    let stream = StreamName::try_from("order-17").unwrap();
    let event = event(b"{\"total\":12}").with_metadata("{}");
    let mut buffer = Vec::new();
    encode(&numbered(&stream, &event), Chain([1; 16]), &mut buffer);
    let hex: String = buffer.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, include_str!("format_1.hex").trim());
}
