use super::*;

fn frames(cells: &[&'static [u8]]) -> Frames {
    cells.iter().map(|cell| Bytes::from_static(cell)).collect()
}

fn name(text: &'static str) -> ServiceName {
    ServiceName::new(text).unwrap()
}

fn worker(version: Version, command: WorkerCommand) -> ToBroker {
    ToBroker::Worker { version, command }
}

/// Every message to a broker, byte for byte as the RFCs have it.
fn to_broker() -> Vec<(Frames, ToBroker)> {
    let body = || frames(&[b"b1", b""]);
    let part = || WorkerCommand::Partial { client: Bytes::from_static(b"cid"), body: body() };
    let last = || WorkerCommand::Final { client: Bytes::from_static(b"cid"), body: body() };
    let request = |version| ToBroker::Request { version, service: name("svc"), body: body() };
    let (v1, v2) = (Version::V01, Version::V02);
    vec![
        (frames(&[b"", b"MDPC01", b"svc", b"b1", b""]), request(v1)),
        (frames(&[b"MDPC02", b"\x01", b"svc", b"b1", b""]), request(v2)),
        (frames(&[b"", b"MDPW01", b"\x01", b"svc"]), worker(v1, WorkerCommand::Ready(name("svc")))),
        (frames(&[b"MDPW02", b"\x01", b"svc"]), worker(v2, WorkerCommand::Ready(name("svc")))),
        (frames(&[b"", b"MDPW01", b"\x03", b"cid", b"", b"b1", b""]), worker(v1, last())),
        (frames(&[b"MDPW02", b"\x03", b"cid", b"", b"b1", b""]), worker(v2, part())),
        (frames(&[b"MDPW02", b"\x04", b"cid", b"", b"b1", b""]), worker(v2, last())),
        (frames(&[b"", b"MDPW01", b"\x04"]), worker(v1, WorkerCommand::Heartbeat)),
        (frames(&[b"MDPW02", b"\x05"]), worker(v2, WorkerCommand::Heartbeat)),
        (frames(&[b"", b"MDPW01", b"\x05"]), worker(v1, WorkerCommand::Disconnect)),
        (frames(&[b"MDPW02", b"\x06"]), worker(v2, WorkerCommand::Disconnect)),
    ]
}

#[test]
fn messages_to_a_broker_are_those_of_the_rfcs() {
    for (bytes, message) in to_broker() {
        assert_eq!(ToBroker::decode(bytes.clone()), Ok(message.clone()));
        assert_eq!(message.encode(), bytes);
    }
}

#[test]
fn messages_to_a_worker_are_those_of_the_rfcs() {
    let request =
        || ToWorker::Request { client: Bytes::from_static(b"cid"), body: frames(&[b"b"]) };
    let cases = [
        (Version::V01, frames(&[b"", b"MDPW01", b"\x02", b"cid", b"", b"b"]), request()),
        (Version::V02, frames(&[b"MDPW02", b"\x02", b"cid", b"", b"b"]), request()),
        (Version::V01, frames(&[b"", b"MDPW01", b"\x04"]), ToWorker::Heartbeat),
        (Version::V02, frames(&[b"MDPW02", b"\x05"]), ToWorker::Heartbeat),
        (Version::V01, frames(&[b"", b"MDPW01", b"\x05"]), ToWorker::Disconnect),
        (Version::V02, frames(&[b"MDPW02", b"\x06"]), ToWorker::Disconnect),
    ];
    for (version, bytes, message) in cases {
        assert_eq!(ToWorker::decode(version, bytes.clone()), Ok(message.clone()));
        assert_eq!(message.encode(version), bytes);
        let other = if version == Version::V01 { Version::V02 } else { Version::V01 };
        assert_eq!(ToWorker::decode(other, bytes), Err(MessageError::Header));
    }
}

#[test]
fn messages_to_a_client_are_those_of_the_rfcs() {
    let answer = |last| ToClient { service: name("svc"), body: frames(&[b"b"]), last };
    let cases = [
        (Version::V01, frames(&[b"", b"MDPC01", b"svc", b"b"]), answer(true)),
        (Version::V02, frames(&[b"MDPC02", b"\x02", b"svc", b"b"]), answer(false)),
        (Version::V02, frames(&[b"MDPC02", b"\x03", b"svc", b"b"]), answer(true)),
    ];
    for (version, bytes, message) in cases {
        assert_eq!(ToClient::decode(version, bytes.clone()), Ok(message.clone()));
        assert_eq!(message.encode(version), bytes);
    }
}

#[test]
fn everything_shorter_or_longer_is_refused() {
    for (bytes, message) in to_broker() {
        let has_body = !matches!(
            message,
            ToBroker::Worker {
                command: WorkerCommand::Ready(_)
                    | WorkerCommand::Heartbeat
                    | WorkerCommand::Disconnect,
                ..
            }
        );
        // With a body of two frames, dropping one still leaves a message.
        let shortest = if has_body { bytes.len() - 1 } else { bytes.len() };
        for length in 0..shortest {
            let cut = bytes[..length].to_vec();
            assert!(ToBroker::decode(cut).is_err(), "{message:?} cut to {length} frames");
        }
        if !has_body {
            let mut long = bytes.clone();
            long.push(Bytes::new());
            assert_eq!(ToBroker::decode(long), Err(MessageError::FrameCount), "{message:?}");
        }
    }
}

#[test]
fn each_broken_rule_has_its_error() {
    let long: &'static [u8] = &[b'x'; 129];
    let cases: [(&[&'static [u8]], MessageError); 14] = [
        (&[], MessageError::Header),
        (&[b""], MessageError::Header),
        (&[b"MDPX01", b"svc", b"b"], MessageError::Header),
        (&[b"MDPC01", b"svc", b"b"], MessageError::Header),
        (&[b"", b"MDPC02", b"\x01", b"svc", b"b"], MessageError::Header),
        (&[b"MDPC02", b"\x02", b"svc", b"b"], MessageError::Command),
        (&[b"MDPC02", b"", b"svc", b"b"], MessageError::Command),
        (&[b"MDPC02", b"\x01\x01", b"svc", b"b"], MessageError::Command),
        (&[b"", b"MDPC01", b"", b"b"], MessageError::Service),
        (&[b"", b"MDPC01", long, b"b"], MessageError::Service),
        (&[b"", b"MDPC01", b"\xFF", b"b"], MessageError::Service),
        (&[b"", b"MDPW01", b"\x02", b"cid", b"", b"b"], MessageError::Command),
        (&[b"", b"MDPW01", b"\x03", b"cid", b"x", b"b"], MessageError::Envelope),
        (&[b"MDPW02", b"\x07"], MessageError::Command),
    ];
    for (cells, error) in cases {
        assert_eq!(ToBroker::decode(frames(cells)), Err(error), "{cells:?}");
    }
}
