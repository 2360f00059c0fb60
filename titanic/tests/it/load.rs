use std::collections::{BTreeMap, BTreeSet};

use crate::mdp::{BOTH, Mdp, MdpWorker, body};
use crate::world::World;

#[test]
fn bodies_of_half_a_megabyte_come_through_whole() {
    let world = World::start();
    for version in BOTH {
        let service = format!("echo-{version:?}");
        let _worker = MdpWorker::echo(&world.endpoint, version, &service);
        let client = world.mdp_of(version);
        let frame = |seed: u8| (0..512 * 1024).map(|at| seed ^ (at % 251) as u8).collect();
        let bodies: Vec<_> = (0..6).map(|seed| vec![frame(seed), vec![], vec![seed]]).collect();
        for sent in &bodies {
            client.send_request(&service, sent.clone());
        }
        // Accepts are answered in any order; what is whose, the replies tell.
        let ids: BTreeSet<String> = bodies.iter().map(|_| client.accepted()).collect();
        assert_eq!(ids.len(), bodies.len());
        let replies: BTreeSet<_> = ids.iter().map(|id| client.collect(id)).collect();
        assert_eq!(replies, bodies.into_iter().collect());
    }
}

#[test]
fn hundreds_of_commands_at_once() {
    const COMMANDS: usize = 600;
    let world = World::start();
    let workers: Vec<MdpWorker> = (0..4)
        .map(|number| {
            let service = format!("echo-{}", number % 2);
            MdpWorker::echo(&world.endpoint, BOTH[number / 2], &service)
        })
        .collect();
    let client = world.mdp_of(Mdp::V2);
    for number in 0..COMMANDS {
        client.send_request(&format!("echo-{}", number % 2), body(&[number.to_string()]));
    }
    let ids: BTreeSet<String> = (0..COMMANDS).map(|_| client.accepted()).collect();
    assert_eq!(ids.len(), COMMANDS, "every command has an id of its own");
    let mut replies = BTreeMap::new();
    for id in &ids {
        *replies.entry(client.collect(id)).or_insert(0) += 1;
    }
    let wanted = (0..COMMANDS).map(|number| (body(&[number.to_string()]), 1)).collect();
    assert_eq!(replies, wanted, "every command has its own reply");
    let delivered: usize = workers.iter().map(|worker| worker.requests.try_iter().count()).sum();
    assert_eq!(delivered, COMMANDS, "nothing was delivered twice");
    for id in &ids {
        client.send("titanic.close", body(&[id]));
    }
    for _ in &ids {
        assert_eq!(client.receive("titanic.close"), body(&["200"]));
    }
}
