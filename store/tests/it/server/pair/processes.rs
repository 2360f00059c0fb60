//! Nodes as processes that are killed and stopped by signals.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::Which::{Backup, Primary};
use super::{Surroundings, Which, index, records, status, wait};
use crate::server::bench::ReplayClient;

/// The command of a node; some flags may have other values than usual.
pub fn command(around: &Surroundings, which: Which, dir: &Path, other: &[(&str, &str)]) -> Command {
    let (broker, witness) = (around.broker.endpoint(), around.witness());
    let (listen, peer) = (around.listen(which), around.listen(which.other()));
    let role = match which {
        Primary => "primary",
        Backup => "backup",
    };
    let flags = [
        ("--broker", broker.as_str()),
        ("--store", "orders:1"),
        ("--role", role),
        ("--durability", "pair"),
        ("--pair-listen", listen.as_str()),
        ("--peer", peer.as_str()),
        ("--witness", witness.as_str()),
        ("--grow-backoff", "0s"),
    ];
    let mut command = Command::new(env!("CARGO_BIN_EXE_starlog-store"));
    command.env("STARLOG_SEGMENT", "64KiB").arg("--data").arg(dir);
    for (flag, value) in flags {
        let changed = other.iter().find(|(name, _)| *name == flag);
        command.args([flag, changed.map_or(value, |(_, value)| value)]);
    }
    let added = other.iter().filter(|(name, _)| flags.iter().all(|(flag, _)| flag != name));
    for (flag, value) in added {
        command.args([flag, value]);
    }
    command
}

/// A pair of processes.
struct Processes {
    around: Surroundings,
    dirs: [TempDir; 2],
    nodes: [Option<(Child, ReplayClient)>; 2],
}

impl Processes {
    fn start() -> Self {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let mut pair = Self { around: Surroundings::new(), dirs, nodes: [None, None] };
        pair.up(Primary);
        pair.up(Backup);
        pair.wait_whole();
        pair
    }

    fn up(&mut self, which: Which) {
        let mut command = command(&self.around, which, self.dirs[index(which)].path(), &[]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let replay = line.trim_end().strip_prefix("starlog-store replay ").expect("it comes up");
        let replay = ReplayClient::connect(&replay.parse().unwrap());
        self.nodes[index(which)] = Some((child, replay));
    }

    fn replay(&self, which: Which) -> &ReplayClient {
        &self.nodes[index(which)].as_ref().unwrap().1
    }

    fn signal(&self, which: Which, signal: Signal) {
        let (child, _) = self.nodes[index(which)].as_ref().unwrap();
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    fn kill(&mut self, which: Which) {
        let (mut child, _) = self.nodes[index(which)].take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn leads(&self, which: Which) -> bool {
        status(self.replay(which)).pair.unwrap().standing.starts_with("leading")
    }

    fn wait_whole(&self) {
        let whole = |which| {
            let status = status(self.replay(which)).pair.unwrap();
            status.members.len() == 2 && (status.copies == 2 || status.standing.starts_with("foll"))
        };
        wait("the pair is whole", || whole(Primary) && whole(Backup));
    }

    fn assert_same(&self) {
        let records = |which| records(self.replay(which));
        wait("both nodes show the same", || records(Primary) == records(Backup));
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for (child, _) in self.nodes.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn killed_leaders_lose_and_double_nothing() {
    let mut pair = Processes::start();
    let mut client = pair.around.client();
    let mut next = 1;
    for leader in [Primary, Backup, Primary] {
        assert!(pair.leads(leader));
        client.send(next..next + 100);
        // In the midst of the answers.
        (0..10).for_each(|_| drop(client.done()));
        pair.kill(leader);
        // What comes now is answered by the other one, before the killed one is back.
        client.send(next + 100..next + 110);
        (10..110).for_each(|_| drop(client.done()));
        pair.up(leader);
        pair.wait_whole();
        pair.assert_same();
        next += 110;
    }
    let streams = crate::server::pair::streams(pair.replay(Primary));
    let expected = (1..next).map(|number| format!("order-{number}"));
    assert_eq!(streams, expected.collect::<Vec<_>>(), "each once, in order");
}

#[test]
fn a_leader_that_stood_still_acknowledges_nothing() {
    let mut pair = Processes::start();
    let mut client = pair.around.client();
    client.append(1..10);
    pair.signal(Primary, Signal::STOP);
    client.send(10..60);
    for _ in 0..50 {
        let (done, copies) = client.done();
        assert_eq!((copies, done.duplicate), (1, false), "the other one alone");
    }
    pair.signal(Primary, Signal::CONT);
    pair.wait_whole();
    assert!(pair.leads(Backup));
    client.append(60..61);
    pair.assert_same();
    let streams = crate::server::pair::streams(pair.replay(Primary));
    assert_eq!(streams, (1..61).map(|number| format!("order-{number}")).collect::<Vec<_>>());
    pair.kill(Primary);
}

#[test]
fn a_follower_that_stood_still_is_left_and_taken_in_again() {
    let pair = Processes::start();
    let mut client = pair.around.client();
    client.append(1..10);
    pair.signal(Backup, Signal::STOP);
    for (_, copies) in client.append(10..30) {
        assert_eq!(copies, 1);
    }
    pair.signal(Backup, Signal::CONT);
    pair.wait_whole();
    assert_eq!(client.append(30..31)[0].1, 2);
    pair.assert_same();
}
