//! A subscriber: the shipped splice of feed and history, and a memory of what it was given.

use std::time::{Duration, Instant};

use broker::error_code::ErrorCode;
use client::machines::{FeedMessage, ReplayedBlock, Splice, SpliceInput, SpliceOutput};
use client::{Lineage, OnGap, Position, Span};
use store::event::{Epoch, Sequence};

use crate::appender::earliest;
use crate::clock::Moment;
use crate::engine::Entry;
use crate::env::{Env, FeedPart, Message};
use crate::network::{Host, Lane, MEMBERS, Way};

/// How long a member may take to answer.
const READ_PATIENCE: Duration = Duration::from_millis(800);

/// See the module's comment.
pub struct Reader {
    host: Host,
    courses: Vec<Course>,
}

struct Course {
    partition: u16,
    splice: Splice<Vec<Entry>>,
    /// Newest sequence that was handed out (inclusive).
    last: u64,
    reading: Option<Reading>,
    requests: u64,
    /// Whom to ask next.
    asks: usize,
}

struct Reading {
    request: u64,
    /// Sequence before the next one that it will bring.
    at: u64,
    silent_at: Instant,
}

impl Reader {
    pub fn new(host: Host, env: &mut Env) -> Self {
        let now = env.local(host);
        let course = |partition| Course {
            partition,
            splice: Splice::new(now, Position::START, OnGap::Repair, u64::from(partition)),
            last: 0,
            reading: None,
            requests: 0,
            asks: 0,
        };
        let mut reader = Self { host, courses: (0..env.plan.partitions).map(course).collect() };
        for course in 0..reader.courses.len() {
            reader.subscribe(env, course);
        }
        reader
    }

    /// Newest sequence that was handed out of a partition.
    pub fn last(&self, partition: usize) -> u64 {
        self.courses[partition].last
    }

    pub fn gaps_repaired(&self) -> u64 {
        self.courses.iter().map(|course| course.splice.counters().gaps_repaired).sum()
    }

    pub fn deadline(&self, env: &Env) -> Option<Moment> {
        let deadlines = self.courses.iter().flat_map(|course| {
            [course.splice.deadline(), course.reading.as_ref().map(|reading| reading.silent_at)]
        });
        earliest(deadlines).map(|at| env.moment_of(self.host, at))
    }

    pub fn tick(&mut self, env: &mut Env) {
        let now = env.local(self.host);
        for course in 0..self.courses.len() {
            let reading = &mut self.courses[course].reading;
            if reading.take_if(|reading| reading.silent_at <= now).is_some() {
                self.give(env, course, SpliceInput::ReplayFailed(None));
            }
            self.give(env, course, SpliceInput::Tick { feed_drained: true });
        }
    }

    pub fn hear_feed(&mut self, env: &mut Env, part: &FeedPart) {
        let message = FeedMessage {
            lineage: Lineage(part.lineage),
            span: span(part),
            cut: Sequence(part.cut),
            heartbeat: crate::member::FEED_HEARTBEAT,
            first: Sequence(part.previous + 1),
            bytes: part.records.len(),
            records: (part.last > part.previous).then(|| Entry::parse(&part.records)),
        };
        self.give(env, usize::from(part.partition), SpliceInput::Feed(message));
    }

    pub fn hear_block(
        &mut self,
        env: &mut Env,
        request: u64,
        part: &FeedPart,
        (end, head): (bool, u64),
    ) {
        let now = env.local(self.host);
        let place = usize::from(part.partition);
        let course = &mut self.courses[place];
        let Some(reading) = course.reading.as_mut().filter(|it| it.request == request) else {
            return;
        };
        reading.silent_at = now + READ_PATIENCE;
        let mut span = span(part);
        if part.last == part.previous {
            (span.previous, span.last) = (Sequence(reading.at), Sequence(reading.at));
        }
        reading.at = span.last.0;
        if end {
            course.reading = None;
        }
        let block = ReplayedBlock {
            lineage: Lineage(part.lineage),
            span,
            head: Sequence(head),
            end,
            records: Entry::parse(&part.records),
        };
        self.give(env, place, SpliceInput::Block(block));
    }

    pub fn hear_refusal(&mut self, env: &mut Env, request: u64, ahead: Option<crate::env::Ahead>) {
        assert!(ahead.is_none(), "{}: nothing that was shown is ever cut: {ahead:?}", self.host);
        let place = self.courses.iter().position(|course| {
            course.reading.as_ref().is_some_and(|reading| reading.request == request)
        });
        if let Some(place) = place {
            self.courses[place].reading = None;
            let code = ErrorCode::NOT_LEADER;
            let refusal = client::Refusal::from_body(code, Default::default());
            self.give(env, place, SpliceInput::ReplayFailed(Some(refusal)));
        }
    }

    fn give(&mut self, env: &mut Env, place: usize, input: SpliceInput<Vec<Entry>>) {
        let now = env.local(self.host);
        let mut outputs = Vec::new();
        self.courses[place].splice.handle(now, input, &mut outputs);
        for output in outputs {
            match output {
                SpliceOutput::Deliver { after, records, .. } => {
                    let course = &mut self.courses[place];
                    for entry in records.iter().filter(|entry| entry.sequence > after.0) {
                        assert_eq!(entry.sequence, course.last + 1, "every record once, in order");
                        course.last = entry.sequence;
                        env.oracle.delivered(place, entry);
                    }
                }
                SpliceOutput::Moved { .. } => unreachable!("no feed here is filtered"),
                SpliceOutput::Replay { from, epoch } => self.read(env, place, from.0, epoch.0),
                SpliceOutput::StopReplay { behind } => {
                    self.courses[place].reading = None;
                    self.courses[place].asks += usize::from(behind);
                }
                SpliceOutput::Subscribe { .. } => self.subscribe(env, place),
                SpliceOutput::Stop(reason) => panic!("{}: {reason:?}", self.host),
            }
        }
    }

    fn subscribe(&mut self, env: &mut Env, place: usize) {
        for member in MEMBERS {
            let way = Way { client: self.host, server: member, lane: Lane::Replay };
            let partition = self.courses[place].partition;
            env.send(way, self.host, Message::Subscribe(partition));
        }
    }

    fn read(&mut self, env: &mut Env, place: usize, from: u64, epoch: u64) {
        let now = env.local(self.host);
        let course = &mut self.courses[place];
        course.requests += 1;
        course.asks += 1;
        let member = MEMBERS[course.asks % MEMBERS.len()];
        let request = course.requests * 100 + u64::from(course.partition);
        let silent_at = now + READ_PATIENCE;
        course.reading = Some(Reading { request, at: from - 1, silent_at });
        let partition = course.partition;
        let way = Way { client: self.host, server: member, lane: Lane::Replay };
        env.send(way, self.host, Message::Read { partition, request, from, epoch });
    }
}

fn span(part: &FeedPart) -> Span {
    Span { epoch: Epoch(part.epoch), previous: Sequence(part.previous), last: Sequence(part.last) }
}
