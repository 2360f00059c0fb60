//! One test per row of the table of faults in the Guide's brokers, in its order: the right
//! behaviour, and afterwards a broker that still serves.

use std::time::{Duration, Instant};

use super::support::*;

/// A fresh worker and client get through.
fn assert_serves(endpoint: &str) {
    let worker = Peer::worker(endpoint, Speech::V1, "still-there");
    let client = Peer::new(endpoint);
    client.send(Speech::V2.request("still-there", &[b"x"]));
    let (id, _) = Speech::V1.work(worker.next());
    worker.send(Speech::V1.worker(Command::Final, &[&id, b"", b"yes"]));
    assert_eq!(client.next(), Speech::V2.answer("still-there", &[b"yes"]));
}

#[test]
fn row_1_mmi_names_cannot_be_registered() {
    let broker = broker();
    for speech in BOTH {
        for service in ["mmi.service", "mmi.echo", "mmi."] {
            let worker = Peer::new(&broker.endpoint);
            worker.send(speech.worker(Command::Ready, &[service.as_bytes()]));
            assert_eq!(worker.fence(), [speech.worker(Command::Disconnect, &[])], "{service}");
        }
        // What only looks like it is an ordinary name.
        let worker = Peer::worker(&broker.endpoint, speech, "xmmi.echo");
        assert!(worker.fence().is_empty());
    }
}

#[test]
fn row_2_an_unknown_command_leaves_no_half_made_worker() {
    let broker = broker();
    let peer = Peer::new(&broker.endpoint);
    peer.send(vec![vec![], b"MDPW01".to_vec(), vec![0x2A]]);
    peer.send(Speech::V1.worker(Command::Final, &[b"cid", b"", b"body"]));
    assert_eq!(peer.fence(), [Speech::V1.worker(Command::Disconnect, &[])]);
    assert_serves(&broker.endpoint);
}

#[test]
fn row_3_short_messages_are_dropped() {
    let broker = broker();
    let short: [&[&[u8]]; 9] = [
        &[b""],
        &[b"", b""],
        &[b"", b"MDPC01"],
        &[b"", b"MDPC01", b"echo"],
        &[b"MDPC02"],
        &[b"MDPC02", b"\x01"],
        &[b"MDPC02", b"\x01", b"echo"],
        &[b"", b"MDPW01"],
        &[b"", b"MDPW01", b"\x01"],
    ];
    let peer = Peer::new(&broker.endpoint);
    for frames in short {
        peer.send(frames.iter().map(|frame| frame.to_vec()).collect());
    }
    assert!(peer.fence().is_empty());
    assert_serves(&broker.endpoint);
}

#[test]
fn row_4_dead_idle_workers_do_not_hide_behind_live_ones() {
    let broker = broker();
    let live = Peer::worker(&broker.endpoint, Speech::V1, "echo");
    // Alive for TCP, but silent for the protocol.
    let _silent = Peer::worker(&broker.endpoint, Speech::V1, "echo");
    let deadline = Instant::now() + PATIENCE;
    let client = Peer::new(&broker.endpoint);
    loop {
        live.send(Speech::V1.worker(Command::Heartbeat, &[]));
        let workers = client.ask(Speech::V1, "mmi.workers", &[b"echo"]);
        if workers == Speech::V1.answer("mmi.workers", &[b"200", b"1"]) {
            break;
        }
        assert!(Instant::now() < deadline);
        std::thread::sleep(HEARTBEAT);
    }
    for _ in 0..3 {
        client.send(Speech::V1.request("echo", &[b"x"]));
        let (id, _) = Speech::V1.work(live.next());
        live.send(Speech::V1.worker(Command::Final, &[&id, b"", b"y"]));
        assert_eq!(client.next(), Speech::V1.answer("echo", &[b"y"]));
    }
}

#[test]
fn row_5_a_busy_worker_that_dies_does_not_take_its_request_along() {
    let broker = broker();
    for speech in BOTH {
        // By silence, by a broken connection, by DISCONNECT.
        for death in 0..3 {
            let first = Peer::worker(&broker.endpoint, speech, "echo");
            let client = Peer::new(&broker.endpoint);
            client.send(speech.request("echo", &[b"x"]));
            speech.work(first.next());
            let second = Peer::worker(&broker.endpoint, speech, "echo");
            let mut first = Some(first);
            match death {
                0 => {}
                1 => drop(first.take()),
                _ => first.as_ref().unwrap().send(speech.worker(Command::Disconnect, &[])),
            }
            let deadline = Instant::now() + PATIENCE;
            let (id, _) = loop {
                second.send(speech.worker(Command::Heartbeat, &[]));
                match second.receive_within(HEARTBEAT) {
                    Some(message) if !is_heartbeat(&message) => break speech.work(message),
                    _ => assert!(Instant::now() < deadline, "the request is lost"),
                }
            };
            second.send(speech.worker(Command::Final, &[&id, b"", b"rescued"]));
            assert_eq!(client.next(), speech.answer("echo", &[b"rescued"]));
            second.send(speech.worker(Command::Disconnect, &[]));
            second.fence();
            drop(first);
            wait_for_workers(&broker.endpoint, "echo", 0);
        }
    }
}

