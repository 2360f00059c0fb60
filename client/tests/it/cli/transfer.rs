//! `starlog import` and `export`.

use serde_json::{Value, json};

use super::{Topology, starlog};

const EVENTS: &str = r#"{"type":"A","data":{"z":1.10,"a":null},"metadata":{"by":"me"}}
{"type":"B","data_base64":"AP8="}
{"type":"C","data_base64":"wA==","content_type":"msgpack","metadata_base64":"/w=="}
"#;

/// Appends three events to each of some streams, as one append.
fn fill(topology: &Topology, store: &str, streams: &[&str]) {
    for stream in streams {
        let append = ["append", store, stream, "--ndjson", "--expect", "none"];
        topology.starlog(&append).input(EVENTS).run().ok();
    }
}

fn export(topology: &Topology, rest: &[&str]) -> String {
    topology.starlog(&[&["export"], rest].concat()).run().ok()
}

fn import(topology: &Topology, store: &str, events: &str) -> Value {
    let import = ["import", store, "-", "-o", "json"];
    topology.starlog(&import).input(events).run().json()
}

/// What an import keeps of each event, stream by stream.
fn kept(lines: &str) -> Vec<Value> {
    let fields = [
        "stream",
        "version",
        "id",
        "type",
        "content_type",
        "data",
        "data_base64",
        "metadata",
        "metadata_base64",
    ];
    let event = |line: &str| {
        let whole: Value = serde_json::from_str(line).unwrap();
        Value::from_iter(fields.map(|field| (field, whole.get(field).cloned().unwrap_or_default())))
    };
    let mut events: Vec<Value> = lines.lines().map(event).collect();
    events.sort_by_key(|event| (event["stream"].to_string(), event["version"].as_u64()));
    events
}

#[test]
fn what_is_exported_can_be_imported_elsewhere_and_again() {
    let topology = Topology::start(&["orders:2", "copies:3"]);
    fill(&topology, "orders", &["order-1", "order-2", "order-20", "order-21"]);
    let exported = export(&topology, &["orders"]);
    assert_eq!(exported.lines().count(), 12);

    let first = import(&topology, "copies", &exported);
    let report = json!({"store": "copies", "added": 12, "already_there": 0, "passed_over": 0});
    assert_eq!(first, report);
    let again = import(&topology, "copies", &exported);
    assert_eq!((&again["added"], &again["already_there"]), (&json!(0), &json!(12)));
    let copied = export(&topology, &["copies"]);
    assert_eq!(kept(&copied), kept(&exported));

    // Where it came from, each event is a part of a larger append, and is found all the same.
    let home = import(&topology, "orders", &exported);
    assert_eq!((&home["added"], &home["already_there"]), (&json!(0), &json!(12)));
}

#[test]
fn an_import_that_was_cut_short_goes_on() {
    let topology = Topology::start(&["orders:1", "copies:1"]);
    fill(&topology, "orders", &["order-1", "order-2"]);
    let exported = export(&topology, &["orders"]);
    let lines: Vec<&str> = exported.lines().collect();
    // The last line was cut in the middle.
    let torn = format!("{}\n{}", lines[..4].join("\n"), &lines[4][..40]);
    let ended = topology.starlog(&["import", "copies", "-", "-o", "json"]).input(torn).run();
    let error = ended.error(2);
    assert_eq!(error["details"]["line"], 5);
    assert_eq!(error["details"]["added"], 4);
    let rest = import(&topology, "copies", &exported);
    assert_eq!((&rest["added"], &rest["already_there"]), (&json!(2), &json!(4)));
    assert_eq!(kept(&export(&topology, &["copies"])), kept(&exported));
}

