use bytes::Bytes;
use proptest::prelude::*;
use store::event::{Epoch, Sequence, Signature, Version};
use store::names::StreamName;
use uuid::Uuid;

use super::*;

fn stored(event: NewEvent, stream: StreamName) -> Event {
    Event {
        sequence: Sequence(1),
        version: Version(1),
        epoch: Epoch(1),
        time_micros: 0,
        signature: Signature::of(&stream, &event),
        stream,
        id: event.id,
        event_type: event.event_type,
        content_type: event.content_type,
        metadata: event.metadata,
        data: event.data,
        signed_by_store: false,
        ends_append: true,
    }
}

fn body() -> impl Strategy<Value = Body> {
    let frame = proptest::collection::vec(any::<u8>(), 0..40);
    proptest::collection::vec(frame, 0..4)
        .prop_map(|frames| Body::new(frames.into_iter().map(Bytes::from).collect()).unwrap())
}

fn what() -> impl Strategy<Value = Step> {
    let accepted = (body(), any::<u64>(), any::<u64>(), any::<u32>()).prop_map(
        |(body, not_before_ms, expires_ms, attempts_max)| {
            let target = Target::new("echo").unwrap();
            Step::Accepted(Accepted { target, body, not_before_ms, expires_ms, attempts_max })
        },
    );
    let failed = (any::<u32>(), ".{0,40}", any::<u64>())
        .prop_map(|(attempt, reason, retry_ms)| Step::Failed { attempt, reason, retry_ms });
    let requeued = (any::<u32>(), any::<u64>())
        .prop_map(|(attempts_max, expires_ms)| Step::Requeued { attempts_max, expires_ms });
    prop_oneof![
        accepted,
        any::<u32>().prop_map(|attempt| Step::Dispatched { attempt }),
        failed,
        (any::<u32>(), body()).prop_map(|(attempt, body)| Step::Replied { attempt, body }),
        Just(Step::Closed),
        ".{0,40}".prop_map(|reason| Step::Dead { reason }),
        requeued,
    ]
}

prop_compose! {
    fn step_event()(
        id in any::<u128>(), session in any::<u128>(), step in any::<u32>(), at_ms in any::<u64>(),
        what in what(),
    ) -> StepEvent {
        let command = CommandId::new(Uuid::from_u128(id));
        StepEvent { command, step, session: Session(Uuid::from_u128(session)), at_ms, what }
    }
}

proptest! {
    #[test]
    fn a_step_survives_the_way_there_and_back(step in step_event()) {
        let event = step.to_event().unwrap();
        prop_assert_eq!(event.id, step.id());
        let event = stored(event, step.command.shard().stream());
        prop_assert_eq!(StepEvent::decode(&event).unwrap(), step);
    }

    #[test]
    fn a_step_cut_short_is_refused(step in step_event(), at in any::<prop::sample::Index>()) {
        let mut event = stored(step.to_event().unwrap(), step.command.shard().stream());
        event.data.truncate(at.index(event.data.len()));
        prop_assert!(StepEvent::decode(&event).is_err());
    }

    #[test]
    fn random_bytes_are_refused_without_a_panic(
        step in step_event(), data in proptest::collection::vec(any::<u8>(), 0..200)
    ) {
        let mut event = stored(step.to_event().unwrap(), step.command.shard().stream());
        event.data = data.into();
        prop_assert!(StepEvent::decode(&event).is_err());
    }
}

fn example() -> StepEvent {
    let body = Body::new(vec![Bytes::from("hello"), Bytes::new()]).unwrap();
    StepEvent {
        command: CommandId::new(Uuid::from_u128(7)),
        step: 0,
        session: Session(Uuid::from_u128(9)),
        at_ms: 1_000_000,
        what: Step::Accepted(Accepted {
            target: Target::new("echo").unwrap(),
            body,
            not_before_ms: 0,
            expires_ms: 2_000_000,
            attempts_max: 10,
        }),
    }
}

