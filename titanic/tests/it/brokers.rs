use crate::mdp::{Mdp, MdpClient, MdpWorker, body};
use crate::process::{broker, store, titanic};
use crate::world::wait_until;

#[test]
fn a_worker_is_found_at_any_broker_and_a_lost_broker_stops_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let mut brokers: Vec<_> = (0..2)
        .map(|number| broker(&folder.path().join(format!("broker-{number}")), "tcp://127.0.0.1:*"))
        .collect();
    let endpoints: Vec<String> =
        brokers.iter().map(|broker| broker.wait_for("listening on ")).collect();
    let store = store(&folder.path().join("store"), &endpoints, "commands:2");
    store.wait_for("starlog-store serving");
    let data = folder.path().join("titanic");
    let titanic = titanic(&endpoints, &["--data", data.to_str().unwrap()]);
    titanic.wait_for("starlog-titanic serving");
    let clients: Vec<MdpClient> =
        endpoints.iter().map(|endpoint| MdpClient::connect(endpoint, Mdp::V2)).collect();
    for client in &clients {
        wait_until("Titanic is registered", || {
            client.ask("mmi.service", body(&["titanic.request"])) == body(&["200"])
        });
    }
    // Handed in at one broker, done at the other one, and fetched from either.
    let _worker = MdpWorker::echo(&endpoints[1], Mdp::V1, "echo");
    let id = clients[0].request("echo", body(&["x"]));
    assert_eq!(clients[0].collect(&id), body(&["x"]));
    assert_eq!(clients[1].collect(&id), body(&["x"]));
    brokers.remove(0).kill();
    let id = clients[1].request("echo", body(&["y"]));
    assert_eq!(clients[1].collect(&id), body(&["y"]));
    assert_eq!(clients[1].close(&id), body(&["200"]));
    assert_eq!(titanic.terminate().0, Some(0));
}
