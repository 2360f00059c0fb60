use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a test waits for anything before it fails.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// What beats is fast here, so that tests are.
pub const HEARTBEAT: Duration = Duration::from_millis(100);

/// What Titanic is told unless a test says otherwise, so that waiting is short.
const QUICK: [(&str, &str); 4] = [
    ("STARLOG_HEARTBEAT", "100ms"),
    ("STARLOG_CLAIM_LEASE", "2s"),
    ("STARLOG_BACKOFF", "50ms"),
    ("STARLOG_BACKOFF_MAX", "200ms"),
];

/// Says what the test binary is to be when a test has started it again.
const ROLE: &str = "STARLOG_TEST_ROLE";
const DATA: &str = "STARLOG_TEST_DATA";
const BROKERS: &str = "STARLOG_TEST_BROKERS";
const STORE: &str = "STARLOG_TEST_STORE";

/// A child process. Dropping it kills it.
pub struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    pub fn start(command: &mut Command) -> Self {
        let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let (out, errors) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        let said = sender.clone();
        std::thread::spawn(move || read(out, &sender));
        // The log goes the same way, so that a process that does not come up can be quoted.
        std::thread::spawn(move || read(errors, &said));
        Self { child, lines }
    }

    /// Waits for a line that contains `words`; what follows them in it.
    pub fn wait_for(&self, words: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut said = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("it never said `{words}`, but:\n{}", said.join("\n"));
            };
            if let Some((_, rest)) = line.split_once(words) {
                return rest.trim().to_owned();
            }
            said.push(line);
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// SIGKILL: it ends where it stands.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end; the exit code and what it said.
    pub fn end(mut self) -> (Option<i32>, String) {
        let status = self.wait();
        let said: Vec<String> = self.lines.iter().collect();
        (status.code(), said.join("\n"))
    }

    /// SIGTERM; the exit code and what it said.
    pub fn terminate(self) -> (Option<i32>, String) {
        self.signal(Signal::TERM);
        self.end()
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the process does not end");
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

fn read(from: impl Read, lines: &mpsc::Sender<String>) {
    for line in BufReader::new(from).lines().map_while(Result::ok) {
        if lines.send(line).is_err() {
            return;
        }
    }
}

/// A broker at an endpoint.
pub fn broker(data: &Path, listen: &str) -> Process {
    Process::start(role("broker", data).env(BROKERS, listen))
}

/// A store process that serves one store, `NAME:PARTITIONS`.
pub fn store(data: &Path, brokers: &[String], store: &str) -> Process {
    Process::start(role("store", data).env(BROKERS, brokers.join(",")).env(STORE, store))
}

/// Titanic itself.
pub fn titanic(brokers: &[String], arguments: &[&str]) -> Process {
    Process::start(
        Command::new(env!("CARGO_BIN_EXE_starlog-titanic"))
            .args(brokers.iter().flat_map(|broker| ["--broker", broker]))
            .args(arguments)
            .envs(QUICK),
    )
}

fn role(role: &str, data: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    // Only a test can be run in a test binary, so this is one.
    command.args(["--exact", "process::played_when_started_again", "--nocapture"]);
    command.env(ROLE, role).env(DATA, data);
    command
}

#[test]
fn played_when_started_again() {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let data = variable(DATA).into();
    let brokers = variable(BROKERS);
    let brokers = brokers.split(',').filter(|text| !text.is_empty()).map(|e| e.parse().unwrap());
    match variable(ROLE).as_str() {
        "broker" => {
            let drain = Duration::from_millis(100);
            let listen = brokers.collect();
            let mut config = broker::config::Config { listen, data, drain, ..Default::default() };
            config.routing.heartbeat = HEARTBEAT;
            broker::server::run(config).unwrap();
        }
        "store" => {
            let mut config = store::server::config::Config {
                data,
                brokers: brokers.collect(),
                stores: vec![variable(STORE).parse().unwrap()],
                heartbeat: HEARTBEAT,
                ..Default::default()
            };
            config.node.segment_bytes = 16 * 1024 * 1024;
            store::server::run(&config).unwrap();
        }
        _ => {}
    }
}
