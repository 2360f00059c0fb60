use std::time::{Duration, Instant};

use broker::dialect::{
    ClientInput, ClientLink, ClientOutput, ClientReply, ClientRequest, LinkSettings,
    PartitionRegistration, Registration, ServiceName, SessionId, Window, WorkerInput, WorkerLink,
    WorkerOffer, WorkerOutput, WorkerReply, WorkerRequest,
};
use broker::net::{self, Frames, Sent};
use uuid::Uuid;

use super::support::*;

pub fn settings() -> LinkSettings {
    LinkSettings {
        heartbeat: HEARTBEAT,
        welcome_wait: Duration::from_secs(1),
        ..Default::default()
    }
}

pub fn name(text: &str) -> ServiceName {
    ServiceName::new(text.to_owned()).unwrap()
}

/// A loop around a link, as store and client have one, driven by the test's thread.
pub struct Loop<L: Machine> {
    pub link: L,
    context: zmq::Context,
    pub socket: Option<zmq::Socket>,
    reopen_at: Instant,
    endpoint: String,
    session: Option<SessionId>,
    outbox: Vec<Frames>,
    pub events: Vec<L::Output>,
}

pub trait Machine {
    type Input;
    type Output;
    fn opened(session: SessionId) -> Self::Input;
    fn frames(frames: Frames) -> Self::Input;
    fn tick() -> Self::Input;
    fn step(&mut self, input: Self::Input, outputs: &mut Vec<Self::Output>);
    /// What the loop itself has to do.
    fn effect(output: Self::Output) -> Result<Effect, Self::Output>;
}

pub enum Effect {
    Send(Frames),
    Reopen(Instant),
}

impl Machine for ClientLink {
    type Input = ClientInput;
    type Output = ClientOutput;
    fn opened(session: SessionId) -> ClientInput {
        ClientInput::Opened { session }
    }
    fn frames(frames: Frames) -> ClientInput {
        ClientInput::Frames(frames)
    }
    fn tick() -> ClientInput {
        ClientInput::Tick
    }
    fn step(&mut self, input: ClientInput, outputs: &mut Vec<ClientOutput>) {
        self.handle(Instant::now(), input, outputs);
    }
    fn effect(output: ClientOutput) -> Result<Effect, ClientOutput> {
        match output {
            ClientOutput::Send(frames) => Ok(Effect::Send(frames)),
            ClientOutput::Reopen { at } => Ok(Effect::Reopen(at)),
            other => Err(other),
        }
    }
}

impl Machine for WorkerLink {
    type Input = WorkerInput;
    type Output = WorkerOutput;
    fn opened(session: SessionId) -> WorkerInput {
        WorkerInput::Opened { session }
    }
    fn frames(frames: Frames) -> WorkerInput {
        WorkerInput::Frames(frames)
    }
    fn tick() -> WorkerInput {
        WorkerInput::Tick
    }
    fn step(&mut self, input: WorkerInput, outputs: &mut Vec<WorkerOutput>) {
        self.handle(Instant::now(), input, outputs);
    }
    fn effect(output: WorkerOutput) -> Result<Effect, WorkerOutput> {
        match output {
            WorkerOutput::Send(frames) => Ok(Effect::Send(frames)),
            WorkerOutput::Reopen { at } => Ok(Effect::Reopen(at)),
            other => Err(other),
        }
    }
}

impl<L: Machine> Loop<L> {
    pub fn new(link: L, endpoint: &str, session: Option<SessionId>) -> Loop<L> {
        Loop {
            link,
            context: zmq::Context::new(),
            socket: None,
            reopen_at: Instant::now(),
            endpoint: endpoint.to_owned(),
            session,
            outbox: Vec::new(),
            events: Vec::new(),
        }
    }

    pub fn input(&mut self, input: L::Input) {
        let mut outputs = Vec::new();
        self.link.step(input, &mut outputs);
        for output in outputs {
            match L::effect(output) {
                Ok(Effect::Send(frames)) => self.outbox.push(frames),
                Ok(Effect::Reopen(at)) => {
                    self.socket = None;
                    self.outbox.clear();
                    self.reopen_at = at;
                }
                Err(event) => self.events.push(event),
            }
        }
    }

