use std::time::Duration;

use client::{
    Append, AppendError, Client, ConnectError, DecodeEvent, Durability, ErrorCode, EventId,
    ExpectedVersion, LookupError, Outcome, PendingAppend, ReadOptions, StoreHandle, StreamName,
    Version,
};

use crate::relay::Relay;
use crate::world::{World, clock, config, counted};

fn name(stream: &str) -> StreamName {
    StreamName::try_from(stream).unwrap()
}

/// The numbers in a stream's events, in order.
fn numbers(orders: &StoreHandle, stream: &str) -> Vec<u64> {
    let events = orders.read_stream(stream, ReadOptions::default());
    events.map(|event| event.unwrap().decode().unwrap()).collect()
}

#[test]
fn an_append_is_answered_with_its_place() {
    let world = World::start(2);
    let orders = world.orders();
    let stream = "order-17";
    let first = orders.append(stream, ExpectedVersion::None, vec![counted(1), counted(2)]);
    let first = first.wait().unwrap();
    assert_eq!(first.partition, orders.partition_of(&name(stream)));
    assert_eq!((first.first_sequence.0, first.last_sequence.0), (1, 2));
    assert_eq!(first.version(), Version(2));
    assert_eq!((first.durability, first.durable_on.len()), (Durability::Memory, 0));
    assert!(!first.duplicate && first.epoch.0 > 0);
    let second = Append::to(name(stream), ExpectedVersion::Exact(Version(2)), vec![counted(3)]);
    let second = orders.append_many(second.with_durability(Durability::Local)).wait().unwrap();
    assert_eq!((second.durability, second.durable_on.len()), (Durability::Local, 1));
    assert_eq!(second.version(), Version(3));
    assert_eq!(numbers(&orders, stream), [1, 2, 3]);
}

#[test]
fn a_conflict_says_what_was_expected_and_what_is() {
    let world = World::start(1);
    let orders = world.orders();
    orders.append("order-1", ExpectedVersion::None, vec![counted(1)]).wait().unwrap();
    let expected = ExpectedVersion::Exact(Version(4));
    let error = orders.append("order-1", expected, vec![counted(2)]).wait().unwrap_err();
    let actual = Some(Version(1));
    let stream = name("order-1");
    assert_eq!(error, AppendError::WrongExpectedVersion { stream, expected, actual });
    assert_eq!(
        (error.code(), error.outcome()),
        (ErrorCode::WRONG_EXPECTED_VERSION, Outcome::NotDone)
    );
    assert_eq!(numbers(&orders, "order-1"), [1]);
}

#[test]
fn of_concurrent_appends_one_wins() {
    let world = World::start(1);
    let handles: Vec<_> = (0..8).map(|_| world.orders()).collect();
    for round in 0..20 {
        let stream = format!("order-{round}");
        let append = |(number, orders): (u64, &StoreHandle)| {
            orders.append(stream.as_str(), ExpectedVersion::None, vec![counted(number)])
        };
        let pending: Vec<_> = (0..).zip(&handles).map(append).collect();
        let won = pending.iter().filter(|pending| pending.wait().is_ok()).count();
        assert_eq!(won, 1, "{stream}");
        assert_eq!(numbers(&handles[0], &stream).len(), 1);
    }
}

#[test]
fn many_threads_share_a_client() {
    let world = World::start(2);
    let orders = world.orders();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let orders = orders.clone();
            scope.spawn(move || {
                let stream = format!("order-{thread}");
                let pending: Vec<PendingAppend> = (1..=500)
                    .map(|number| {
                        let expected = ExpectedVersion::Exact(Version(number - 1));
                        orders.append(stream.as_str(), expected, vec![counted(number)])
                    })
                    .collect();
                for (pending, number) in pending.iter().zip(1..) {
                    assert_eq!(pending.wait().unwrap().version(), Version(number));
                }
                assert_eq!(numbers(&orders, &stream), (1..=500).collect::<Vec<_>>());
            });
        }
    });
}

