//! A client that appends: coalescer, outbox and broker link as shipped, and around them a caller
//! who never gives up an append whose outcome is unknown.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use broker::dialect::{
    ClientInput, ClientLink, ClientOutput, ClientReply, ClientRequest, ErrorBody, LinkSettings,
    ServiceName, SessionId, decode_body,
};
use broker::net::Frames;
use bytes::Bytes;
use client::machines::{
    Answer, Coalescer, Conclusion, Failover, FailoverInput, FailoverOutput, Outbox, OutboxInput,
    OutboxOutput, Waiting, Window, from_refusal,
};
use client::{AppendError, Refusal};
use store::event::{ContentType, Epoch, EventId, ExpectedVersion, NewEvent, Signature, Version};
use store::names::{EventType, StreamName};
use store::wire::append::{AppendDone, AppendMessage, AppendReply, AppendResult};
use store::{Append, StreamWrite};

use crate::clock::Moment;
use crate::env::{Env, Message};
use crate::network::{BROKERS, Host, Lane, Way};
use crate::oracle::Acknowledgement;

/// Appends that one client has open in one partition, at most.
const OPEN_MAX: usize = 6;

/// Which stream an append goes to, and so what it expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The client's own, any version, many at a time: they must keep their order.
    Pipeline,
    /// The client's own, exact version, one at a time: no conflict is possible.
    Exact,
    /// Everybody's, exact version: conflicts are to be expected.
    Contested,
}

/// An append that somebody waits for.
#[derive(Debug)]
struct Open {
    kind: Kind,
    writes: Vec<StreamWrite>,
    /// In the order of the pipeline.
    order: u64,
    /// Whether it was given to the outbox more than once.
    again: bool,
}

/// One partition's way.
#[derive(Debug)]
struct Course {
    partition: u16,
    service: ServiceName,
    coalescer: Coalescer<(u64, Vec<StreamWrite>)>,
    outbox: Outbox<u64>,
    open: BTreeMap<u64, Open>,
    /// Highest number that was sent.
    sent: u64,
    exact: Version,
    contested: Version,
    /// Sequences of the pipeline's appends that took one attempt, by their order.
    pipeline: BTreeMap<u64, u64>,
}

/// See the module's comment.
pub struct Appender {
    host: Host,
    session: SessionId,
    link: ClientLink,
    failover: Failover,
    connected: bool,
    courses: Vec<Course>,
    tickets: u64,
    next_append: Moment,
    /// Appends are made until then.
    pub stop_at: Moment,
}

impl Appender {
    pub fn new(host: Host, env: &mut Env) -> Self {
        let session = SessionId(*env.uuid().as_bytes());
        let settings = LinkSettings { agent: "appender".to_owned(), ..LinkSettings::default() };
        let courses = (0..env.plan.partitions).map(|partition| Course::new(partition, env));
        let mut appender = Self {
            host,
            session,
            link: ClientLink::new(settings),
            failover: Failover::new(BROKERS.len()),
            connected: false,
            courses: courses.collect(),
            tickets: 0,
            next_append: Duration::ZERO,
            stop_at: Moment::MAX,
        };
        appender.obey(env, Some(FailoverOutput::Connect(0)));
        appender
    }

    /// Whether nobody waits for anything any more.
    pub fn is_idle(&self) -> bool {
        self.courses.iter().all(|course| course.open.is_empty())
    }

    pub fn deadline(&self, env: &Env) -> Option<Moment> {
        let outboxes = self.courses.iter().flat_map(|course| {
            [course.outbox.deadline(), course.coalescer.deadline()].into_iter().flatten()
        });
        let links = [self.link.deadline(), self.failover.deadline()].into_iter().flatten();
        let machines = outboxes.chain(links).min().map(|at| env.moment_of(self.host, at));
        let append = (self.next_append < self.stop_at).then_some(self.next_append);
        machines.into_iter().chain(append).min()
    }

    pub fn receive(&mut self, env: &mut Env, from: Host, frames: Frames) {
        if self.connected && from == self.broker() {
            self.give(env, ClientInput::Frames(frames));
        }
        self.turn(env);
    }

