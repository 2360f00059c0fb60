//! The real binary: what it prints, and what it says when it can't go on.

use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use broker::error_code::ErrorCode;
use broker::net::{self, Endpoint};
use store::ExpectedVersion;
use store::wire::append::AppendResult;
use zmq::{Context, SocketType};

use super::bench::{
    PATIENCE, RawClient, ReplayClient, TestBroker, deadline, is_past, loopback, read_all, write,
};
use crate::fixture::event;

/// A store process, killed when the test ends.
struct Process {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Process {
    fn start(broker: &TestBroker, dir: &Path, more: &[&str]) -> Self {
        Self::spawn(store(broker, dir, more))
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Reads the three lines of a process that has come up; where history can be asked for.
    fn ready(&mut self) -> Endpoint {
        self.ready_both().0
    }

    /// The same; and where the feed can be heard.
    fn ready_both(&mut self) -> (Endpoint, Endpoint) {
        let (replay, feed, serving) = (self.line(), self.line(), self.line());
        if serving != "starlog-store serving" {
            let mut said = String::new();
            self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            panic!("it does not come up: {said}");
        }
        assert!(feed.starts_with("starlog-store feed tcp://127.0.0.1:"));
        let endpoint = |line: &str, name| line.strip_prefix(name).unwrap().parse().unwrap();
        (endpoint(&replay, "starlog-store replay "), endpoint(&feed, "starlog-store feed "))
    }

    fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// Its exit code and what it said on standard error.
    fn end(mut self) -> (Option<i32>, String) {
        let status = self.wait();
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (status.code(), said)
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = deadline(PATIENCE);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(!is_past(deadline), "the process does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn store(broker: &TestBroker, dir: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_starlog-store"));
    command
        .args(["--broker", broker.endpoint().as_str(), "--data"])
        .arg(dir)
        .args(["--store", "orders:1"])
        .args(more)
        .env("STARLOG_SEGMENT", "64KiB")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn client(broker: &TestBroker) -> RawClient {
    RawClient::connect(&broker.endpoint(), broker::dialect::SessionId::random())
}

#[test]
fn it_announces_itself_serves_and_leaves_cleanly() {
    let (broker, dir) = (TestBroker::start(), tempfile::tempdir().unwrap());
    let mut process = Process::start(&broker, dir.path(), &[]);
    let replay = process.ready();
    let result = client(&broker).append(1, write("s", ExpectedVersion::None, vec![event("x")]));
    assert!(matches!(result, AppendResult::Done(_)), "{result:?}");
    assert_eq!(ReplayClient::connect(&replay).sequences(read_all()), [1]);
    process.terminate();
    let (code, said) = process.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(!dir.path().join("admin.sock").exists());
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let (broker, dir) = (TestBroker::start(), tempfile::tempdir().unwrap());
    let mut process = Process::start(&broker, dir.path(), &[]);
    process.ready();
    let mut client = client(&broker);
    for number in 1..=50 {
        client.append(number, write("s", ExpectedVersion::Any, vec![event("x")]));
    }
    process.child.kill().unwrap();
    process.wait();
    let mut process = Process::start(&broker, dir.path(), &[]);
    let replay = process.ready();
    let sequences = ReplayClient::connect(&replay).sequences(read_all());
    assert_eq!(sequences, (1..=50).collect::<Vec<_>>());
}

#[test]
fn a_second_process_on_a_directory_says_so() {
    let (broker, dir) = (TestBroker::start(), tempfile::tempdir().unwrap());
    let mut first = Process::start(&broker, dir.path(), &[]);
    first.ready();
    let (code, said) = Process::start(&broker, dir.path(), &[]).end();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains(&first.child.id().to_string()), "{said}");
}

#[test]
fn an_address_in_use_says_so_before_the_data_is_touched() {
    let (broker, dir) = (TestBroker::start(), tempfile::tempdir().unwrap());
    let taken = net::socket(&Context::new(), SocketType::ROUTER).unwrap();
    let taken_at = net::bind(&taken, &loopback()).unwrap();
    let more = ["--listen", taken_at.as_str()];
    let (code, said) = Process::start(&broker, &dir.path().join("data"), &more).end();
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("in use"), "{said}");
    assert!(!dir.path().join("data").exists());
}

#[test]
fn wrong_flags_say_so() {
    let (broker, dir) = (TestBroker::start(), tempfile::tempdir().unwrap());
    let pair = "tcp://127.0.0.1:1";
    let rows: [&[&str]; 11] = [
        &["--listen", "tcp://0.0.0.0:0"],
        &["--segment", "12"],
        &["--heartbeat", "1ms"],
        &["--memory-max", "32"],
        &["--durability", "pair"],
        &["--host", "0-7"],
        &["--role", "primary"],
        &["--role", "both", "--peer", pair, "--pair-listen", pair, "--witness", pair],
        &["--role", "backup", "--peer", pair, "--pair-listen", pair, "--witness", pair],
        &["--peer", pair, "--witness", pair],
        &["--min-copies", "3"],
    ];
    for more in rows {
        let (code, said) = Process::start(&broker, dir.path(), more).end();
        assert_eq!(code, Some(2), "{more:?}: {said}");
    }
}

#[test]
fn other_partitions_and_detached_stores_say_so() {
    let (broker, dir) = (TestBroker::start(), tempfile::tempdir().unwrap());
    let mut command = store(&broker, dir.path(), &[]);
    command.args(["--store", "users:2"]);
    let mut process = Process::spawn(command);
    process.ready();
    process.terminate();
    assert_eq!(process.end().0, Some(0));
    let (code, said) = Process::start(&broker, dir.path(), &["--store", "users:3"]).end();
    assert_eq!(code, Some(9), "{said}");
    let mut detach = Command::new(env!("CARGO_BIN_EXE_starlog-store"));
    detach.args(["store", "detach", "users", "--data"]).arg(dir.path());
    assert!(detach.status().unwrap().success());
    let (code, said) = Process::start(&broker, dir.path(), &["--store", "users"]).end();
    assert_eq!(code, Some(9), "{said}");
    assert!(said.contains("detached"), "{said}");
}

#[test]
fn removing_a_store_needs_a_yes() {
    let dir = tempfile::tempdir().unwrap();
    let run = |line: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_starlog-store"));
        command.args(line.split(' ')).arg("--data").arg(dir.path());
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(run("store add orders:2").0, Some(0));
    assert_eq!(run("store remove orders").0, Some(2));
    assert_eq!(run("store list"), (Some(0), "orders 2 0,1 attached\n".to_owned()));
    assert_eq!(run("store remove orders --yes").0, Some(0));
    assert_eq!(run("store list"), (Some(0), String::new()));
    assert_eq!(run("store detach orders").0, Some(1));
}

/// A file-size limit stands for a full disk: what does not fit is refused definitely, and what is
/// there is still read.
#[test]
fn a_full_disk_is_a_definite_refusal_and_reads_go_on() {
    let (broker, dir) = (TestBroker::start(), tempfile::tempdir().unwrap());
    let mut process = Process::start(&broker, dir.path(), &[]);
    process.ready();
    let mut client = client(&broker);
    client.append(1, write("s", ExpectedVersion::Any, vec![event("first")]));
    process.terminate();
    assert_eq!(process.end().0, Some(0));
    // From here on no file may grow beyond 320 KiB, and a new segment wants 1 MiB.
    let binary = store(&broker, dir.path(), &["--segment", "1MiB"]);
    let mut command = Command::new("prlimit");
    command.arg("--fsize=327680:unlimited").arg(binary.get_program()).args(binary.get_args());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = Process::spawn(command);
    let replay = process.ready();
    let refused = (2..200).find_map(|number| {
        let events = vec![event(&"x".repeat(4000))];
        match client.append(number, write("s", ExpectedVersion::Any, events)) {
            AppendResult::Done(_) => None,
            AppendResult::Refused(refusal) => Some((number, refusal)),
        }
    });
    let (number, refusal) = refused.expect("the limit is reached");
    assert_eq!(ErrorCode::from_number(refusal.code), Some(ErrorCode::DISK_FULL));
    let sequences = ReplayClient::connect(&replay).sequences(read_all());
    assert_eq!(sequences.len(), usize::try_from(number - 1).unwrap());
    let pid = rustix::process::Pid::from_child(&process.child);
    let unlimited = rustix::process::Rlimit { current: None, maximum: None };
    rustix::process::prlimit(Some(pid), rustix::process::Resource::Fsize, unlimited).unwrap();
    let deadline = deadline(PATIENCE);
    let recovered = (number + 1..).find(|number| {
        assert!(!is_past(deadline), "appends do not go on after space has returned");
        let append = write("s", ExpectedVersion::Any, vec![event(&"x".repeat(4000))]);
        matches!(client.append(*number, append), AppendResult::Done(_))
    });
    assert!(recovered.is_some());
}

/// A write that fails for good: what is under way becomes unknown, and the process ends instead of
/// going on half alive. What was acknowledged before is there afterwards.
#[test]
fn a_failing_disk_ends_the_process_and_leaves_the_outcome_unknown() {
    let (broker, dir) = (TestBroker::start(), tempfile::tempdir().unwrap());
    let mut process = Process::start(&broker, dir.path(), &[]);
    process.ready();
    let mut client = client(&broker);
    client.append(1, write("s", ExpectedVersion::Any, vec![event("first")]));
    let pid = rustix::process::Pid::from_child(&process.child);
    let tiny = rustix::process::Rlimit { current: Some(1), maximum: None };
    rustix::process::prlimit(Some(pid), rustix::process::Resource::Fsize, tiny).unwrap();
    let result = client.append(2, write("s", ExpectedVersion::Any, vec![event("second")]));
    let AppendResult::Refused(refusal) = result else { panic!("{result:?}") };
    let code = ErrorCode::from_number(refusal.code).unwrap();
    assert_eq!(code.outcome(), broker::error_code::Outcome::Unknown, "{code:?}");
    let (code, said) = process.end();
    assert_eq!(code, Some(7), "{said}");
    let mut process = Process::start(&broker, dir.path(), &[]);
    let sequences = ReplayClient::connect(&process.ready()).sequences(read_all());
    assert_eq!(sequences[0], 1);
}

/// libzmq keeps what subscribers ask for in a trie, with a node for every byte.
#[test]
fn endless_subscriptions_end_the_process_and_lose_nothing() {
    let (broker, dir) = (TestBroker::start(), tempfile::tempdir().unwrap());
    let more = ["--memory-max", "64MiB"];
    let mut process = Process::start(&broker, dir.path(), &more);
    let (_replay, feed) = process.ready_both();
    let mut client = client(&broker);
    for number in 1..=50 {
        let append = write("s", ExpectedVersion::Any, vec![event("x")]);
        let result = client.append(number, append);
        assert!(matches!(result, AppendResult::Done(_)), "{result:?}");
    }
    let subscriber = net::socket(&Context::new(), SocketType::SUB).unwrap();
    subscriber.set_sndhwm(0).unwrap();
    net::connect(&subscriber, &feed).unwrap();
    for number in 0u32..8192 {
        let mut topic = number.to_be_bytes().to_vec();
        // With what libzmq puts before it, nearly as long as a subscription may be.
        topic.resize(500, b'x');
        subscriber.set_subscribe(&topic).unwrap();
    }
    let (code, said) = process.end();
    assert_eq!(code, Some(15), "{said}");
    assert!(said.contains("--memory-max allows 64 MiB: start it again"), "{said}");
    drop(subscriber);
    let mut process = Process::start(&broker, dir.path(), &more);
    let sequences = ReplayClient::connect(&process.ready()).sequences(read_all());
    assert_eq!(sequences, (1..=50).collect::<Vec<_>>());
    process.terminate();
    assert_eq!(process.end().0, Some(0));
}

#[test]
fn damaged_and_missing_data_say_so() {
    let (broker, dir) = (TestBroker::start(), tempfile::tempdir().unwrap());
    let mut process = Process::start(&broker, dir.path(), &[]);
    process.ready();
    let mut client = client(&broker);
    for number in 1..=3 {
        client.append(number, write("s", ExpectedVersion::Any, vec![event("find me")]));
    }
    process.terminate();
    assert_eq!(process.end().0, Some(0));
    let partition = dir.path().join("orders/0");
    let segment = partition.join("00000000000000000001.segment");
    let whole = std::fs::read(&segment).unwrap();
    let mut damaged = whole.clone();
    let place = whole.windows(7).position(|bytes| bytes == b"find me").unwrap();
    damaged[place] ^= 1;
    std::fs::write(&segment, damaged).unwrap();
    let (code, said) = Process::start(&broker, dir.path(), &[]).end();
    assert_eq!(code, Some(6), "{said}");
    assert!(said.contains("00000000000000000001.segment is damaged at byte"), "{said}");
    std::fs::write(&segment, whole).unwrap();
    std::fs::rename(&partition, dir.path().join("elsewhere")).unwrap();
    let (code, said) = Process::start(&broker, dir.path(), &[]).end();
    assert_eq!(code, Some(4), "{said}");
    std::fs::rename(dir.path().join("elsewhere"), &partition).unwrap();
    let mut process = Process::start(&broker, dir.path(), &[]);
    let sequences = ReplayClient::connect(&process.ready()).sequences(read_all());
    assert_eq!(sequences, [1, 2, 3]);
}

/// Runs `starlog-store verify`: exit code and what it printed.
fn verify(dir: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_starlog-store"));
    let output = command.arg("verify").arg(dir).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn verify_tells_clean_torn_and_damaged_apart() {
    let dir = tempfile::tempdir().unwrap();
    let name = store::StoreName::new("orders").unwrap();
    let options = store::NodeOptions { segment_bytes: 64 * 1024, ..Default::default() };
    let node = store::Node::open(dir.path(), &options).unwrap();
    let orders = node.ensure_store(&name, 1, 0..=0).unwrap();
    let stream = store::StreamName::try_from("s-1").unwrap();
    for _ in 0..3 {
        orders.append(&stream, ExpectedVersion::Any, vec![event("x")]).unwrap();
    }
    drop((orders, node));
    let (code, said) = verify(dir.path());
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said, "orders/0: clean, 3 records in 1 segments, sequences 1 to 3\n");

    let segment = dir.path().join("orders/0/00000000000000000001.segment");
    let sound = std::fs::read(&segment).unwrap();
    let end = sound.iter().rposition(|byte| *byte != 0).unwrap();
    let mut torn = sound.clone();
    torn[end] ^= 1;
    std::fs::write(&segment, &torn).unwrap();
    let (code, said) = verify(&dir.path().join("orders"));
    assert_eq!(code, Some(6), "the last append was committed when the store was closed: {said}");
    std::fs::remove_file(dir.path().join("orders/0/promise")).unwrap();
    let (code, said) = verify(&dir.path().join("orders"));
    assert_eq!(code, Some(12), "after a kill nothing vouches for it: {said}");
    assert!(said.contains("torn tail: ") && said.contains("after sequence 2"), "{said}");

    let mut damaged = sound;
    damaged[4096 + 120] ^= 1;
    std::fs::write(&segment, &damaged).unwrap();
    let (code, said) = verify(&dir.path().join("orders/0"));
    assert_eq!(code, Some(6), "{said}");
    assert!(said.contains("damaged: from sequence 1, at offset 4096"), "{said}");

    assert_eq!(verify(&dir.path().join("nowhere")).0, Some(11));
}
