use broker::witness::{Configuration, Incarnation, Lineage, PartitionName, WitnessId};
use proptest::prelude::*;

use super::*;
use crate::pair::protocol::{PeerMessage, Role};

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn hello() -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        role: Role::Backup,
        lineage: Lineage(id(1)),
        incarnation: Incarnation(id(2)),
        configuration: Some(configuration()),
        brings_data: true,
        witness: Some(WitnessId(id(3))),
        settings: Settings {
            durability: "pair".to_owned(),
            copies_min: 1,
            segment_bytes: 64 << 20,
            heartbeat_ms: 100,
        },
        stores: vec![Listing { store: "orders".into(), partitions: 4, first: 0, last: 1 }],
    }
}

fn configuration() -> Configuration {
    Configuration {
        lineage: Lineage(id(1)),
        epoch: 7,
        leader: Incarnation(id(2)),
        members: vec![Incarnation(id(2)), Incarnation(id(4))],
        floor: [(name(), 12)].into(),
    }
}

fn name() -> PartitionName {
    PartitionName("orders/0".into())
}

fn bodies() -> Vec<Body> {
    let mark = Mark { sequence: 9, epoch: 3, chain: [7; 16] };
    let (epoch, partition) = (7, name());
    let beat =
        PeerMessage::Beat { configuration: Some(configuration()), has_data: true, leads: true };
    let head = RecordsHead { epoch, partition: name(), previous: 4, last: 9, committed: 3 };
    vec![
        Body::Hello(hello()),
        Body::Welcome(hello()),
        Body::Refused(Refused { reason: "no".into(), passing: true }),
        Body::Beat(Beat { message: Some(beat) }),
        Body::Beat(Beat { message: Some(PeerMessage::TakeOver { epoch }) }),
        Body::Beat(Beat { message: None }),
        Body::Catalogue(Catalogue { epoch, since: 5, stores: hello().stores }),
        Body::Probe(Probe { epoch, partition: name(), at: 5 }),
        Body::Mark(MarkReport {
            epoch,
            partition: name(),
            at: Some(9),
            mark: Some(mark),
            end: mark,
        }),
        Body::Mark(MarkReport {
            epoch,
            partition: name(),
            at: None,
            mark: None,
            end: Mark::default(),
        }),
        Body::Cut(CutOrder { epoch, partition: name(), to: mark }),
        Body::CutDone(CutDone { epoch, partition: name(), end: mark }),
        Body::Records(head, Bytes::from(vec![1; 5000])),
        Body::Ack(Ack { epoch, partition: name(), accepted: 9, written: 8, durable: 7, gap: true }),
        Body::Commit(Commit { epoch, partition, committed: 3, sent: 9, counted: 2 }),
    ]
}

fn header(to: Option<u128>) -> Header {
    let to = to.map(|to| ProcessId(id(to)));
    Header { from: ProcessId(id(5)), to, epoch: 7, token: 8, echo: u64::MAX }
}

#[test]
fn every_message_survives_the_way_there_and_back() {
    for body in bodies() {
        for header in [header(None), header(Some(6))] {
            let frames = encode(&header, &body).unwrap();
            assert_eq!(decode(&frames).unwrap(), (header, body.clone()));
        }
    }
}

#[test]
fn the_header_is_drawn_as_it_is() {
    let frames = encode(&header(Some(6)), &Body::Beat(Beat { message: None })).unwrap();
    let mut drawn = b"SLP\x01\x04\0\0\0".to_vec();
    drawn.extend_from_slice(id(5).as_bytes());
    drawn.extend_from_slice(id(6).as_bytes());
    drawn.extend_from_slice(&[7, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0]);
    drawn.extend_from_slice(&[0xff; 8]);
    assert_eq!(frames[0], drawn);
}

#[test]
fn what_is_no_message_is_named() {
    let good = encode(&header(None), &Body::Commit(commit())).unwrap();
    let changed = |at: usize, byte: u8| {
        let mut first = good[0].to_vec();
        first[at] = byte;
        decode(&[first.into(), good[1].clone()])
    };
    assert_eq!(changed(0, b'X'), Err(MessageError::Header));
    assert_eq!(changed(3, 2), Err(MessageError::Version(2)));
    assert_eq!(changed(4, 13), Err(MessageError::Kind(13)));
    assert_eq!(changed(4, 10), Err(MessageError::Frames(2)));
    assert_eq!(decode(&good[..1]), Err(MessageError::Frames(1)));
    let short = [good[0].slice(..63), good[1].clone()];
    assert_eq!(decode(&short), Err(MessageError::Header));
    let extra = [good[0].clone(), good[1].clone(), Bytes::new()];
    assert_eq!(decode(&extra), Err(MessageError::Frames(3)));
    let long = [good[0].clone(), Bytes::from(vec![0xc0; BODY_BYTES_MAX + 1])];
    let error = MessageError::TooLong { bytes: BODY_BYTES_MAX + 1, max: BODY_BYTES_MAX };
    assert_eq!(decode(&long), Err(error));
    // Brackets without an end.
    let deep = [good[0].clone(), Bytes::from(vec![0x91; BODY_BYTES_MAX])];
    assert!(matches!(decode(&deep), Err(MessageError::Body(_))));
    // An array that claims four thousand million entries.
    let frames =
        encode(&header(None), &Body::Catalogue(Catalogue { epoch: 1, since: 1, stores: vec![] }));
    let first = frames.unwrap().swap_remove(0);
    let claim = b"\x83\xa5epoch\x01\xa5since\x01\xa6stores\xdd\xff\xff\xff\xff";
    let huge = decode(&[first, Bytes::from_static(claim)]);
    assert!(matches!(huge, Err(MessageError::Body(_))));
}

fn commit() -> Commit {
    Commit { epoch: 1, partition: name(), committed: 1, sent: 1, counted: 1 }
}

proptest! {
    #[test]
    fn flipped_bits_never_panic(which in 0..15_usize, frame in 0..2_usize, at in any::<u32>()) {
        let mut frames = encode(&header(Some(6)), &bodies()[which]).unwrap();
        let mut bytes = frames[frame].to_vec();
        let bit = usize::try_from(at).unwrap() % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        frames[frame] = bytes.into();
        // Whatever still decodes must survive another round.
        if let Ok((header, body)) = decode(&frames) {
            let again = encode(&header, &body).unwrap();
            prop_assert_eq!(decode(&again).unwrap(), (header, body));
        }
    }
}
