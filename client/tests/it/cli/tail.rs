//! `starlog tail`.

use std::io::{BufRead as _, BufReader};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::Topology;

fn append(topology: &Topology, stream: &str) {
    let append = ["append", "orders", stream, "--type", "T", "--data", "1", "--expect", "any"];
    topology.starlog(&append).run().ok();
}

#[test]
fn it_follows_until_interrupted_and_ends_well() {
    let topology = Topology::start(&["orders:2"]);
    append(&topology, "order-1");
    let tail = ["tail", "orders", "--from", "start", "-o", "ndjson"];
    let mut running = topology.starlog(&tail).spawn();
    let mut lines = BufReader::new(running.child.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["stream"], "order-1");
    for stream in ["order-20", "order-2", "order-21"] {
        append(&topology, stream);
        assert_eq!(next()["stream"], stream);
    }
    kill_process(Pid::from_child(&running.child), Signal::INT).unwrap();
    let (status, errors) = running.wait();
    assert_eq!(status.code(), Some(0), "{errors}");
    let counters: Value = serde_json::from_str(errors.trim()).unwrap();
    assert_eq!(counters["counters"]["events"], 4);
    assert_eq!(counters["counters"]["events_lost"], 0);
}

#[test]
fn it_starts_where_it_is_told_to() {
    let topology = Topology::start(&["orders:1"]);
    for stream in ["order-1", "order-2", "order-3"] {
        append(&topology, stream);
    }
    let tail = |from| ["tail", "orders", "--from", from, "--limit", "1", "-q", "-o", "ndjson"];
    assert_eq!(topology.starlog(&tail("start")).run().lines()[0]["sequence"], 1);
    assert_eq!(topology.starlog(&tail("2")).run().lines()[0]["sequence"], 2);

    // From now on: what is there already is not shown.
    let mut running = topology.starlog(&tail("now")).spawn();
    let mut output = BufReader::new(running.child.stdout.take().unwrap());
    let shown = std::thread::spawn(move || {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        line
    });
    // When exactly the tool has joined can't be seen from here, so events are appended until it
    // shows one.
    while !shown.is_finished() {
        append(&topology, "order-4");
    }
    let line: Value = serde_json::from_str(&shown.join().unwrap()).unwrap();
    assert_eq!(line["stream"], "order-4");
    assert_eq!(running.wait().0.code(), Some(0));
}

#[test]
fn a_sequence_needs_its_partition() {
    let topology = Topology::start(&["orders:2"]);
    let error = topology.starlog(&["tail", "orders", "--from", "5", "-o", "json"]).run().error(2);
    assert_eq!(error["code"], "INVALID_ARGUMENT");
}

#[test]
fn a_category_or_a_stream_is_followed_alone() {
    let topology = Topology::start(&["orders:2"]);
    for stream in ["order-1", "cart-1", "order-2", "cart-2"] {
        append(&topology, stream);
    }
    let tail = |rest: &[&str]| {
        let line = [&["tail", "orders", "--from", "start", "-o", "ndjson"], rest].concat();
        let mut running = topology.starlog(&line).spawn();
        let lines = BufReader::new(running.child.stdout.take().unwrap()).lines();
        let streams = lines.map(|line| {
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            line["stream"].as_str().unwrap().to_owned()
        });
        (running, streams)
    };
    let (of_category, mut carts) = tail(&["--category", "cart", "--limit", "3"]);
    let (of_stream, mut order) = tail(&["--stream", "order-2", "--limit", "2"]);
    let mut history = [carts.next().unwrap(), carts.next().unwrap()];
    history.sort();
    assert_eq!(history, ["cart-1", "cart-2"]);
    assert_eq!(order.next().unwrap(), "order-2");
    for stream in ["order-1", "cart-3", "order-2"] {
        append(&topology, stream);
    }
    assert_eq!((carts.next().unwrap(), carts.next()), ("cart-3".to_owned(), None));
    assert_eq!((order.next().unwrap(), order.next()), ("order-2".to_owned(), None));
    for running in [of_category, of_stream] {
        let (status, errors) = running.wait();
        assert_eq!(status.code(), Some(0), "{errors}");
        let counters: Value = serde_json::from_str(errors.trim()).unwrap();
        assert_eq!(counters["counters"]["events_lost"], 0);
    }
    // A stream's partition need not be named for a sequence; a sequence counts in it.
    let line = ["tail", "orders", "--stream", "order-1", "--from", "1", "--limit", "1", "-q"];
    let line = [&line[..], &["--type", "T", "-o", "ndjson"]].concat();
    assert_eq!(topology.starlog(&line).run().lines()[0]["stream"], "order-1");
}
