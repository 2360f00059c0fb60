use proptest::prelude::*;

use super::super::page_tests::dump;
use super::*;

fn id(number: u128) -> EventId {
    EventId(Uuid::from_u128(number))
}

fn read() -> impl Strategy<Value = Read> {
    let source = prop_oneof![
        Just(ReadSource::All),
        "[a-z-]{1,30}".prop_map(|name| ReadSource::Stream(StreamName::new(name).unwrap())),
        proptest::collection::vec(any::<u128>().prop_map(id), 1..20).prop_map(ReadSource::Ids),
        "[a-z]{1,30}".prop_map(|name| {
            ReadSource::Filtered(Filter::Category(CategoryName::new(name).unwrap()))
        }),
        "[a-z-]{1,30}".prop_map(|name| {
            ReadSource::Filtered(Filter::Stream(StreamName::new(name).unwrap()))
        }),
    ];
    (any::<[u64; 7]>(), any::<u32>(), any::<u16>(), source, any::<[bool; 2]>()).prop_map(
        |(places, block_bytes_max, partition, source, [backward, strong])| {
            let backward = backward && !matches!(source, ReadSource::Ids(_));
            let [request, from, to, count_max, at_least, credit_bytes, epoch] = places;
            Read {
                request: RequestNumber(request),
                store: StoreName::new("orders").unwrap(),
                partition,
                source,
                direction: if backward { ReadDirection::Backward } else { ReadDirection::Forward },
                from,
                to,
                count_max,
                at_least: Sequence(at_least),
                credit_bytes,
                epoch: Epoch(epoch),
                block_bytes_max,
                strong,
            }
        },
    )
}

fn request() -> impl Strategy<Value = ReplayRequest> {
    let number = || any::<u64>().prop_map(RequestNumber);
    prop_oneof![
        read().prop_map(ReplayRequest::Read),
        (number(), any::<u64>())
            .prop_map(|(request, credit_bytes)| ReplayRequest::Credit { request, credit_bytes }),
        number().prop_map(|request| ReplayRequest::Cancel { request }),
        number().prop_map(|request| ReplayRequest::Status { request }),
        number().prop_map(|request| ReplayRequest::HandOver { request }),
    ]
}

fn answer() -> impl Strategy<Value = ReplayAnswer> {
    let number = || any::<u64>().prop_map(RequestNumber);
    let bytes = || proptest::collection::vec(any::<u8>(), 0..50).prop_map(Bytes::from);
    let block = (number(), any::<[u128; 2]>(), any::<[u64; 4]>(), any::<u32>(), any::<bool>());
    let block = (block, bytes()).prop_map(|((request, ids, places, count, end), records)| {
        let [epoch, first, last, head] = places;
        ReplayAnswer::Block(Block {
            request,
            lineage: Uuid::from_u128(ids[0]),
            incarnation: Uuid::from_u128(ids[1]),
            epoch: Epoch(epoch),
            first: Sequence(first),
            last: Sequence(last),
            head: Sequence(head),
            count,
            end,
            records,
        })
    });
    prop_oneof![
        block,
        (number(), any::<u16>(), bytes()).prop_map(|(request, code, body)| {
            ReplayAnswer::Fail { request, refusal: Refusal { code, body } }
        }),
        (number(), bytes()).prop_map(|(request, body)| ReplayAnswer::Status { request, body }),
        number().prop_map(|request| ReplayAnswer::Done { request }),
    ]
}

proptest! {
    #[test]
    fn a_request_survives_the_way_there_and_back(request in request()) {
        let frame = Bytes::from(request.encode().unwrap());
        prop_assert_eq!(ReplayRequest::decode(frame).unwrap(), request);
    }

    #[test]
    fn an_answer_survives_the_way_there_and_back(answer in answer()) {
        let (head, body) = answer.encode();
        prop_assert_eq!(ReplayAnswer::decode(Bytes::from(head), body).unwrap(), answer);
    }

    #[test]
    fn a_request_cut_short_is_refused(request in request(), at in any::<prop::sample::Index>()) {
        let frame = request.encode().unwrap();
        let cut = at.index(frame.len());
        prop_assert!(ReplayRequest::decode(Bytes::copy_from_slice(&frame[..cut])).is_err());
    }

    #[test]
    fn random_bytes_are_refused_without_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..120)
    ) {
        let mut framed = b"SLR\x01".to_vec();
        framed.extend_from_slice(&bytes);
        let _ = ReplayRequest::decode(Bytes::from(framed.clone()));
        let _ = ReplayAnswer::decode(Bytes::from(framed), Bytes::new());
        prop_assert!(ReplayRequest::decode(Bytes::from(bytes)).is_err());
    }
}

