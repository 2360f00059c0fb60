//! One test per row of the table of mandatory behaviour, in its order.

use std::time::{Duration, Instant};

use super::support::*;

#[test]
fn sockets_a_req_client_and_dealers_of_both_versions_are_served() {
    let broker = broker();
    for works in BOTH {
        let worker = Peer::worker(&broker.endpoint, works, "echo");
        let req = Peer::of(zmq::REQ, &broker.endpoint);
        // A REQ socket adds and strips the empty frame itself.
        req.send(vec![b"MDPC01".to_vec(), b"echo".to_vec(), b"hello".to_vec()]);
        let (client, body) = works.work(worker.next());
        assert_eq!(body, [b"hello"]);
        worker.send(works.worker(Command::Final, &[&client, b"", b"answer"]));
        assert_eq!(req.receive(), [&b"MDPC01"[..], b"echo", b"answer"]);
        for asks in BOTH {
            let dealer = Peer::new(&broker.endpoint);
            dealer.send(asks.request("echo", &[b"1", b"", b"3"]));
            let (client, body) = works.work(worker.next());
            assert_eq!(body, [&b"1"[..], b"", b"3"]);
            worker.send(works.worker(Command::Final, &[&client, b"", b"a", b"b"]));
            assert_eq!(dealer.next(), asks.answer("echo", &[b"a", b"b"]));
        }
        worker.send(works.worker(Command::Disconnect, &[]));
        worker.fence();
    }
}

#[test]
fn opening_ready_is_not_answered_and_a_second_one_ends_it() {
    let broker = broker();
    for speech in BOTH {
        let worker = Peer::new(&broker.endpoint);
        let ready = speech.worker(Command::Ready, &[b"echo"]);
        worker.send(ready.clone());
        assert!(worker.fence().is_empty());
        worker.send(ready.clone());
        worker.send(ready);
        assert_eq!(worker.fence(), [speech.worker(Command::Disconnect, &[])]);
        wait_for_workers(&broker.endpoint, "echo", 0);
    }
}

#[test]
fn silence_after_ready_means_success() {
    let broker = broker();
    let worker = Peer::worker(&broker.endpoint, Speech::V1, "echo");
    let client = Peer::new(&broker.endpoint);
    let found = client.ask(Speech::V1, "mmi.service", &[b"echo"]);
    assert_eq!(found, Speech::V1.answer("mmi.service", &[b"200"]));
    assert!(worker.fence().is_empty());
}

#[test]
fn unexpected_commands_get_one_disconnect_and_then_nothing() {
    let broker = broker();
    for speech in BOTH {
        let strange: [(Command, &[&[u8]]); 2] =
            [(Command::Heartbeat, &[]), (Command::Final, &[b"cid", b"", b"body"])];
        for (command, rest) in strange {
            let peer = Peer::new(&broker.endpoint);
            peer.send(speech.worker(command, rest));
            peer.send(speech.worker(command, rest));
            peer.send(speech.worker(Command::Heartbeat, &[]));
            assert_eq!(peer.fence(), [speech.worker(Command::Disconnect, &[])], "{command:?}");
        }
    }
}

#[test]
fn invalid_messages_are_dropped_and_the_peer_is_invalid() {
    let broker = broker();
    let rubbish: [&[&[u8]]; 7] = [
        &[b"", b"MDPX01", b"\x01", b"echo"],
        &[b"", b"MDPW01"],
        &[b"", b"MDPW01", b"\x01"],
        &[b"", b"MDPW01", b"\x01", b"echo", b"more"],
        &[b"", b"MDPW01", b"\x04", b"more"],
        &[b"MDPW02", b"\x07"],
        &[b"MDPW02", b"\x04", b"cid", b"not empty", b"body"],
    ];
    for frames in rubbish {
        let message: Message = frames.iter().map(|frame| frame.to_vec()).collect();
        let stranger = Peer::new(&broker.endpoint);
        stranger.send(message.clone());
        assert!(stranger.fence().is_empty(), "{frames:?}");
        let worker = Peer::worker(&broker.endpoint, Speech::V1, "echo");
        worker.send(message);
        assert_eq!(worker.fence(), [Speech::V1.worker(Command::Disconnect, &[])], "{frames:?}");
    }
}

