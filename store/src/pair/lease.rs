//! Until when a leader knows that nobody has replaced it, and since when.
//!
//! Every heartbeat carries a token, and its answer echoes the token together with the epoch that
//! the echoer follows or holds. An echo proves that this epoch was the newest when the token was
//! *sent*, not when the echo arrived. No append rests on it: only fresh reads, and taking requests
//! in, do.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Most tokens whose echo is awaited; the oldest is given up.
const TOKENS_MAX: usize = 64;
/// Most waiters for a proof.
pub const WAITERS_MAX: usize = 64 * 1024;

/// Whose echo proves the reign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Proof {
    /// The follower: it promises the next epoch before it asks for it.
    Member,
    /// The witness: it holds the newest epoch.
    Witness,
}

/// The lease of one node. `T` is whoever waits for a proof that is younger than his question.
#[derive(Debug)]
pub struct Lease<T> {
    term: Duration,
    epoch: u64,
    proof: Proof,
    /// Tokens rise for ever, over reigns too: an old echo never fits a new token.
    next: u64,
    sent: VecDeque<(u64, Instant)>,
    until: Option<Instant>,
    /// With the first token that is sent after the question.
    waiting: VecDeque<(u64, T)>,
}

impl<T> Lease<T> {
    /// A lease that lasts `term` from the sending of an echoed token.
    #[must_use]
    pub fn new(term: Duration) -> Lease<T> {
        Lease {
            term,
            epoch: 0,
            proof: Proof::Witness,
            next: 1,
            sent: VecDeque::new(),
            until: None,
            waiting: VecDeque::new(),
        }
    }

    /// Another reign, or none (epoch 0): what was proved is worth nothing now, and whoever waits
    /// is moved to `failed`.
    pub fn reset(&mut self, epoch: u64, proof: Proof, failed: &mut Vec<T>) {
        self.epoch = epoch;
        self.proof = proof;
        self.sent.clear();
        self.until = None;
        failed.extend(self.waiting.drain(..).map(|(_, waiter)| waiter));
    }

    /// The token for a message that is sent `now`.
    pub fn send(&mut self, now: Instant) -> u64 {
        let token = self.next;
        self.next += 1;
        if self.sent.len() == TOKENS_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back((token, now));
        token
    }

    /// An echo came. Whoever asked before its token was sent is moved to `confirmed`.
    pub fn echo(&mut self, from: Proof, token: u64, epoch: u64, confirmed: &mut Vec<T>) {
        if from != self.proof || epoch != self.epoch || epoch == 0 {
            return;
        }
        let Some((_, sent_at)) = self.sent.iter().find(|(sent, _)| *sent == token).copied() else {
            return;
        };
        self.sent.retain(|(sent, _)| *sent > token);
        let until = sent_at + self.term;
        self.until = Some(self.until.map_or(until, |former| former.max(until)));
        let proved = self.waiting.partition_point(|(first, _)| *first <= token);
        confirmed.extend(self.waiting.drain(..proved).map(|(_, waiter)| waiter));
    }

    /// Waits for a proof that is younger than now.
    ///
    /// # Errors
    /// The waiter, if this node does not lead or too many wait.
    pub fn ask(&mut self, waiter: T) -> Result<(), T> {
        if self.epoch == 0 || self.waiting.len() >= WAITERS_MAX {
            return Err(waiter);
        }
        self.waiting.push_back((self.next, waiter));
        Ok(())
    }

    /// Whether anybody waits: then a heartbeat should go out at once.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// End of what is proved (exclusive).
    #[must_use]
    pub fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Whether the reign is proved for `now`.
    #[must_use]
    pub fn is_confirmed(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: Duration = Duration::from_millis(300);

    fn at(ms: u64) -> Instant {
        static ZERO: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(now);
        *ZERO + Duration::from_millis(ms)
    }

    #[expect(clippy::disallowed_methods, reason = "an instant to count from")]
    fn now() -> Instant {
        Instant::now()
    }

    fn leading() -> Lease<&'static str> {
        let mut lease = Lease::new(TERM);
        lease.reset(5, Proof::Member, &mut Vec::new());
        lease
    }

    #[test]
    fn it_lasts_from_the_sending_of_what_is_echoed() {
        let mut lease = leading();
        assert!(!lease.is_confirmed(at(0)));
        let token = lease.send(at(100));
        lease.echo(Proof::Member, token, 5, &mut Vec::new());
        assert_eq!(lease.until(), Some(at(100) + TERM));
        assert!(lease.is_confirmed(at(399)) && !lease.is_confirmed(at(400)));
    }

    #[test]
    fn an_older_echo_never_shortens_it_and_none_counts_twice() {
        let mut lease = leading();
        let (first, second) = (lease.send(at(100)), lease.send(at(200)));
        for token in [second, first, second] {
            lease.echo(Proof::Member, token, 5, &mut Vec::new());
            assert_eq!(lease.until(), Some(at(200) + TERM));
        }
    }

    #[test]
    fn only_the_right_echo_counts() {
        let mut lease = leading();
        let token = lease.send(at(0));
        for (proof, token, epoch) in [
            (Proof::Witness, token, 5),
            (Proof::Member, token, 4),
            (Proof::Member, token, 6),
            (Proof::Member, token + 1, 5),
            (Proof::Member, 0, 5),
        ] {
            lease.echo(proof, token, epoch, &mut Vec::new());
            assert_eq!(lease.until(), None, "{proof:?} {token} {epoch}");
        }
    }

    #[test]
    fn a_reader_waits_for_a_token_that_was_sent_after_its_question() {
        let mut lease = leading();
        let (mut confirmed, mut failed) = (Vec::new(), Vec::new());
        let before = lease.send(at(0));
        assert_eq!(lease.ask("first"), Ok(()));
        let after = lease.send(at(100));
        assert_eq!(lease.ask("second"), Ok(()));
        lease.echo(Proof::Member, before, 5, &mut confirmed);
        assert_eq!(confirmed, [""; 0]);
        lease.echo(Proof::Member, after, 5, &mut confirmed);
        assert_eq!(confirmed, ["first"]);
        assert!(lease.is_awaited());
        lease.reset(0, Proof::Witness, &mut failed);
        assert_eq!(failed, ["second"]);
        assert_eq!(lease.ask("third"), Err("third"), "this node does not lead");
    }

    #[test]
    fn echoes_of_a_former_reign_prove_nothing() {
        let mut lease = leading();
        let token = lease.send(at(0));
        lease.reset(6, Proof::Member, &mut Vec::new());
        lease.echo(Proof::Member, token, 6, &mut Vec::new());
        assert_eq!(lease.until(), None);
    }

    #[test]
    fn tokens_and_waiters_are_bounded() {
        let mut lease = leading();
        let first = lease.send(at(0));
        for _ in 0..TOKENS_MAX {
            lease.send(at(1));
        }
        lease.echo(Proof::Member, first, 5, &mut Vec::new());
        assert_eq!(lease.until(), None, "it was given up");
        for _ in 0..WAITERS_MAX {
            assert_eq!(lease.ask("one"), Ok(()));
        }
        assert_eq!(lease.ask("more"), Err("more"));
    }
}
