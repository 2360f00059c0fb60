//! Appends, replication and acknowledgement: what surrounds the machines where events are held.

use std::sync::Arc;

use super::rules::Rule;
use super::sightings::{Sighting, Sightings};
use super::world::{Envelope, Event, Host, World, sequences};
use crate::pair::protocol::{CommitRule, FollowerProgress, Input, Standing};

impl World {
    /// A client's event reaches a leader.
    pub fn append(&mut self, of: usize, ships: bool) {
        let id = u8::try_from(self.acknowledged.len()).unwrap() * 16 + self.budget.appends;
        let host = self.host(of);
        let event = Event { epoch: host.pair.epoch(), id };
        let (after, previous) = (host.log.len(), host.log.last().copied());
        host.log.push(event);
        if ships {
            let (from, epoch) = (host.me, event.epoch);
            self.network.insert(Envelope::Bulk { from, epoch, after, previous, event });
        }
    }

    pub fn takes_appends(&self, of: usize) -> bool {
        let host = &self.hosts[of];
        !host.is_halted && matches!(host.pair.standing(), Standing::Leading { .. })
    }

    pub fn sync(&mut self, of: usize, rule: Rule, seen: &Sightings) {
        let host = self.host(of);
        host.durable = host.log.len();
        self.acknowledge_to_leader(of, rule, seen);
    }

    /// A follower says how far it is, if it follows.
    fn acknowledge_to_leader(&mut self, of: usize, rule: Rule, seen: &Sightings) {
        let host = &self.hosts[of];
        let Some((_, epoch)) = host.follows(rule) else {
            return;
        };
        if host.agrees_in != epoch {
            return;
        }
        let (me, count) = (host.me, host.durable);
        if !self.is_late {
            return self.synced(&Envelope::Synced { from: me, epoch, count }, rule, seen);
        }
        // A higher acknowledgement of the same epoch says all that a lower one says.
        self.network.retain(|envelope| match envelope {
            Envelope::Synced { from, epoch: of, .. } => *from != me || *of != epoch,
            _ => true,
        });
        self.network.insert(Envelope::Synced { from: me, epoch, count });
    }

    /// Whether the node follows the other one, which leads in the same epoch.
    pub fn can_replicate(&self, to: usize, rule: Rule) -> bool {
        let (leader, follower) = (&self.hosts[1 - to], &self.hosts[to]);
        !leader.is_halted
            && !follower.is_halted
            && leader.pair.leads()
            && follower.follows(rule) == Some((leader.me, leader.pair.epoch()))
            && (follower.agrees_in != leader.pair.epoch() || follower.log != leader.log)
    }

    /// A session between leader and follower: finds where the logs divide, cuts, ships the rest.
    pub fn replicate(&mut self, to: usize, rule: Rule, seen: &Sightings) {
        let (leader, follower) = (&self.hosts[1 - to], &self.hosts[to]);
        let epoch = leader.pair.epoch();
        let (shipped, committed) = (leader.log.clone(), leader.held);
        let agrees = shipped.iter().zip(&follower.log).take_while(|(one, other)| one == other);
        let agrees = agrees.count();
        if agrees < follower.log.len() && !self.cut(to, agrees, epoch, rule, seen) {
            return;
        }
        let host = self.host(to);
        host.log.extend(&shipped[agrees..]);
        host.held = host.held.max(committed);
        host.agrees_in = epoch;
        self.give(to, Input::Aligned { epoch }, rule, seen);
        self.acknowledge_to_leader(to, rule, seen);
    }

    fn cut(&mut self, to: usize, at: usize, epoch: u64, rule: Rule, seen: &Sightings) -> bool {
        let outputs = self.give(to, Input::Cutting { epoch }, rule, seen);
        let may = crate::pair::protocol::Output::Cut { epoch };
        if !outputs.contains(&may) {
            return false;
        }
        let host = self.host(to);
        if at < host.held {
            self.broken = Some("a log is cut below what every member holds");
            return false;
        }
        seen.note(Sighting::Cut);
        host.log.truncate(at);
        host.durable = host.durable.min(at);
        true
    }

    /// A shipped event arrives.
    pub fn bulk(&mut self, envelope: &Envelope, rule: Rule, seen: &Sightings) {
        let Envelope::Bulk { from, epoch, after, previous, event } = envelope else {
            return;
        };
        let Some(to) = self.hosts.iter().position(|host| host.me != *from) else {
            return;
        };
        let host = self.host(to);
        let Some((leader, followed)) = host.follows(rule) else {
            return;
        };
        let epoch = if rule == Rule::Follow { followed } else { *epoch };
        if epoch < followed {
            seen.note(Sighting::OldBulk);
        }
        let fits = host.log.len() == *after && host.log.last() == previous.as_ref();
        if !host.is_halted
            && leader == *from
            && epoch == followed
            && host.agrees_in == epoch
            && fits
        {
            host.log.push(*event);
        }
    }

