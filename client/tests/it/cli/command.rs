//! `starlog command`, with a Titanic as a process of its own.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use broker::mdp::{Worker, WorkerConfig};
use serde_json::{Value, json};

use super::bench::servers;
use super::server::Server;
use super::{Tool, Topology};

/// A Titanic on the store `commands`.
pub struct Titanic {
    _process: Server,
}

impl Titanic {
    pub fn start(broker: &str) -> Self {
        let mut command = Command::new(servers().join("starlog-titanic"));
        command.args(["--broker", broker, "--store", "commands", "--backoff", "50ms"]);
        let mut process = Server::start(command);
        process.wait_ready();
        Self { _process: process }
    }
}

/// A worker of the service `echo`.
pub struct Echo {
    closed: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    pub fn start(broker: &str) -> Self {
        let config = WorkerConfig::new(broker.parse().unwrap(), "echo");
        let mut worker = Worker::ready(config).unwrap();
        let closed = Arc::new(AtomicBool::new(false));
        let end = closed.clone();
        let thread = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                if let Some(job) = worker.receive_for(Duration::from_millis(20)).unwrap() {
                    let answer = job.body.clone();
                    worker.reply(job, answer).unwrap();
                }
            }
        });
        Self { closed, thread: Some(thread) }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

const ID: &str = "0190163D8694739BAEA5966C26F8AD91";
const OTHER: &str = "0190163D8694739BAEA5966C26F8AD92";

/// `starlog command …`, with JSON.
fn command(topology: &Topology, line: &str) -> Tool {
    let words: Vec<&str> = line.split_whitespace().chain(["-o", "json"]).collect();
    topology.starlog(&[&["command"], &words[..]].concat())
}

#[test]
fn a_command_from_sending_to_closing() {
    let topology = Topology::start(&["commands:1"]);
    let _titanic = Titanic::start(&topology.endpoint());
    let run = |line: &str| command(&topology, line).run();

    let unknown = run(&format!("status {ID}")).error(3);
    assert_eq!(unknown["details"]["state"], "unknown");
    for _ in 0..2 {
        assert_eq!(run(&format!("send echo hello {{}} --id {ID}")).json(), json!({ "id": ID }));
    }
    let another = run(&format!("send echo other --id {ID}")).error(2);
    assert_eq!(another["outcome"], "not_done");
    let status = run(&format!("status {}", ID.to_lowercase())).json();
    assert_eq!((&status["state"], &status["service"]), (&json!("queued"), &json!("echo")));
    let pending = run(&format!("reply {ID}")).error(5);
    assert_eq!((&pending["retry"], &pending["outcome"]), (&json!(true), &json!("not_done")));

    let _echo = Echo::start(&topology.endpoint());
    let reply = run(&format!("reply {ID} --wait 20s")).json();
    assert_eq!(reply, json!({ "id": ID, "body": ["hello", "{}"] }));
    assert_eq!(run(&format!("reply {ID}")).json(), reply, "again");
    let list = run("list --service echo").json();
    assert_eq!(list["commands"][0]["state"], "replied");
    assert_eq!(list["more"], false);

    for id in [ID, ID, OTHER] {
        let closed = run(&format!("close {id}")).json();
        assert_eq!(closed, json!({ "id": id, "state": "closed" }), "also if it is unknown");
    }
    assert_eq!(run(&format!("reply {ID}")).error(3)["details"]["state"], "closed");
    assert_eq!(run("list").json()["commands"], json!([]));
    let waited = run("send echo now --wait 20s").json();
    assert_eq!(waited["body"], json!(["now"]));
}

#[test]
fn dead_commands_are_listed_requeued_and_purged() {
    let topology = Topology::start(&["commands:1"]);
    let _titanic = Titanic::start(&topology.endpoint());
    let run = |line: &str| command(&topology, line).run();
    run(&format!("send nobody hello --id {ID} --ttl 100ms")).ok();
    run(&format!("send nobody later --id {OTHER} --delay 1h")).ok();
    // The first one dies of its time to live; whoever waits is told.
    let dead = run(&format!("reply {ID} --wait 20s")).error(3);
    assert_eq!(dead["details"]["reason"], "expired", "{dead}");
    let listed = run("dead").json();
    let ids = |document: &Value| {
        let commands = document["commands"].as_array().unwrap();
        commands.iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&listed), [ID]);
    assert_eq!(listed["commands"][0]["reason"], "expired");

    let dry = run("requeue --dead --dry-run").json();
    assert_eq!((&dry["matched"], &dry["done"]), (&json!(1), &json!(0)));
    assert_eq!(ids(&run("dead").json()), [ID], "a dry run does nothing");
    assert_eq!(run("requeue --dead --attempts 3").json()["done"], 1);
    let status = run(&format!("status {ID}")).json();
    assert_eq!((&status["state"], &status["attempts_max"]), (&json!("queued"), &json!(3)));

    let dry = run("purge --state queued --service nobody --dry-run").json();
    assert_eq!((&dry["matched"], &dry["done"]), (&json!(2), &json!(0)));
    assert_eq!(run("purge --state queued --older 1h").json()["matched"], 0);
    assert_eq!(run(&format!("purge {OTHER}")).json()["done"], 1);
    assert_eq!(ids(&run("list").json()), [ID]);
    assert_eq!(run("purge --state queued").json()["done"], 1);
    assert_eq!(run("list").json()["commands"], json!([]));
}

#[test]
fn without_titanic_it_is_exit_4_or_5() {
    let topology = Topology::start(&[]);
    let line = format!("status {ID} --timeout 500ms");
    let ended = command(&topology, &line).run();
    assert!(matches!(ended.code, Some(4 | 5)), "{ended:?}");
}

#[test]
fn what_makes_no_sense_is_exit_2() {
    let topology = Topology::start(&[]);
    for line in [
        "send echo",
        "send titanic.request hello",
        "send echo hello --id 17",
        "send echo - -",
        "status nonsense",
        "requeue",
        "requeue --dead 0190163D8694739BAEA5966C26F8AD91",
        "purge",
        "purge --older 1h",
        "purge --state closed",
    ] {
        command(&topology, line).run().error(2);
    }
}
