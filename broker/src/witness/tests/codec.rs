//! Frames: what is written is read, and nothing else is.

use super::*;
use crate::witness::codec::{BODY_BYTES_MAX, CodecError};

fn requests() -> Vec<WitnessRequest> {
    vec![
        request(A, Position::default(), Ask::Beat),
        report(B, 0, 7, Some(configuration(5, &[A, B], 8))),
        report(B, 0, 7, None),
        proposal(3, 5, configuration(6, &[B, A], u64::MAX)),
    ]
}

fn answers() -> Vec<WitnessAnswer> {
    let mut desk = Desk::holding(configuration(5, &[A, B], 8));
    let mut answers: Vec<WitnessAnswer> = requests().into_iter().map(|it| desk.ask(it)).collect();
    answers.push(Desk::blank().ask(report(B, 3, 7, None)));
    answers
}

#[test]
fn what_is_written_is_read() {
    for request in requests() {
        let frames = encode_request(Token(77), &request);
        assert_eq!(decode_request(&frames), Ok((Token(77), request)));
    }
    for answer in answers() {
        let frames = encode_answer(Token(u64::MAX), &answer);
        assert_eq!(decode_answer(&frames), Ok((Token(u64::MAX), answer)));
    }
}

#[test]
fn the_header_stands_as_it_is_drawn() {
    let [header, _] = encode_request(Token(0x0102), &requests()[0]);
    assert_eq!(header, b"SLW\x01\0\0\0\0\x02\x01\0\0\0\0\0\0");
}

#[test]
fn damaged_frames_are_refused_or_read_as_something_sound() {
    for request in requests() {
        let [header, body] = encode_request(Token(77), &request);
        for length in 0..header.len() {
            assert!(decode_request(&[&header[..length], &body[..]]).is_err());
        }
        for length in 0..body.len() {
            assert!(decode_request(&[&header[..], &body[..length]]).is_err());
        }
        for bit in 0..body.len() * 8 {
            let mut flipped = body.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok((_, read)) = decode_request(&[&header[..], &flipped[..]]) {
                assert!(read.is_sound());
                let mut desk = Desk::holding(configuration(5, &[A, B], 8));
                let input =
                    WitnessInput { request: read, leader_heard: false, other_process: false };
                desk.witness.handle(input, &mut Vec::new());
            }
        }
    }
    for answer in answers() {
        let [header, body] = encode_answer(Token(77), &answer);
        for bit in 0..body.len() * 8 {
            let mut flipped = body.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let _ = decode_answer(&[&header[..], &flipped[..]]);
        }
    }
}

#[test]
fn what_is_too_much_is_refused() {
    let [header, body] = encode_request(Token(1), &requests()[0]);
    assert_eq!(decode_request::<Vec<u8>>(&[]), Err(CodecError::Frames(0)));
    let three = [header.clone(), body.clone(), body.clone()];
    assert_eq!(decode_request(&three), Err(CodecError::Frames(3)));
    let large = vec![0; BODY_BYTES_MAX + 1];
    let refused = decode_request(&[header.clone(), large]);
    assert_eq!(refused, Err(CodecError::TooLarge(BODY_BYTES_MAX + 1)));
    let mut other = header.clone();
    other[3] = 2;
    assert_eq!(decode_request(&[other, body]), Err(CodecError::Header));

    let mut many = requests()[0].clone();
    many.position.durable =
        (0..=PARTITIONS_MAX).map(|place| (PartitionName(place.to_string()), 1)).collect();
    assert_eq!(decode_request(&encode_request(Token(1), &many)), Err(CodecError::Unsound));
    let mut long = requests()[0].clone();
    long.position.durable = [(PartitionName("x".repeat(129)), 1)].into();
    assert_eq!(decode_request(&encode_request(Token(1), &long)), Err(CodecError::Unsound));

    // Lists within lists, deeper than anything of ours.
    let deep = vec![0x91; 100_000];
    assert!(matches!(decode_request(&[header, deep]), Err(CodecError::Malformed(_))));
}