    /// A follower's acknowledgement arrives.
    pub fn synced(&mut self, envelope: &Envelope, rule: Rule, seen: &Sightings) {
        let Envelope::Synced { from, epoch, count } = envelope else {
            return;
        };
        let Some(to) = self.hosts.iter().position(|host| host.me != *from) else {
            return;
        };
        let host = self.host(to);
        let holds = host.pair.epoch();
        let epoch = if rule == Rule::Follow { holds } else { *epoch };
        if epoch < holds {
            seen.note(Sighting::OldAcknowledgement);
        }
        if host.is_halted || !host.pair.leads() || epoch != holds || host.peer != Some(*from) {
            return;
        }
        let known = if host.copied.0 == holds { host.copied.1 } else { 0 };
        host.copied = (holds, known.max((*count).min(host.log.len())));
        let acknowledged = FollowerProgress::Acknowledged { owes: false };
        self.give(to, Input::Follower(acknowledged), rule, seen);
        self.give(to, Input::Follower(FollowerProgress::Near), rule, seen);
    }

    /// Lets a leader commit what its rule allows, and tells its machine how the follower is doing.
    pub fn settle(&mut self, of: usize, rule: Rule, seen: &Sightings) {
        if !self.hosts[of].pair.leads() || self.hosts[of].is_halted {
            return;
        }
        let limit = commit_limit(&self.hosts[of], rule);
        if limit > self.hosts[of].held {
            self.acknowledge(of, limit);
        }
        let host = &self.hosts[of];
        let copied = copied(host);
        let is_heard = host.copied.0 == host.pair.epoch();
        if host.pair.rule() == CommitRule::Both && is_heard && copied >= host.held {
            self.give(of, Input::Follower(FollowerProgress::CaughtUp), rule, seen);
        }
        let host = &self.hosts[of];
        let drains = matches!(host.pair.standing(), Standing::HandingOver { .. });
        if drains && copied == host.log.len() && host.durable == copied {
            self.give(of, Input::Follower(FollowerProgress::Drained), rule, seen);
        }
    }

    fn acknowledge(&mut self, of: usize, limit: usize) {
        let host = &self.hosts[of];
        let (me, epoch) = (host.me, host.pair.epoch());
        for place in host.held..limit {
            match self.acknowledged.get(place) {
                None => self.acknowledged.push(host.log[place]),
                Some(known) if *known == host.log[place] => {}
                Some(_) => self.broken = Some("two events were acknowledged under one number"),
            }
        }
        self.host(of).held = limit;
        if *self.acknowledgers.entry(epoch).or_insert(me) != me {
            self.broken = Some("two nodes acknowledged in one epoch");
        }
    }

    /// Whether everybody who may come to lead has everything that was acknowledged.
    pub fn keeps_what_it_acknowledged(&self) -> bool {
        let Some(newest) = &self.newest else {
            return true;
        };
        let nodes = &self.witness.record().nodes;
        let may_lead = |host: &&Arc<Host>| {
            newest.has(host.me)
                && !host.is_halted
                && broker::witness::covers(&sequences(host.durable), &newest.floor)
                && nodes.get(&host.me).is_none_or(|node| host.position().reaches(&node.known))
        };
        let mut able = self.hosts.iter().filter(may_lead);
        able.all(|host| host.synced().starts_with(&self.acknowledged))
    }

    /// Whether no node leads in the newest configuration that lacks something acknowledged, or that
    /// was wiped and never a member since.
    pub fn leaders_are_whole(&self) -> bool {
        let newest = self.newest.as_ref().map_or(0, |newest| newest.epoch);
        self.hosts.iter().all(|host| {
            !host.pair.leads()
                || host.is_halted
                || (!host.is_wiped
                    && (host.pair.epoch() < newest
                        || host.synced().starts_with(&self.acknowledged)))
        })
    }
}

fn copied(host: &Host) -> usize {
    if host.copied.0 == host.pair.epoch() { host.copied.1 } else { 0 }
}

fn commit_limit(host: &Host, rule: Rule) -> usize {
    let both = host.durable.min(copied(host));
    match host.pair.rule() {
        CommitRule::Held | CommitRule::Told => 0,
        CommitRule::Alone => host.durable,
        CommitRule::Both if rule == Rule::Acknowledge => host.durable,
        CommitRule::Both if rule == Rule::Promise && host.pair.asks() => host.durable,
        CommitRule::Both => both,
    }
}
