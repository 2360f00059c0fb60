//! Subscribers: the feed of a leader, and history from whoever has it.

use bytes::Bytes;
use store::pair::protocol::Standing;

use super::Run;
use crate::env::{Ahead, Env, FeedPart, Message};
use crate::network::{FIRST_CLIENT, Host, Lane, Way};
use crate::plan::Mistake;

/// How often a feed says where it is.
pub const FEED_HEARTBEAT: std::time::Duration = std::time::Duration::from_millis(500);
/// Most record bytes in one part of a feed or a read.
const PART_BYTES_MAX: usize = 1_500;

impl Run {
    fn readers(&self, env: &Env) -> Vec<Host> {
        let first = FIRST_CLIENT + env.plan.clients;
        (first..first + env.plan.readers).map(Host).collect()
    }

    /// A log has moved: what is newly committed is published.
    pub(super) fn feed(&mut self, env: &mut Env, number: usize) {
        let log = &self.disk.logs[number];
        let head = match env.plan.mistake {
            Some(Mistake::ShowsUncommitted) if self.leading => log.written(),
            _ => log.committed(),
        };
        if !self.publishes(number) {
            // The chain follows the head, so that a later reign goes on from there.
            self.fed[number] = head;
            return;
        }
        while self.fed[number] < head {
            let previous = self.fed[number];
            let (records, last) = self.disk.logs[number].read(previous + 1, head, PART_BYTES_MAX);
            if last == previous {
                return;
            }
            self.fed[number] = last;
            self.publish(env, number, (previous, last), records);
        }
    }

    /// Whether where the former reigns end is settled.
    fn publishes(&self, number: usize) -> bool {
        let log = &self.disk.logs[number];
        let head = log.entry(log.committed());
        self.leading && head.is_some_and(|head| head.epoch == self.pair.epoch())
    }

    pub(super) fn feed_tick(&mut self, env: &mut Env) {
        let now = env.local(self.host);
        if self.feed_beat_at > now {
            return;
        }
        self.feed_beat_at = now + FEED_HEARTBEAT;
        for number in 0..self.disk.logs.len() {
            if self.publishes(number) {
                let head = self.fed[number];
                self.publish(env, number, (head, head), Bytes::new());
            }
        }
    }

    fn part(&self, number: usize, (previous, last): (u64, u64), records: Bytes) -> FeedPart {
        let epoch = self.pair.epoch();
        FeedPart {
            partition: u16::try_from(number).unwrap(),
            lineage: self.pair.lineage().0,
            epoch,
            previous,
            last,
            cut: self.disk.logs[number].last_of_epoch(epoch.saturating_sub(1)),
            records,
        }
    }

    fn publish(&mut self, env: &mut Env, number: usize, span: (u64, u64), records: Bytes) {
        let part = self.part(number, span, records);
        for reader in self.readers(env) {
            let way = Way { client: reader, server: self.host, lane: Lane::Feed };
            env.send(way, self.host, Message::Feed(Box::new(part.clone())));
        }
    }

    /// A subscriber listens.
    pub fn subscribed(&mut self, env: &mut Env, from: Host, partition: u16) {
        let number = usize::from(partition);
        if self.publishes(number) {
            let head = self.fed[number];
            let part = self.part(number, (head, head), Bytes::new());
            let way = Way { client: from, server: self.host, lane: Lane::Feed };
            env.send(way, self.host, Message::Feed(Box::new(part)));
        }
    }

    /// A subscriber asks for history.
    pub fn read(
        &mut self,
        env: &mut Env,
        from_host: Host,
        (partition, request): (u16, u64),
        (from, epoch): (u64, u64),
    ) {
        let way = Way { client: from_host, server: self.host, lane: Lane::Replay };
        let number = usize::from(partition);
        let own = self.pair.epoch();
        let follows = matches!(self.pair.standing(), Standing::Following { .. });
        let serves = self.leading || (follows && self.aligned == own);
        let log = &self.disk.logs[number];
        let (head, cut) = (log.committed(), log.last_of_epoch(epoch));
        if !serves || epoch > own {
            return env.send(way, self.host, Message::Refused { request, ahead: None });
        }
        if epoch > 0 && epoch < own && from - 1 > cut && cut < head {
            let ahead = Some(Ahead { head, cut, epoch: own });
            return env.send(way, self.host, Message::Refused { request, ahead });
        }
        let mut previous = from - 1;
        loop {
            let log = &self.disk.logs[number];
            let (records, last) = log.read(previous + 1, head, PART_BYTES_MAX);
            let end = last <= previous || last >= head;
            let span = (previous, last.max(previous));
            let block = Box::new(self.part(number, span, records));
            env.send(way, self.host, Message::Block { request, block, end, head });
            if end {
                return;
            }
            previous = last;
        }
    }
}
