//! What both sides' links share: opening, heartbeats, and judging a broker by its silence.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::control::{ErrorBody, Hello, Role, Welcome, decode_body, encode_body};
use super::header::{Header, Kind, SessionId};
use crate::error_code::ErrorCode;
use crate::liveness::{Liveness, Pulse};
use crate::net::Frames;

/// Lowest version of the dialect that this build speaks (inclusive).
pub const VERSION_MIN: u16 = 1;
/// Highest version of the dialect that this build speaks (inclusive).
pub const VERSION_MAX: u16 = 1;

/// First wait before a failed conversation is started anew; it doubles with each failure.
const BACK_OFF_MIN: Duration = Duration::from_millis(50);
const BACK_OFF_MAX: Duration = Duration::from_secs(2);

/// What both kinds of link have to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkSettings {
    /// Name and version of the program, as `NAME/VERSION`: the broker tells it to operators.
    pub agent: String,
    /// How often we say something; the broker gives us up after four intervals of silence.
    pub heartbeat: Duration,
    /// How long WELCOME may take before another attempt is made.
    pub welcome_wait: Duration,
}

impl Default for LinkSettings {
    fn default() -> LinkSettings {
        LinkSettings {
            agent: concat!("starlog/", env!("CARGO_PKG_VERSION")).to_owned(),
            heartbeat: Duration::from_millis(500),
            welcome_wait: Duration::from_secs(2),
        }
    }
}

/// The part of a link that client and worker share: greeting, heartbeats, silence, farewell.
///
/// ```text
///              opened                 WELCOME
///   Closed ───────────► Greeting ───────────────► Up
///      ▲                    │ no WELCOME,          │ silence, REFUSED,
///      └────────────────────┴──── REFUSED ─────────┘ GOODBYE
/// ```
#[derive(Debug)]
pub(super) struct Conversation {
    role: Role,
    settings: LinkSettings,
    state: State,
    back_off: Duration,
}

#[derive(Debug)]
enum State {
    Closed,
    Greeting { session: SessionId, give_up_at: Instant },
    Up { session: SessionId, broker: Liveness, pulse: Pulse },
}

/// What the conversation makes of a message or of time going by.
#[derive(Debug)]
pub(super) enum Heard {
    /// Nothing that concerns the link.
    Nothing,
    /// The broker welcomed us.
    Up(Welcome),
    /// The conversation is over; a new one may be opened on a new socket from then on.
    Down { reopen_at: Instant },
    /// The broker refuses one registration.
    Refused { header: Header, error: ErrorBody },
    /// A message that only the link understands.
    Message { header: Header, body: Frames },
}

impl Conversation {
    pub(super) fn new(role: Role, settings: LinkSettings) -> Conversation {
        Conversation { role, settings, state: State::Closed, back_off: Duration::ZERO }
    }

    /// The session, while the broker listens to us.
    pub(super) fn session(&self) -> Option<SessionId> {
        match &self.state {
            State::Up { session, .. } => Some(*session),
            _ => None,
        }
    }

    /// A new socket is there: the HELLO to send on it.
    pub(super) fn open(&mut self, now: Instant, session: SessionId) -> Frames {
        let give_up_at = now + self.settings.welcome_wait;
        self.state = State::Greeting { session, give_up_at };
        let mut header = Header::new(Kind::Hello, session);
        header.time_ms = milliseconds(self.settings.heartbeat);
        let hello = Hello {
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
            role: self.role,
            agent: self.settings.agent.clone(),
        };
        vec![header.encode().into(), encode_body(&hello)]
    }

    /// Something is about to be sent to the broker.
    pub(super) fn sent(&mut self, now: Instant) {
        if let State::Up { pulse, .. } = &mut self.state {
            pulse.sent(now);
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Closed => None,
            State::Greeting { give_up_at, .. } => Some(*give_up_at),
            State::Up { broker, pulse, .. } => Some(broker.deadline().min(pulse.deadline())),
        }
    }

