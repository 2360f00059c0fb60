//! Asking the broker what it knows, once for all who want to know.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use broker::dialect::{ClientReply, ClientRequest, ErrorBody, ServiceName, Topology, decode_body};
use broker::error_code::ErrorCode;
use bytes::Bytes;

use super::command::TopologyPromise;
use crate::config::ClientConfig;
use crate::error::{LookupError, Refusal, Unavailable};

/// The service that answers with a [`Topology`].
pub(super) const TOPOLOGY_SERVICE: &[u8] = b"mmi.topology";
/// First frame of a good answer (RFC 8).
const STATUS_OK: &[u8] = b"200";
/// How long after a hint that the topology changed it is asked for; more hints come meanwhile.
const HINT_DELAY: Duration = Duration::from_millis(100);

/// The newest topology, written by the background thread and read by all.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownTopology(Arc<RwLock<Option<Arc<Topology>>>>);

impl KnownTopology {
    pub(super) fn get(&self) -> Option<Arc<Topology>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, topology: Arc<Topology>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(topology);
    }
}

#[derive(Debug)]
struct Waiter {
    since: Instant,
    deadline: Instant,
    promise: TopologyPromise,
}

/// What is known of the topology, who waits for a newer one, and the question under way.
#[derive(Debug)]
pub(super) struct TopologyDesk {
    brokers: Vec<String>,
    interval: Duration,
    attempt_timeout: Duration,
    latest: KnownTopology,
    /// When to ask next, even if nobody waits.
    refresh_at: Option<Instant>,
    /// Number of the last question, and when it was asked if it is not answered yet.
    number: u64,
    asked_at: Option<Instant>,
    waiters: Vec<Waiter>,
}

impl TopologyDesk {
    pub(super) fn new(config: &ClientConfig, latest: KnownTopology) -> Self {
        Self {
            brokers: config.brokers.iter().map(ToString::to_string).collect(),
            interval: config.topology_interval,
            attempt_timeout: config.attempt_timeout,
            latest,
            refresh_at: None,
            number: 0,
            asked_at: None,
            waiters: Vec::new(),
        }
    }

    pub(super) fn latest(&self) -> Option<Arc<Topology>> {
        self.latest.get()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let waiters = self.waiters.iter().map(|waiter| waiter.deadline);
        let repeat = self.asked_at.map(|asked| asked + self.attempt_timeout);
        waiters.chain(repeat.or(self.refresh_at)).min()
    }

    /// Somebody wants one that is newer than `now`; asked with the next [`TopologyDesk::tick`].
    pub(super) fn ask(&mut self, now: Instant, deadline: Instant, promise: TopologyPromise) {
        self.waiters.push(Waiter { since: now, deadline, promise });
        self.refresh_at = Some(now);
    }

    /// Something hints at a change.
    pub(super) fn hint(&mut self, now: Instant) {
        let soon = now + HINT_DELAY;
        self.refresh_at = Some(self.refresh_at.map_or(soon, |at| at.min(soon)));
    }

    /// A broker listens: what was asked before is asked again.
    pub(super) fn link_up(&mut self, now: Instant) {
        self.asked_at = None;
        self.refresh_at = Some(now);
    }

    /// The question to send now, if one is due.
    pub(super) fn tick(&mut self, now: Instant, link_up: bool) -> Option<ClientRequest> {
        self.expire(now);
        let open = self.asked_at.is_some_and(|asked| now < asked + self.attempt_timeout);
        let due = self.asked_at.is_some() || self.refresh_at.is_some_and(|at| at <= now);
        if !link_up || open || !due {
            return None;
        }
        self.number += 1;
        self.asked_at = Some(now);
        self.refresh_at = Some(now + self.interval);
        Some(ClientRequest {
            service: ServiceName::new(TOPOLOGY_SERVICE)?,
            number: self.number,
            lowest: self.number,
            flags: 0,
            time_left: self.attempt_timeout,
            body: vec![Bytes::new()],
        })
    }

    fn expire(&mut self, now: Instant) {
        for place in (0..self.waiters.len()).rev() {
            if self.waiters.get(place).is_some_and(|waiter| waiter.deadline <= now) {
                let waiter = self.waiters.swap_remove(place);
                let waited = now.saturating_duration_since(waiter.since);
                let brokers = self.brokers.clone();
                let error = LookupError::Unavailable(Unavailable { brokers, waited });
                waiter.promise.fulfil(Err(error));
            }
        }
    }