#[test]
fn every_flipped_bit_is_survived_and_none_moves_a_step() {
    let step = example();
    let event = stored(step.to_event().unwrap(), step.command.shard().stream());
    for position in 0..event.data.len() * 8 {
        let mut data = event.data.to_vec();
        data[position / 8] ^= 1 << (position % 8);
        let flipped = Event { data: data.into(), ..event.clone() };
        if let Ok(decoded) = StepEvent::decode(&flipped) {
            assert_eq!((decoded.command, decoded.step), (step.command, step.step));
        }
    }
}

#[test]
fn a_step_counts_only_in_its_place() {
    let step = example();
    let (stream, new) = (step.command.shard().stream(), step.to_event().unwrap());
    let good = stored(new.clone(), stream.clone());
    assert_eq!(StepEvent::decode(&good), Ok(step.clone()));
    let misplaced = Err(StepError::Misplaced { command: step.command, step: 0 });
    let other_id = Event { id: EventId(Uuid::from_u128(7)), ..good.clone() };
    assert_eq!(StepEvent::decode(&other_id), misplaced);
    let claims = step.command.shard().claim_stream();
    assert_eq!(StepEvent::decode(&Event { stream: claims, ..good.clone() }), misplaced);
    let renamed = EventType::new("Rejected").unwrap();
    let error = StepError::Type { event_type: "Rejected".to_owned() };
    assert_eq!(StepEvent::decode(&Event { event_type: renamed, ..good }), Err(error));
}

#[test]
fn the_data_are_a_map_with_names() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Seen {
        command: serde_bytes::ByteBuf,
        step: u32,
        session: serde_bytes::ByteBuf,
        at_ms: u64,
        service: String,
        body: Vec<serde_bytes::ByteBuf>,
        not_before_ms: u64,
        expires_ms: u64,
        attempts_max: u32,
    }
    let bytes = |bytes: &[u8]| serde_bytes::ByteBuf::from(bytes.to_vec());
    let data = example().to_event().unwrap().data;
    let seen = Seen {
        command: bytes(Uuid::from_u128(7).as_bytes()),
        step: 0,
        session: bytes(Uuid::from_u128(9).as_bytes()),
        at_ms: 1_000_000,
        service: "echo".to_owned(),
        body: vec![bytes(b"hello"), bytes(b"")],
        not_before_ms: 0,
        expires_ms: 2_000_000,
        attempts_max: 10,
    };
    assert_eq!(rmp_serde::from_slice::<Seen>(&data).unwrap(), seen);
}

#[test]
fn hostile_maps_are_refused() {
    #[derive(Serialize)]
    struct Hostile<'a> {
        command: CommandId,
        step: u32,
        session: Session,
        at_ms: u64,
        service: &'a str,
        body: Vec<serde_bytes::ByteBuf>,
        not_before_ms: i64,
        expires_ms: u64,
        attempts_max: u32,
    }
    let step = example();
    let map = |service, frames, not_before_ms| Hostile {
        command: step.command,
        step: 0,
        session: step.session,
        at_ms: 1,
        service,
        body: vec![serde_bytes::ByteBuf::new(); frames],
        not_before_ms,
        expires_ms: 0,
        attempts_max: 1,
    };
    let rows = [
        ("good", map("echo", 2, 0), true),
        ("a reserved target", map("titanic.request", 2, 0), false),
        ("too many frames", map("echo", 1025, 0), false),
        ("before 1970", map("echo", 2, -1), false),
    ];
    for (name, map, good) in rows {
        let mut event = stored(step.to_event().unwrap(), step.command.shard().stream());
        event.data = pack(&map).unwrap().into();
        assert_eq!(StepEvent::decode(&event).is_ok(), good, "{name}");
    }
}

#[test]
fn the_largest_body_is_an_event() {
    let mut step = example();
    let body = Body::new(vec![Bytes::from(vec![1; crate::command::BODY_BYTES_MAX - 5])]).unwrap();
    step.what = Step::Replied { attempt: u32::MAX, body };
    let data = step.to_event().unwrap().data;
    assert!(data.len() <= store::event::EVENT_DATA_BYTES_MAX);
    step.what = Step::Dead { reason: "ö".repeat(2000) };
    let event = stored(step.to_event().unwrap(), step.command.shard().stream());
    let Step::Dead { reason } = StepEvent::decode(&event).unwrap().what else { panic!() };
    assert_eq!(reason, "ö".repeat(512));
}