    /// Whether libzmq has taken everything that was to be sent.
    pub fn is_idle(&self) -> bool {
        self.outbox.is_empty()
    }

    /// One turn of at most five milliseconds.
    pub fn turn(&mut self) {
        if self.socket.is_none() && Instant::now() >= self.reopen_at {
            let socket = net::socket(&self.context, zmq::DEALER).unwrap();
            net::connect(&socket, &self.endpoint.parse().unwrap()).unwrap();
            self.socket = Some(socket);
            self.input(L::opened(self.session.unwrap_or_else(SessionId::random)));
        }
        while let Some(socket) = &self.socket
            && let Some(frames) = net::receive(socket).unwrap()
        {
            self.input(L::frames(frames));
        }
        self.input(L::tick());
        if let Some(socket) = &self.socket {
            while let Some(frames) = self.outbox.first() {
                if net::send(socket, frames).unwrap() != Sent::Done {
                    break;
                }
                self.outbox.remove(0);
            }
            let mut items = [socket.as_poll_item(zmq::POLLIN)];
            net::poll(&mut items, Some(Duration::from_millis(1))).unwrap();
        }
    }
}

pub type Store = Loop<WorkerLink>;
pub type Asker = Loop<ClientLink>;

pub fn store(endpoint: &str) -> Store {
    Loop::new(WorkerLink::new(settings()), endpoint, None)
}

pub fn asker(endpoint: &str) -> Asker {
    Loop::new(ClientLink::new(settings()), endpoint, Some(SessionId::random()))
}

/// Turns both loops until the condition holds.
pub fn until(store: &mut Store, asker: &mut Asker, mut done: impl FnMut(&Store, &Asker) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done(store, asker) {
        assert!(Instant::now() < deadline, "store: {:?}, asker: {:?}", store.events, asker.events);
        store.turn();
        asker.turn();
    }
}

pub fn offer(epoch: u64, messages: u64) -> WorkerOffer {
    WorkerOffer {
        service: name("orders/0"),
        epoch,
        registration: Registration {
            partition: Some(PartitionRegistration {
                store: "orders".to_owned(),
                partition: 0,
                partitions: 1,
                leader: true,
                incarnation: Uuid::from_u128(1),
                lineage: Uuid::from_u128(2),
                durability: "local".to_owned(),
                feed: String::new(),
                replay: String::new(),
            }),
        },
        window: Window { messages, bytes: 1_000_000 },
    }
}

pub fn ask(number: u64, body: &[u8]) -> ClientInput {
    ClientInput::Request(ClientRequest {
        service: name("orders/0"),
        number,
        lowest: 1,
        flags: 0,
        time_left: PATIENCE,
        body: vec![body.to_vec().into()],
    })
}

pub fn reply(request: &WorkerRequest) -> WorkerInput {
    WorkerInput::Reply(WorkerReply {
        session: request.session,
        service: request.service.clone(),
        number: request.number,
        epoch: 3,
        code: None,
        retry_after: Duration::ZERO,
        more: false,
        body: request.body.clone(),
    })
}

pub fn requests(store: &Store) -> Vec<WorkerRequest> {
    let events = store.events.iter();
    events
        .filter_map(|event| match event {
            WorkerOutput::Request(request) => Some(request.clone()),
            _ => None,
        })
        .collect()
}

pub fn replies(asker: &Asker) -> Vec<ClientReply> {
    let events = asker.events.iter();
    events
        .filter_map(|event| match event {
            ClientOutput::Reply(reply) => Some(reply.clone()),
            _ => None,
        })
        .collect()
}

pub fn ups(asker: &Asker) -> usize {
    asker.events.iter().filter(|event| matches!(event, ClientOutput::Up(_))).count()
}

/// A store that offers `orders/0` and a client, both welcomed.
pub fn connected(endpoint: &str, messages: u64) -> (Store, Asker) {
    let (mut store, mut asker) = (store(endpoint), asker(endpoint));
    store.input(WorkerInput::Offer(offer(3, messages)));
    until(&mut store, &mut asker, |store, asker| store.link.is_up() && asker.link.is_up());
    (store, asker)
}
