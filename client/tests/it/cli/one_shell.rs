//! Servers that are started from one shell, which has the settings of all of them.

use std::process::Command;

use super::bench::servers;
use super::server::Server;
use super::{Topology, starlog};

#[test]
fn a_store_and_titanic_read_variables_of_their_own() {
    let (topology, folder) = (Topology::start(&[]), tempfile::tempdir().unwrap());
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let shell = [
        ("STARLOG_BROKER", topology.endpoint()),
        ("STARLOG_STORE", "orders:2,kept:1".to_owned()),
        ("STARLOG_DATA", path("store")),
        ("STARLOG_TITANIC_STORE", "kept".to_owned()),
        ("STARLOG_TITANIC_DATA", path("titanic")),
    ];
    // Either may come first: neither takes the other's folder.
    let mut processes = ["starlog-titanic", "starlog-store"].map(|name| {
        let mut command = Command::new(servers().join(name));
        command.envs(shell.iter().cloned());
        Server::start(command)
    });
    processes.iter_mut().for_each(Server::wait_ready);

    let tool = |arguments: &[&str]| {
        let tool = starlog(arguments);
        shell.iter().fold(tool, |tool, (name, value)| tool.environment(name, value)).run()
    };
    tool(&["command", "send", "nobody", "hello"]).ok();
    // The command is in Titanic's store, and nothing is in the other one.
    assert_ne!(tool(&["replay", "kept"]).ok(), "");
    assert_eq!(tool(&["replay", "orders", "-o", "ndjson"]).ok(), "");
    let view = |name: &str| folder.path().join(name).join("view.redb").exists();
    assert_eq!((view("store"), view("titanic")), (false, true));
}
