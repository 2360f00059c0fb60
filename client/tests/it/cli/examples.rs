//! Every example in the help is run as it stands there.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::command::{Echo, Titanic};
use super::{Tool, Topology, starlog};
use crate::pair_world::PairWorld;

/// Examples that start processes of their own.
const STARTS_ITS_OWN: [&str; 4] = ["bench failover", "bench rejoin", "bench start", "--pair"];

/// Every command that has no commands of its own, in the order of the help.
fn commands(above: &[String]) -> Vec<Vec<String>> {
    let help = help(above);
    let Some((_, rest)) = help.split_once("\nCommands:\n") else {
        return vec![above.to_vec()];
    };
    let (list, _) = rest.split_once("\n\n").unwrap();
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    names.flat_map(|name| commands(&[above, &[name.to_owned()]].concat())).collect()
}

fn help(command: &[String]) -> String {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    starlog(&[&words[..], &["--help"]].concat()).run().ok()
}

fn examples(command: &[String]) -> Vec<String> {
    let help = help(command);
    let (_, examples) = help.split_once("Examples:\n").expect("no examples");
    examples.lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
fn every_example_of_the_help_works() {
    let topology = Topology::start(&["orders:1", "copies:1", "bench:1", "commands:1"]);
    let _titanic = Titanic::start(&topology.endpoint());
    let _echo = Echo::start(&topology.endpoint());
    let pair = PairWorld::start(1, store::Durability::Pair);
    let servers = super::bench::servers();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("paid.json"), r#"{"paid":true}"#).unwrap();
    let event = "{\"type\":\"OrderPlaced\",\"data\":{\"total\":7}}\n";
    std::fs::write(folder.path().join("events.ndjson"), event.repeat(3)).unwrap();
    let exported = format!(
        "{{\"stream\":\"order-80\",\"version\":1,\"id\":\"{}\",\"type\":\"T\",\"data\":1}}\n",
        uuid::Uuid::from_u128(80)
    );
    std::fs::write(folder.path().join("orders.ndjson"), exported).unwrap();
    super::operate::data_directory(&folder.path().join("backup"));
    let tool = Path::new(env!("CARGO_BIN_EXE_starlog")).parent().unwrap();
    let path = format!("{}:{}", tool.display(), std::env::var("PATH").unwrap());

    let commands = commands(&[]);
    assert!(commands.len() >= 8, "{commands:?}");
    for example in commands.iter().flat_map(|command| examples(command)) {
        // Handovers need a pair, and what kills processes starts its own.
        let of_pair = example.contains(" handover ");
        let broker = if of_pair { pair.endpoint().to_string() } else { topology.endpoint() };
        // The port of the test's broker is any free one.
        let mut line = example.replace("tcp://127.0.0.1:7400", &broker);
        if STARTS_ITS_OWN.iter().any(|command| example.contains(command)) {
            line.push_str(&format!(" --bin-dir {}", servers.display()));
        }
        if of_pair {
            pair.wait_until_whole();
        }
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &line]).current_dir(folder.path()).env("PATH", &path);
        let ended = Tool::of(shell).environment("STARLOG_BROKER", &broker);
        let ended = ended.run_for(Duration::from_secs(120));
        assert_eq!(ended.code, Some(0), "{example}: {}", ended.errors);
        // An empty list has no lines in NDJSON.
        let may_be_silent = example.contains(" list ") && example.contains("ndjson");
        assert!(may_be_silent || !ended.output.is_empty(), "{example} printed nothing");
    }
}
