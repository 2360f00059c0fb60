//! The maps as they stand in a frame: all fields of all requests, each of them optional.

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{
    Body, CommandAnswer, CommandId, CommandRequest, CommandState, IDS_MAX, Info, LIMIT_DEFAULT,
    LIMIT_MAX, List, Purge, Requeue, Selection, Submit, Target, WAIT_MS_MAX, WireError,
};

/// Longest word that an error repeats.
const OP_CHARS_SHOWN: usize = 32;

/// What a request lacks is not written.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RequestMap {
    op: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<CommandId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Body>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wait_ms: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<CommandState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<CommandId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "few_ids")]
    ids: Option<Vec<CommandId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    older_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dry_run: Option<bool>,
}

impl RequestMap {
    fn of(op: &str) -> Self {
        Self { op: op.to_owned(), ..Self::default() }
    }

    fn select(mut self, which: &Selection, limit: u32, dry_run: bool) -> Self {
        (self.limit, self.dry_run) = (Some(limit), Some(dry_run));
        match which {
            Selection::Ids(ids) => self.ids = Some(ids.clone()),
            Selection::Matching { state, service, older_ms } => {
                self.state = Some(*state);
                self.service.clone_from(service);
                self.older_ms = Some(*older_ms).filter(|age| *age > 0);
            }
        }
        self
    }

    fn selection(&mut self, op: &'static str) -> Result<Selection, WireError> {
        match (self.ids.take(), self.state) {
            (Some(_), Some(_)) => {
                Err(WireError::Contradiction("give either `ids` or a `state`, not both"))
            }
            (None, None) => Err(WireError::Missing { op, field: "ids" }),
            (Some(ids), None) if ids.len() > IDS_MAX => {
                let max = u32::try_from(IDS_MAX).unwrap_or(u32::MAX);
                Err(WireError::TooMany { field: "ids", max })
            }
            (Some(_), None) if self.service.is_some() || self.older_ms.is_some() => {
                Err(WireError::Contradiction("`service` and `older_ms` go with a `state`"))
            }
            (Some(ids), None) => Ok(Selection::Ids(ids)),
            (None, Some(state)) => Ok(Selection::Matching {
                state,
                service: self.service.take(),
                older_ms: self.older_ms.unwrap_or(0),
            }),
        }
    }

    fn limit(&self) -> Result<u32, WireError> {
        match self.limit.unwrap_or(LIMIT_DEFAULT) {
            limit @ 1..=LIMIT_MAX => Ok(limit),
            0 => Err(WireError::Contradiction("`limit` is at least 1")),
            _ => Err(WireError::TooMany { field: "limit", max: LIMIT_MAX }),
        }
    }

    fn submit(self) -> Result<Submit, WireError> {
        let missing = |field| WireError::Missing { op: "submit", field };
        let service = self.service.ok_or(missing("service"))?;
        let target = Target::new(service).map_err(super::PackError::new)?;
        let body = self.body.filter(|body| !body.frames().is_empty()).ok_or(missing("body"))?;
        if self.not_before_ms.is_some() && self.delay_ms.is_some() {
            return Err(WireError::Contradiction("give `not_before_ms` or `delay_ms`, not both"));
        }
        if self.attempts == Some(0) {
            return Err(WireError::Contradiction("`attempts` is at least 1"));
        }
        Ok(Submit {
            id: self.id,
            target,
            body,
            not_before_ms: self.not_before_ms,
            delay_ms: self.delay_ms,
            ttl_ms: self.ttl_ms,
            attempts: self.attempts,
        })
    }
}