fn example() -> Read {
    Read {
        request: RequestNumber(1),
        store: StoreName::new("orders").unwrap(),
        partition: 1,
        source: ReadSource::Stream(StreamName::new("order-17").unwrap()),
        direction: ReadDirection::Forward,
        from: 3,
        to: 0,
        count_max: 10,
        at_least: Sequence(40),
        credit_bytes: 65_536,
        epoch: Epoch(2),
        block_bytes_max: 32_768,
        strong: false,
    }
}

#[test]
fn every_flipped_bit_is_survived() {
    let frame = ReplayRequest::Read(example()).encode().unwrap();
    for position in 0..frame.len() * 8 {
        let mut flipped = frame.clone();
        flipped[position / 8] ^= 1 << (position % 8);
        let _ = ReplayRequest::decode(Bytes::from(flipped));
    }
}

#[test]
fn the_example_of_the_protocol_page() {
    let frame = ReplayRequest::Read(example()).encode().unwrap();
    let mut expected = b"SLR\x01\x01\x00\x00\x00".to_vec();
    for number in [1_u64, 3, 0, 10, 40, 65_536, 2] {
        expected.extend_from_slice(&number.to_le_bytes());
    }
    expected.extend_from_slice(&[0, 0x80, 0, 0, 1, 0, 1, 0, 6, 0, 8, 0]);
    expected.extend_from_slice(b"ordersorder-17");
    assert_eq!(frame, expected);
}

#[test]
fn the_category_read_of_the_protocol_page() {
    let read = Read {
        request: RequestNumber(2),
        source: ReadSource::Filtered(Filter::Category("order".parse().unwrap())),
        from: 8,
        to: 0,
        count_max: 0,
        at_least: Sequence::ZERO,
        credit_bytes: 1024 * 1024,
        epoch: Epoch(1),
        block_bytes_max: 256 * 1024,
        ..example()
    };
    assert_eq!(ReplayRequest::Read(read).encode().unwrap(), dump("READ of a category"));
}

#[test]
fn a_stream_read_names_a_stream_and_another_does_not() {
    let mut frame = ReplayRequest::Read(example()).encode().unwrap();
    frame[70] = 0;
    assert!(ReplayRequest::decode(Bytes::from(frame)).is_err());
    let all = Read { source: ReadSource::All, ..example() };
    let mut frame = ReplayRequest::Read(all).encode().unwrap();
    frame[70] = 1;
    assert!(ReplayRequest::decode(Bytes::from(frame)).is_err());
}

#[test]
fn ids_are_few_whole_and_read_forward() {
    let of =
        |count: u128| Read { source: ReadSource::Ids((0..count).map(id).collect()), ..example() };
    let most = u128::try_from(READ_IDS_MAX).unwrap();
    let frame = ReplayRequest::Read(of(most)).encode().unwrap();
    assert_eq!(frame.len(), 76 + "orders".len() + 16 * READ_IDS_MAX);
    assert!(ReplayRequest::decode(Bytes::from(frame)).is_ok());
    for count in [0, most + 1] {
        assert!(ReplayRequest::Read(of(count)).encode().is_err(), "{count}");
    }
    let frame = ReplayRequest::Read(of(2)).encode().unwrap();
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = frame.clone();
        change(&mut frame);
        ReplayRequest::decode(Bytes::from(frame))
    };
    assert!(changed(&|_| {}).is_ok());
    assert!(changed(&|frame| frame[71] = 1).is_err(), "backward");
    assert!(changed(&|frame| frame.truncate(frame.len() - 1)).is_err(), "cut off");
    let half = |frame: &mut Vec<u8>| {
        frame.truncate(frame.len() - 8);
        frame[74] = 24;
    };
    assert!(changed(&half).is_err(), "half an id");
    let none = |frame: &mut Vec<u8>| {
        frame.truncate(frame.len() - 32);
        frame[74] = 0;
    };
    assert!(changed(&none).is_err(), "no id");
    let many = |frame: &mut Vec<u8>| {
        frame.resize(76 + "orders".len() + 16 * 257, 0);
        frame[74..76].copy_from_slice(&(16_u16 * 257).to_le_bytes());
    };
    assert!(changed(&many).is_err(), "too many");
}
