//! Appends: the conversations with the brokers, the order of each client's messages, the answers.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use broker::dialect::{
    Detail, ErrorBody, LinkSettings, PartitionRegistration, Registration, ServiceName, SessionId,
    Window, WorkerInput, WorkerLink, WorkerOffer, WorkerOutput, WorkerReply, WorkerRequest,
    encode_body,
};
use broker::error_code::ErrorCode;
use broker::net::Frames;
use bytes::Bytes;
use store::Append;
use store::pair::protocol::Input;
use store::server::machines::{Answer, Arrival, Decision, LinkNumber, SessionTable};
use store::wire::Refusal;
use store::wire::append::{AppendMessage, AppendReply, AppendResult};

use super::{HEARTBEAT, Run, Work};
use crate::engine::Outcome;
use crate::env::{Env, Message};
use crate::network::{BROKERS, Host, Lane, Way};

const WINDOW: Window = Window { messages: 256, bytes: 8 * 1024 * 1024 };

/// Whom a log's answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// A message that was executed.
    Executed(SessionId, u64),
    /// A message that was only looked up.
    LookedUp(SessionId, u64, LinkNumber),
    /// Nobody.
    System,
}

/// See the module's comment.
pub struct Serving {
    links: Vec<Link>,
    sessions: Vec<SessionTable>,
    /// Requests that wait until it is proved that this node still leads.
    deferred: VecDeque<(LinkNumber, WorkerRequest)>,
    /// Whether the brokers were last told that this node leads.
    offered_leading: bool,
    /// Whether a broker knew this process when the pair was last told.
    known: bool,
}

struct Link {
    link: WorkerLink,
    open: bool,
    open_at: Option<Instant>,
}

impl Serving {
    pub(super) fn new(now: Instant, partitions: usize) -> Self {
        let link = |_| Link {
            link: WorkerLink::new(LinkSettings {
                agent: "store".to_owned(),
                heartbeat: HEARTBEAT,
                ..LinkSettings::default()
            }),
            open: false,
            open_at: Some(now),
        };
        Self {
            links: BROKERS.map(link).into(),
            sessions: (0..partitions).map(|_| SessionTable::default()).collect(),
            deferred: VecDeque::new(),
            offered_leading: false,
            known: true,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let links = self.links.iter().flat_map(|link| [link.open_at, link.link.deadline()]);
        crate::appender::earliest(links)
    }
}

impl Run {
    fn broker_way(&self, link: usize) -> Way {
        Way { client: self.host, server: BROKERS[link], lane: Lane::Dialect }
    }

    pub(super) fn serving_starts(&mut self, env: &mut Env) {
        self.offer_all(env);
        self.serving_tick(env);
    }

    pub(super) fn serving_tick(&mut self, env: &mut Env) {
        let now = env.local(self.host);
        for link in 0..self.serving.links.len() {
            if self.serving.links[link].open_at.is_some_and(|at| at <= now) {
                self.serving.links[link].open_at = None;
                self.serving.links[link].open = true;
                let session = SessionId(*env.uuid().as_bytes());
                self.give_link(env, link, WorkerInput::Opened { session });
            }
            self.give_link(env, link, WorkerInput::Tick);
        }
        self.take_deferred(env);
        let known = self.serving.links.iter().any(|link| link.link.is_up());
        if known != std::mem::replace(&mut self.serving.known, known) {
            self.do_work(env, Work::Pair(Input::Brokers(known)));
        }
    }

    /// A broker says something.
    pub fn hear_broker(&mut self, env: &mut Env, from: Host, frames: Frames) {
        let link = BROKERS.iter().position(|broker| *broker == from).unwrap();
        if self.serving.links[link].open {
            self.give_link(env, link, WorkerInput::Frames(frames));
        }
        self.serving_tick(env);
        self.settle(env);
    }

    /// Tells the brokers in which epoch this node leads or follows. What clients asked while it led
    /// is asked again by the brokers once it does not, so nothing of it is kept then.
    pub(super) fn offer_all(&mut self, env: &mut Env) {
        if self.leading != std::mem::replace(&mut self.serving.offered_leading, self.leading) {
            self.serving.deferred.clear();
            for table in &mut self.serving.sessions {
                *table = SessionTable::default();
            }
        }
        for partition in 0..self.disk.logs.len() {
            let offer = self.offer(u16::try_from(partition).unwrap(), env.plan.partitions);
            for link in 0..self.serving.links.len() {
                self.give_link(env, link, WorkerInput::Offer(offer.clone()));
            }
        }
    }

    fn offer(&self, partition: u16, partitions: u16) -> WorkerOffer {
        WorkerOffer {
            service: ServiceName::partition("orders", partition).unwrap(),
            epoch: self.pair.epoch(),
            registration: Registration {
                partition: Some(PartitionRegistration {
                    store: "orders".to_owned(),
                    partition,
                    partitions,
                    leader: self.leading,
                    incarnation: self.disk.incarnation.0,
                    lineage: self.pair.lineage().0,
                    durability: "pair".to_owned(),
                    feed: String::new(),
                    replay: String::new(),
                }),
            },
            window: WINDOW,
        }
    }

    fn give_link(&mut self, env: &mut Env, link: usize, input: WorkerInput) {
        let now = env.local(self.host);
        let mut outputs = Vec::new();
        self.serving.links[link].link.handle(now, input, &mut outputs);
        for output in outputs {
            match output {
                WorkerOutput::Send(frames) => {
                    let way = self.broker_way(link);
                    env.send(way, self.host, Message::Dialect(frames));
                }
                WorkerOutput::Request(request) => {
                    let (service, number) = (request.service.clone(), request.number);
                    env.say(self.host, || format!("is asked {service} number {number}"));
                    self.serving.deferred.push_back((LinkNumber(link), request));
                }
                WorkerOutput::Reopen { at } => {
                    env.network.reset(self.broker_way(link));
                    self.serving.links[link].open = false;
                    self.serving.links[link].open_at = Some(at);
                }
                WorkerOutput::Vote { .. } => {
                    self.do_work(env, Work::Pair(Input::Vote));
                }
                WorkerOutput::Up { .. } | WorkerOutput::Refused { .. } => {}
            }
        }
    }

