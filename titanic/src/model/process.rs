//! One process of a world: the machine, and what it waits for.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use broker::dialect::SessionId;
use bytes::Bytes;
use client::command::tsp::Status;
use client::command::wire::{CommandAnswer, CommandRequest, Requeue, Selection, Submit};
use client::command::{Body, CommandId, Session, Target};
use client::{ExpectedVersion, PartitionNumber, Sequence};
use uuid::Uuid;

use crate::protocol::{
    AppendFailure, AppendTicket, Ask, CallTicket, Door, FindTicket, Input, Inquiry, Now, Output,
    RequestKey, RequestTicket, Settings,
};
use crate::record::{Entry, Logged};
use crate::titanic::Titanic;

/// How long a process may be silent.
pub const LEASE: Duration = Duration::from_secs(5);

/// What a client asks a process for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Question {
    Submit,
    Fetch,
    Close,
    Requeue,
}

impl Question {
    const fn number(self) -> u64 {
        match self {
            Self::Submit => 0,
            Self::Fetch => 1,
            Self::Close => 2,
            Self::Requeue => 3,
        }
    }
}

/// An answer, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Told {
    pub status: Status,
    pub body: Option<Body>,
}

/// An append under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Append {
    pub ticket: AppendTicket,
    pub entry: Entry,
    pub expected: ExpectedVersion,
    /// What the store said.
    pub result: Option<Result<Sequence, AppendFailure>>,
}

impl Hash for AppendFailure {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
    }
}

/// A process and what is under way between it and others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    pub titanic: Titanic,
    pub session: Session,
    /// Records of the log that it has seen.
    pub position: usize,
    clock: Duration,
    pub appends: Vec<Append>,
    pub finds: Vec<(FindTicket, CommandId)>,
    pub calls: Vec<CallTicket>,
    pub requests: BTreeMap<RequestTicket, (Question, CommandId)>,
    /// Whether the log held what no Titanic writes.
    pub met_illegal: bool,
    /// What it told clients, until the world has looked at it.
    pub answers: Vec<(Question, CommandId, Told)>,
}

fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "an arbitrary point to count from")]
    *START.get_or_init(Instant::now)
}

impl Process {
    /// Reads the whole log, and begins to work.
    pub fn begin(number: u8, log: &[Entry]) -> Process {
        let session = Session(Uuid::from_u128(u128::from(number) + 1));
        let settings = Settings {
            attempts: 2,
            backoff: Duration::ZERO,
            claim_lease: LEASE,
            // Every body is read from the store.
            cache_bytes: 0,
            in_flight: 2,
            ..Settings::new(session, 1, 1)
        };
        let mut process = Process {
            titanic: Titanic::new(settings),
            session,
            position: 0,
            clock: Duration::ZERO,
            appends: Vec::new(),
            finds: Vec::new(),
            calls: Vec::new(),
            requests: BTreeMap::new(),
            met_illegal: false,
            answers: Vec::new(),
        };
        process.handle(Input::BrokerUp(0));
        while process.position < log.len() {
            process.hear(log);
        }
        process.handle(Input::Live(true));
        process
    }

    /// The next record of the log.
    pub fn hear(&mut self, log: &[Entry]) {
        let entry = Some(log[self.position].clone());
        self.position += 1;
        let through = sequence(self.position);
        let entries = vec![Logged { sequence: through, entry }];
        self.handle(Input::Log { partition: PartitionNumber(0), entries, through });
    }

    pub fn ask(&mut self, question: Question, command: CommandId) {
        let ticket = RequestTicket(command.uuid().as_u64_pair().1 * 8 + question.number());
        self.requests.insert(ticket, (question, command));
        let request = match question {
            Question::Submit => CommandRequest::Submit(Submit {
                id: Some(command),
                target: Target::new("work").unwrap(),
                body: Body::new(vec![Bytes::from_static(b"do")]).unwrap(),
                not_before_ms: None,
                delay_ms: None,
                ttl_ms: None,
                attempts: None,
            }),
            Question::Fetch => CommandRequest::Reply { id: command, wait_ms: 0 },
            Question::Close => CommandRequest::Close { id: command },
            Question::Requeue => CommandRequest::Requeue(Requeue {
                which: Selection::Ids(vec![command]),
                limit: 1,
                dry_run: false,
                attempts: Some(1),
            }),
        };
        let body = vec![request.encode().unwrap()];
        let key = RequestKey { session: SessionId([0; 16]), number: 1 };
        let ask = Ask { door: Door::Command, body, key };
        self.handle(Input::Request { ticket, ask, left: Duration::from_secs(3600) });
    }

    /// Time passes.
    pub fn sleep(&mut self, time: Duration) {
        self.clock += time;
        self.handle(Input::Tick);
    }

    /// Until something is due.
    pub fn sleep_until_due(&mut self) {
        let now = start() + self.clock;
        if let Some(at) = self.titanic.deadline() {
            self.sleep(at.saturating_duration_since(now));
        }
    }

    /// Whether some retry waits for its time.
    pub fn has_deadline(&self) -> bool {
        self.titanic.deadline().is_some_and(|at| at < start() + self.clock + LEASE / 2)
    }

    pub fn handle(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let mut outputs = Vec::new();
            let now = Now { instant: start() + self.clock, unix_ms: 1_000 };
            self.titanic.handle(now, input, &mut outputs);
            for output in outputs {
                self.carry_out(output, &mut inputs);
            }
        }
        self.appends.sort_by_key(|append| append.ticket);
        self.calls.sort_unstable();
        self.finds.sort_unstable();
    }

    fn carry_out(&mut self, output: Output, inputs: &mut Vec<Input>) {
        match output {
            Output::Append { ticket, entry, expected } => {
                // Only one shard is in the world, and silence is an event of its own.
                let matters = match &entry {
                    Entry::Claim { shard, .. } => *shard == super::world::shard(),
                    Entry::Step(_) => true,
                    Entry::Beat { .. } | Entry::Left { .. } => false,
                };
                if matters {
                    self.appends.push(Append { ticket, entry, expected, result: None });
                }
            }
            Output::Find { ticket, .. } => {
                let command = ticket.read.command();
                self.finds.push((ticket, command));
            }
            Output::Call(call) => self.calls.push(call.ticket),
            Output::Ask(Inquiry { broker, service }) => {
                let present = Some(!service.ends_with("+titanic"));
                inputs.push(Input::Presence { broker, service, present });
            }
            Output::Answer { ticket, body } => {
                let (question, command) = self.requests.remove(&ticket).unwrap();
                let CommandAnswer { status, body, .. } = CommandAnswer::decode(&body[0]).unwrap();
                self.answers.push((question, command, Told { status, body }));
            }
            Output::Illegal(_) => self.met_illegal = true,
            Output::Stopped => {}
        }
    }
}

pub fn sequence(position: usize) -> Sequence {
    Sequence(u64::try_from(position).unwrap())
}

/// A process that many worlds share; its hash is counted once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    pub process: Arc<Process>,
    hash: u64,
}

impl Shared {
    pub fn new(process: Process) -> Shared {
        let mut shared = Shared { process: Arc::new(process), hash: 0 };
        shared.count();
        shared
    }

    /// To be called after every change.
    pub fn count(&mut self) {
        let mut hasher = DefaultHasher::new();
        self.process.hash(&mut hasher);
        self.hash = hasher.finish();
    }
}

impl Hash for Shared {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}