    pub fn tick(&mut self, env: &mut Env) {
        let now = env.local(self.host);
        self.give(env, ClientInput::Tick);
        let jitter = self.jitter(env);
        let output = self.failover.handle(now, FailoverInput::Tick, jitter);
        self.obey(env, output);
        if env.now >= self.next_append && env.now < self.stop_at {
            let pause = crate::network::micros(&mut env.random, env.plan.append_pause);
            self.next_append = env.now + pause + Duration::from_micros(100);
            let course = env.random.below(self.courses.len().try_into().unwrap());
            self.begin(env, usize::try_from(course).unwrap());
        }
        self.turn(env);
    }

    fn jitter(&self, env: &mut Env) -> u32 {
        u32::try_from(env.random.below(u64::from(u32::MAX))).unwrap()
    }

    fn broker(&self) -> Host {
        BROKERS[self.failover.current()]
    }

    fn way(&self) -> Way {
        Way { client: self.host, server: self.broker(), lane: Lane::Dialect }
    }

    /// A caller wants something appended.
    fn begin(&mut self, env: &mut Env, course: usize) {
        let kind = match env.random.below(3) {
            0 => Kind::Pipeline,
            1 => Kind::Exact,
            _ => Kind::Contested,
        };
        let course = &self.courses[course];
        let alone = kind != Kind::Pipeline;
        let taken = alone && course.open.values().any(|open| open.kind == kind);
        if taken || course.open.len() >= OPEN_MAX {
            return;
        }
        self.tickets += 1;
        let partition = usize::from(course.partition);
        let writes = vec![course.write(self.host, kind, env)];
        let open = Open { kind, writes: writes.clone(), order: self.tickets, again: false };
        self.courses[partition].open.insert(self.tickets, open);
        self.push(env, partition, self.tickets);
    }

    fn push(&mut self, env: &mut Env, course: usize, ticket: u64) {
        let now = env.local(self.host);
        let course = &mut self.courses[course];
        let writes = course.open[&ticket].writes.clone();
        let deadline = now + env.plan.request_timeout;
        course.coalescer.push(Waiting {
            bytes: 200,
            durability: None,
            deadline,
            append: (ticket, writes),
        });
    }

    /// Lets time pass for the outboxes and sends what may be sent.
    fn turn(&mut self, env: &mut Env) {
        for course in 0..self.courses.len() {
            self.give_outbox(env, course, OutboxInput::Tick);
            let now = env.local(self.host);
            while let Some(expired) = self.courses[course].coalescer.next_expired(now) {
                self.conclude(env, course, expired.append.0, Conclusion::NeverLeft);
            }
            self.pump(env, course);
        }
    }

    fn pump(&mut self, env: &mut Env, course: usize) {
        loop {
            let under_way = self.courses[course].outbox.under_way();
            let Some(message) = self.courses[course].coalescer.next_message(under_way) else {
                return;
            };
            let deadline = message.iter().map(|waiting| waiting.deadline).max().unwrap();
            let (tickets, appends) = message.into_iter().map(|waiting| waiting.append).unzip();
            let payload = AppendMessage { durability: None, appends }.encode().unwrap();
            let payload = Bytes::from(payload);
            let submit = OutboxInput::Submit { payload, appends: tickets, deadline };
            self.give_outbox(env, course, submit);
        }
    }

    fn give_outbox(&mut self, env: &mut Env, course: usize, input: OutboxInput<u64>) {
        let now = env.local(self.host);
        let mut outputs = Vec::new();
        self.courses[course].outbox.handle(now, input, &mut outputs);
        for output in outputs {
            match output {
                OutboxOutput::Send { number, lowest, time_left, payload } => {
                    let course = &mut self.courses[course];
                    env.oracle.counters.resends += u64::from(number <= course.sent);
                    course.sent = course.sent.max(number);
                    let service = course.service.clone();
                    env.say(self.host, || format!("sends {service} number {number} ≥ {lowest}"));
                    self.give(
                        env,
                        ClientInput::Request(ClientRequest {
                            service,
                            number,
                            lowest,
                            flags: 0,
                            time_left: time_left.max(Duration::from_millis(1)),
                            body: vec![payload],
                        }),
                    );
                }
                OutboxOutput::Concluded { append, conclusion } => {
                    self.conclude(env, course, append, conclusion);
                }
                OutboxOutput::AskTopology => {}
            }
        }
    }

