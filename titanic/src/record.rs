//! What Titanic writes and reads: steps of commands, and signs of processes.
//!
//! | stream | event types | data: one MessagePack map |
//! |---|---|---|
//! | of a shard | those of [`Step`](client::command::Step) | see there |
//! | of a shard's claims | `Claimed`, `Released` | `session` (16 bytes) |
//! | of processes | `Beat`, `Left` | `session`, and `number` in a `Beat` |

use client::command::{Session, Shard, StepError, StepEvent, process_stream};
use client::{ContentType, Event, EventId, EventType, NewEvent, Sequence, StreamName, Version};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Longest data of a claim or a sign that is read, in bytes.
const SIGN_BYTES_MAX: usize = 1024;

/// Something to be written. The same entry always makes the same event, id included.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// A step, in the stream of its command's shard.
    Step(StepEvent),
    /// A claim or its end, in the stream of claims of this shard.
    Claim {
        /// What is claimed.
        shard: Shard,
        /// Who claims it.
        session: Session,
        /// Whether the claim begins or ends.
        begins: bool,
        /// The version that the stream of claims gets by it.
        version: Version,
    },
    /// A sign of life, in the stream of processes.
    Beat {
        /// Who lives.
        session: Session,
        /// Counts the signs.
        number: u64,
    },
    /// The last sign of a process.
    Left {
        /// Who is gone.
        session: Session,
    },
}

#[derive(Serialize, Deserialize)]
struct SignMap {
    session: Session,
    #[serde(default)]
    number: u64,
}

/// An entry that has no encoding, which no entry made here is.
#[derive(Debug, thiserror::Error)]
pub enum Unencodable {
    /// A step.
    #[error(transparent)]
    Step(#[from] StepError),
    /// A claim or sign.
    #[error("a sign of life cannot be encoded: {0}")]
    Sign(String),
}

impl Entry {
    /// The stream it belongs to.
    #[must_use]
    pub fn stream(&self) -> StreamName {
        match self {
            Entry::Step(step) => step.command.shard().stream(),
            Entry::Claim { shard, .. } => shard.claim_stream(),
            Entry::Beat { .. } | Entry::Left { .. } => process_stream(),
        }
    }

    /// Its event.
    ///
    /// # Errors
    /// See [`Unencodable`].
    pub fn new_event(&self) -> Result<NewEvent, Unencodable> {
        let (session, number, event_type, name) = match self {
            Entry::Step(step) => return Ok(step.to_event()?),
            Entry::Claim { shard, session, begins, version } => {
                let event_type = if *begins { "Claimed" } else { "Released" };
                let name = format!("{event_type} {} {version}", shard.number());
                (*session, 0, event_type, name)
            }
            Entry::Beat { session, number } => {
                (*session, *number, "Beat", format!("Beat {number}"))
            }
            Entry::Left { session } => (*session, 0, "Left", "Left".to_owned()),
        };
        let unencodable = |error: &dyn std::fmt::Display| Unencodable::Sign(error.to_string());
        let data = rmp_serde::to_vec_named(&SignMap { session, number })
            .map_err(|error| unencodable(&error))?;
        let event_type = EventType::try_from(event_type).map_err(|error| unencodable(&error))?;
        let id = EventId(Uuid::new_v5(&session.0, name.as_bytes()));
        Ok(NewEvent::new(event_type, ContentType::MessagePack, data).with_id(id))
    }
}

/// A committed record with its place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Logged {
    /// Place in the log of its partition.
    pub sequence: Sequence,
    /// What it says; nothing if no Titanic wrote it.
    pub entry: Option<Entry>,
}

impl Logged {
    /// Reads an event of one of our streams. Anything else is nothing to us.
    #[must_use]
    pub fn decode(event: &Event) -> Logged {
        Logged { sequence: event.sequence, entry: entry(event) }
    }
}

fn entry(event: &Event) -> Option<Entry> {
    let version = event.version;
    if event.stream == process_stream() {
        let SignMap { session, number } = sign(event)?;
        return match event.event_type.as_str() {
            "Beat" => Some(Entry::Beat { session, number }),
            "Left" => Some(Entry::Left { session }),
            _ => None,
        };
    }
    let shard = Shard::of_stream(&event.stream)?;
    if event.stream != shard.claim_stream() {
        return StepEvent::decode(event).ok().map(Entry::Step);
    }
    let begins = match event.event_type.as_str() {
        "Claimed" => true,
        "Released" => false,
        _ => return None,
    };
    Some(Entry::Claim { shard, session: sign(event)?.session, begins, version })
}

fn sign(event: &Event) -> Option<SignMap> {
    let data = event.data.get(..).filter(|data| data.len() <= SIGN_BYTES_MAX)?;
    rmp_serde::from_slice(data).ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use client::command::{CommandId, Step};
    use client::{ContentType, Epoch, Signature};

    use super::*;

    fn stored(entry: &Entry, version: u64) -> Event {
        let new = entry.new_event().unwrap();
        Event {
            sequence: Sequence(7),
            stream: entry.stream(),
            version: Version(version),
            epoch: Epoch(1),
            time_micros: 0,
            id: new.id,
            event_type: new.event_type,
            content_type: new.content_type,
            metadata: Bytes::new(),
            data: new.data,
            signature: Signature([0; 20]),
            signed_by_store: false,
            ends_append: true,
        }
    }

    fn entries() -> Vec<(Entry, u64)> {
        let session = Session(Uuid::from_u128(1));
        let command = CommandId::new(Uuid::from_u128(2));
        let shard = Shard::new(3).unwrap();
        let claim = |begins| Entry::Claim { shard, session, begins, version: Version(5) };
        vec![
            (Entry::Step(StepEvent { command, step: 4, session, at_ms: 9, what: Step::Closed }), 1),
            (claim(true), 5),
            (claim(false), 5),
            (Entry::Beat { session, number: 8 }, 2),
            (Entry::Left { session }, 3),
        ]
    }

    #[test]
    fn what_is_written_is_read_back() {
        for (entry, version) in entries() {
            let event = stored(&entry, version);
            assert_eq!(Logged::decode(&event).entry, Some(entry.clone()));
            assert_eq!(entry.new_event().unwrap().id, event.id, "the same entry, the same event");
        }
    }

    #[test]
    fn what_others_wrote_is_nothing() {
        for (entry, version) in entries() {
            let mut event = stored(&entry, version);
            event.data = Bytes::from_static(b"\xc1 not MessagePack");
            event.content_type = ContentType::Bytes;
            assert_eq!(Logged::decode(&event).entry, None);
            let mut event = stored(&entry, version);
            event.stream = StreamName::new("order-17").unwrap();
            assert_eq!(Logged::decode(&event).entry, None);
        }
    }
}
