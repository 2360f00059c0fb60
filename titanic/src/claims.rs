//! Who dispatches which shard.
//!
//! A process claims a shard by an append, with expected version, to the shard's stream of claims:
//! of two that try, one succeeds. It holds the shard until the log says otherwise. A process that
//! beats no more loses its shards to the others; that is judged by each observer's own clock, and
//! only from when the observer itself hears the log. Nothing rests on it but who works: two that
//! take a shard for theirs still cannot both write the same step of a command.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use client::command::{SHARDS, Session, Shard};
use client::{ExpectedVersion, Version};

use crate::protocol::{AppendFailure, AppendTicket};
use crate::record::Entry;
use crate::view::Damaged;

/// Beats within a lease, so that a late one costs nothing.
const BEATS_PER_LEASE: u32 = 5;
/// Pause after a claim that was refused, or may not be written.
const PAUSE: Duration = Duration::from_secs(1);

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) enum ClaimInput {
    /// The log is heard, or not any more.
    Live(bool),
    /// This session is certainly over.
    Gone(Session),
    /// A claim or sign in the log.
    Seen(Entry),
    /// Tell when this session is over.
    Watch(Session),
    /// Whether commands are open here.
    Busy(bool),
    Appended {
        ticket: AppendTicket,
        result: Result<(), AppendFailure>,
    },
    /// Give everything back.
    Stop,
    Tick,
}

/// Something to do, or to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClaimOutput {
    Append {
        ticket: AppendTicket,
        entry: Entry,
        expected: ExpectedVersion,
    },
    /// From now on this shard is ours.
    Held(Shard),
    /// It is not ours any more.
    Lost(Shard),
    /// A watched session is over.
    Over(Session),
    /// Everything was given back.
    Left,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Claim {
    version: Version,
    holder: Option<Session>,
    /// The version that an append of ours makes, until the log shows it or one in its place.
    asked: Option<Version>,
    /// When to ask again after a refusal.
    again: Option<Instant>,
}

/// How far the last goodbye is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Leaving {
    No,
    /// Releases that are not answered yet.
    Releasing,
    /// The last sign is under way.
    Saying,
    Done,
}

/// All shards and all processes, as the log shows them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Claims {
    me: Session,
    lease: Duration,
    now: Option<Instant>,
    /// Since when the log is heard.
    live: Option<Instant>,
    claims: BTreeMap<Shard, Claim>,
    /// Others, and when they were last heard of while the log was heard.
    heard: BTreeMap<Session, Instant>,
    /// Over for certain; kept for the first lease, later silence says the same.
    gone: BTreeSet<Session>,
    watched: BTreeSet<Session>,
    is_busy: bool,
    /// When to beat next; nothing before the log was first heard.
    beat_at: Option<Instant>,
    beats: u64,
    is_beating: bool,
    leaving: Leaving,
}

impl Claims {
    pub(crate) fn new(me: Session, lease: Duration) -> Claims {
        Claims {
            me,
            lease,
            now: None,
            live: None,
            claims: Shard::all().map(|shard| (shard, Claim::default())).collect(),
            heard: BTreeMap::new(),
            gone: BTreeSet::new(),
            watched: BTreeSet::new(),
            is_busy: false,
            beat_at: None,
            beats: 0,
            is_beating: false,
            leaving: Leaving::No,
        }
    }

    /// Whether the log says that the shard is ours.
    pub(crate) fn holds(&self, shard: Shard) -> bool {
        self.claims.get(&shard).is_some_and(|claim| claim.holder == Some(self.me))
    }

    /// How many shards are ours.
    pub(crate) fn held(&self) -> usize {
        self.claims.values().filter(|claim| claim.holder == Some(self.me)).count()
    }