#[test]
fn an_append_can_be_awaited() {
    struct Nothing;
    impl std::task::Wake for Nothing {
        fn wake(self: std::sync::Arc<Self>) {}
    }
    let world = World::start(1);
    let orders = world.orders();
    let append = async { orders.append("a", ExpectedVersion::None, vec![counted(1)]).await };
    let mut append = std::pin::pin!(append);
    let waker = std::task::Waker::from(std::sync::Arc::new(Nothing));
    let mut context = std::task::Context::from_waker(&waker);
    let mut receipt = None;
    crate::world::wait_until("the future is ready", || {
        if let std::task::Poll::Ready(result) = append.as_mut().poll(&mut context) {
            receipt = Some(result);
        }
        receipt.is_some()
    });
    assert_eq!(receipt.unwrap().unwrap().version(), Version(1));
}

#[test]
fn order_is_kept_across_a_broker_restart() {
    let mut world = World::start(1);
    let orders = world.orders();
    let mut pending = Vec::new();
    for number in 1..=600 {
        let expected = ExpectedVersion::Exact(Version(number - 1));
        pending.push(orders.append("order-1", expected, vec![counted(number)]));
        if number == 200 {
            pending[0].wait().unwrap();
            world.stop_broker();
        }
        if number == 400 {
            world.start_broker();
        }
    }
    for (pending, number) in pending.iter().zip(1..) {
        let receipt = pending.wait().unwrap_or_else(|error| panic!("append {number}: {error}"));
        assert_eq!(receipt.version(), Version(number));
    }
    assert_eq!(numbers(&orders, "order-1"), (1..=600).collect::<Vec<_>>());
}

#[test]
fn order_is_kept_across_a_store_restart() {
    let mut world = World::start(1);
    let orders = world.orders();
    let append = |number: u64| {
        let expected = ExpectedVersion::Exact(Version(number - 1));
        orders.append("order-1", expected, vec![counted(number)])
    };
    let mut pending: Vec<_> = (1..=200).map(append).collect();
    pending[0].wait().unwrap();
    world.stop_store();
    pending.extend((201..=300).map(append));
    world.start_store();
    pending.extend((301..=400).map(append));
    for (pending, number) in pending.iter().zip(1..) {
        let receipt = pending.wait().unwrap_or_else(|error| panic!("append {number}: {error}"));
        assert_eq!(receipt.version(), Version(number));
    }
    assert_eq!(numbers(&orders, "order-1"), (1..=400).collect::<Vec<_>>());
}

#[test]
fn a_lost_answer_leads_to_a_resend_and_one_event() {
    let world = World::start(1);
    let relay = Relay::of_broker(&world.endpoint);
    let orders = Client::with_config(config(relay.endpoint.clone())).unwrap();
    let orders = orders.store("orders").unwrap();
    relay.lose_append_replies(1);
    let pending = orders.append("order-1", ExpectedVersion::None, vec![counted(1)]);
    assert_eq!(pending.wait().unwrap().version(), Version(1));
    assert_eq!(relay.lost(), 1);
    let next = orders.append("order-1", ExpectedVersion::Exact(Version(1)), vec![counted(2)]);
    assert_eq!(next.wait().unwrap().version(), Version(2));
    assert_eq!(numbers(&orders, "order-1"), [1, 2]);
}

#[test]
fn lost_requests_are_sent_again_in_order() {
    let world = World::start(1);
    let relay = Relay::of_broker(&world.endpoint);
    let orders = Client::with_config(config(relay.endpoint.clone())).unwrap();
    let orders = orders.store("orders").unwrap();
    relay.lose_append_requests(3);
    let pending: Vec<_> = (1..=50)
        .map(|number| {
            let expected = ExpectedVersion::Exact(Version(number - 1));
            orders.append("order-1", expected, vec![counted(number)])
        })
        .collect();
    for pending in pending {
        pending.wait().unwrap();
    }
    assert_eq!(relay.lost(), 3);
    assert_eq!(numbers(&orders, "order-1"), (1..=50).collect::<Vec<_>>());
}

#[test]
fn the_same_ids_give_the_same_places_and_nothing_new() {
    let world = World::start(1);
    let orders = world.orders();
    let events = vec![counted(1), counted(2)];
    let first = orders.append("a", ExpectedVersion::None, events.clone()).wait().unwrap();
    let again = world.orders().append("a", ExpectedVersion::None, events.clone()).wait().unwrap();
    assert!(again.duplicate);
    assert_eq!(again.first_sequence, first.first_sequence);
    let other = counted(9).with_id(events[0].id);
    let reused = orders.append("b", ExpectedVersion::Any, vec![other]).wait().unwrap_err();
    assert_eq!(reused, AppendError::IdReused { ids: vec![events[0].id] });
    assert_eq!(numbers(&orders, "a"), [1, 2]);
}

