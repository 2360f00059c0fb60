//! What happens: each event reaches the process that it is for.

use std::time::Duration;

use super::World;
use crate::env::{Event, Message};
use crate::member::Run;
use crate::network::{BROKERS, FIRST_CLIENT, Host, MEMBERS, Parcel, WITNESS};

impl World {
    pub(super) fn happen(&mut self, event: Event) {
        let event = match event {
            Event::Arrive(parcel) if self.stopped.contains_key(&parcel.to) => {
                let stopped = self.stopped.get_mut(&parcel.to);
                return stopped.unwrap().inbox.push(Event::Arrive(parcel));
            }
            Event::Synced { host, .. } if self.stopped.contains_key(&host) => {
                return self.stopped.get_mut(&host).unwrap().inbox.push(event);
            }
            Event::Wake(host) if self.stopped.contains_key(&host) => return,
            event => event,
        };
        match event {
            Event::Arrive(parcel) => self.arrive(parcel),
            Event::Wake(host) => self.wake(host),
            Event::Synced { host, life, partition, cuts, fails } => {
                self.synced((host, life), partition, cuts, fails);
            }
            Event::Nemesis => self.trouble(),
            Event::Start(host) => self.start(host),
            Event::Resume(host) => self.resume(host),
            Event::Heal(from, to) => {
                let mut arrivals = Vec::new();
                self.env.network.heal(self.env.now, from, to, &mut arrivals);
                self.env.put(arrivals);
            }
        }
    }

    fn arrive(&mut self, parcel: Parcel<Message>) {
        if !self.env.network.is_current(&parcel) || !self.is_alive(parcel.to) {
            return;
        }
        self.env.note(&parcel);
        let Parcel { from, to, way, generation, message } = parcel;
        match to {
            WITNESS => {
                if let Message::Ask(token, request) = message {
                    let fate = self.witness.receive(&mut self.env, from, (token, *request));
                    self.bury(to, fate);
                }
            }
            host if BROKERS.contains(&host) => {
                if let Message::Dialect(frames) = message {
                    let broker = &mut self.brokers[usize::from(host.0 - BROKERS[0].0)];
                    broker.receive(&mut self.env, (from, generation), frames);
                }
            }
            host if MEMBERS.contains(&host) => {
                self.with_run(host, |run, env| match message {
                    Message::Dialect(frames) => run.hear_broker(env, from, frames),
                    Message::Pair(frames) => run.hear_peer(env, way, &frames),
                    Message::Answer(token, answer) => run.answered(env, token, *answer),
                    Message::Subscribe(partition) => run.subscribed(env, from, partition),
                    Message::Read { partition, request, from: first, epoch } => {
                        run.read(env, from, (partition, request), (first, epoch));
                    }
                    other => panic!("{other:?} for a member"),
                });
            }
            host => self.arrive_at_client(host, from, message),
        }
        self.plan_wake(to);
    }

    fn arrive_at_client(&mut self, host: Host, from: Host, message: Message) {
        let place = usize::from(host.0 - FIRST_CLIENT);
        let env = &mut self.env;
        if let Some(appender) = self.appenders.get_mut(place) {
            if let Message::Dialect(frames) = message {
                appender.receive(env, from, frames);
            }
            return;
        }
        let reader = &mut self.readers[place - self.appenders.len()];
        match message {
            Message::Feed(part) => reader.hear_feed(env, &part),
            Message::Block { request, block, end, head } => {
                reader.hear_block(env, request, &block, (end, head));
            }
            Message::Refused { request, ahead } => reader.hear_refusal(env, request, ahead),
            other => panic!("{other:?} for a reader"),
        }
    }

    fn wake(&mut self, host: Host) {
        let wake_at = &mut self.wake_at[usize::from(host.0)];
        if *wake_at != Some(self.env.now) {
            return;
        }
        *wake_at = None;
        self.env.note(&host);
        self.tick(host);
        self.plan_wake(host);
    }

    pub(super) fn tick(&mut self, host: Host) {
        let env = &mut self.env;
        match host.0 {
            0 | 1 => self.with_run(host, Run::tick),
            2 => {}
            3 | 4 => self.brokers[usize::from(host.0 - BROKERS[0].0)].tick(env),
            number => {
                let place = usize::from(number - FIRST_CLIENT);
                match self.appenders.get_mut(place) {
                    Some(appender) => appender.tick(env),
                    None => self.readers[place - self.appenders.len()].tick(env),
                }
            }
        }
    }

    pub(super) fn plan_wake(&mut self, host: Host) {
        let env = &self.env;
        let deadline = match host.0 {
            0 | 1 => self.process(host).and_then(|run| run.deadline(env)),
            2 => None,
            3 | 4 => self.brokers[usize::from(host.0 - BROKERS[0].0)].deadline(env),
            number => {
                let place = usize::from(number - FIRST_CLIENT);
                match self.appenders.get(place) {
                    Some(appender) => appender.deadline(env),
                    None => self.readers[place - self.appenders.len()].deadline(env),
                }
            }
        };
        let wake_at = &mut self.wake_at[usize::from(host.0)];
        if deadline != *wake_at
            && let Some(at) = deadline
        {
            *wake_at = Some(at.max(env.now + Duration::from_micros(1)));
            self.env.queue.put(wake_at.unwrap(), Event::Wake(host));
        }
    }

    fn synced(&mut self, (host, life): (Host, u64), partition: usize, cuts: u64, fails: bool) {
        if self.process(host).is_none_or(|run| run.life != life) {
            return;
        }
        self.env.note(&(host, partition, cuts, fails));
        if fails {
            self.env.oracle.counters.failed_syncs += 1;
            self.env.say(host, || "a sync failed: it ends".to_owned());
            self.crash_for(host, Duration::from_millis(300));
            return;
        }
        self.with_run(host, |run, env| run.synced(env, partition, cuts));
        self.plan_wake(host);
    }
}