    fn give(&mut self, env: &mut Env, input: ClientInput) {
        let now = env.local(self.host);
        let mut outputs = Vec::new();
        self.link.handle(now, input, &mut outputs);
        for output in outputs {
            match output {
                ClientOutput::Send(frames) => {
                    let way = self.way();
                    env.send(way, self.host, Message::Dialect(frames));
                }
                ClientOutput::Reply(reply) => self.reply(env, &reply),
                ClientOutput::Up(_) => {
                    let jitter = self.jitter(env);
                    self.failover.handle(now, FailoverInput::Answered, jitter);
                    self.link_changed(env, true);
                }
                ClientOutput::Reopen { .. } => {
                    self.link_changed(env, false);
                    self.disconnect(env);
                    let jitter = self.jitter(env);
                    let output = self.failover.handle(now, FailoverInput::Lost, jitter);
                    self.obey(env, output);
                }
            }
        }
    }

    fn link_changed(&mut self, env: &mut Env, up: bool) {
        for course in 0..self.courses.len() {
            let input = if up { OutboxInput::LinkUp } else { OutboxInput::LinkDown };
            self.give_outbox(env, course, input);
        }
    }

    fn disconnect(&mut self, env: &mut Env) {
        if std::mem::take(&mut self.connected) {
            env.network.reset(self.way());
        }
    }

    fn obey(&mut self, env: &mut Env, output: Option<FailoverOutput>) {
        match output {
            None => {}
            Some(FailoverOutput::Close) => self.disconnect(env),
            Some(FailoverOutput::Connect(_)) => {
                self.disconnect(env);
                self.connected = true;
                self.give(env, ClientInput::Opened { session: self.session });
            }
        }
    }

    fn reply(&mut self, env: &mut Env, reply: &ClientReply) {
        let Some(course) = self.courses.iter().position(|course| course.service == reply.service)
        else {
            return;
        };
        let number = reply.number;
        let body = reply.body.first().cloned().unwrap_or_default();
        let input = match reply.code {
            Some(code) => {
                env.say(self.host, || format!("{number} is refused: {code}"));
                let body = decode_body::<ErrorBody>(&body).unwrap_or_default();
                let mut refusal = Refusal::from_body(code, body);
                refusal.retry_after = Some(reply.retry_after).filter(|after| !after.is_zero());
                OutboxInput::Refused { number, refusal }
            }
            None => {
                let decoded = AppendReply::decode(body).unwrap();
                OutboxInput::Answered { number, answer: answer(reply.epoch, decoded) }
            }
        };
        self.give_outbox(env, course, input);
    }

    /// An append is over, unless nobody knows how it ended: then it is made again.
    fn conclude(&mut self, env: &mut Env, course: usize, ticket: u64, conclusion: Conclusion) {
        env.say(self.host, || format!("append {ticket}: {conclusion:?}"));
        match conclusion {
            Conclusion::Committed { done, .. } => {
                let open = self.courses[course].open.remove(&ticket).unwrap();
                self.courses[course].committed(&open, &done);
                env.oracle.acknowledged(Acknowledgement {
                    partition: self.courses[course].partition,
                    writes: open.writes,
                    done,
                });
            }
            Conclusion::Unknown { .. } => {
                env.oracle.counters.unknown += 1;
                self.courses[course].open.get_mut(&ticket).unwrap().again = true;
                self.push(env, course, ticket);
            }
            // An earlier attempt may still be done, unless a conflict rules that out.
            Conclusion::NeverLeft | Conclusion::NotDone(_)
                if self.courses[course].open[&ticket].again && !is_lasting(&conclusion) =>
            {
                self.push(env, course, ticket);
            }
            Conclusion::NeverLeft | Conclusion::NotDone(_) => {
                let mut open = self.courses[course].open.remove(&ticket).unwrap();
                env.oracle.refused(ids(&open.writes));
                if let Conclusion::NotDone(error) = conclusion {
                    self.courses[course].refused(&open, &error, env);
                }
                if env.now < self.stop_at {
                    // The caller tries again, with other events.
                    let write = self.courses[course].write(self.host, open.kind, env);
                    self.tickets += 1;
                    (open.writes, open.order, open.again) = (vec![write], self.tickets, false);
                    self.courses[course].open.insert(self.tickets, open);
                    self.push(env, course, self.tickets);
                }
            }
        }
    }