#[test]
fn a_worker_that_disconnects_gets_no_further_command() {
    let broker = broker();
    for speech in BOTH {
        let worker = Peer::worker(&broker.endpoint, speech, "echo");
        worker.send(speech.worker(Command::Disconnect, &[]));
        worker.fence();
        let client = Peer::new(&broker.endpoint);
        client.send(speech.request("echo", &[b"x"]));
        assert_error(&client.next(), "SERVICE_NOT_FOUND");
        assert!(worker.receive_within(3 * HEARTBEAT).is_none(), "not even a heartbeat");
    }
}

#[test]
fn a_worker_may_disconnect_before_it_is_ready() {
    let broker = broker();
    for speech in BOTH {
        let worker = Peer::new(&broker.endpoint);
        worker.send(speech.worker(Command::Disconnect, &[]));
        assert!(worker.fence().is_empty());
    }
}

#[test]
fn the_envelope_is_the_clients_routing_id_and_one_empty_frame() {
    let broker = broker();
    let worker = Peer::worker(&broker.endpoint, Speech::V2, "echo");
    let client = Peer::prepared(zmq::DEALER, &broker.endpoint, |socket| {
        socket.set_identity(b"the client").unwrap();
    });
    client.send(Speech::V2.request("echo", &[b"x"]));
    let expected = Speech::V2.worker(Command::Request, &[b"the client", b"", b"x"]);
    assert_eq!(worker.next(), expected);
    worker.send(Speech::V2.worker(Command::Partial, &[b"the client", b"", b"part"]));
    worker.send(Speech::V2.worker(Command::Final, &[b"the client", b"", b"end"]));
    let mut part = Speech::V2.answer("echo", &[b"part"]);
    part[1] = vec![2];
    assert_eq!(client.next(), part);
    assert_eq!(client.next(), Speech::V2.answer("echo", &[b"end"]));
}

#[test]
fn heartbeats_flow_and_a_silent_worker_is_dead() {
    let broker = broker();
    for speech in BOTH {
        let worker = Peer::worker(&broker.endpoint, speech, "echo");
        for _ in 0..3 {
            let beat = worker.receive_within(20 * HEARTBEAT).expect("a heartbeat");
            assert_eq!(beat, speech.worker(Command::Heartbeat, &[]));
        }
        let start = Instant::now();
        wait_for_workers(&broker.endpoint, "echo", 0);
        assert!(start.elapsed() < Duration::from_secs(3));
    }
}

#[test]
fn every_command_counts_as_a_heartbeat() {
    let broker = broker();
    let worker = Peer::worker(&broker.endpoint, Speech::V2, "echo");
    let client = Peer::new(&broker.endpoint);
    client.send(Speech::V2.request("echo", &[b"x"]));
    let (id, _) = Speech::V2.work(worker.next());
    // Parts alone keep a busy worker alive for longer than the busy expiry.
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1_800) {
        worker.send(Speech::V2.worker(Command::Partial, &[&id, b"", b"part"]));
        let mut part = Speech::V2.answer("echo", &[b"part"]);
        part[1] = vec![2];
        assert_eq!(client.next(), part);
        std::thread::sleep(Duration::from_millis(100));
    }
    worker.send(Speech::V2.worker(Command::Final, &[&id, b"", b"end"]));
    assert_eq!(client.next(), Speech::V2.answer("echo", &[b"end"]));
}

#[test]
fn a_worker_that_cannot_be_reached_is_lost_at_once() {
    // Silence would be borne for a minute; it is the heartbeat that cannot be delivered.
    let broker = broker_with(|config| config.routing.worker_expiry = Duration::from_secs(60));
    let lost = Peer::worker(&broker.endpoint, Speech::V1, "echo");
    let live = Peer::worker(&broker.endpoint, Speech::V1, "echo");
    drop(lost);
    wait_for_workers(&broker.endpoint, "echo", 1);
    let client = Peer::new(&broker.endpoint);
    client.send(Speech::V1.request("echo", &[b"x"]));
    assert_eq!(Speech::V1.work(live.next()).1, [b"x"]);
}

