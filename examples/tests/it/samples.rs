//! Each sample does what its page says, against servers in this process.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver},
    time::Duration,
};

use broker::mdp;
use client::{Client, EncodeEvent, ExpectedVersion, NewEvent, StoreName, command::wire::List};
use starlog_examples::clock::Deadline;

use crate::program;

const PATIENCE: Duration = Duration::from_secs(30);

/// A broker and a store in this process, on a temporary folder.
struct Servers {
    endpoint: String,
    _store: store::server::Handle,
    _broker: broker::server::Handle,
    _folder: tempfile::TempDir,
}

impl Servers {
    /// The same with a Titanic.
    fn with_titanic() -> (Self, titanic::server::Handle) {
        let servers = Self::start();
        let config = titanic::config::Config {
            brokers: vec![servers.endpoint.parse().unwrap()],
            store: StoreName::new("commands").unwrap(),
            ..Default::default()
        };
        let titanic = titanic::server::start(&config).unwrap();
        assert!(titanic.wait_serving(PATIENCE), "Titanic does not serve");
        (servers, titanic)
    }

    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let broker = broker::server::start(broker::config::Config {
            listen: vec!["tcp://127.0.0.1:*".parse().unwrap()],
            data: folder.path().join("broker"),
            ..Default::default()
        })
        .unwrap();
        let endpoint = broker.endpoints()[0].clone();
        let store = store::server::start(&store::server::config::Config {
            brokers: vec![endpoint.clone()],
            data: folder.path().join("store"),
            stores: ["orders:2", "commands:1"].map(|store| store.parse().unwrap()).to_vec(),
            ..Default::default()
        })
        .unwrap();
        let endpoint = endpoint.to_string();
        Self { endpoint, _store: store, _broker: broker, _folder: folder }
    }

    /// Starts a sample that runs until it is killed.
    fn sample(&self, program: &str, arguments: &[&str]) -> Sample {
        let mut child = Command::new(program)
            .args(arguments)
            .env("STARLOG_BROKER", &self.endpoint)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = read_lines(child.stdout.take().unwrap());
        let input = child.stdin.take().unwrap();
        Sample { child, input, lines }
    }
}

