use std::time::{Duration, Instant};

use bytes::Bytes;
use uuid::Uuid;

use super::*;
use crate::dialect::{Hello, decode_body, encode_body};

const SECOND: Duration = Duration::from_secs(1);
const SESSION: SessionId = SessionId([3; 16]);

struct Bench {
    link: ClientLink,
    now: Instant,
}

impl Bench {
    #[allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    fn new() -> Bench {
        Bench { link: ClientLink::new(LinkSettings::default()), now: Instant::now() }
    }

    fn input(&mut self, input: ClientInput) -> Vec<ClientOutput> {
        let mut outputs = Vec::new();
        self.link.handle(self.now, input, &mut outputs);
        outputs
    }

    fn frames(&mut self, header: &Header, body: Frames) -> Vec<ClientOutput> {
        let mut frames: Frames = vec![header.encode().into()];
        frames.extend(body);
        self.input(ClientInput::Frames(frames))
    }

    fn welcome(&mut self, version: u16) -> Vec<ClientOutput> {
        let mut header = Header::new(Kind::Welcome, SESSION);
        header.time_ms = 1_000;
        let welcome = Welcome {
            version,
            broker: Uuid::from_u128(7),
            message_bytes_max: 1,
            requests_max: 2,
            request_bytes_max: 3,
        };
        self.frames(&header, vec![encode_body(&welcome)])
    }
}

fn request(number: u64) -> ClientInput {
    ClientInput::Request(ClientRequest {
        service: ServiceName::partition("orders", 1).unwrap(),
        number,
        lowest: 2,
        flags: flags::NO_RESEND | flags::PLAIN,
        time_left: Duration::from_millis(700),
        body: vec![Bytes::from_static(b"body")],
    })
}

#[test]
fn requests_leave_only_while_the_broker_listens() {
    let mut bench = Bench::new();
    assert!(bench.input(request(1)).is_empty());
    let outputs = bench.input(ClientInput::Opened { session: SESSION });
    let [ClientOutput::Send(frames)] = outputs.as_slice() else {
        panic!("{outputs:?}");
    };
    let hello: Hello = decode_body(&frames[1]).unwrap();
    assert_eq!(hello.role, Role::Client);
    assert!(bench.input(request(1)).is_empty());
    let outputs = bench.welcome(1);
    assert!(matches!(&outputs[..], [ClientOutput::Up(welcome)] if welcome.requests_max == 2));
    let outputs = bench.input(request(5));
    let [ClientOutput::Send(frames)] = outputs.as_slice() else {
        panic!("{outputs:?}");
    };
    let header = Header::decode(&frames[0]).unwrap();
    assert_eq!((header.kind, header.session), (Kind::Request, SESSION));
    assert_eq!((header.number, header.lowest, header.time_ms), (5, 2, 700));
    assert_eq!(header.flags, flags::NO_RESEND, "PLAIN is the broker's to set");
    assert_eq!(frames[1].as_ref(), b"body");
}

#[test]
fn replies_carry_what_the_caller_needs() {
    let mut bench = Bench::new();
    bench.input(ClientInput::Opened { session: SESSION });
    bench.welcome(1);
    let mut header = Header::new(Kind::Reply, SESSION);
    header.service = ServiceName::partition("orders", 1).unwrap();
    (header.number, header.epoch, header.time_ms) = (5, 3, 100);
    (header.code, header.flags) = (Some(ErrorCode::BUSY), flags::MORE);
    let body = vec![Bytes::from_static(b"why")];
    let expected = ClientReply {
        service: header.service.clone(),
        number: 5,
        epoch: 3,
        code: Some(ErrorCode::BUSY),
        retry_after: Duration::from_millis(100),
        more: true,
        body: body.clone(),
    };
    assert_eq!(bench.frames(&header, body), [ClientOutput::Reply(expected)]);
    let vote = Header::new(Kind::Vote, SESSION);
    assert!(bench.frames(&vote, vec![]).is_empty(), "not for a client");
}

#[test]
fn silence_refusal_goodbye_and_unknown_versions_reopen() {
    let ends: [fn(&mut Bench) -> Vec<ClientOutput>; 4] = [
        |bench| {
            bench.now += 4 * SECOND;
            bench.input(ClientInput::Tick)
        },
        |bench| bench.frames(&Header::new(Kind::Refused, SESSION), vec![]),
        |bench| bench.frames(&Header::new(Kind::Goodbye, SESSION), vec![]),
        |bench| {
            bench.input(ClientInput::Opened { session: SESSION });
            bench.welcome(2)
        },
    ];
    for (index, end) in ends.into_iter().enumerate() {
        let mut bench = Bench::new();
        bench.input(ClientInput::Opened { session: SESSION });
        bench.welcome(1);
        let outputs = end(&mut bench);
        assert!(matches!(outputs[..], [ClientOutput::Reopen { .. }]), "{index}: {outputs:?}");
        assert!(!bench.link.is_up(), "{index}");
    }
}