    /// Takes requests in, if this node leads and has a fresh proof of it.
    pub(super) fn take_deferred(&mut self, env: &mut Env) {
        if !self.leading {
            self.serving.deferred.clear();
            return;
        }
        let now = env.local(self.host);
        let alone = self.pair.configuration().is_some_and(|it| it.members.len() == 1);
        if !self.intake || !(alone || self.lease.is_confirmed(now)) {
            return;
        }
        while let Some((asker, request)) = self.serving.deferred.pop_front() {
            self.request(env, asker, &request);
        }
        self.settle(env);
    }

    fn request(&mut self, env: &mut Env, asker: LinkNumber, request: &WorkerRequest) {
        let partition = partition_of(&request.service);
        let WorkerRequest { session, number, lowest, .. } = *request;
        let arrival = Arrival { session, number, lowest, asker };
        let table = &mut self.serving.sessions[partition];
        let decision = table.arrive(arrival);
        env.say(self.host, || format!("{} number {number}: {decision:?}", request.service));
        let token = match decision {
            Decision::Execute => Token::Executed(session, number),
            Decision::LookUp => Token::LookedUp(session, number, asker),
            Decision::UnderWay => return,
            Decision::Again(answer) => {
                return self.reply(env, &[asker], (partition, session, number), &answer);
            }
            Decision::Hole { expected } => {
                let body = ErrorBody::new("hole").with("expected", Detail::Number(expected));
                let answer = failed(ErrorCode::UNEXPECTED_NUMBER, &body);
                return self.reply(env, &[asker], (partition, session, number), &answer);
            }
            Decision::Full => {
                let answer = failed(ErrorCode::BUSY, &ErrorBody::new("full"));
                return self.reply(env, &[asker], (partition, session, number), &answer);
            }
        };
        let message = AppendMessage::decode(request.body[0].clone()).unwrap();
        let append = |writes| Append { writes, durability: None };
        let appends: Vec<Append> = message.appends.into_iter().map(append).collect();
        let look_up = matches!(token, Token::LookedUp(..));
        self.disk.logs[partition].submit(&appends, token, look_up);
    }

    /// Sends the answers that rest on nothing uncommitted any more.
    pub(super) fn say_answers(&mut self, env: &mut Env, partition: usize) {
        for (token, outcomes) in self.disk.logs[partition].take_answers() {
            let unknown = outcomes.contains(&Outcome::Unknown);
            if unknown && !self.leading {
                continue;
            }
            let answer = append_reply(self.disk.incarnation.0, outcomes);
            match token {
                Token::System => {}
                Token::Executed(session, number) => {
                    let table = &mut self.serving.sessions[partition];
                    let askers = table.answered(session, number, &answer);
                    self.reply(env, &askers, (partition, session, number), &answer);
                }
                Token::LookedUp(session, number, asker) => {
                    self.reply(env, &[asker], (partition, session, number), &answer);
                }
            }
        }
    }

    fn reply(
        &mut self,
        env: &mut Env,
        askers: &[LinkNumber],
        (partition, session, number): (usize, SessionId, u64),
        answer: &Answer,
    ) {
        let partition = u16::try_from(partition).unwrap();
        for LinkNumber(link) in askers {
            let reply = WorkerReply {
                session,
                service: ServiceName::partition("orders", partition).unwrap(),
                number,
                epoch: self.pair.epoch(),
                code: answer.code,
                retry_after: answer.retry_after,
                more: false,
                body: vec![answer.body.clone()],
            };
            self.give_link(env, *link, WorkerInput::Reply(reply));
        }
    }
}

fn partition_of(service: &ServiceName) -> usize {
    service.as_str().rsplit('/').next().unwrap().parse().unwrap()
}

fn failed(code: ErrorCode, body: &ErrorBody) -> Answer {
    Answer { code: Some(code), retry_after: Duration::ZERO, body: encode_body(body) }
}

fn append_reply(incarnation: uuid::Uuid, outcomes: Vec<Outcome>) -> Answer {
    let refused = |code: ErrorCode, body: &ErrorBody| {
        AppendResult::Refused(Refusal { code: code.number(), body: encode_body(body) })
    };
    let text = |text: &dyn ToString| Detail::Text(text.to_string());
    let results = outcomes.into_iter().map(|outcome| match outcome {
        Outcome::Done { done, .. } => AppendResult::Done(done),
        Outcome::WrongVersion { stream, expected, actual } => {
            let body = ErrorBody::new("conflict")
                .with("stream", text(&stream))
                .with("expected", text(&expected));
            let body = match actual {
                Some(actual) => body.with("actual", Detail::Number(actual.0)),
                None => body,
            };
            refused(ErrorCode::WRONG_EXPECTED_VERSION, &body)
        }
        Outcome::IdReused(ids) => {
            let ids = ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            refused(ErrorCode::ID_REUSED, &ErrorBody::new("reused").with("ids", Detail::Text(ids)))
        }
        Outcome::Unknown => refused(ErrorCode::TIMEOUT_UNKNOWN, &ErrorBody::new("unknown")),
    });
    let reply = AppendReply { durable_on: vec![incarnation], results: results.collect() };
    let body = Bytes::from(reply.encode().unwrap());
    Answer { code: None, retry_after: Duration::ZERO, body }
}