#[test]
fn several_streams_of_a_partition_are_appended_together_or_not_at_all() {
    let world = World::start(8);
    let orders = world.orders();
    let (cart, order) = (name("{user-1}/cart"), name("{user-1}/order"));
    let both = Append::to(cart.clone(), ExpectedVersion::None, vec![counted(1)]).and(
        order.clone(),
        ExpectedVersion::None,
        vec![counted(2)],
    );
    let receipt = orders.append_many(both).wait().unwrap();
    assert_eq!(receipt.versions.as_slice(), [Version(1), Version(1)]);
    let half = Append::to(cart, ExpectedVersion::Any, vec![counted(3)]).and(
        order,
        ExpectedVersion::None,
        vec![counted(4)],
    );
    let error = orders.append_many(half).wait().unwrap_err();
    assert_eq!(error.code(), ErrorCode::WRONG_EXPECTED_VERSION);
    assert_eq!(numbers(&orders, "{user-1}/cart"), [1]);
    let spread = (0..20).fold(Append::default(), |append, number| {
        append.and(name(&format!("order-{number}")), ExpectedVersion::Any, vec![counted(number)])
    });
    let error = orders.append_many(spread).wait().unwrap_err();
    assert!(matches!(error, AppendError::CrossPartition { .. }), "{error}");
}

#[test]
fn bad_appends_are_refused_before_they_leave() {
    let world = World::start(1);
    let orders = world.orders();
    let giant = client::NewEvent::new(
        client::EventType::new("Giant").unwrap(),
        client::ContentType::Bytes,
        vec![0; 1024 * 1024 + 1],
    );
    let twice = counted(1).with_id(EventId::generate());
    let rows = [
        ("order-1", vec![giant], ErrorCode::EVENT_TOO_LARGE),
        ("order-1", vec![twice.clone(), twice], ErrorCode::INVALID_ARGUMENT),
        ("", vec![counted(1)], ErrorCode::INVALID_ARGUMENT),
    ];
    for (stream, events, code) in rows {
        let error = orders.append(stream, ExpectedVersion::Any, events).wait().unwrap_err();
        assert_eq!((error.code(), error.outcome()), (code, Outcome::NotDone));
    }
    let mut forged = counted(1);
    forged.signature = Some(client::Signature([7; 20]));
    let error = orders.append("order-1", ExpectedVersion::Any, vec![forged]).wait().unwrap_err();
    assert_eq!(error.code(), ErrorCode::BAD_SIGNATURE);
    assert!(numbers(&orders, "order-1").is_empty());
}

#[test]
fn a_large_event_arrives() {
    let world = World::start(1);
    let orders = world.orders();
    let data: Vec<u8> = (0..=255).cycle().take(1024 * 1024).collect();
    let event_type = client::EventType::new("Large").unwrap();
    let event = client::NewEvent::new(event_type, client::ContentType::Bytes, data.clone());
    orders.append("a", ExpectedVersion::None, vec![event]).wait().unwrap();
    let read = orders.read_stream("a", ReadOptions::last()).next().unwrap().unwrap();
    assert_eq!(read.data, data);
}

#[test]
fn an_unknown_store_is_named_with_those_that_are_known() {
    let world = World::start(1);
    let error = world.client().store("elsewhere").unwrap_err();
    let known = vec!["orders".to_owned()];
    assert_eq!(error, LookupError::StoreNotFound { store: "elsewhere".to_owned(), known });
    let error = world.client().store("NO").unwrap_err();
    assert_eq!(error.code(), ErrorCode::INVALID_ARGUMENT);
}

#[test]
fn an_absent_broker_is_reported_in_time() {
    assert!(matches!(Client::connect(["nowhere"]), Err(ConnectError::Endpoint { .. })));
    assert!(matches!(Client::connect([""; 0]), Err(ConnectError::NoEndpoint)));
    let endpoint = loopback_port();
    let mut config = config(endpoint.clone());
    config.request_timeout = Duration::from_millis(300);
    let client = Client::with_config(config).unwrap();
    let started = clock();
    let error = client.store("orders").unwrap_err();
    assert!(matches!(error, LookupError::Unavailable(_)), "{error}");
    assert!(error.to_string().contains(endpoint.as_str()) && error.retry());
    assert!(started.elapsed() < Duration::from_secs(5));
}

