use crate::mdp::{BOTH, Frames, MdpClient, MdpWorker, body};
use crate::world::World;

/// An answer of one frame that begins with the status.
fn status(answer: &Frames) -> &[u8] {
    assert_eq!(answer.len(), 1, "{answer:?}");
    &answer[0][..3]
}

fn ids() -> Vec<Vec<u8>> {
    let mut ids: Vec<Vec<u8>> = [
        "../../../../etc/passwd",
        "..\\..\\windows\\system32\\config",
        "/",
        "",
        "0123456789ABCDEF0123456789ABCDE",
        "0123456789ABCDEF0123456789ABCDEF0",
        "0123456789abcdef-0123456789abcde",
        "01234567-89AB-CDEF-0123-456789ABCDEF",
        "GGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGG",
        "../AAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "%2e%2e%2fAAAAAAAAAAAAAAAAAAAAAAA",
        "\u{ff10}123456789ABCDEF0123456789AB",
        "$(reboot)",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    ids.push(vec![0; 32]);
    ids.push(vec![0xFF; 32]);
    ids.push((0..=255).collect());
    ids.push(vec![b'A'; 100_000]);
    ids.push(vec![0; 100_000]);
    ids
}

/// Titanic does what it did before.
fn still_works(world: &World, client: &MdpClient) {
    let _worker = MdpWorker::echo(&world.endpoint, crate::mdp::Mdp::V1, "echo");
    let id = client.request("echo", body(&["x"]));
    assert_eq!(client.collect(&id), body(&["x"]));
    assert_eq!(client.close(&id), body(&["200"]));
}

#[test]
fn ids_from_anywhere_are_400_and_reach_no_path() {
    let world = World::start();
    let listed = |world: &World| {
        let folder = std::fs::read_dir(world.path("titanic")).unwrap();
        folder.map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>()
    };
    let before = listed(&world);
    for version in BOTH {
        let client = world.mdp_of(version);
        for id in ids() {
            for service in ["titanic.reply", "titanic.close"] {
                let answer = client.ask(service, vec![id.clone()]);
                assert_eq!(status(&answer), b"400", "{service} {:?}", &id[..id.len().min(40)]);
            }
        }
    }
    still_works(&world, &world.mdp());
    assert_eq!(listed(&world), before);
}

#[test]
fn requests_that_break_the_rules_are_400() {
    let world = World::start();
    let good = "0123456789ABCDEF0123456789ABCDEF";
    for version in BOTH {
        let client = world.mdp_of(version);
        let many = vec![b"x".to_vec(); 60];
        let cases: Vec<(&str, Frames)> = vec![
            ("titanic.request", body(&["echo"])),
            ("titanic.request", body(&["", "x"])),
            ("titanic.request", body(&["mmi.service", "x"])),
            ("titanic.request", body(&["titanic.request", "x"])),
            ("titanic.request", body(&["titanic.reply", good])),
            ("titanic.request", body(&["new\nline", "x"])),
            ("titanic.request", body(&[&b"\xFF\xFE"[..], b"x"])),
            ("titanic.request", vec![vec![b's'; 100_000], b"x".to_vec()]),
            ("titanic.request", vec![b"echo".to_vec(), vec![0; 3 * 1024 * 1024]]),
            ("titanic.reply", body(&[good, good])),
            ("titanic.reply", many.clone()),
            ("titanic.close", body(&[good, "x"])),
            ("titanic.close", many),
        ];
        for (service, frames) in cases {
            let first = frames[0].clone();
            let answer = client.ask(service, frames);
            assert_eq!(status(&answer), b"400", "{service} {:?}", &first[..first.len().min(40)]);
        }
    }
    still_works(&world, &world.mdp());
}

#[test]
fn maps_of_any_kind_are_answered() {
    let world = World::start();
    let client = world.mdp();
    let mut nested = b"\x81\xA2op".to_vec();
    nested.resize(60_000, 0x91);
    let cases: Vec<Frames> = vec![
        body(&[""]),
        body(&[&b"\xC1"[..]]),
        body(&[&b"\xDF\xFF\xFF\xFF\xFF"[..]]),
        body(&[&b"\x81\xA2op\xDB\xFF\xFF\xFF\xFF"[..]]),
        body(&[&b"\x81\xA2op\xA6submit"[..]]),
        body(&[&b"\x81\xA2op\xA7explode"[..]]),
        vec![nested],
        vec![vec![0x90; 100_000]],
        body(&["a", "b", "c"]),
    ];
    for frames in cases {
        let answer = client.ask("titanic.command", frames);
        assert_eq!(answer.len(), 1, "one map: {answer:?}");
    }
    still_works(&world, &client);
}

#[test]
fn a_worker_that_answers_rubbish_costs_attempts_and_nothing_else() {
    use crate::mdp::{Answer, Mdp};
    let world = World::with(&["--attempts", "2"]);
    let client = world.mdp();
    let _never = MdpWorker::start(&world.endpoint, (Mdp::V1, "rude+titanic"), |_| {
        Answer::Reply(vec![vec![0xC1; 5_000]])
    });
    let _large = MdpWorker::start(&world.endpoint, (Mdp::V2, "large"), |_| {
        Answer::Reply(vec![vec![7; 3 * 1024 * 1024]])
    });
    for service in ["rude", "large"] {
        let id = client.request(service, body(&["x"]));
        crate::world::wait_until("it is given up", || {
            client.reply(&id)[0].starts_with(b"400 dead")
        });
        assert_eq!(client.close(&id), body(&["200"]));
    }
    still_works(&world, &client);
}
