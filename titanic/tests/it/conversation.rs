use crate::mdp::{Answer, BOTH, Mdp, MdpWorker, body};
use crate::process::PATIENCE;
use crate::world::{World, wait_until};

#[test]
fn a_whole_conversation_in_both_versions() {
    let world = World::start();
    for version in BOTH {
        let client = world.mdp_of(version);
        let service = format!("echo-{version:?}");
        let id = client.request(&service, body(&["hello", "", "world"]));
        // Nobody offers the service yet, and that is no error.
        assert_eq!(client.reply(&id), body(&["300 pending"]));
        let _worker = MdpWorker::echo(&world.endpoint, version, &service);
        assert_eq!(client.collect(&id), body(&["hello", "", "world"]));
        // A reply can be fetched as often as it is wanted, by anybody, in either letter case.
        for asked in [id.clone(), id.to_lowercase()] {
            let other = world.mdp_of(version);
            assert_eq!(other.reply(&asked), body(&["200", "hello", "", "world"]));
        }
        assert_eq!(client.close(&id.to_lowercase()), body(&["200"]));
        assert_eq!(client.close(&id), body(&["200"]), "closing is idempotent");
        assert_eq!(client.reply(&id), body(&["400 closed"]));
    }
}

#[test]
fn the_broker_says_who_is_there() {
    let world = World::start();
    for version in BOTH {
        let client = world.mdp_of(version);
        for service in ["titanic.request", "titanic.reply", "titanic.close", "titanic.command"] {
            wait_until("the services are registered", || {
                client.ask("mmi.service", body(&[service])) == body(&["200"])
            });
        }
    }
}

#[test]
fn a_command_without_a_reply_can_be_closed() {
    let world = World::start();
    let client = world.mdp();
    let id = client.request("nobody", body(&["x"]));
    assert_eq!(client.close(&id), body(&["200"]));
    assert_eq!(client.reply(&id), body(&["400 closed"]));
    // What is closed is not sent to a worker that comes later.
    let worker = MdpWorker::echo(&world.endpoint, Mdp::V1, "nobody");
    let other = client.request("nobody", body(&["y"]));
    assert_eq!(client.collect(&other), body(&["y"]));
    assert_eq!(worker.requests.try_iter().collect::<Vec<_>>(), [body(&["y"])]);
}

#[test]
fn an_unknown_id_is_unknown_and_closing_it_is_fine() {
    let world = World::start();
    let client = world.mdp();
    let unknown = "0123456789ABCDEF0123456789ABCDEF";
    let answer = client.reply(unknown);
    assert!(answer.len() == 1 && answer[0].starts_with(b"400"), "{answer:?}");
    assert_eq!(client.close(unknown), body(&["200"]));
}

#[test]
fn a_worker_that_dies_in_the_middle_is_replaced() {
    let world = World::start();
    for version in BOTH {
        let service = format!("fragile-{version:?}");
        let client = world.mdp_of(version);
        let dead = MdpWorker::start(&world.endpoint, (version, &service), |_| Answer::Die);
        let id = client.request(&service, body(&["x"]));
        assert_eq!(dead.next(), body(&["x"]));
        let worker = MdpWorker::start(&world.endpoint, (version, &service), |_| {
            Answer::Reply(body(&["done"]))
        });
        assert_eq!(client.collect(&id), body(&["done"]));
        assert_eq!(worker.next(), body(&["x"]));
    }
}

#[test]
fn a_service_that_is_away_or_slow_holds_up_no_other() {
    let world = World::start();
    let client = world.mdp();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let slow = MdpWorker::start(&world.endpoint, (Mdp::V1, "slow"), move |request| {
        let _ = held.recv_timeout(PATIENCE);
        Answer::Reply(request.clone())
    });
    let _fast = MdpWorker::echo(&world.endpoint, Mdp::V2, "fast");
    let stuck: Vec<String> = (0..40).map(|_| client.request("slow", body(&["s"]))).collect();
    let away: Vec<String> = (0..40).map(|_| client.request("away", body(&["a"]))).collect();
    assert_eq!(slow.next(), body(&["s"]));
    for number in 0..20 {
        let id = client.request("fast", body(&[number.to_string()]));
        assert_eq!(client.collect(&id), body(&[number.to_string()]));
    }
    assert_eq!(client.reply(&away[0]), body(&["300 pending"]));
    for _ in &stuck {
        release.send(()).unwrap();
    }
    for id in &stuck {
        assert_eq!(client.collect(id), body(&["s"]));
    }
}
