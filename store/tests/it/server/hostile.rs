//! Bytes of strangers on every socket: the process goes on serving, and its memory stays bounded.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use broker::net::{self, Endpoint};
use bytes::Bytes;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use store::wire::replay::{Read, ReplayRequest, RequestNumber};
use zmq::{Context, SocketType};

use super::bench::{Bench, Subscriber, read_all, write};
use crate::fixture::event;
use store::ExpectedVersion;

/// Random byte strings, the same in every run.
fn rubbish(count: usize, length_max: usize) -> Vec<Bytes> {
    let mut runner = TestRunner::deterministic();
    let bytes = proptest::collection::vec(proptest::num::u8::ANY, 0..length_max);
    let string = |_| Bytes::from(bytes.new_tree(&mut runner).unwrap().current());
    (0..count).map(string).collect()
}

fn address(endpoint: &Endpoint) -> &str {
    endpoint.as_str().trim_start_matches("tcp://")
}

/// Random bytes on a bare TCP connection, and a connection that says nothing.
fn knock(endpoint: &Endpoint) -> TcpStream {
    for bytes in rubbish(30, 3000) {
        let mut stream = TcpStream::connect(address(endpoint)).unwrap();
        // The other side may hang up at any time.
        let _ = stream.write_all(&bytes);
    }
    TcpStream::connect(address(endpoint)).unwrap()
}

fn still_serves(bench: &Bench) {
    let mut client = bench.client();
    client.append(1, write("s", ExpectedVersion::Any, vec![event("x")]));
    let sequences = bench.replay().sequences(read_all());
    assert!(!sequences.is_empty());
    let subscriber = Subscriber::connect(bench.store.feed());
    subscriber.subscribe("orders", 0);
    subscriber.message();
}

#[test]
fn the_replay_socket_survives_anything() {
    let bench = Bench::start();
    let _silent = knock(bench.store.replay());
    let replay = bench.replay();
    let good = ReplayRequest::Read(Read { credit_bytes: 0, ..read_all() }).encode().unwrap();
    for bytes in rubbish(500, 200) {
        let mut framed = b"SLR\x01".to_vec();
        framed.extend_from_slice(&bytes);
        let mut flipped = good.clone();
        if let Some((at, byte)) = bytes.first().zip(bytes.last()) {
            let at = usize::from(*at) % flipped.len();
            flipped[at] ^= *byte;
        }
        let messages = [
            vec![bytes.clone()],
            vec![bytes.clone(); 40],
            vec![framed.into()],
            vec![flipped.into()],
        ];
        for message in messages {
            let _ = net::send(&replay.socket, &message).unwrap();
        }
    }
    still_serves(&bench);
}

#[test]
fn a_peer_that_asks_and_vanishes_leaves_room_for_others() {
    let bench = Bench::start();
    bench.client().append(1, write("s", ExpectedVersion::Any, vec![event("x")]));
    // Each of 30 peers takes four places and goes away without a word.
    for _ in 0..30 {
        let gone = bench.replay();
        for number in 1..=4 {
            let request = RequestNumber(number);
            gone.send(&ReplayRequest::Read(Read { request, block_bytes_max: 4096, ..read_all() }));
        }
        gone.answer();
    }
    assert_eq!(bench.replay().sequences(read_all()), [1]);
}

#[test]
fn the_feed_socket_survives_anything() {
    let bench = Bench::start();
    let _silent = knock(bench.store.feed());
    let subscriber = net::socket(&Context::new(), SocketType::XSUB).unwrap();
    net::connect(&subscriber, bench.store.feed()).unwrap();
    for bytes in rubbish(500, 200) {
        let mut subscription = vec![1];
        subscription.extend_from_slice(&bytes);
        for message in [vec![bytes.clone()], vec![bytes; 5], vec![subscription.into()]] {
            let _ = net::send(&subscriber, &message).unwrap();
        }
    }
    still_serves(&bench);
}

#[test]
fn the_command_socket_survives_anything() {
    let bench = Bench::start();
    let path = bench.dir.path().join("admin.sock");
    for bytes in rubbish(50, 9000) {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        // It may have hung up in the middle of what we said.
        if stream.read_to_end(&mut answer).is_ok() && !answer.is_empty() {
            assert!(answer.starts_with(b"error "), "{answer:?}");
        }
    }
    still_serves(&bench);
}