    /// Takes an answer; whether there is a new topology.
    pub(super) fn reply(&mut self, now: Instant, reply: &ClientReply) -> bool {
        let Some(asked) = self.asked_at.filter(|_| reply.number == self.number) else {
            return false;
        };
        self.asked_at = None;
        let result = read(reply);
        // Whoever came after the question was asked wants a newer answer than this one.
        let (served, waiting): (Vec<_>, Vec<_>) =
            self.waiters.drain(..).partition(|waiter| waiter.since <= asked);
        self.waiters = waiting;
        if !self.waiters.is_empty() {
            self.refresh_at = Some(now);
        }
        let new = result.is_ok();
        if let Ok(topology) = &result {
            self.latest.set(Arc::clone(topology));
        }
        for waiter in served {
            waiter.promise.fulfil(result.clone());
        }
        new
    }
}

fn read(reply: &ClientReply) -> Result<Arc<Topology>, LookupError> {
    match (reply.code, reply.body.as_slice()) {
        (None, [status, map]) if status.as_ref() == STATUS_OK => rmp_serde::from_slice(map)
            .map(Arc::new)
            .map_err(|error| internal(format!("the broker's topology can't be read: {error}"))),
        (Some(code), body) => {
            let body = body.first().and_then(|body| decode_body::<ErrorBody>(body).ok());
            Err(LookupError::Refused(Refusal::from_body(code, body.unwrap_or_default())))
        }
        _ => Err(internal("the broker's answer is no topology".to_owned())),
    }
}

fn internal(message: String) -> LookupError {
    LookupError::Refused(Refusal::new(ErrorCode::INTERNAL, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pending::{Pending, pending};

    struct Bench {
        desk: TopologyDesk,
        now: Instant,
    }

    impl Bench {
        #[expect(clippy::disallowed_methods, reason = "an arbitrary point to count from")]
        fn new() -> Self {
            Self {
                desk: TopologyDesk::new(&ClientConfig::default(), KnownTopology::default()),
                now: Instant::now(),
            }
        }

        fn ask(&mut self) -> Pending<Arc<Topology>, LookupError> {
            let (promise, pending) = pending(|| LookupError::Closed);
            self.desk.ask(self.now, self.now + Duration::from_secs(10), promise);
            pending
        }

        fn question(&mut self) -> Option<u64> {
            self.desk.tick(self.now, true).map(|request| request.number)
        }

        fn answer(&mut self, number: u64) -> bool {
            let map = rmp_serde::to_vec_named(&Topology::default()).unwrap();
            let reply = ClientReply {
                service: ServiceName::new(TOPOLOGY_SERVICE).unwrap(),
                number,
                epoch: 0,
                code: None,
                retry_after: Duration::ZERO,
                more: false,
                body: vec![Bytes::from_static(b"200"), map.into()],
            };
            self.desk.reply(self.now, &reply)
        }
    }

    #[test]
    fn one_question_serves_all_who_waited_when_it_was_asked() {
        let mut bench = Bench::new();
        let (first, second) = (bench.ask(), bench.ask());
        assert_eq!(bench.question(), Some(1));
        bench.now += Duration::from_millis(1);
        let late = bench.ask();
        assert_eq!(bench.question(), None, "one question at a time");
        assert!(bench.answer(1));
        assert!(first.result().is_some() && second.result().is_some());
        assert!(late.result().is_none());
        assert_eq!(bench.question(), Some(2));
        assert!(bench.answer(2));
        assert!(late.result().unwrap().is_ok());
    }

    #[test]
    fn a_lost_question_is_repeated_and_an_old_answer_ignored() {
        let mut bench = Bench::new();
        let waiter = bench.ask();
        assert_eq!(bench.question(), Some(1));
        bench.now = bench.desk.deadline().unwrap();
        assert_eq!(bench.question(), Some(2));
        assert!(!bench.answer(1));
        assert!(bench.answer(2));
        assert!(waiter.result().is_some());
    }

    #[test]
    fn nobody_there_ends_in_an_error() {
        let mut bench = Bench::new();
        let waiter = bench.ask();
        assert!(bench.desk.tick(bench.now, false).is_none());
        bench.now += Duration::from_secs(10);
        assert!(bench.desk.tick(bench.now, false).is_none());
        assert!(matches!(waiter.result(), Some(Err(LookupError::Unavailable(_)))));
    }

    #[test]
    fn it_is_refreshed_now_and_then() {
        let mut bench = Bench::new();
        bench.desk.link_up(bench.now);
        assert_eq!(bench.question(), Some(1));
        bench.answer(1);
        assert_eq!(bench.question(), None);
        bench.desk.hint(bench.now);
        assert_eq!(bench.question(), None);
        bench.now += HINT_DELAY;
        assert_eq!(bench.question(), Some(2));
    }
}
