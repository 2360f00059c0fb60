//! Messages for peers whose pipe is full. Each peer has a bound, and so have all together.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::config::Limits;
use crate::net::{Frames, Sent};
use crate::routing::PeerId;

/// A peer that takes nothing for so long counts as gone.
const STALL_MAX: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Outbox {
    messages: VecDeque<Frames>,
    bytes: usize,
    /// When the peer last took something.
    moved_at: Instant,
}

/// What waits for whom.
#[derive(Debug)]
pub(super) struct Outboxes {
    by_peer: HashMap<PeerId, Outbox>,
    bytes: usize,
    messages_max: usize,
    bytes_max: usize,
    bytes_max_of_all: usize,
}

impl Outboxes {
    pub(super) fn new(limits: &Limits) -> Outboxes {
        Outboxes {
            by_peer: HashMap::new(),
            bytes: 0,
            messages_max: limits.outbox_messages,
            bytes_max: limits.outbox_bytes,
            bytes_max_of_all: limits.outboxes_bytes,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_peer.is_empty()
    }

    /// Whether something waits for the peer, so that a newer message must wait too.
    pub(super) fn holds_for(&self, peer: &PeerId) -> bool {
        self.by_peer.contains_key(peer)
    }

    /// Keeps a message for later. Returns the peer that has to go, with all that waited for it:
    /// this one if its own bound is reached, the one that keeps most if the bound of all is.
    pub(super) fn push(&mut self, now: Instant, peer: &PeerId, frames: Frames) -> Option<PeerId> {
        let bytes = size(&frames);
        let empty = Outbox { messages: VecDeque::new(), bytes: 0, moved_at: now };
        let outbox = self.by_peer.entry(peer.clone()).or_insert(empty);
        outbox.messages.push_back(frames);
        outbox.bytes += bytes;
        self.bytes += bytes;
        let gone = if outbox.messages.len() > self.messages_max || outbox.bytes > self.bytes_max {
            Some(peer.clone())
        } else if self.bytes > self.bytes_max_of_all {
            let largest = self.by_peer.iter().max_by_key(|(_, outbox)| outbox.bytes);
            largest.map(|(peer, _)| peer.clone())
        } else {
            None
        };
        gone.inspect(|peer| self.drop_peer(peer))
    }

    fn drop_peer(&mut self, peer: &PeerId) {
        if let Some(outbox) = self.by_peer.remove(peer) {
            self.bytes -= outbox.bytes;
        }
    }

    /// Offers what waits, in order, to `send`. Returns the peers that are gone.
    pub(super) fn flush<E>(
        &mut self,
        now: Instant,
        mut send: impl FnMut(&PeerId, &[Bytes]) -> Result<Sent, E>,
    ) -> Result<Vec<PeerId>, E> {
        let mut done = Vec::new();
        let mut gone = Vec::new();
        for (peer, outbox) in &mut self.by_peer {
            while let Some(frames) = outbox.messages.front() {
                match send(peer, frames)? {
                    Sent::Done => {
                        let bytes = size(frames);
                        outbox.bytes -= bytes;
                        self.bytes -= bytes;
                        outbox.moved_at = now;
                        outbox.messages.pop_front();
                    }
                    Sent::Full if now < outbox.moved_at + STALL_MAX => break,
                    Sent::Full | Sent::Unreachable => {
                        gone.push(peer.clone());
                        break;
                    }
                }
            }
            if outbox.messages.is_empty() {
                done.push(peer.clone());
            }
        }
        for peer in done.iter().chain(&gone) {
            self.drop_peer(peer);
        }
        Ok(gone)
    }
}

fn size(frames: &[Bytes]) -> usize {
    frames.iter().map(Bytes::len).sum()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn outboxes() -> Outboxes {
        Outboxes::new(&Limits {
            outbox_messages: 3,
            outbox_bytes: 100,
            outboxes_bytes: 150,
            ..Limits::default()
        })
    }

    fn peer(name: &'static str) -> PeerId {
        PeerId(Bytes::from_static(name.as_bytes()))
    }

    fn message(bytes: usize) -> Frames {
        vec![Bytes::from(vec![b'x'; bytes])]
    }

    #[test]
    fn a_peer_that_reaches_its_bound_goes_and_no_other() {
        let now = Instant::now();
        for (sizes, overflows) in
            [(vec![1, 1, 1], false), (vec![1, 1, 1, 1], true), (vec![60, 41], true)]
        {
            let mut outboxes = outboxes();
            assert_eq!(outboxes.push(now, &peer("other"), message(1)), None);
            let gone: Vec<PeerId> = sizes
                .iter()
                .filter_map(|size| outboxes.push(now, &peer("a"), message(*size)))
                .collect();
            assert_eq!(gone == [peer("a")], overflows, "{sizes:?}");
            assert_eq!(outboxes.holds_for(&peer("a")), !overflows);
            assert!(outboxes.holds_for(&peer("other")));
        }
    }

    #[test]
    fn where_all_together_are_too_much_the_largest_goes() {
        let now = Instant::now();
        let mut outboxes = outboxes();
        assert_eq!(outboxes.push(now, &peer("hog"), message(90)), None);
        assert_eq!(outboxes.push(now, &peer("b"), message(60)), None);
        assert_eq!(outboxes.push(now, &peer("c"), message(1)), Some(peer("hog")));
        assert!(outboxes.holds_for(&peer("b")) && outboxes.holds_for(&peer("c")));
        assert_eq!(outboxes.bytes, 61);
    }

    #[test]
    fn flushing_keeps_order_and_stops_at_a_full_pipe() {
        let now = Instant::now();
        let mut outboxes = outboxes();
        for size in [1, 2, 3] {
            outboxes.push(now, &peer("a"), message(size));
        }
        let mut sent = Vec::new();
        let first_two = |_: &PeerId, frames: &[Bytes]| {
            if sent.len() == 2 {
                return Ok::<_, Infallible>(Sent::Full);
            }
            sent.push(frames[0].len());
            Ok(Sent::Done)
        };
        assert_eq!(outboxes.flush(now, first_two), Ok(vec![]));
        assert_eq!(sent, [1, 2]);
        assert!(outboxes.holds_for(&peer("a")));
        let rest = outboxes.flush(now, |_, _| Ok::<_, Infallible>(Sent::Done));
        assert_eq!(rest, Ok(vec![]));
        assert!(outboxes.is_empty());
        assert_eq!(outboxes.bytes, 0);
    }

    #[test]
    fn who_cannot_be_reached_or_takes_nothing_for_long_is_gone() {
        let now = Instant::now();
        let full = |_: &PeerId, _: &[Bytes]| Ok::<_, Infallible>(Sent::Full);
        for (sent, after, gone) in [
            (Sent::Unreachable, Duration::ZERO, true),
            (Sent::Full, STALL_MAX - Duration::from_millis(1), false),
            (Sent::Full, STALL_MAX, true),
        ] {
            let mut outboxes = outboxes();
            outboxes.push(now, &peer("a"), message(5));
            assert_eq!(outboxes.flush(now, full), Ok(vec![]));
            let flushed = outboxes.flush(now + after, |_, _| Ok::<_, Infallible>(sent));
            assert_eq!(flushed, Ok(if gone { vec![peer("a")] } else { vec![] }));
            assert_eq!(outboxes.is_empty(), gone);
        }
    }
}
