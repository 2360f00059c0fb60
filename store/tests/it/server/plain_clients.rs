//! Ordinary Majordomo clients: the plain service `orders`, one stream name, one MessagePack map.

use broker::net;
use bytes::Bytes;
use serde::Serialize;
use serde_bytes::ByteBuf;
use store::wire::plain::{PlainAppended, PlainDetail, PlainEvents, PlainFailure};
use uuid::Uuid;
use zmq::{Context, Socket, SocketType};

use super::bench::{Bench, PATIENCE, receive};

#[derive(Serialize)]
struct Append {
    op: &'static str,
    expected: &'static str,
    events: Vec<Event>,
}

#[derive(Serialize)]
struct Event {
    id: String,
    #[serde(rename = "type")]
    event_type: &'static str,
    data: ByteBuf,
}

#[derive(Serialize)]
struct Read {
    op: &'static str,
    direction: &'static str,
    limit: u32,
}

/// A client of MDP/0.1 with the frames of RFC 7, and nothing of ours.
struct MdpClient(Socket);

impl MdpClient {
    fn connect(bench: &Bench) -> Self {
        let socket = net::socket(&Context::new(), SocketType::DEALER).unwrap();
        net::connect(&socket, &bench.broker.endpoint()).unwrap();
        Self(socket)
    }

    fn ask(&self, stream: &'static str, map: Vec<u8>) -> Bytes {
        let fixed = [&b""[..], b"MDPC01", b"orders", stream.as_bytes()].map(Bytes::from_static);
        let mut frames = fixed.to_vec();
        frames.push(Bytes::from(map));
        assert_eq!(net::send(&self.0, &frames).unwrap(), net::Sent::Done);
        let reply = receive(&self.0, PATIENCE).expect("a reply");
        assert_eq!(&reply[..3], &frames[..3]);
        assert_eq!(reply.len(), 4, "{reply:?}");
        reply[3].clone()
    }

    fn append(&self, id: Uuid, expected: &'static str) -> Bytes {
        let (event_type, data) = ("Placed", ByteBuf::from(*b"{}"));
        let events = vec![Event { id: id.to_string(), event_type, data }];
        let map = Append { op: "append", expected, events };
        self.ask("order-1", rmp_serde::to_vec_named(&map).unwrap())
    }
}

#[test]
fn an_mdp_client_appends_and_reads() {
    let bench = Bench::start();
    let client = MdpClient::connect(&bench);
    let ids = [Uuid::from_u128(1), Uuid::from_u128(2)];
    let first = PlainAppended::decode(&client.append(ids[0], "none")).unwrap();
    assert_eq!((first.first_sequence, first.version, first.duplicate), (1, 1, false));
    assert_eq!((first.durability.as_str(), first.durable_on.len()), ("local", 1));
    // The same id again: harmless, and said so.
    let again = PlainAppended::decode(&client.append(ids[0], "none")).unwrap();
    assert_eq!((again.first_sequence, again.duplicate), (1, true));
    PlainAppended::decode(&client.append(ids[1], "exists")).unwrap();
    let read = Read { op: "read", direction: "backward", limit: 1 };
    let events = client.ask("order-1", rmp_serde::to_vec_named(&read).unwrap());
    let events = PlainEvents::decode(&events).unwrap();
    assert_eq!((events.head, events.end, events.events.len()), (2, false, 1));
    assert_eq!(events.events[0].id, ids[1].to_string());
    assert_eq!((events.events[0].version, &events.events[0].data[..]), (2, &b"{}"[..]));
}

#[test]
fn an_mdp_client_gets_errors_as_maps() {
    let bench = Bench::start();
    let client = MdpClient::connect(&bench);
    client.append(Uuid::from_u128(1), "none");
    let error = PlainFailure::decode(&client.append(Uuid::from_u128(2), "none")).unwrap().error;
    assert_eq!((error.code.as_str(), error.retry), ("WRONG_EXPECTED_VERSION", false));
    assert_eq!(error.details["actual"], PlainDetail::Number(1));
    let read = Read { op: "read", direction: "forward", limit: 1 };
    let absent = client.ask("absent", rmp_serde::to_vec_named(&read).unwrap());
    let error = PlainFailure::decode(&absent).unwrap().error;
    assert_eq!(error.code, "STREAM_NOT_FOUND");
    let rows = [b"rubbish".to_vec(), vec![], vec![0x80], vec![0x91; 500]];
    for map in rows {
        let error = PlainFailure::decode(&client.ask("order-1", map)).unwrap().error;
        assert_eq!(error.code, "INVALID_ARGUMENT");
    }
}
