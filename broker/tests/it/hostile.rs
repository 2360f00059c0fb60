use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::support::*;

fn assert_serves(endpoint: &str) {
    let worker = Peer::worker(endpoint, Speech::V2, "alive");
    let client = Peer::new(endpoint);
    client.send(Speech::V1.request("alive", &[b"x"]));
    let (id, _) = Speech::V2.work(worker.next());
    worker.send(Speech::V2.worker(Command::Final, &[&id, b"", b"y"]));
    assert_eq!(client.next(), Speech::V1.answer("alive", &[b"y"]));
    worker.send(Speech::V2.worker(Command::Disconnect, &[]));
    worker.fence();
}

/// Small and repeatable; what matters is that the bytes fit no protocol.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}

#[test]
fn random_frames_leave_it_serving() {
    let broker = broker();
    let mut noise = Noise(0x5EED);
    let peer = Peer::new(&broker.endpoint);
    for _ in 0..3_000 {
        let mut message: Message = (0..1 + noise.next() % 6)
            .map(|_| {
                let length = noise.next() % 40;
                noise.bytes(length as usize)
            })
            .collect();
        match noise.next() % 5 {
            0 => message.insert(0, b"MDPW02".to_vec()),
            1 => message.splice(0..0, [vec![], b"MDPC01".to_vec()]).for_each(drop),
            2 => message[0].splice(0..0, *b"SLG\x01").for_each(drop),
            _ => {}
        }
        peer.send(message);
    }
    peer.fence();
    assert_serves(&broker.endpoint);
}

#[test]
fn a_message_of_ten_thousand_frames_is_dropped() {
    let broker = broker();
    let peer = Peer::new(&broker.endpoint);
    let mut message = Speech::V1.request("echo", &[]);
    message.extend(std::iter::repeat_n(b"x".to_vec(), 10_000));
    peer.send(message);
    assert!(peer.fence().is_empty());
    assert_serves(&broker.endpoint);
}

#[test]
fn random_tcp_bytes_leave_it_serving() {
    let broker = broker();
    let address = broker.endpoint.strip_prefix("tcp://").unwrap();
    let mut noise = Noise(0xBAD);
    let greeting = b"\xFF\0\0\0\0\0\0\0\x01\x7F\x03\0NULL";
    for round in 0..60 {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        if round % 3 == 0 {
            let _ = stream.write_all(greeting);
        }
        let bytes = noise.bytes(1 + round * 20);
        // The broker may close the connection at any byte.
        let _ = stream.write_all(&bytes);
        let _ = stream.read(&mut [0; 64]);
    }
    assert_serves(&broker.endpoint);
}

#[test]
fn unfinished_handshakes_are_cut_off_and_hold_nobody_up() {
    let broker = broker();
    let address = broker.endpoint.strip_prefix("tcp://").unwrap();
    let mut silent: Vec<TcpStream> =
        (0..50).map(|_| TcpStream::connect(address).unwrap()).collect();
    assert_serves(&broker.endpoint);
    let start = Instant::now();
    for stream in &mut silent {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut rest = Vec::new();
        // Ends when the broker closes; its own greeting may come before.
        let _ = stream.read_to_end(&mut rest);
    }
    assert!(start.elapsed() < Duration::from_secs(8), "the handshake time-out is 3 s");
}

#[test]
fn a_frame_beyond_the_limit_costs_its_sender_the_connection() {
    let broker = broker();
    let giant = Peer::new(&broker.endpoint);
    giant.fence();
    giant.send(Speech::V1.request("echo", &[&vec![0; 17 * 1024 * 1024]]));
    assert_serves(&broker.endpoint);
}

#[test]
fn twenty_thousand_invented_names_are_bounded_and_forgotten() {
    let broker = broker_with(|config| {
        config.routing.limits.services = 2_000;
        config.routing.request_expiry = Duration::from_millis(500);
    });
    let client = Peer::prepared(zmq::DEALER, &broker.endpoint, |socket| {
        socket.set_rcvhwm(0).unwrap();
    });
    for number in 0..20_000 {
        client.send(Speech::V1.request(&format!("invented-{number}"), &[b"x"]));
    }
    for _ in 0..20_000 {
        let message = client.next();
        let text = String::from_utf8(message.last().unwrap().clone()).unwrap();
        assert!(text.starts_with("BUSY ") || text.starts_with("SERVICE_NOT_FOUND "), "{text}");
    }
    assert_serves(&broker.endpoint);
}