#[test]
fn versions_and_ids_are_kept_or_refused() {
    let topology = Topology::start(&["orders:1"]);
    let id = |number: u128| uuid::Uuid::from_u128(number).to_string();
    let line = |stream: &str, version: u64, number: u128| {
        let id = id(number);
        format!(
            "{{\"stream\":\"{stream}\",\"version\":{version},\"id\":\"{id}\",\"type\":\"T\",\
             \"data\":{version}}}\n"
        )
    };
    let run = |events: &str| {
        topology.starlog(&["import", "orders", "-", "-o", "json"]).input(events).run()
    };
    let whole = run(&[line("a-1", 1, 1), line("a-1", 2, 2)].concat()).json();
    assert_eq!(whole["added"], 2);

    // A hole in a stream, a stream that has gone on otherwise, and an id that is taken.
    let error = run(&line("a-1", 4, 4)).error(3);
    assert_eq!(error["code"], "WRONG_EXPECTED_VERSION");
    assert_eq!((&error["details"]["line"], &error["details"]["actual"]), (&json!(1), &json!(2)));
    let other = run(&[line("a-1", 1, 1), line("a-1", 2, 99)].concat()).error(3);
    assert_eq!(other["details"]["line"], 2);
    let taken = run(&line("b-1", 1, 1)).error(3);
    assert_eq!((&taken["code"], &taken["details"]["line"]), (&json!("ID_REUSED"), &json!(1)));
    let read = topology.starlog(&["read", "orders", "a-1", "-o", "ndjson"]).run().lines();
    assert_eq!(read.len(), 2);

    // System streams are each store's own.
    let system = run(&line("$topology", 1, 7)).json();
    assert_eq!((&system["added"], &system["passed_over"]), (&json!(0), &json!(1)));
}

#[test]
fn many_events_keep_their_order() {
    let topology = Topology::start(&["copies:2"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.ndjson");
    let mut events = String::new();
    for number in 0..20_000_u64 {
        let (stream, version) = (number % 7, number / 7 + 1);
        let id = uuid::Uuid::from_u128(u128::from(number) + 1);
        events.push_str(&format!(
            "{{\"stream\":\"s-{stream}\",\"version\":{version},\"id\":\"{id}\",\"type\":\"T\",\
             \"data\":{number}}}\n"
        ));
    }
    std::fs::write(&file, &events).unwrap();
    let import = ["import", "copies", file.to_str().unwrap()];
    let said = topology.starlog(&import).run().ok();
    assert_eq!(said, "copies: 20000 events added, 0 were there already\n");
    assert_eq!(kept(&export(&topology, &["copies"])), {
        let mut all = kept(&events);
        for event in &mut all {
            event["content_type"] = json!("json");
        }
        all
    });
}

#[test]
fn an_export_can_be_limited_and_says_how_to_go_on() {
    let topology = Topology::start(&["orders:2"]);
    fill(&topology, "orders", &["order-1", "order-2", "order-20", "order-21"]);
    let all = export(&topology, &["orders", "-q"]);
    let of_first = all.lines().filter(|line| line.contains("\"partition\":0")).count();
    let ended = topology.starlog(&["export", "orders", "--partition", "0", "--to", "2"]).run();
    assert!(ended.errors.contains("--partition 0 --from 3"), "{}", ended.errors);
    let begin = ended.ok();
    assert_eq!(begin.lines().count(), 2);
    let rest = ["export", "orders", "--partition", "0", "--from", "3", "-o", "json"];
    let ended = topology.starlog(&rest).run();
    let next: Value = serde_json::from_str(&ended.errors).unwrap();
    assert_eq!(next["events"].as_u64(), Some(u64::try_from(of_first - 2).unwrap()));
    assert_eq!(next["next"][0]["from"].as_u64(), Some(u64::try_from(of_first + 1).unwrap()));
    let both = begin + &ended.ok();
    let first: Vec<&str> = all.lines().take(of_first).collect();
    assert_eq!(both.lines().collect::<Vec<_>>(), first);

    let stream = ["orders", "--stream", "order-2", "--from", "2", "--to", "2"];
    let versions = kept(&export(&topology, &stream));
    assert_eq!((versions.len(), &versions[0]["version"]), (1, &json!(2)));

    let absent = ["export", "orders", "--stream", "order-3", "-o", "json"];
    assert_eq!(topology.starlog(&absent).run().error(4)["code"], "STREAM_NOT_FOUND");
    let nowhere = ["export", "orders", "--from", "2", "-o", "json"];
    assert_eq!(topology.starlog(&nowhere).run().error(2)["code"], "INVALID_ARGUMENT");
}

#[test]
fn a_file_or_a_broker_that_is_not_there() {
    let absent = starlog(&["import", "orders", "/nowhere/events.ndjson", "-o", "json"]).run();
    assert_eq!(absent.error(1)["code"], "IO");
    let (_listener, endpoint) = super::silent_endpoint();
    let import = ["import", "orders", "-", "-o", "json", "--timeout", "1s", "--broker", &endpoint];
    assert_eq!(starlog(&import).run().error(5)["code"], "NO_WORKER");
}
