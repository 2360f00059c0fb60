//! Which message of which client comes next: the rules that keep one client's appends in order
//! across retries, brokers and restarts.
//!
//! A client numbers its messages per session and partition. Each message also names the lowest
//! number that the client still waits for. Per session the table *expects* one number:
//!
//! | number of the message | and | what happens |
//! |---|---|---|
//! | = expected | | it is executed; expected + 1 from now on |
//! | > expected | | hole: answered with the expected number, not executed |
//! | < expected | under way | the answer will go to this asker too |
//! | < expected | answer kept | the kept answer |
//! | < expected | neither | only looked up by its ids, never executed |
//!
//! Before that, expected rises to the message's `lowest`; an unknown session starts there.

use std::collections::{BTreeMap, HashMap, VecDeque};

use broker::dialect::SessionId;
use broker::link::LinkNumber;

use super::answer::Answer;

/// Answers that are kept per session: as many as a client may have under way.
const ANSWERS_KEPT: usize = 16;
/// Askers that one message under way can have: one for each broker it came through.
const ASKERS_MAX: usize = 8;

/// Bounds of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// Most sessions; the one unused for longest is forgotten first.
    pub sessions_max: usize,
    /// Most bytes of kept answers over all sessions.
    pub answer_bytes_max: usize,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self { sessions_max: 4096, answer_bytes_max: 16 * 1024 * 1024 }
    }
}

/// A message as far as order is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Its client's session.
    pub session: SessionId,
    /// Its number.
    pub number: u64,
    /// Lowest number that the client still waits for (inclusive).
    pub lowest: u64,
    /// The broker link that it came through.
    pub asker: LinkNumber,
}

/// What to do with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Execute it and call [`SessionTable::answered`], or [`SessionTable::retract`] if it could
    /// not even be begun.
    Execute,
    /// Say which number is expected.
    Hole {
        /// That number.
        expected: u64,
    },
    /// It is under way already: nothing now, the asker is answered with the others.
    UnderWay,
    /// It was answered before: the same answer again.
    Again(Answer),
    /// It must not be executed any more: answer from the log if its ids are there.
    LookUp,
    /// No room for another session: all others have messages under way.
    Full,
}

/// The sessions of one partition.
#[derive(Debug, Default)]
pub struct SessionTable {
    limits: SessionLimits,
    sessions: HashMap<SessionId, Session>,
    /// Sessions by when they were last used, oldest first.
    by_use: BTreeMap<u64, SessionId>,
    uses: u64,
    answer_bytes: usize,
}

#[derive(Debug)]
struct Session {
    /// Next number to execute.
    expected: u64,
    under_way: BTreeMap<u64, Vec<LinkNumber>>,
    /// Newest at the back, with ascending numbers in the order of answering.
    kept: VecDeque<(u64, Answer)>,
    used: u64,
}

impl SessionTable {
    #[cfg(test)]
    fn new(limits: SessionLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Takes a message in.
    pub fn arrive(&mut self, arrival: Arrival) -> Decision {
        let Arrival { session: id, number, lowest, asker } = arrival;
        if !self.sessions.contains_key(&id) && !self.make_room() {
            return Decision::Full;
        }
        self.uses += 1;
        let session = self.sessions.entry(id).or_insert_with(|| Session {
            expected: 1,
            under_way: BTreeMap::new(),
            kept: VecDeque::new(),
            used: 0,
        });
        self.by_use.remove(&session.used);
        self.by_use.insert(self.uses, id);
        session.used = self.uses;
        session.expected = session.expected.max(lowest);
        // What the client has, it won't ask for again.
        self.answer_bytes -= session.forget_below(lowest);
        if number > session.expected {
            return Decision::Hole { expected: session.expected };
        }
        if number == session.expected {
            session.expected = number.saturating_add(1);
            session.under_way.insert(number, vec![asker]);
            return Decision::Execute;
        }
        if let Some(askers) = session.under_way.get_mut(&number) {
            if !askers.contains(&asker) && askers.len() < ASKERS_MAX {
                askers.push(asker);
            }
            return Decision::UnderWay;
        }
        match session.kept.iter().find(|(kept, _)| *kept == number) {
            Some((_, answer)) => Decision::Again(answer.clone()),
            None => Decision::LookUp,
        }
    }

    /// A message that was to be executed is answered: keeps the answer and says who gets it.
    pub fn answered(&mut self, id: SessionId, number: u64, answer: &Answer) -> Vec<LinkNumber> {
        let Some(session) = self.sessions.get_mut(&id) else {
            return Vec::new();
        };
        let askers = session.under_way.remove(&number).unwrap_or_default();
        if session.kept.len() == ANSWERS_KEPT
            && let Some((_, oldest)) = session.kept.pop_front()
        {
            self.answer_bytes -= oldest.bytes();
        }
        session.kept.push_back((number, answer.clone()));
        self.answer_bytes += answer.bytes();
        self.bound_answers();
        askers
    }

    /// The message that [`Decision::Execute`] was just said for could not be begun: it is expected
    /// again.
    pub fn retract(&mut self, id: SessionId, number: u64) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.under_way.remove(&number);
            if session.expected == number.saturating_add(1) {
                session.expected = number;
            }
        }
    }

    /// Forgets the session unused for longest that has nothing under way.
    fn make_room(&mut self) -> bool {
        if self.sessions.len() < self.limits.sessions_max {
            return true;
        }
        let idle = self.by_use.iter().find(|(_, id)| {
            self.sessions.get(id).is_some_and(|session| session.under_way.is_empty())
        });
        let Some((&used, &id)) = idle else {
            return false;
        };
        self.by_use.remove(&used);
        if let Some(session) = self.sessions.remove(&id) {
            self.answer_bytes -= session.kept.iter().map(|(_, kept)| kept.bytes()).sum::<usize>();
        }
        true
    }

    /// Drops kept answers, of the session unused for longest first, until they fit.
    fn bound_answers(&mut self) {
        for id in self.by_use.values() {
            if self.answer_bytes <= self.limits.answer_bytes_max {
                return;
            }
            if let Some(session) = self.sessions.get_mut(id) {
                self.answer_bytes -= session.forget_below(u64::MAX);
            }
        }
    }
}

impl Session {
    /// Drops kept answers to numbers below `number`; returns their bytes.
    fn forget_below(&mut self, number: u64) -> usize {
        let before = self.kept_bytes();
        self.kept.retain(|(kept, _)| *kept >= number);
        before - self.kept_bytes()
    }

    fn kept_bytes(&self) -> usize {
        self.kept.iter().map(|(_, answer)| answer.bytes()).sum()
    }
}

#[cfg(test)]
mod tests;
