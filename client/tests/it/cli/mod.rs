//! The tool as a process of its own, against a broker and a store in this process.

mod append;
mod bench;
mod bench_reading;
mod command;
mod doctor;
mod documents;
mod examples;
mod one_shell;
mod operate;
mod pair;
mod reading;
mod server;
mod side_by_side;
mod status;
mod tail;
mod transfer;

use std::io::{Read, Write as _};
use std::net::TcpListener;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// No run of the tool in these tests takes longer.
const RUN_WAIT_MAX: Duration = Duration::from_secs(60);

/// A broker with one store process. Fields are dropped, and with them servers stopped, in order.
pub struct Topology {
    _store: Option<store::server::Handle>,
    broker: broker::server::Handle,
    _folder: TempDir,
}

impl Topology {
    /// Serves `stores`, each written `NAME:PARTITIONS`.
    pub fn start(stores: &[&str]) -> Self {
        Self::hosting(stores, None)
    }

    /// The same with only some partitions hosted.
    pub fn hosting(stores: &[&str], host: Option<std::ops::RangeInclusive<u16>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let broker = broker::server::start(broker::config::Config {
            listen: vec!["tcp://127.0.0.1:*".parse().unwrap()],
            data: folder.path().join("broker"),
            ..broker::config::Config::default()
        })
        .unwrap();
        let store = (!stores.is_empty()).then(|| {
            let store = store::server::start(&store::server::config::Config {
                data: folder.path().join("store"),
                brokers: broker.endpoints().to_vec(),
                stores: stores.iter().map(|store| store.parse().unwrap()).collect(),
                host,
                ..store::server::config::Config::default()
            })
            .unwrap();
            assert!(store.wait_serving(Duration::from_secs(20)), "the store does not register");
            store
        });
        Self { _store: store, broker, _folder: folder }
    }

    /// The broker's endpoint.
    pub fn endpoint(&self) -> String {
        self.broker.endpoints()[0].to_string()
    }

    /// The tool, pointed at this broker.
    pub fn starlog(&self, arguments: &[&str]) -> Tool {
        starlog(arguments).environment("STARLOG_BROKER", &self.endpoint())
    }
}

/// A run of the tool in the making.
pub struct Tool {
    command: Command,
    input: Vec<u8>,
}

/// The tool without a broker.
pub fn starlog(arguments: &[&str]) -> Tool {
    let mut command = Command::new(env!("CARGO_BIN_EXE_starlog"));
    command.args(arguments).env_remove("STARLOG_BROKER");
    Tool { command, input: Vec::new() }
}

impl Tool {
    pub fn of(command: Command) -> Self {
        Self { command, input: Vec::new() }
    }

    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// What arrives on its standard input.
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Starts it and leaves it running.
    pub fn spawn(mut self) -> Running {
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A tool that does not want its input closes it.
        let _ = stdin.write_all(&self.input);
        let errors = collect(child.stderr.take().unwrap());
        Running { child, errors }
    }

    /// Runs it to its end.
    pub fn run(self) -> Ended {
        self.run_for(RUN_WAIT_MAX)
    }

    /// Runs it to its end, which may take so long.
    pub fn run_for(self, time_max: Duration) -> Ended {
        let mut running = self.spawn();
        let output = collect(running.child.stdout.take().unwrap());
        let (status, errors) = running.wait_for(time_max);
        Ended { code: status.code(), output: output.join().unwrap(), errors }
    }
}

fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        from.read_to_string(&mut text).unwrap();
        text
    })
}

/// The tool while it runs; its standard output is the test's to read.
pub struct Running {
    pub child: Child,
    errors: JoinHandle<String>,
}

impl Running {
    /// Waits for its end and returns what it said on standard error.
    pub fn wait(self) -> (ExitStatus, String) {
        self.wait_for(RUN_WAIT_MAX)
    }

    #[expect(clippy::disallowed_methods, reason = "a time-out of a test reads the clock")]
    fn wait_for(mut self, time_max: Duration) -> (ExitStatus, String) {
        let deadline = Instant::now() + time_max;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, self.errors.join().unwrap());
            }
            if Instant::now() > deadline {
                self.child.kill().unwrap();
                panic!("still running after {time_max:?}: {}", self.errors.join().unwrap());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub output: String,
    pub errors: String,
}

impl Ended {
    /// Its output, if it ended well.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.output
    }

    /// Its output as one JSON document, if it ended well.
    #[track_caller]
    pub fn json(self) -> Value {
        serde_json::from_str(&self.ok()).unwrap()
    }

    /// Its output as one JSON object per line, if it ended well.
    #[track_caller]
    pub fn lines(self) -> Vec<Value> {
        self.ok().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Its error object, if it ended with this exit code and printed no data.
    #[track_caller]
    pub fn error(self, code: i32) -> Value {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.output, "", "data beside an error");
        let error: Value = serde_json::from_str(self.errors.trim()).unwrap();
        error["error"].clone()
    }
}

/// An endpoint that takes connections and never says a word.
pub fn silent_endpoint() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    (listener, endpoint)
}

#[test]
fn a_wrong_command_line_is_exit_2_in_both_forms() {
    let ended = starlog(&["append", "orders"]).run();
    assert_eq!(ended.code, Some(2));
    assert!(ended.errors.contains("Usage: starlog append"), "{}", ended.errors);
    let error = starlog(&["read", "Orders!", "order-1", "-o", "json"]).run().error(2);
    assert_eq!(error["code"], "INVALID_ARGUMENT");
    assert_eq!(error["outcome"], "not_done");
}

#[test]
fn version_and_help_are_data() {
    let version = starlog(&["--version"]).run().ok();
    assert_eq!(version, format!("starlog {}\n", env!("CARGO_PKG_VERSION")));
    assert!(starlog(&["--help"]).run().ok().contains("Exit codes:"));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the time-out is what is tested")]
fn an_absent_broker_is_exit_5_within_the_time_out() {
    let (_listener, endpoint) = silent_endpoint();
    let rows: [&[&str]; 4] = [
        &["append", "orders", "order-1", "--type", "T", "--data", "1", "--expect", "any"],
        &["read", "orders", "order-1"],
        &["tail", "orders"],
        &["status"],
    ];
    for row in rows {
        let started = Instant::now();
        let global = ["--broker", &endpoint, "--timeout", "1s", "-o", "json"];
        let error = starlog(&[row, &global].concat()).run().error(5);
        assert!(started.elapsed() < Duration::from_secs(10), "{row:?}");
        assert_eq!(error["code"], "NO_WORKER", "{row:?}");
        assert_eq!(error["outcome"], "not_done", "{row:?}");
        assert_eq!(error["retry"], true, "{row:?}");
    }
}

#[test]
fn an_unknown_store_is_exit_4() {
    let topology = Topology::start(&["orders:1"]);
    let rows: [&[&str]; 6] = [
        &["append", "absent", "a-1", "--type", "T", "--data", "1", "--expect", "any"],
        &["import", "absent", "-"],
        &["export", "absent"],
        &["read", "absent", "a-1"],
        &["replay", "absent"],
        &["status", "absent"],
    ];
    for row in rows {
        let error = topology.starlog(&[row, &["-o", "json"]].concat()).run().error(4);
        assert_eq!(error["code"], "STORE_NOT_FOUND", "{row:?}");
    }
}
