//! Records as tests need them.

use store::event::{ContentType, Epoch, EventId, NewEvent, Sequence, Signature, Version};
use store::names::{EventType, StreamName};
use store::record::{Chain, Numbered, encode};
use uuid::Uuid;

/// A record of a stream at this sequence and version, signed rightly unless a signature is given.
pub(crate) fn record_bytes(
    stream: &str,
    (sequence, version): (u64, u64),
    signature: Option<Signature>,
) -> Vec<u8> {
    let stream = StreamName::try_from(stream).unwrap();
    let event_type = EventType::new("Counted").unwrap();
    let mut event = NewEvent::new(event_type, ContentType::Bytes, vec![1, 2, 3])
        .with_id(EventId(Uuid::from_u128(u128::from(sequence))));
    event.signature = Some(signature.unwrap_or_else(|| Signature::of(&stream, &event)));
    let numbered = Numbered {
        stream: &stream,
        event: &event,
        epoch: Epoch(1),
        sequence: Sequence(sequence),
        committed_up_to: Sequence(sequence),
        time_micros: 1,
        version: Version(version),
        ends_append: true,
    };
    let mut bytes = Vec::new();
    encode(&numbered, Chain::default(), &mut bytes);
    bytes
}
