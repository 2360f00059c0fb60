use std::io::{BufRead, BufReader, Read};
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
    let cases: [(&Path, &[&str], i32, &str); 10] = [
        (other.path(), &["--listen", &taken], 3, "is in use"),
        (data.path(), &["--listen", "tcp://127.0.0.1:*"], 5, "used by another broker"),
        (Path::new("/proc/nowhere"), &["--listen", "tcp://127.0.0.1:*"], 4, "--data"),
        (other.path(), &["--listen", "tcp://0.0.0.0:*"], 2, "--open-network"),
        (other.path(), &["--listen", "tcp://*:*", "--open-network"], 2, "--advertise-listen"),
        (other.path(), &["--listen", "somewhere"], 2, "tcp://HOST:PORT"),
        (other.path(), &["--heartbeat", "often"], 2, "500ms"),
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