struct Sample {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Sample {
    /// Waits for a line that contains `part`.
    fn expect(&self, part: &str) -> String {
        let deadline = Deadline::after(PATIENCE);
        loop {
            let line = self.lines.recv_timeout(deadline.remaining());
            let line = line.unwrap_or_else(|_| panic!("no line with {part:?} in time"));
            if line.contains(part) {
                return line;
            }
        }
    }
}

impl Sample {
    /// Waits until it has ended by itself, and well.
    fn finish(&mut self) {
        let ended = Deadline::after(PATIENCE).wait_for(|| self.child.try_wait().unwrap());
        assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_lines(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

#[test]
fn embedded_appends_and_finds_its_events_again() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for run in 1..=2 {
        let arguments = [data.to_str().unwrap()];
        let program = env!("CARGO_BIN_EXE_embedded");
        let ended = program::run(program, &arguments, (folder.path(), PATIENCE));
        assert!(ended.status.success(), "{}", ended.words());
        let version = format!("order-17 {run} OrderPlaced");
        assert!(ended.output.contains(&version), "{}", ended.words());
    }
}

#[test]
fn embedded_is_as_short_as_promised() {
    let source = include_str!("../../src/bin/embedded.rs");
    assert!(source.lines().count() < 30);
}

#[test]
fn the_mdp_worker_answers() {
    let servers = Servers::start();
    let _worker = servers.sample(env!("CARGO_BIN_EXE_mdp_worker"), &[]);
    let endpoint = servers.endpoint.parse().unwrap();
    let mut client = mdp::Client::connect(mdp::ClientConfig::new(endpoint)).unwrap();
    let answer = client.request("echo", vec![b"hello".as_slice().into()]).unwrap();
    assert_eq!(answer, [b"hello".as_slice()]);
}

#[test]
fn the_projection_goes_on_where_it_was_killed() {
    let servers = Servers::start();
    let folder = tempfile::tempdir().unwrap();
    let views = folder.path().join("sizes.redb");
    let orders = Client::connect([servers.endpoint.as_str()]).unwrap();
    let orders = Deadline::after(PATIENCE).wait_for(|| orders.store("orders").ok()).unwrap();
    let append = |stream: &str, events: usize| {
        let event = || NewEvent::json("Grown", &"x".repeat(100)).unwrap();
        let events = (0..events).map(|_| event()).collect();
        orders.append(stream, ExpectedVersion::Any, events).wait().unwrap();
    };
    append("a-1", 10);
    append("b-1", 10);
    {
        let sample = servers.sample(env!("CARGO_BIN_EXE_projection"), &[views.to_str().unwrap()]);
        sample.expect("20 events");
    }
    append("a-1", 5);
    let sample = servers.sample(env!("CARGO_BIN_EXE_projection"), &[views.to_str().unwrap()]);
    sample.expect("going on after 20 events");
    sample.expect("25 events");
}

#[test]
fn chatters_hear_each_other_and_newcomers_hear_the_past() {
    let servers = Servers::start();
    let program = env!("CARGO_BIN_EXE_chat");
    let orders = Client::connect([servers.endpoint.as_str()]).unwrap();
    Deadline::after(PATIENCE).wait_for(|| orders.store("orders").ok()).unwrap();
    let mut ada = servers.sample(program, &["ada"]);
    writeln!(ada.input, "hello?").unwrap();
    ada.expect("ada: hello?");
    let mut björn = servers.sample(program, &["björn"]);
    björn.expect("ada: hello?");
    writeln!(björn.input, "hej").unwrap();
    ada.expect("björn: hej");
}

#[test]
fn commands_outlive_their_sender_and_are_kept_once() {
    let (servers, _titanic) = Servers::with_titanic();
    let program = env!("CARGO_BIN_EXE_commands");
    let words = ["letter", "hello", "world"];
    {
        let sample = servers.sample(program, &words);
        sample.expect("hello: no reply yet");
    }
    let _worker = servers.sample(env!("CARGO_BIN_EXE_mdp_worker"), &[]);
    let open = || {
        let commands = Client::connect([servers.endpoint.as_str()]).unwrap().commands();
        let list = List { state: None, service: None, after: None, limit: 10 };
        commands.list(&list).unwrap().commands.len()
    };
    assert_eq!(open(), 2);
    let again = Deadline::after(PATIENCE).wait_for(|| {
        let mut sample = servers.sample(program, &words);
        let line = sample.expect("hello: ");
        sample.finish();
        (!line.contains("no reply yet")).then_some(line)
    });
    assert_eq!(again.as_deref(), Some("hello: hello"));
    let closed = Deadline::after(PATIENCE).wait_for(|| {
        servers.sample(program, &words).finish();
        (open() == 0).then_some(())
    });
    assert_eq!(closed, Some(()));
    let sample = servers.sample(program, &words);
    sample.expect("hello: closed by an earlier run");
}

#[test]
fn the_saga_welcomes_everybody_once() {
    let (servers, _titanic) = Servers::with_titanic();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("welcome.redb");
    let arguments = [file.to_str().unwrap()];
    let client = Client::connect([servers.endpoint.as_str()]).unwrap();
    let orders = Deadline::after(PATIENCE).wait_for(|| client.store("orders").ok()).unwrap();
    let say = |who: &str| {
        let said = serde_json::json!({ "who": who, "words": "hello" });
        let event = NewEvent::json("Said", &said).unwrap();
        orders.append("chat-room", ExpectedVersion::Any, vec![event]).wait().unwrap();
    };
    let open = || {
        let list = List { state: None, service: None, after: None, limit: 10 };
        client.commands().list(&list).unwrap().commands.len()
    };
    let welcomed =
        |count: usize| Deadline::after(PATIENCE).wait_for(|| (open() == count).then_some(()));
    say("ada");
    {
        let sample = servers.sample(env!("CARGO_BIN_EXE_saga"), &arguments);
        sample.expect("ada is welcomed");
        say("ada");
        assert_eq!(welcomed(1), Some(()));
    }
    say("björn");
    let sample = servers.sample(env!("CARGO_BIN_EXE_saga"), &arguments);
    sample.expect("björn is welcomed");
    assert_eq!(welcomed(2), Some(()));
}
