use bytes::Bytes;
use client::{
    ContentType, Epoch, Event, EventId, EventType, Sequence, Signature, StoreName, StreamName,
    Version,
};
use serde_json::{Value, json};

use super::*;

fn event(content_type: ContentType, metadata: &'static str, data: &'static [u8]) -> Event {
    Event {
        sequence: Sequence(42),
        stream: StreamName::try_from("order-17").unwrap(),
        version: Version(3),
        epoch: Epoch(2),
        time_micros: 1_700_000_000_000_001,
        id: EventId(uuid::uuid!("0190163d-8694-739b-aea5-966c26f8ad91")),
        event_type: EventType::try_from("OrderPlaced").unwrap(),
        content_type,
        metadata: Bytes::from_static(metadata.as_bytes()),
        data: Bytes::from_static(data),
        signature: Signature([0; 20]),
        signed_by_store: false,
        ends_append: true,
    }
}

fn print(format: Format, events: &[Event]) -> String {
    let store = StoreName::new("orders").unwrap();
    let mut out = Vec::new();
    let mut printer = Printer::new(&mut out, format);
    for event in events {
        let place = EventPlace { store: &store, partition: 1 };
        printer.event(&EventLine::new(place, event)).unwrap();
    }
    printer.finish_events().unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn an_event_in_ndjson() {
    let line =
        print(Format::Ndjson, &[event(ContentType::Json, r#"{"user":"u1"}"#, b"{\n\"total\":12}")]);
    assert_eq!(line.matches('\n').count(), 1, "one line per event");
    let expected = json!({
        "store": "orders", "partition": 1, "sequence": 42, "stream": "order-17", "version": 3,
        "epoch": 2, "id": "0190163d-8694-739b-aea5-966c26f8ad91", "type": "OrderPlaced",
        "time": "2023-11-14T22:13:20.000001Z", "content_type": "json",
        "metadata": {"user": "u1"}, "data": {"total": 12},
    });
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), expected);
}

#[test]
fn json_is_printed_as_it_was_sent() {
    let data = br#"{"z":1.10,"a":123456789012345678901234567890}"#;
    let line = print(Format::Ndjson, &[event(ContentType::Json, "", data)]);
    assert!(line.contains(r#""data":{"z":1.10,"a":123456789012345678901234567890}"#), "{line}");
}

#[test]
fn what_is_no_json_is_printed_in_base64() {
    let rows: [(ContentType, &'static [u8], &str); 4] = [
        (ContentType::Bytes, b"\x00\xff", "AP8="),
        (ContentType::Bytes, b"{}", "e30="),
        (ContentType::MessagePack, b"\xc0", "wA=="),
        (ContentType::Json, b"{broken", "e2Jyb2tlbg=="),
    ];
    for (content_type, data, base64) in rows {
        let line = print(Format::Ndjson, &[event(content_type, "not json", data)]);
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["data_base64"], base64);
        assert_eq!(line.get("data"), None);
        assert_eq!(line["metadata"], Value::Null);
        assert_eq!(line["metadata_base64"], "bm90IGpzb24=");
    }
}

#[test]
fn no_metadata_is_null_alone() {
    let line = print(Format::Ndjson, &[event(ContentType::Json, "", b"1")]);
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["metadata"], Value::Null);
    assert_eq!(line.get("metadata_base64"), None);
}

#[test]
fn json_events_make_one_array() {
    let events = [event(ContentType::Json, "", b"1"), event(ContentType::Json, "", b"2")];
    for count in 0..=events.len() {
        let text = print(Format::Json, &events[..count]);
        let array: Vec<Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(array.len(), count);
    }
}

#[test]
fn a_table_has_a_header_and_a_row_per_event() {
    let events = [
        event(ContentType::Json, "", br#"{"note":"\u001b[31m"}"#),
        event(ContentType::Bytes, "", b"\x1b[31m"),
    ];
    let text = print(Format::Table, &events);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].starts_with("PARTITION  SEQUENCE"));
    assert!(lines[1].contains("order-17") && lines[1].contains("OrderPlaced"));
    assert!(lines[2].ends_with("<5 bytes>"));
    assert!(!text.contains('\u{1b}'));
}
