//! `starlog append`.

use serde_json::{Value, json};

use super::Topology;

const PLACE: [&str; 8] =
    ["append", "orders", "order-17", "--type", "OrderPlaced", "--data", r#"{"total":12}"#, "-o"];

fn place(topology: &Topology, rest: &[&str]) -> super::Ended {
    topology.starlog(&[&PLACE[..], &["json"], rest].concat()).run()
}

#[test]
fn the_receipt_says_where_and_how_safe() {
    let topology = Topology::start(&["orders:2"]);
    let receipt = place(&topology, &["--expect", "none"]).json();
    let node = receipt["durable_on"][0].as_str().unwrap().to_owned();
    assert!(uuid::Uuid::parse_str(&node).is_ok(), "{node}");
    let partition = receipt["partition"].as_u64().unwrap();
    assert!(partition < 2);
    let epoch = receipt["epoch"].as_u64().unwrap();
    assert!(epoch >= 1);
    let expected = json!({
        "store": "orders", "stream": "order-17", "partition": partition,
        "first_sequence": 1, "last_sequence": 1, "version": 1, "epoch": epoch,
        "durability": "local", "durable_on": [node], "duplicate": false,
    });
    assert_eq!(receipt, expected);
}

#[test]
fn a_conflict_is_exit_3_with_both_versions() {
    let topology = Topology::start(&["orders:1"]);
    place(&topology, &["--expect", "none"]).ok();
    place(&topology, &["--expect", "1"]).ok();
    let error = place(&topology, &["--expect", "1"]).error(3);
    assert_eq!(error["code"], "WRONG_EXPECTED_VERSION");
    assert_eq!(error["outcome"], "not_done");
    assert_eq!(error["retry"], false);
    assert_eq!(error["details"]["actual"], 2);
    let error = place(&topology, &["--expect", "none"]).error(3);
    assert_eq!(error["details"]["actual"], 2);
    place(&topology, &["--expect", "exists"]).ok();
}

#[test]
fn the_same_id_is_stored_once() {
    let topology = Topology::start(&["orders:1"]);
    let id = "0190163d-8694-739b-aea5-966c26f8ad91";
    let rest = ["--expect", "none", "--id", id];
    let first = place(&topology, &rest).json();
    let again = place(&topology, &rest).json();
    assert_eq!(again["duplicate"], true);
    assert_eq!(again["first_sequence"], first["first_sequence"]);
    // The same id for something else is a conflict, and says which id.
    let other = ["append", "orders", "order-18", "--type", "T", "--data", "1", "--expect", "any"];
    let error = topology.starlog(&[&other[..], &["--id", id, "-o", "json"]].concat()).run();
    let error = error.error(3);
    assert_eq!(error["code"], "ID_REUSED");
    assert_eq!(error["details"]["ids"], id);
}

#[test]
fn several_events_are_one_append() {
    let topology = Topology::start(&["orders:1"]);
    let events =
        "{\"type\":\"A\",\"data\":{\"n\":1}}\n\n{\"type\":\"B\",\"data_base64\":\"AP8=\"}\n";
    let append = ["append", "orders", "order-1", "--ndjson", "--expect", "none", "-o", "json"];
    let receipt = topology.starlog(&append).input(events).run().json();
    assert_eq!(receipt["first_sequence"], 1);
    assert_eq!(receipt["last_sequence"], 2);
    assert_eq!(receipt["version"], 2);

    // One wrong line, and nothing is appended.
    let broken = format!("{events}{{\"type\":\"C\"}}\n");
    let append = ["append", "orders", "order-2", "--ndjson", "--expect", "none", "-o", "json"];
    let error = topology.starlog(&append).input(broken).run().error(2);
    assert_eq!(error["details"]["line"], 4);
    let read = topology.starlog(&["read", "orders", "order-2", "-o", "json"]).run();
    assert_eq!(read.error(4)["code"], "STREAM_NOT_FOUND");
}

#[test]
fn what_read_prints_append_takes() {
    let topology = Topology::start(&["orders:1", "copies:1"]);
    let events = r#"{"type":"A","data":{"z":1.10,"a":null},"metadata":{"by":"me"}}
{"type":"B","data_base64":"AP8="}
{"type":"C","data_base64":"wA==","content_type":"msgpack","metadata_base64":"/w=="}
"#;
    let append = |store| ["append", store, "order-1", "--ndjson", "--expect", "none"];
    let read = |store| ["read", store, "order-1", "-o", "ndjson"];
    topology.starlog(&append("orders")).input(events).run().ok();
    let printed = topology.starlog(&read("orders")).run().ok();
    topology.starlog(&append("copies")).input(printed.clone()).run().ok();
    let copied = topology.starlog(&read("copies")).run().lines();
    for (original, copy) in printed.lines().zip(&copied) {
        let original: Value = serde_json::from_str(original).unwrap();
        let same =
            ["type", "id", "version", "content_type", "data", "data_base64", "metadata_base64"];
        for field in same {
            assert_eq!(original.get(field), copy.get(field), "{field}");
        }
    }
    assert_eq!(copied.len(), 3);
}

#[test]
fn data_comes_from_files_and_standard_input() {
    let topology = Topology::start(&["orders:1"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.json");
    std::fs::write(&file, "[1,2]\n").unwrap();
    let source = format!("@{}", file.display());
    let append =
        |data| ["append", "orders", "order-1", "--type", "T", "--data", data, "--expect", "any"];
    topology.starlog(&append(&source)).run().ok();
    topology.starlog(&append("-")).input("[3]").run().ok();
    let read = topology.starlog(&["read", "orders", "order-1", "-o", "ndjson"]).run().lines();
    let data: Vec<&Value> = read.iter().map(|event| &event["data"]).collect();
    assert_eq!(data, [&json!([1, 2]), &json!([3])]);

    let absent = [&append("@/nowhere/data.json")[..], &["-o", "json"]].concat();
    assert_eq!(topology.starlog(&absent).run().error(1)["code"], "IO");
}

#[test]
fn bad_input_is_refused_before_anything_is_sent() {
    // There is no broker: what reaches the network would end with 5.
    let (_listener, endpoint) = super::silent_endpoint();
    let append = ["append", "orders", "order-1", "--expect", "any", "-o", "json"];
    let rows: [(&[&str], &str, i32, &str); 4] = [
        (&["--type", "T", "--data", "{total:12}"], "", 2, "INVALID_ARGUMENT"),
        (&["--type", "T", "--data", "1", "--metadata", "x"], "", 2, "INVALID_ARGUMENT"),
        (&["--type", "T", "--data", "-", "--metadata", "-"], "1", 2, "INVALID_ARGUMENT"),
        (&["--ndjson"], "", 2, "INVALID_ARGUMENT"),
    ];
    for (rest, input, exit, code) in rows {
        let arguments = [&append[..], rest, &["--broker", &endpoint, "--timeout", "1s"]].concat();
        let error = super::starlog(&arguments).input(input).run().error(exit);
        assert_eq!(error["code"], code, "{rest:?}");
    }
    let large = format!("\"{}\"", "x".repeat(1024 * 1024));
    let arguments = [&append[..], &["--type", "T", "--data", "-", "--broker", &endpoint]].concat();
    let error = super::starlog(&arguments).input(large).run().error(1);
    assert_eq!(error["code"], "EVENT_TOO_LARGE");
}