impl From<&CommandRequest> for RequestMap {
    fn from(request: &CommandRequest) -> Self {
        match request {
            CommandRequest::Submit(submit) => Self {
                id: submit.id,
                service: Some(submit.target.to_string()),
                body: Some(submit.body.clone()),
                not_before_ms: submit.not_before_ms,
                delay_ms: submit.delay_ms,
                ttl_ms: submit.ttl_ms,
                attempts: submit.attempts,
                ..Self::of("submit")
            },
            CommandRequest::Reply { id, wait_ms } => {
                Self { id: Some(*id), wait_ms: Some(*wait_ms), ..Self::of("reply") }
            }
            CommandRequest::Close { id } => Self { id: Some(*id), ..Self::of("close") },
            CommandRequest::Status { id } => Self { id: Some(*id), ..Self::of("status") },
            CommandRequest::List(list) => Self {
                state: list.state,
                service: list.service.clone(),
                after: list.after,
                limit: Some(list.limit),
                ..Self::of("list")
            },
            CommandRequest::Requeue(Requeue { which, limit, dry_run, attempts }) => {
                let map = Self { attempts: *attempts, ..Self::of("requeue") };
                map.select(which, *limit, *dry_run)
            }
            CommandRequest::Purge(Purge { which, limit, dry_run }) => {
                Self::of("purge").select(which, *limit, *dry_run)
            }
        }
    }
}

impl TryFrom<RequestMap> for CommandRequest {
    type Error = WireError;

    fn try_from(mut map: RequestMap) -> Result<Self, WireError> {
        let id = map.id;
        let id = |op| id.ok_or(WireError::Missing { op, field: "id" });
        let dry_run = map.dry_run.unwrap_or(false);
        Ok(match map.op.as_str() {
            "submit" => Self::Submit(map.submit()?),
            "reply" => match map.wait_ms.unwrap_or(0) {
                wait_ms @ ..=WAIT_MS_MAX => Self::Reply { id: id("reply")?, wait_ms },
                _ => return Err(WireError::TooMany { field: "wait_ms", max: WAIT_MS_MAX }),
            },
            "close" => Self::Close { id: id("close")? },
            "status" => Self::Status { id: id("status")? },
            "list" => {
                let limit = map.limit()?;
                let RequestMap { state, service, after, .. } = map;
                Self::List(List { state, service, after, limit })
            }
            "requeue" => {
                let which = map.selection("requeue")?;
                let dead = CommandState::Dead;
                if matches!(which, Selection::Matching { state, .. } if state != dead) {
                    return Err(WireError::Contradiction("only dead commands are requeued"));
                }
                if map.attempts == Some(0) {
                    return Err(WireError::Contradiction("`attempts` is at least 1"));
                }
                let attempts = map.attempts;
                Self::Requeue(Requeue { which, limit: map.limit()?, dry_run, attempts })
            }
            "purge" => {
                let which = map.selection("purge")?;
                Self::Purge(Purge { which, limit: map.limit()?, dry_run })
            }
            other => {
                let op = other.chars().take(OP_CHARS_SHOWN).collect();
                return Err(WireError::Op { op });
            }
        })
    }
}

/// Reads ids, and no more of them than a request may have.
fn few_ids<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<CommandId>>, D::Error> {
    struct IdsVisitor;

    impl<'de> Visitor<'de> for IdsVisitor {
        type Value = Option<Vec<CommandId>>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "an array of at most {IDS_MAX} ids")
        }

        fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut ids: A) -> Result<Self::Value, A::Error> {
            let mut taken = Vec::new();
            while let Some(id) = ids.next_element()? {
                if taken.len() == IDS_MAX {
                    return Err(A::Error::custom(format!("more than {IDS_MAX} ids")));
                }
                taken.push(id);
            }
            Ok(Some(taken))
        }
    }

    from.deserialize_any(IdsVisitor)
}

/// What an answer lacks is not written.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct AnswerMap {
    pub(super) status: u16,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<CommandId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) body: Option<Body>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) command: Option<Info>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) commands: Vec<Info>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<CommandId>,
    #[serde(default)]
    pub(super) matched: u32,
    #[serde(default)]
    pub(super) done: u32,
}

impl From<&CommandAnswer> for AnswerMap {
    fn from(answer: &CommandAnswer) -> Self {
        Self {
            status: answer.status.code.number(),
            text: answer.status.text.clone(),
            id: answer.id,
            body: answer.body.clone(),
            command: answer.command.clone(),
            commands: answer.commands.clone(),
            next: answer.next,
            matched: answer.matched,
            done: answer.done,
        }
    }
}