    /// Time has gone by. A heartbeat that is owed goes into `outgoing`.
    pub(super) fn tick(&mut self, now: Instant, outgoing: &mut Vec<Frames>) -> Heard {
        match &mut self.state {
            State::Closed => Heard::Nothing,
            State::Greeting { give_up_at, .. } => {
                if now < *give_up_at {
                    Heard::Nothing
                } else {
                    self.fail(now)
                }
            }
            State::Up { session, broker, pulse } => {
                if broker.is_expired(now) {
                    return self.fail(now);
                }
                if pulse.is_due(now) {
                    pulse.sent(now);
                    outgoing.push(bare(Kind::Heartbeat, *session));
                }
                Heard::Nothing
            }
        }
    }

    /// The broker said something. Malformed messages are dropped.
    pub(super) fn receive(&mut self, now: Instant, mut frames: Frames) -> Heard {
        if frames.is_empty() {
            return Heard::Nothing;
        }
        let Ok(header) = Header::decode(&frames.remove(0)) else {
            return Heard::Nothing;
        };
        if let State::Up { broker, .. } = &mut self.state {
            broker.heard(now);
        }
        match (&self.state, header.kind) {
            (State::Closed, _) | (_, Kind::Heartbeat) => Heard::Nothing,
            (_, Kind::Goodbye) => self.fail(now),
            (_, Kind::Refused) if header.service.is_none() => {
                log::warn!("the broker refuses us: {}", refusal(&header, &frames).message);
                self.fail(now)
            }
            (State::Greeting { session, .. }, Kind::Welcome) if header.session == *session => {
                self.welcome(now, &header, &frames)
            }
            (State::Greeting { .. }, _) | (_, Kind::Welcome) => Heard::Nothing,
            (State::Up { .. }, Kind::Refused) => {
                let error = refusal(&header, &frames);
                Heard::Refused { header, error }
            }
            (State::Up { .. }, _) => Heard::Message { header, body: frames },
        }
    }

    fn welcome(&mut self, now: Instant, header: &Header, body: &[Bytes]) -> Heard {
        let Some(Ok(welcome)) = body.first().map(|frame| decode_body::<Welcome>(frame)) else {
            return Heard::Nothing;
        };
        if !(VERSION_MIN..=VERSION_MAX).contains(&welcome.version) {
            return self.fail(now);
        }
        // A broker that declares no interval is taken to beat as often as we do.
        let interval = match header.time_ms {
            0 => self.settings.heartbeat,
            declared => Duration::from_millis(u64::from(declared)),
        };
        self.back_off = Duration::ZERO;
        self.state = State::Up {
            session: header.session,
            broker: Liveness::from_interval(now, interval),
            pulse: Pulse::new(now, self.settings.heartbeat),
        };
        Heard::Up(welcome)
    }

    /// We leave on purpose: the farewell to send, if there is somebody to hear it.
    pub(super) fn close(&mut self) -> Option<Frames> {
        let session = self.session();
        self.state = State::Closed;
        session.map(|session| bare(Kind::Goodbye, session))
    }

    /// Ends the conversation. The first attempt after a working one follows at once.
    fn fail(&mut self, now: Instant) -> Heard {
        self.state = State::Closed;
        let reopen_at = now + self.back_off;
        self.back_off = (self.back_off * 2).clamp(BACK_OFF_MIN, BACK_OFF_MAX);
        Heard::Down { reopen_at }
    }
}

/// A message that is only a header.
pub(super) fn bare(kind: Kind, session: SessionId) -> Frames {
    vec![Header::new(kind, session).encode().into()]
}

/// A duration as it stands in a header, at least 1 so that it never reads as "none".
pub(super) fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX).max(1)
}

fn refusal(header: &Header, body: &[Bytes]) -> ErrorBody {
    body.first()
        .and_then(|frame| decode_body(frame).ok())
        .unwrap_or_else(|| ErrorBody::new(header.code.map_or("no reason given", ErrorCode::as_str)))
}