/// An endpoint that nobody listens to.
fn loopback_port() -> client::Endpoint {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("tcp://{}", listener.local_addr().unwrap()).parse().unwrap()
}

#[test]
fn what_never_left_is_not_done_and_what_was_sent_is_unknown() {
    let mut world = World::start(1);
    let relay = Relay::of_broker(&world.endpoint);
    let mut config = config(relay.endpoint.clone());
    config.request_timeout = Duration::from_millis(800);
    let client = Client::with_config(config).unwrap();
    let orders = client.store("orders").unwrap();
    relay.lose_append_requests(usize::MAX);
    let error = orders.append("a", ExpectedVersion::Any, vec![counted(1)]).wait().unwrap_err();
    assert_eq!((error.code(), error.outcome()), (ErrorCode::TIMEOUT_UNKNOWN, Outcome::Unknown));
    // The relay ends, and with it the only broker that the client knows.
    drop(relay);
    world.stop_broker();
    let sent_in_vain = orders.append("a", ExpectedVersion::Any, vec![counted(2)]).wait();
    sent_in_vain.unwrap_err();
    let error = orders.append("a", ExpectedVersion::Any, vec![counted(3)]).wait().unwrap_err();
    assert!(matches!(error, AppendError::Unavailable(_)), "{error}");
    assert_eq!(error.outcome(), Outcome::NotDone);
}

#[test]
fn a_store_that_is_away_is_waited_for() {
    let mut world = World::start(1);
    let orders = world.orders();
    world.stop_store();
    let pending = orders.append("a", ExpectedVersion::None, vec![counted(1)]);
    assert!(pending.wait_timeout(Duration::from_millis(300)).is_none());
    world.start_store();
    assert_eq!(pending.wait().unwrap().version(), Version(1));
}

#[test]
fn the_queue_of_a_client_is_bounded() {
    let mut world = World::start(1);
    let mut config = world.config();
    config.queue_appends_max = 10;
    config.request_timeout = Duration::from_secs(2);
    let orders = Client::with_config(config).unwrap().store("orders").unwrap();
    world.stop_store();
    let append = |number| orders.append("a", ExpectedVersion::Any, vec![counted(number)]);
    let pending: Vec<_> = (0..10).map(append).collect();
    let error = append(10).wait().unwrap_err();
    assert!(matches!(error, AppendError::QueueFull { appends: 10, .. }), "{error}");
    assert_eq!((error.code(), error.outcome()), (ErrorCode::BUSY, Outcome::NotDone));
    world.start_store();
    for pending in pending {
        pending.wait().unwrap();
    }
    append(11).wait().unwrap();
}

#[test]
fn closing_a_client_ends_what_waits() {
    let mut world = World::start(1);
    let orders = world.orders();
    world.stop_store();
    let pending = orders.append("a", ExpectedVersion::Any, vec![counted(1)]);
    drop(orders);
    assert!(pending.wait().is_err());
}

#[test]
fn another_broker_is_used_when_the_first_is_gone() {
    let mut world = World::start(1);
    let mut config = config(loopback_port());
    config.brokers.push(world.endpoint.clone());
    let orders = Client::with_config(config).unwrap().store("orders").unwrap();
    orders.append("a", ExpectedVersion::None, vec![counted(1)]).wait().unwrap();
    world.stop_broker();
    let pending = orders.append("a", ExpectedVersion::Any, vec![counted(2)]);
    world.start_broker();
    assert_eq!(pending.wait().unwrap().version(), Version(2));
}

#[test]
fn status_shows_every_partition() {
    let mut world = World::start(2);
    let client = world.client();
    let timeout = Duration::from_secs(1);
    let status = client.status(timeout).unwrap();
    assert!(status.ready(), "{status:?}");
    assert_eq!(status.processes[0].answer.as_ref().unwrap().partitions.len(), 2);
    world.stop_store();
    crate::world::wait_until("the loss shows", || !client.status(timeout).unwrap().ready());
}
