//! `PROTOCOL.md` against the code: limits as they are printed there.

use store::event::{
    APPEND_BYTES_MAX, APPEND_EVENTS_MAX, EVENT_DATA_BYTES_MAX, EVENT_METADATA_BYTES_MAX,
};
use store::names::{EVENT_TYPE_BYTES_MAX, STREAM_NAME_BYTES_MAX};
use store::wire::append::{APPEND_WRITES_MAX, MESSAGE_APPENDS_MAX};
use store::wire::feed::FEED_BYTES_MAX;
use store::wire::plain::PLAIN_READ_EVENTS_MAX;
use store::wire::replay::{BLOCK_BYTES_MAX, READ_IDS_MAX};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// A number as people write it: `4,096`.
fn number(number: usize) -> String {
    match (number / 1000, number % 1000) {
        (0, rest) => rest.to_string(),
        (thousands, rest) => format!("{thousands},{rest:03}"),
    }
}

#[test]
fn limits_are_printed_as_they_are() {
    let page = include_str!("../../PROTOCOL.md").split_whitespace().collect::<Vec<_>>().join(" ");
    let (events, writes) = (number(APPEND_EVENTS_MAX), number(APPEND_WRITES_MAX));
    let (append, data) = (APPEND_BYTES_MAX / MIB, EVENT_DATA_BYTES_MAX / MIB);
    let (metadata, event_type) = (EVENT_METADATA_BYTES_MAX / KIB, EVENT_TYPE_BYTES_MAX);
    let block = usize::try_from(BLOCK_BYTES_MAX).unwrap() / MIB;
    let plain = usize::try_from(PLAIN_READ_EVENTS_MAX).unwrap();
    for words in [
        format!(
            "Limits: {} appends in a message; {events} events, {writes} writes and {append} MiB of \
             records in an append; data {data} MiB, metadata {metadata} KiB, type {event_type} \
             bytes, stream name {STREAM_NAME_BYTES_MAX} bytes.",
            number(MESSAGE_APPENDS_MAX)
        ),
        format!("`limit` is at most {}", number(plain)),
        format!("most bytes of records in a block, 4 KiB to {block} MiB"),
        format!("may name up to {READ_IDS_MAX} event ids"),
        format!("whole records, at most {} KiB", FEED_BYTES_MAX / KIB),
    ] {
        assert!(page.contains(&words), "not printed: {words}");
    }
}
