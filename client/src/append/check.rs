//! What can be told of an append before it is sent: limits, ids, partitions. And its signatures.

use std::collections::HashSet;

use store::event::{
    APPEND_BYTES_MAX, APPEND_EVENTS_MAX, EVENT_DATA_BYTES_MAX, EVENT_METADATA_BYTES_MAX, NewEvent,
    Signature,
};
use store::slot::{PartitionNumber, Slot};

use super::{Append, AppendError};

/// Checks an append for a store of `partitions` partitions and signs events without signature.
///
/// # Errors
/// The definite refusals that the store would answer with.
pub(crate) fn checked(
    mut append: Append,
    partitions: u16,
) -> Result<(PartitionNumber, Append), AppendError> {
    let partition = one_partition(&append, partitions)?;
    check_sizes(&append)?;
    check_ids(&append)?;
    for write in &mut append.writes {
        for event in &mut write.events {
            if event.signature.is_none() {
                event.signature = Some(Signature::of(&write.stream, event));
            }
        }
    }
    Ok((partition, append))
}

fn one_partition(append: &Append, partitions: u16) -> Result<PartitionNumber, AppendError> {
    let place = |stream| Slot::of(stream).partition(partitions);
    let first = append.writes.first().ok_or_else(|| {
        AppendError::InvalidArgument("an append needs at least one stream".to_owned())
    })?;
    let partition = place(&first.stream);
    if append.writes.iter().skip(1).any(|write| place(&write.stream) != partition) {
        let streams = append.writes.iter().map(|w| (w.stream.clone(), place(&w.stream)));
        return Err(AppendError::CrossPartition { streams: streams.collect() });
    }
    Ok(partition)
}

fn check_sizes(append: &Append) -> Result<(), AppendError> {
    let count = append.event_count();
    if count > APPEND_EVENTS_MAX {
        return Err(AppendError::BatchTooLarge { what: "events", count, max: APPEND_EVENTS_MAX });
    }
    append.events().try_for_each(|(_, event)| check_event(event))?;
    let bytes = append.record_bytes();
    if bytes > APPEND_BYTES_MAX {
        let max = APPEND_BYTES_MAX;
        return Err(AppendError::BatchTooLarge { what: "bytes", count: bytes, max });
    }
    Ok(())
}

fn check_event(event: &NewEvent) -> Result<(), AppendError> {
    for (field, bytes, max) in [
        ("data", event.data.len(), EVENT_DATA_BYTES_MAX),
        ("metadata", event.metadata.len(), EVENT_METADATA_BYTES_MAX),
    ] {
        if bytes > max {
            return Err(AppendError::EventTooLarge { id: event.id, field, bytes, max });
        }
    }
    Ok(())
}

fn check_ids(append: &Append) -> Result<(), AppendError> {
    let several = append.event_count() > 1;
    let mut seen = HashSet::new();
    match append.events().find(|(_, event)| several && !seen.insert(event.id)) {
        None => Ok(()),
        Some((_, event)) => Err(AppendError::InvalidArgument(format!(
            "the id {} stands twice in this append: give each event its own",
            event.id
        ))),
    }
}

#[cfg(test)]
mod tests {
    use broker::error_code::ErrorCode;
    use store::event::{ContentType, ExpectedVersion};
    use store::names::{EventType, StreamName};

    use super::*;

    fn event(bytes: usize) -> NewEvent {
        let event_type = EventType::new("Placed").unwrap();
        NewEvent::new(event_type, ContentType::Bytes, vec![7; bytes])
    }

    fn append(stream: &str, events: Vec<NewEvent>) -> Append {
        Append::to(StreamName::try_from(stream).unwrap(), ExpectedVersion::Any, events)
    }

    fn and(append: Append, stream: &str) -> Append {
        append.and(StreamName::try_from(stream).unwrap(), ExpectedVersion::Any, vec![event(1)])
    }

    #[test]
    fn limits_are_checked_before_anything_is_sent() {
        let twice = event(1);
        let fat_metadata = event(1).with_metadata(vec![0; EVENT_METADATA_BYTES_MAX + 1]);
        let rows = [
            (append("a", vec![event(EVENT_DATA_BYTES_MAX)]), None),
            (append("a", vec![event(EVENT_DATA_BYTES_MAX + 1)]), Some(ErrorCode::EVENT_TOO_LARGE)),
            (append("a", vec![fat_metadata]), Some(ErrorCode::EVENT_TOO_LARGE)),
            (append("a", vec![event(1_000_000); 5]), Some(ErrorCode::BATCH_TOO_LARGE)),
            (
                append("a", (0..=APPEND_EVENTS_MAX).map(|_| event(0)).collect()),
                Some(ErrorCode::BATCH_TOO_LARGE),
            ),
            (append("a", vec![twice.clone(), twice]), Some(ErrorCode::INVALID_ARGUMENT)),
            (Append::default(), Some(ErrorCode::INVALID_ARGUMENT)),
            (append("a", vec![]), None),
        ];
        for (place, (append, code)) in rows.into_iter().enumerate() {
            let refused = checked(append, 4).err().map(|error| error.code());
            assert_eq!(refused, code, "row {place}");
        }
    }

    #[test]
    fn streams_with_one_key_go_together_and_others_do_not() {
        let together = and(append("{user-1}/cart", vec![event(1)]), "{user-1}/orders");
        assert!(checked(together, 1024).is_ok());
        // Among these names two must lie in different halves.
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        let apart = names.into_iter().fold(Append::default(), and);
        match checked(apart.clone(), 1024) {
            Err(AppendError::CrossPartition { streams }) => assert_eq!(streams.len(), names.len()),
            other => panic!("{other:?}"),
        }
        assert!(checked(apart, 1).is_ok());
    }

    #[test]
    fn events_are_signed_once() {
        let own = Signature([9; 20]);
        let mut signed = event(3);
        signed.signature = Some(own);
        let (_, append) = checked(append("a", vec![event(3), signed]), 1).unwrap();
        let [first, second] = &append.writes[0].events[..] else { panic!() };
        assert_eq!(first.signature, Some(Signature::of(&append.writes[0].stream, first)));
        assert_eq!(second.signature, Some(own), "a given signature is the store's to check");
    }
}
