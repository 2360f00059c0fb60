use proptest::prelude::*;
use serde_bytes::ByteBuf;

use super::*;

#[derive(Serialize)]
struct Sent<'a> {
    op: &'a str,
    expected: &'a str,
    events: Vec<SentEvent<'a>>,
    unknown: u8,
}

#[derive(Serialize)]
struct SentEvent<'a> {
    id: ByteBuf,
    #[serde(rename = "type")]
    event_type: &'a str,
    content_type: &'a str,
    metadata: &'a str,
    data: ByteBuf,
}

fn decode(body: Vec<u8>) -> Result<PlainRequest, WireError> {
    PlainRequest::decode(Bytes::from_static(b"order-1"), &Bytes::from(body))
}

fn append() -> Vec<u8> {
    let event = SentEvent {
        id: ByteBuf::from([7; 16]),
        event_type: "Placed",
        content_type: "json",
        metadata: "m",
        data: ByteBuf::from(*b"{}"),
    };
    let sent = Sent { op: "append", expected: "none", events: vec![event], unknown: 1 };
    rmp_serde::to_vec_named(&sent).unwrap()
}

#[test]
fn an_append_is_read_and_unknown_fields_are_ignored() {
    let PlainRequest::Append { write, durability } = decode(append()).unwrap() else {
        panic!("not an append");
    };
    assert_eq!(durability, None);
    assert_eq!(write.expected, ExpectedVersion::None);
    assert_eq!(write.stream.as_str(), "order-1");
    let event = &write.events[0];
    assert_eq!(event.id, EventId(Uuid::from_bytes([7; 16])));
    assert_eq!((event.event_type.as_str(), event.content_type), ("Placed", ContentType::Json));
    assert_eq!((&event.metadata[..], &event.data[..]), (&b"m"[..], &b"{}"[..]));
}

fn map(fields: &[(&str, rmp_value::Value)]) -> Vec<u8> {
    rmp_value::encode(fields)
}

/// Just enough MessagePack to write what clients in other languages would send.
mod rmp_value {
    pub(super) enum Value {
        Text(&'static str),
        Number(u8),
        Events(Vec<Vec<u8>>),
    }

    pub(super) fn encode(fields: &[(&str, Value)]) -> Vec<u8> {
        let mut out = vec![0x80 | u8::try_from(fields.len()).unwrap()];
        for (name, value) in fields {
            text(name, &mut out);
            match value {
                Value::Text(word) => text(word, &mut out),
                Value::Number(number) => out.extend_from_slice(&[0xcc, *number]),
                Value::Events(events) => {
                    out.push(0x90 | u8::try_from(events.len()).unwrap());
                    out.extend(events.iter().flatten());
                }
            }
        }
        out
    }

    fn text(text: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(&[0xd9, u8::try_from(text.len()).unwrap()]);
        out.extend_from_slice(text.as_bytes());
    }
}

use rmp_value::Value::{Events, Number, Text};

#[test]
fn requests_table() {
    let event =
        || map(&[("id", Text("67e55044-10b1-426f-9247-bb680e5fe0c8")), ("type", Text("T"))]);
    let no_id = || map(&[("type", Text("T"))]);
    let bad_id = || map(&[("id", Text("seven")), ("type", Text("T"))]);
    let append = |expected, events| map(&[("op", Text("append")), ("expected", expected), events]);
    let rows = [
        (append(Number(4), ("events", Events(vec![event()]))), true),
        (append(Text("any"), ("events", Events(vec![event()]))), true),
        (append(Text("some"), ("events", Events(vec![event()]))), false),
        (append(Text("any"), ("events", Events(vec![no_id()]))), false),
        (append(Text("any"), ("events", Events(vec![bad_id()]))), false),
        (append(Text("any"), ("events", Text("none"))), false),
        (map(&[("op", Text("append")), ("events", Events(vec![event()]))]), false),
        (
            map(&[
                ("op", Text("append")),
                ("expected", Text("any")),
                ("durability", Text("paper")),
            ]),
            false,
        ),
        (map(&[("op", Text("read"))]), true),
        (map(&[("op", Text("read")), ("from", Number(3)), ("direction", Text("backward"))]), true),
        (map(&[("op", Text("read")), ("direction", Text("sideways"))]), false),
        (map(&[("op", Text("delete"))]), false),
        (map(&[]), false),
        (vec![], false),
        (b"not messagepack".to_vec(), false),
        // A thousand nested arrays.
        (vec![0x91; 1000], false),
    ];
    for (body, accepted) in rows {
        let decoded = decode(body.clone());
        assert_eq!(decoded.is_ok(), accepted, "{decoded:?} from {body:02x?}");
    }
}

#[test]
fn a_read_is_bounded() {
    let body = map(&[("op", Text("read")), ("limit", Number(200))]);
    let expected = PlainRead {
        stream: StreamName::try_from("order-1").unwrap(),
        from: None,
        limit: 200,
        backward: false,
    };
    assert_eq!(decode(body), Ok(PlainRequest::Read(expected)));
    let Ok(PlainRequest::Read(read)) = decode(map(&[("op", Text("read"))])) else { panic!() };
    assert_eq!(read.limit, PLAIN_READ_EVENTS_MAX);
}

#[test]
fn answers_survive_the_way_there_and_back() {
    let failure = PlainFailure {
        error: PlainError {
            code: "WRONG_EXPECTED_VERSION".into(),
            message: "read again".into(),
            retry: false,
            details: BTreeMap::from([
                ("actual".into(), PlainDetail::Number(4)),
                ("stream".into(), PlainDetail::Text("order-1".into())),
            ]),
        },
    };
    assert_eq!(PlainFailure::decode(&failure.encode().unwrap()), Ok(failure));
    let events = PlainEvents { events: vec![], head: 4, end: true };
    assert_eq!(PlainEvents::decode(&events.encode().unwrap()), Ok(events));
}

#[test]
fn every_flipped_bit_is_survived() {
    let body = append();
    for position in 0..body.len() * 8 {
        let mut flipped = body.clone();
        flipped[position / 8] ^= 1 << (position % 8);
        let _ = decode(flipped);
    }
}

proptest! {
    #[test]
    fn random_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(bytes);
    }
}