#[test]
fn row_6_busy_workers_hear_heartbeats() {
    let broker = broker();
    for speech in BOTH {
        let worker = Peer::worker(&broker.endpoint, speech, "echo");
        let client = Peer::new(&broker.endpoint);
        client.send(speech.request("echo", &[b"x"]));
        let (id, _) = speech.work(worker.next());
        for _ in 0..4 {
            let beat = worker.receive_within(20 * HEARTBEAT).expect("a heartbeat while busy");
            assert_eq!(beat, speech.worker(Command::Heartbeat, &[]));
        }
        worker.send(speech.worker(Command::Final, &[&id, b"", b"y"]));
        assert_eq!(client.next(), speech.answer("echo", &[b"y"]));
        worker.send(speech.worker(Command::Disconnect, &[]));
        worker.fence();
    }
}

#[test]
fn row_7_only_the_request_in_hand_can_be_answered() {
    let broker = broker();
    for speech in BOTH {
        let victim = Peer::prepared(zmq::DEALER, &broker.endpoint, |socket| {
            socket.set_identity(b"victim").unwrap();
        });
        victim.fence();
        let forger = Peer::worker(&broker.endpoint, speech, "echo");
        let forged = speech.worker(Command::Final, &[b"victim", b"", b"forged"]);
        forger.send(forged.clone());
        forger.send(forged);
        assert_eq!(forger.fence(), [speech.worker(Command::Disconnect, &[])]);
        assert!(victim.fence().is_empty());
        wait_for_workers(&broker.endpoint, "echo", 0);
    }
    assert_serves(&broker.endpoint);
}

#[test]
fn row_8_requests_for_absent_services_expire_and_leave_no_record() {
    let broker = broker_with(|config| {
        config.routing.limits.services = 50;
        config.routing.request_expiry = Duration::from_millis(300);
    });
    let client = Peer::new(&broker.endpoint);
    for round in 0..3 {
        for number in 0..50 {
            client.send(Speech::V1.request(&format!("invented-{round}-{number}"), &[b"x"]));
        }
        for _ in 0..50 {
            assert_error(&client.next(), "SERVICE_NOT_FOUND");
        }
    }
    assert_serves(&broker.endpoint);
}

#[test]
fn row_9_mmi_service_says_404_once_the_last_worker_is_gone() {
    let broker = broker();
    let client = Peer::new(&broker.endpoint);
    let code = |code: &[u8]| Speech::V1.answer("mmi.service", &[code]);
    assert_eq!(client.ask(Speech::V1, "mmi.service", &[b"echo"]), code(b"404"));
    let worker = Peer::worker(&broker.endpoint, Speech::V1, "echo");
    assert_eq!(client.ask(Speech::V1, "mmi.service", &[b"echo"]), code(b"200"));
    worker.send(Speech::V1.worker(Command::Disconnect, &[]));
    worker.fence();
    assert_eq!(client.ask(Speech::V1, "mmi.service", &[b"echo"]), code(b"404"));
    let other = client.ask(Speech::V2, "mmi.other", &[b"echo"]);
    assert_eq!(other, Speech::V2.answer("mmi.other", &[b"501"]));
}

#[test]
fn row_10_a_second_address_in_the_envelope_is_not_understood() {
    let broker = broker();
    let worker = Peer::worker(&broker.endpoint, Speech::V1, "echo");
    let client = Peer::new(&broker.endpoint);
    client.send(Speech::V1.request("echo", &[b"x"]));
    let (id, _) = Speech::V1.work(worker.next());
    worker.send(Speech::V1.worker(Command::Final, &[&id, b"second", b"", b"y"]));
    assert_eq!(worker.fence(), [Speech::V1.worker(Command::Disconnect, &[])]);
    // The request goes to the next worker.
    let next = Peer::new(&broker.endpoint);
    next.send(Speech::V1.worker(Command::Ready, &[b"echo"]));
    assert_eq!(Speech::V1.work(next.next()).1, [b"x"]);
}

#[test]
fn row_11_workers_that_beat_every_two_and_a_half_seconds_live() {
    let broker = broker_with(|config| {
        config.routing = broker::config::Routing { heartbeat: HEARTBEAT, ..Default::default() };
    });
    let worker = Peer::worker(&broker.endpoint, Speech::V1, "echo");
    let client = Peer::new(&broker.endpoint);
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(2_600) {
        assert!(is_heartbeat(&worker.receive()));
    }
    worker.send(Speech::V1.worker(Command::Heartbeat, &[]));
    client.send(Speech::V1.request("echo", &[b"x"]));
    Speech::V1.work(worker.next());
}

#[test]
fn a_forged_final_of_a_stranger_changes_nothing() {
    let broker = broker();
    let stranger = Peer::new(&broker.endpoint);
    stranger.send(Speech::V2.worker(Command::Final, &[b"anyone", b"", b"forged"]));
    stranger.send(Speech::V2.worker(Command::Partial, &[b"anyone", b"", b"forged"]));
    assert_eq!(stranger.fence(), [Speech::V2.worker(Command::Disconnect, &[])]);
    assert_serves(&broker.endpoint);
}