    /// What must hold when everything is over.
    pub fn assert_in_order(&self) {
        for course in &self.courses {
            let sequences: Vec<u64> = course.pipeline.values().copied().collect();
            assert!(sequences.is_sorted(), "{}: order was not kept: {sequences:?}", self.host);
        }
    }
}

impl Course {
    fn new(partition: u16, env: &Env) -> Self {
        Self {
            partition,
            service: ServiceName::partition("orders", partition).unwrap(),
            coalescer: Coalescer::new(Window { messages: 4, bytes: 256 * 1024 }),
            outbox: Outbox::new(env.plan.attempt_timeout),
            open: BTreeMap::new(),
            sent: 0,
            exact: Version::ZERO,
            contested: Version::ZERO,
            pipeline: BTreeMap::new(),
        }
    }

    fn write(&self, host: Host, kind: Kind, env: &mut Env) -> StreamWrite {
        let partition = self.partition;
        let (name, expected) = match kind {
            Kind::Pipeline => (format!("pipeline-{partition}-{}", host.0), ExpectedVersion::Any),
            Kind::Exact => {
                (format!("exact-{partition}-{}", host.0), ExpectedVersion::Exact(self.exact))
            }
            Kind::Contested => {
                (format!("contested-{partition}"), ExpectedVersion::Exact(self.contested))
            }
        };
        let stream = StreamName::new(name).unwrap();
        let count = 1 + env.random.below(3);
        let events = (0..count).map(|_| {
            let id = EventId(env.uuid());
            let event_type = EventType::new("Happened").unwrap();
            let data = id.as_bytes().to_vec();
            let mut event = NewEvent::new(event_type, ContentType::Bytes, data).with_id(id);
            event.signature = Some(Signature::of(&stream, &event));
            event
        });
        StreamWrite { events: events.collect(), stream, expected }
    }

    fn committed(&mut self, open: &Open, done: &AppendDone) {
        let version = done.versions.first().copied().unwrap();
        match open.kind {
            Kind::Exact => self.exact = version,
            Kind::Contested => self.contested = version,
            Kind::Pipeline if !open.again => {
                self.pipeline.insert(open.order, done.first.0);
            }
            Kind::Pipeline => {}
        }
    }

    fn refused(&mut self, open: &Open, error: &AppendError, env: &mut Env) {
        let AppendError::WrongExpectedVersion { actual, .. } = error else { return };
        assert_ne!(open.kind, Kind::Exact, "nobody else writes to this stream: {error}");
        if open.kind == Kind::Contested {
            env.oracle.counters.conflicts += 1;
            self.contested = actual.unwrap_or(Version::ZERO);
        }
    }
}

/// Whether no attempt at this append can be done any more: versions never go back, and had an
/// attempt been done its ids would have been found before the conflict.
fn is_lasting(conclusion: &Conclusion) -> bool {
    let Conclusion::NotDone(AppendError::WrongExpectedVersion { expected, actual, .. }) =
        conclusion
    else {
        return false;
    };
    let versions = (expected, actual);
    matches!(versions, (ExpectedVersion::Exact(expected), Some(actual)) if actual > expected)
}

fn ids(writes: &[StreamWrite]) -> impl Iterator<Item = EventId> {
    let append = Append { writes: writes.to_vec(), durability: None };
    append.events().map(|(_, event)| event.id).collect::<Vec<_>>().into_iter()
}

fn answer(epoch: u64, reply: AppendReply) -> Answer {
    let result = |result| match result {
        AppendResult::Done(done) => Ok(done),
        AppendResult::Refused(refusal) => Err(from_refusal(&refusal)),
    };
    Answer {
        epoch: Epoch(epoch),
        durable_on: reply.durable_on.into(),
        results: reply.results.into_iter().map(result).collect(),
        conflicts_last: true,
    }
}

/// When a clock shows it, if ever.
pub fn earliest(deadlines: impl IntoIterator<Item = Option<Instant>>) -> Option<Instant> {
    deadlines.into_iter().flatten().min()
}
