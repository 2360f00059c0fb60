use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command as Program, Stdio};
use std::time::{Duration, Instant};

use super::support::*;

/// Listen wherever there is room.
pub const ANY: [&str; 2] = ["--listen", "tcp://127.0.0.1:*"];

pub fn program(data: &Path, arguments: &[&str]) -> Child {
    Program::new(env!("CARGO_BIN_EXE_starlog-broker"))
        .args(["--data", data.to_str().unwrap()])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

pub fn endpoint(child: &mut Child) -> String {
    announced(child, ["listening"]).into_iter().next().unwrap()
}

/// The endpoints in the lines that the program says at its start.
pub fn announced<const LINES: usize>(child: &mut Child, what: [&str; LINES]) -> [String; LINES] {
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    what.map(|what| {
        let line = lines.next().expect("another line").unwrap();
        line.strip_prefix(&format!("starlog-broker {what} on ")).expect(&line).to_owned()
    })
}

/// The exit code and what was said on standard error.
pub fn end(mut child: Child) -> (i32, String) {
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    (status.code().expect("ended by a signal"), text)
}

pub fn terminate(child: &Child) {
    let id = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
}

#[test]
fn it_says_where_it_listens_and_sigterm_ends_it_with_goodbyes() {
    let data = tempfile::tempdir().unwrap();
    let mut child = program(data.path(), &["--listen", "tcp://127.0.0.1:*", "tcp://127.0.0.1:*"]);
    let endpoint = endpoint(&mut child);
    let workers = BOTH.map(|speech| (speech, Peer::worker(&endpoint, speech, "echo")));
    let client = Peer::new(&endpoint);
    client.send(Speech::V1.request("absent", &[b"x"]));
    client.fence();
    terminate(&child);
    assert_error(&client.next(), "BUSY");
    for (speech, worker) in &workers {
        assert_eq!(worker.next(), speech.worker(Command::Disconnect, &[]));
    }
    assert_eq!(end(child).0, 0);
}

#[test]
fn a_busy_worker_may_finish_while_the_broker_drains() {
    let data = tempfile::tempdir().unwrap();
    let mut child = program(data.path(), &["--listen", "tcp://127.0.0.1:*", "--drain", "5s"]);
    let endpoint = endpoint(&mut child);
    let worker = Peer::worker(&endpoint, Speech::V1, "echo");
    let client = Peer::new(&endpoint);
    client.send(Speech::V1.request("echo", &[b"x"]));
    let (id, _) = Speech::V1.work(worker.next());
    terminate(&child);
    // Once a new request is refused the broker is draining.
    let deadline = Instant::now() + PATIENCE;
    let probe = Peer::new(&endpoint);
    loop {
        probe.send(Speech::V1.request("absent", &[b"y"]));
        if let Some(message) = probe.receive_within(HEARTBEAT) {
            assert_error(&message, "BUSY");
            break;
        }
        assert!(Instant::now() < deadline);
    }
    worker.send(Speech::V1.worker(Command::Final, &[&id, b"", b"done"]));
    assert_eq!(client.next(), Speech::V1.answer("echo", &[b"done"]));
    assert_eq!(worker.next(), Speech::V1.worker(Command::Disconnect, &[]));
    assert_eq!(end(child).0, 0);
}

#[test]
fn what_keeps_it_from_starting_has_a_sentence_and_a_code() {
    let data = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let mut first = program(data.path(), &["--listen", "tcp://127.0.0.1:*"]);
    let taken = endpoint(&mut first);
    let cases: [(&Path, &[&str], i32, &str); 11] = [
        (other.path(), &["--listen", &taken], 3, "is in use"),
        (data.path(), &["--listen", "tcp://127.0.0.1:*"], 5, "used by another broker"),
        (Path::new("/proc/nowhere"), &["--listen", "tcp://127.0.0.1:*"], 4, "--data"),
        (other.path(), &["--listen", "tcp://0.0.0.0:*"], 2, "--open-network"),
        (other.path(), &["--listen", "tcp://*:*", "--open-network"], 2, "--advertise-listen"),
        (other.path(), &["--listen", "somewhere"], 2, "tcp://HOST:PORT"),
        (other.path(), &["--heartbeat", "often"], 2, "500ms"),
        (other.path(), &["--memory-max", "32"], 2, "16MiB or more"),
        (
            other.path(),
            &[ANY[0], ANY[1], "--witness-listen", "tcp://0.0.0.0:*"],
            2,
            "--open-network",
        ),
        (other.path(), &[ANY[0], ANY[1], "--witness-listen", &taken], 3, "is in use"),
        (other.path(), &["--witness-listen", "x", "--witness-lease", "0ms"], 2, "tcp://HOST:PORT"),
    ];
    for (directory, arguments, code, sentence) in cases {
        let (ended, text) = end(program(directory, arguments));
        assert_eq!(ended, code, "{arguments:?}: {text}");
        assert!(text.contains(sentence), "{arguments:?}: {text}");
    }
    terminate(&first);
    assert_eq!(end(first).0, 0);
}

#[test]
fn an_open_network_has_to_be_meant() {
    let data = tempfile::tempdir().unwrap();
    let open = [
        "--listen",
        "tcp://0.0.0.0:*",
        "--open-network",
        "--advertise-listen",
        "tcp://192.0.2.1:7400",
    ];
    let mut child = program(data.path(), &open);
    let bound = endpoint(&mut child);
    let port = bound.rsplit_once(':').unwrap().1.to_owned();
    let peer = Peer::new(&format!("tcp://127.0.0.1:{port}"));
    peer.fence();
    terminate(&child);
    let (code, text) = end(child);
    assert_eq!(code, 0);
    assert!(text.contains("is open"), "{text}");
}

/// ZMTP 3: what a DEALER says before its first message.
fn greeting() -> Vec<u8> {
    let mut bytes = b"\xFF\0\0\0\0\0\0\0\x01\x7F\x03\0NULL".to_vec();
    bytes.resize(64, 0);
    let ready = b"\x05READY\x0BSocket-Type\0\0\0\x06DEALER";
    // A short command, and its length.
    bytes.extend([4, u8::try_from(ready.len()).unwrap()]);
    bytes.extend(ready);
    bytes
}

/// Begins a message of `count` frames of 64 KiB, and of more that never come.
fn begin_message(endpoint: &str, count: usize) -> TcpStream {
    let mut stream = TcpStream::connect(endpoint.strip_prefix("tcp://").unwrap()).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&greeting()).unwrap();
    // Before the other side has said READY, too, it takes no message: a greeting, a short command.
    let mut head = [0; 64 + 2];
    stream.read_exact(&mut head).unwrap();
    stream.read_exact(&mut vec![0; usize::from(head[65])]).unwrap();
    // A long frame with more to follow, and its length.
    let mut frame = vec![3, 0, 0, 0, 0, 0, 1, 0, 0];
    frame.resize(9 + 64 * 1024, b'x');
    for _ in 0..count {
        stream.write_all(&frame).unwrap();
    }
    stream
}

/// libzmq holds the frames of a message until the last one is there, however many.
#[test]
fn a_message_that_never_ends_ends_the_broker_which_can_be_started_again() {
    let data = tempfile::tempdir().unwrap();
    let limited = [ANY[0], ANY[1], "--memory-max", "32MiB"];
    let mut child = program(data.path(), &limited);
    let _unfinished = begin_message(&endpoint(&mut child), 1024);
    let (code, text) = end(child);
    assert_eq!(code, 15, "{text}");
    assert!(text.contains("--memory-max allows 32 MiB: start it again"), "{text}");
    let mut again = program(data.path(), &limited);
    let endpoint = endpoint(&mut again);
    let worker = Peer::worker(&endpoint, Speech::V2, "echo");
    let client = Peer::new(&endpoint);
    client.send(Speech::V1.request("echo", &[b"x"]));
    let (id, _) = Speech::V2.work(worker.next());
    worker.send(Speech::V2.worker(Command::Final, &[&id, b"", b"y"]));
    assert_eq!(client.next(), Speech::V1.answer("echo", &[b"y"]));
    terminate(&again);
    assert_eq!(end(again).0, 0);
}
