//! Getting a cursor's blocks: who to ask, when to ask somebody else, when to give up.

use std::time::{Duration, Instant};

use broker::dialect::{MemberTopology, Topology};
use broker::error_code::ErrorCode;
use store::event::{Epoch, Event};
use store::slot::PartitionNumber;
use uuid::Uuid;

use super::cursor::{BlockError, Cursor};
use super::error::ReadError;
use crate::client::{Next, OpenRead, ReadEvent};
use crate::error::Refusal;
use crate::handle::StoreHandle;
use crate::pause::Pauses;

/// Longest wait for the topology before the time that is left is looked at again.
const TOPOLOGY_WAIT: Duration = Duration::from_secs(1);

/// A lazy read: asks when events are wanted, and gives credit as they are taken.
#[derive(Debug)]
pub(crate) struct Fetch {
    store: StoreHandle,
    partition: PartitionNumber,
    cursor: Cursor,
    open: Option<OpenRead>,
    endpoint: Option<String>,
    pauses: Pauses,
    /// Bytes taken of the open read, and granted to it.
    taken_bytes: u64,
    granted_bytes: u64,
}

/// Whom to ask, and what is known of it.
struct Choice {
    endpoint: String,
    epoch: Epoch,
}

/// Why one attempt did not bring a block.
enum Failed {
    /// Try again.
    Again(Option<Refusal>),
    /// Nothing helps.
    Final(ReadError),
}

impl Fetch {
    pub(crate) fn new(store: StoreHandle, partition: PartitionNumber, cursor: Cursor) -> Self {
        let careless = !store.client().config().check_signatures;
        Self {
            store,
            partition,
            cursor: cursor.without_signatures(careless),
            open: None,
            endpoint: None,
            pauses: Pauses::new(Uuid::new_v4().as_u64_pair().0),
            taken_bytes: 0,
            granted_bytes: 0,
        }
    }

    pub(crate) fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// The next events, at least one; none at the end of the read.
    pub(crate) fn next_block(&mut self) -> Result<Vec<Event>, ReadError> {
        let timeout = self.store.client().config().request_timeout;
        let started = clock();
        while !self.cursor.is_done() {
            match self.attempt() {
                Ok(events) if events.is_empty() => {}
                Ok(events) => return Ok(events),
                Err(Failed::Final(error)) => {
                    self.cursor.finish();
                    return Err(error);
                }
                Err(Failed::Again(refusal)) => {
                    self.open = None;
                    let waited = clock().saturating_duration_since(started);
                    if waited >= timeout {
                        self.cursor.finish();
                        return Err(self.given_up(refusal, waited));
                    }
                    std::thread::sleep(self.pauses.next());
                }
            }
        }
        self.open = None;
        Ok(Vec::new())
    }

    fn attempt(&mut self) -> Result<Vec<Event>, Failed> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.start()?,
        };
        match open.wait(self.store.client().config().attempt_timeout) {
            Next::Event(ReadEvent::Block(block)) => {
                let bytes = u64::try_from(block.records.len()).unwrap_or(u64::MAX);
                self.taken_bytes = self.taken_bytes.saturating_add(bytes);
                let taken = self.cursor.take(&block);
                let events = taken.map_err(|error| self.not_taken(error))?;
                self.pauses.reset();
                self.grant(&open);
                self.open = Some(open);
                Ok(events)
            }
            Next::Event(ReadEvent::Refused(refusal)) => self.refused(refusal),
            Next::Nothing => {
                open.give_up();
                Err(Failed::Again(None))
            }
            Next::Lost => Err(Failed::Again(None)),
        }
    }

    /// Asks whoever serves the partition now.
    fn start(&mut self) -> Result<OpenRead, Failed> {
        let client = self.store.client();
        // What is known will do the first time; after a failure it is asked for anew.
        let known = client.known_topology().filter(|_| self.endpoint.is_none());
        let choice = match known.and_then(|topology| self.choose(&topology)) {
            Some(choice) => choice,
            None => {
                let fresh = client.ask_topology(TOPOLOGY_WAIT).wait();
                fresh.ok().and_then(|t| self.choose(&t)).ok_or(Failed::Again(None))?
            }
        };
        let window = u64::try_from(client.config().read_window_bytes).unwrap_or(u64::MAX);
        (self.taken_bytes, self.granted_bytes) = (0, window);
        let mut read = self.cursor.request(window);
        let own = self.store.acknowledged(self.partition).at_least(choice.epoch);
        read.at_least = read.at_least.max(own);
        let open = OpenRead::start(client, &choice.endpoint, read, None);
        self.endpoint = Some(choice.endpoint);
        Ok(open)
    }

    /// The member to ask: the leader, unless it was just asked in vain and another one may answer
    /// as well.
    fn choose(&self, topology: &Topology) -> Option<Choice> {
        let store = topology.store(self.store.name().as_str())?;
        let may_answer = |member: &&MemberTopology| {
            member.partition == self.partition.0 && (member.leader || !self.cursor.is_strong())
        };
        let just_asked = |member: &MemberTopology| self.endpoint.as_ref() == Some(&member.replay);
        let mut members: Vec<_> = store.members.iter().filter(may_answer).collect();
        members.sort_by_key(|member| (just_asked(member), !member.leader));
        members
            .first()
            .map(|member| Choice { endpoint: member.replay.clone(), epoch: Epoch(member.epoch) })
    }

    /// Lets the store send on once half of the window has been taken.
    fn grant(&mut self, open: &OpenRead) {
        let window = u64::try_from(self.store.client().config().read_window_bytes);
        let window = window.unwrap_or(u64::MAX);
        let wanted = self.taken_bytes.saturating_add(window);
        if wanted.saturating_sub(self.granted_bytes) >= window / 2 && !self.cursor.is_done() {
            self.granted_bytes = wanted;
            open.grant(wanted);
        }
    }

    fn refused(&mut self, refusal: Refusal) -> Result<Vec<Event>, Failed> {
        match refusal.code {
            // A member that lags, or has cut off what was read; a later answer tells.
            ErrorCode::STREAM_NOT_FOUND if self.cursor.has_begun() => {
                Err(Failed::Again(Some(refusal)))
            }
            ErrorCode::STREAM_NOT_FOUND => {
                self.cursor.finish();
                Ok(Vec::new())
            }
            // Its processes may just be changing.
            ErrorCode::STORE_NOT_FOUND => Err(Failed::Again(Some(refusal))),
            code if code.retry() => Err(Failed::Again(Some(refusal))),
            _ => Err(Failed::Final(ReadError::Refused(refusal))),
        }
    }

    fn not_taken(&self, error: BlockError) -> Failed {
        let partition = self.partition;
        Failed::Final(match error {
            BlockError::Signature(sequence) => ReadError::BadSignature { partition, sequence },
            BlockError::Corrupt(reason) => ReadError::Corrupt { partition, reason },
            BlockError::EpochChanged => {
                let store = self.store.name().to_string();
                ReadError::EpochChanged { store, partition }
            }
            BlockError::Behind => return Failed::Again(None),
        })
    }

    fn given_up(&self, refusal: Option<Refusal>, waited: Duration) -> ReadError {
        match refusal {
            Some(refusal) => ReadError::Refused(refusal),
            None => ReadError::Unavailable {
                store: self.store.name().to_string(),
                partition: self.partition,
                endpoint: self.endpoint.clone(),
                waited,
            },
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a reader's own waiting reads the clock")]
fn clock() -> Instant {
    Instant::now()
}