    /// The claims as a checkpoint holds them.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let claims: Vec<(u64, Option<Session>)> =
            self.claims.values().map(|claim| (claim.version.0, claim.holder)).collect();
        rmp_serde::to_vec(&claims).unwrap_or_default()
    }

    pub(crate) fn restore(&mut self, bytes: &[u8]) -> Result<(), Damaged> {
        let claims: Vec<(u64, Option<Session>)> =
            rmp_serde::from_slice(bytes).map_err(|error| Damaged(error.to_string()))?;
        if claims.len() != self.claims.len() {
            return Err(Damaged(format!("{} shards", claims.len())));
        }
        for (claim, (version, holder)) in self.claims.values_mut().zip(claims) {
            (claim.version, claim.holder) = (Version(version), holder);
        }
        Ok(())
    }

    /// When to hand in a tick.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let beat = self.beat_at.filter(|_| !self.is_beating && self.leaving == Leaving::No);
        let again = self.claims.values().filter_map(|claim| claim.again).min();
        let holders = self.claims.values().filter_map(|claim| claim.holder);
        let others = holders.chain(self.watched.iter().copied()).chain(self.heard.keys().copied());
        // What is over already was acted upon.
        let over = others.filter_map(|of| self.expiry(of)).filter(|at| Some(*at) > self.now).min();
        [beat, again, over].into_iter().flatten().min()
    }

    pub(crate) fn handle(
        &mut self,
        now: Instant,
        input: ClaimInput,
        outputs: &mut Vec<ClaimOutput>,
    ) {
        self.now = Some(now);
        match input {
            ClaimInput::Live(true) => {
                self.live.get_or_insert(now);
                self.beat_at.get_or_insert(now);
            }
            ClaimInput::Live(false) => self.live = None,
            ClaimInput::Gone(session) => self.over(session),
            ClaimInput::Seen(entry) => self.seen(now, entry, outputs),
            ClaimInput::Watch(session) => {
                self.watched.insert(session);
            }
            ClaimInput::Busy(is_busy) => self.busy(now, is_busy),
            ClaimInput::Appended { ticket, result } => self.appended(now, ticket, result, outputs),
            ClaimInput::Stop => self.stop(outputs),
            ClaimInput::Tick => {}
        }
        for claim in self.claims.values_mut().filter(|claim| claim.again <= Some(now)) {
            if claim.again.take().is_some() {
                claim.asked = None;
            }
        }
        self.settle(now, outputs);
    }

    /// Whether a process lives, as far as can be told.
    fn is_alive(&self, of: Session, now: Instant) -> bool {
        match self.expiry(of) {
            Some(at) => at > now,
            None => !self.gone.contains(&of),
        }
    }

    /// When another process is taken for dead if it is not heard until then; nothing while that
    /// cannot be told.
    fn expiry(&self, of: Session) -> Option<Instant> {
        if of == self.me || self.gone.contains(&of) {
            return None;
        }
        let live = self.live?;
        let heard = self.heard.get(&of).map_or(live, |heard| live.max(*heard));
        Some(heard + self.lease)
    }

    fn over(&mut self, session: Session) {
        if session != self.me {
            self.heard.remove(&session);
            self.gone.insert(session);
        }
    }

    fn seen(&mut self, now: Instant, entry: Entry, outputs: &mut Vec<ClaimOutput>) {
        match entry {
            Entry::Claim { shard, session, begins, version } => {
                let Some(claim) = self.claims.get_mut(&shard) else {
                    return;
                };
                if version <= claim.version {
                    return;
                }
                let before = claim.holder;
                claim.version = version;
                claim.holder = match begins {
                    true => Some(session),
                    false => claim.holder.filter(|holder| *holder != session),
                };
                if claim.asked.is_some_and(|asked| asked <= version) {
                    (claim.asked, claim.again) = (None, None);
                }
                let (was, is) = (before == Some(self.me), claim.holder == Some(self.me));
                match (was, is) {
                    (false, true) => outputs.push(ClaimOutput::Held(shard)),
                    (true, false) => outputs.push(ClaimOutput::Lost(shard)),
                    _ => {}
                }
            }
            Entry::Beat { session, .. } if session != self.me && self.live.is_some() => {
                self.gone.remove(&session);
                if self.heard.insert(session, now).is_none() {
                    // The newcomer need not wait for our next beat to know that we live.
                    self.beat_at = Some(now);
                }
            }
            Entry::Left { session } => self.over(session),
            Entry::Beat { .. } | Entry::Step(_) => {}
        }
    }

    fn busy(&mut self, now: Instant, is_busy: bool) {
        if is_busy && !self.is_busy && self.beat_at.is_some() {
            let soon = now + self.lease / BEATS_PER_LEASE;
            self.beat_at = self.beat_at.map(|at| at.min(soon));
        }
        self.is_busy = is_busy;
    }

    fn appended(
        &mut self,
        now: Instant,
        ticket: AppendTicket,
        result: Result<(), AppendFailure>,
        outputs: &mut Vec<ClaimOutput>,
    ) {
        match ticket {
            AppendTicket::Claim { shard, version } => {
                let Some(claim) = self.claims.get_mut(&shard) else {
                    return;
                };
                // After a success the log is going to show it.
                if claim.asked == Some(version) && result.is_err() {
                    claim.again = Some(now + PAUSE);
                }
                if self.leaving == Leaving::Releasing {
                    // The log may have shown it, and ended the asking, before this.
                    if claim.asked == Some(version) {
                        (claim.asked, claim.again) = (None, None);
                    }
                    self.say_goodbye(outputs);
                }
            }
            AppendTicket::Sign if self.leaving == Leaving::Saying => {
                self.leaving = Leaving::Done;
                outputs.push(ClaimOutput::Left);
            }
            AppendTicket::Sign => self.is_beating = false,
            AppendTicket::Step { .. } => {}
        }
    }

    fn stop(&mut self, outputs: &mut Vec<ClaimOutput>) {
        if self.leaving != Leaving::No {
            return;
        }
        self.leaving = Leaving::Releasing;
        let mine =
            |(shard, claim): (&Shard, &Claim)| (claim.holder == Some(self.me)).then_some(*shard);
        let mine: Vec<Shard> = self.claims.iter().filter_map(mine).collect();
        for claim in self.claims.values_mut() {
            (claim.asked, claim.again) = (None, None);
        }
        for shard in mine {
            self.ask(shard, false, outputs);
        }
        self.say_goodbye(outputs);
    }

    fn say_goodbye(&mut self, outputs: &mut Vec<ClaimOutput>) {
        if self.claims.values().any(|claim| claim.asked.is_some()) {
            return;
        }
        self.leaving = Leaving::Saying;
        let (entry, expected) = (Entry::Left { session: self.me }, ExpectedVersion::Any);
        outputs.push(ClaimOutput::Append { ticket: AppendTicket::Sign, entry, expected });
    }

    /// Does what is due as things stand.
    fn settle(&mut self, now: Instant, outputs: &mut Vec<ClaimOutput>) {
        let over = |of: &Session| !self.is_alive(*of, now);
        let over: Vec<Session> = self.watched.iter().copied().filter(over).collect();
        for session in over {
            self.watched.remove(&session);
            outputs.push(ClaimOutput::Over(session));
        }
        let silent = |of: &Session| !self.is_alive(*of, now);
        let silent: Vec<Session> = self.heard.keys().copied().filter(silent).collect();
        for session in silent {
            self.heard.remove(&session);
        }
        if self.live.is_some_and(|live| live + self.lease <= now) {
            self.gone.clear();
        }
        if self.leaving != Leaving::No {
            return;
        }
        self.beat(now, outputs);
        if self.live.is_some() {
            self.share(now, outputs);
        }
    }

    fn beat(&mut self, now: Instant, outputs: &mut Vec<ClaimOutput>) {
        if self.is_beating || self.beat_at.is_none_or(|at| at > now) {
            return;
        }
        let is_alone = self.heard.is_empty() && !self.is_busy;
        let pause = if is_alone { self.lease } else { self.lease / BEATS_PER_LEASE };
        self.beat_at = Some(now + pause);
        self.is_beating = true;
        self.beats += 1;
        let entry = Entry::Beat { session: self.me, number: self.beats };
        let expected = ExpectedVersion::Any;
        outputs.push(ClaimOutput::Append { ticket: AppendTicket::Sign, entry, expected });
    }

    /// Claims what nobody alive holds, up to a fair share, and gives back what is beyond it.
    fn share(&mut self, now: Instant, outputs: &mut Vec<ClaimOutput>) {
        let processes = self.heard.len() + 1;
        let share = usize::from(SHARDS).div_ceil(processes);
        let mut mine = Vec::new();
        let mut free = Vec::new();
        let mut expected = 0;
        for (shard, claim) in &self.claims {
            let is_mine = claim.holder == Some(self.me);
            if claim.asked.is_some() {
                // Ours is being given back, or it is to become ours.
                expected += usize::from(!is_mine);
            } else if is_mine {
                mine.push(*shard);
            } else if claim.holder.is_none_or(|holder| !self.is_alive(holder, now)) {
                free.push(*shard);
            }
        }
        // Everybody begins elsewhere, so that not all want the same.
        let first = u16::from(self.me.0.as_bytes()[0]) % SHARDS;
        free.sort_unstable_by_key(|shard| (shard.number() + SHARDS - first) % SHARDS);
        let has = mine.len() + expected;
        for shard in free.into_iter().take(share.saturating_sub(has)) {
            self.ask(shard, true, outputs);
        }
        for shard in mine.into_iter().rev().take(has.saturating_sub(share)) {
            self.ask(shard, false, outputs);
        }
    }

    fn ask(&mut self, shard: Shard, begins: bool, outputs: &mut Vec<ClaimOutput>) {
        let Some(claim) = self.claims.get_mut(&shard) else {
            return;
        };
        let version = claim.version.next();
        claim.asked = Some(version);
        let expected = match claim.version {
            Version::ZERO => ExpectedVersion::None,
            known => ExpectedVersion::Exact(known),
        };
        let entry = Entry::Claim { shard, session: self.me, begins, version };
        let ticket = AppendTicket::Claim { shard, version };
        outputs.push(ClaimOutput::Append { ticket, entry, expected });
    }
}

#[cfg(test)]
#[path = "claims_tests.rs"]
mod tests;