#[test]
fn a_request_for_an_absent_service_waits_for_it_and_expires() {
    let broker = broker();
    let client = Peer::new(&broker.endpoint);
    client.send(Speech::V1.request("echo", &[b"early"]));
    client.fence();
    let worker = Peer::worker(&broker.endpoint, Speech::V1, "other");
    assert!(worker.fence().is_empty());
    let late = Peer::new(&broker.endpoint);
    late.send(Speech::V1.worker(Command::Ready, &[b"echo"]));
    assert_eq!(Speech::V1.work(late.next()).1, [b"early"]);
    client.send(Speech::V1.request("nowhere", &[b"x"]));
    assert_error(&client.next(), "SERVICE_NOT_FOUND");
}

#[test]
fn a_worker_takes_one_request_at_a_time_and_answers_come_in_order() {
    let broker = broker_with(|config| config.routing.request_expiry = PATIENCE);
    let worker = Peer::worker(&broker.endpoint, Speech::V1, "echo");
    let client = Peer::new(&broker.endpoint);
    const REQUESTS: u32 = 2_000;
    for number in 0..REQUESTS {
        client.send(Speech::V2.request("echo", &[&number.to_le_bytes()]));
    }
    client.fence();
    assert_eq!(worker.fence().len(), 1, "one request, though thousands wait");
    // The fence took the first request off the socket; what it was is known.
    let number = 0u32.to_le_bytes();
    let id = {
        let probe = Peer::worker(&broker.endpoint, Speech::V1, "probe");
        client.send(Speech::V2.request("probe", &[b"x"]));
        Speech::V1.work(probe.next()).0
    };
    worker.send(Speech::V1.worker(Command::Final, &[&id, b"", &number]));
    for _ in 1..REQUESTS {
        let (id, body) = Speech::V1.work(worker.next());
        worker.send(Speech::V1.worker(Command::Final, &[&id, b"", &body[0]]));
    }
    for number in 0..REQUESTS {
        assert_eq!(client.next(), Speech::V2.answer("echo", &[&number.to_le_bytes()]));
    }
}

#[test]
fn after_a_restart_old_workers_are_sent_away_and_their_answers_reach_nobody() {
    let old = broker_with(|config| config.drain = Duration::from_millis(100));
    let worker = Peer::prepared(zmq::DEALER, &old.endpoint, |socket| {
        socket.set_reconnect_ivl(20).unwrap();
    });
    worker.send(Speech::V2.worker(Command::Ready, &[b"echo"]));
    let client = Peer::prepared(zmq::DEALER, &old.endpoint, |socket| {
        socket.set_identity(b"client").unwrap();
    });
    client.send(Speech::V2.request("echo", &[b"x"]));
    let (id, _) = Speech::V2.work(worker.next());
    let endpoint = old.endpoint.clone();
    let end = Instant::now() + PATIENCE;
    drop(client);
    old.handle.stop().unwrap();
    assert_eq!(worker.next(), Speech::V2.worker(Command::Disconnect, &[]));
    // Another client with the same routing id at the new broker, on the same port.
    let new = loop {
        let data = tempfile::tempdir().unwrap();
        let mut config = broker::config::Config {
            listen: vec![endpoint.parse().unwrap()],
            data: data.path().to_owned(),
            ..Default::default()
        };
        config.routing.heartbeat = HEARTBEAT;
        match broker::server::start(config) {
            Ok(handle) => break handle,
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
    };
    let other = Peer::prepared(zmq::DEALER, &endpoint, |socket| {
        socket.set_identity(b"client").unwrap();
    });
    other.send(Speech::V2.request("elsewhere", &[b"y"]));
    other.fence();
    worker.send(Speech::V2.worker(Command::Final, &[&id, b"", b"late"]));
    assert_eq!(worker.next(), Speech::V2.worker(Command::Disconnect, &[]));
    assert!(other.fence().is_empty());
    new.stop().unwrap();
}
