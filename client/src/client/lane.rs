//! The way of appends to one partition: coalescer, outbox, and back to those who wait.

use std::time::{Duration, Instant};

use broker::dialect::{ClientReply, ClientRequest, ErrorBody, ServiceName, Topology, decode_body};
use broker::error_code::ErrorCode;
use bytes::Bytes;
use store::event::Epoch;
use store::wire::append::{AppendReply, AppendResult, message_header};

use super::acknowledged::{Mark, SharedMark, acknowledged_lasts};
use super::admission::Admission;
use super::command::PartitionKey;
use crate::append::coalescer::{Coalescer, Waiting, Window};
use crate::append::outbox::{Answer, Conclusion, Outbox, OutboxInput, OutboxOutput};
use crate::append::{AppendError, AppendReceipt, from_refusal};
use crate::config::ClientConfig;
use crate::error::{Refusal, Unavailable};
use crate::pending::Promise;

/// An append on its way: who waits for it, and its place in the client.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(super) promise: Promise<AppendReceipt, AppendError>,
    pub(super) submitted: Instant,
    pub(super) admission: Admission,
}

/// What a lane wants of the loop.
#[derive(Debug)]
pub(super) enum LaneOutput {
    Request(ClientRequest),
    AskTopology,
}

/// One partition's way.
#[derive(Debug)]
pub(super) struct Lane {
    key: PartitionKey,
    service: ServiceName,
    brokers: Vec<String>,
    /// Whether conflicts at this store are there to stay; see [`Answer::conflicts_last`].
    conflicts_last: bool,
    /// Another node that was seen to have the partition. It may lead again, also while it is away.
    peer_seen: bool,
    acknowledged: SharedMark,
    link_up: bool,
    coalescer: Coalescer<(Ticket, Bytes)>,
    outbox: Outbox<Ticket>,
    /// Appends that are over and whose callers are to be told.
    concluded: Vec<(Ticket, Conclusion)>,
}

impl Lane {
    pub(super) fn new(
        (key, service): (PartitionKey, ServiceName),
        acknowledged: SharedMark,
        config: &ClientConfig,
    ) -> Self {
        let window =
            Window { messages: config.under_way_messages_max, bytes: config.under_way_bytes_max };
        Self {
            key,
            service,
            brokers: config.brokers.iter().map(ToString::to_string).collect(),
            conflicts_last: false,
            peer_seen: false,
            acknowledged,
            link_up: false,
            coalescer: Coalescer::new(window),
            outbox: Outbox::new(config.attempt_timeout),
            concluded: Vec::new(),
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.outbox.deadline().into_iter().chain(self.coalescer.deadline()).min()
    }

    /// Learns from the topology whether a conflict that this partition reports can be undone.
    pub(super) fn learn(&mut self, topology: &Topology) {
        let partition = self.key.partition.0;
        let Some(store) = topology.store(self.key.store.as_str()) else { return };
        let members = store.members.iter().filter(|member| member.partition == partition);
        self.peer_seen |= members.count() > 1;
        let Some(leader) = store.leader(partition) else { return };
        let Some(lasts) = acknowledged_lasts(topology, store, partition) else { return };
        self.conflicts_last = lasts && (leader.durability == "pair" || !self.peer_seen);
    }

    pub(super) fn push(&mut self, append: Waiting<(Ticket, Bytes)>) {
        self.coalescer.push(append);
    }

    /// The broker came or went.
    pub(super) fn link(&mut self, now: Instant, up: bool, outputs: &mut Vec<LaneOutput>) {
        self.link_up = up;
        self.give(now, if up { OutboxInput::LinkUp } else { OutboxInput::LinkDown }, outputs);
    }

    /// Takes a reply to one of this lane's messages.
    pub(super) fn reply(
        &mut self,
        now: Instant,
        reply: &ClientReply,
        outputs: &mut Vec<LaneOutput>,
    ) {
        let number = reply.number;
        let body = reply.body.first().cloned().unwrap_or_default();
        let input = match reply.code {
            Some(code) => {
                let body = decode_body::<ErrorBody>(&body).unwrap_or_default();
                let mut refusal = Refusal::from_body(code, body);
                refusal.retry_after = Some(reply.retry_after).filter(|after| !after.is_zero());
                OutboxInput::Refused { number, refusal }
            }
            None => match AppendReply::decode(body) {
                Ok(decoded) => {
                    let answer = self.answer(Epoch(reply.epoch), decoded);
                    OutboxInput::Answered { number, answer }
                }
                Err(error) => {
                    log::warn!("{}: an append's reply can't be read: {error}", self.service);
                    return;
                }
            },
        };
        self.give(now, input, outputs);
        self.pump(now, outputs);
    }

    fn answer(&self, epoch: Epoch, reply: AppendReply) -> Answer {
        let result = |result| match result {
            AppendResult::Done(done) => Ok(done),
            AppendResult::Refused(refusal) => Err(from_refusal(&refusal)),
        };
        Answer {
            epoch,
            durable_on: reply.durable_on.into(),
            results: reply.results.into_iter().map(result).collect(),
            conflicts_last: self.conflicts_last,
        }
    }

    /// Time has gone by, or appends were added.
    pub(super) fn tick(&mut self, now: Instant, outputs: &mut Vec<LaneOutput>) {
        self.give(now, OutboxInput::Tick, outputs);
        while let Some(expired) = self.coalescer.next_expired(now) {
            let (ticket, _) = expired.append;
            self.conclude(now, ticket, Conclusion::NeverLeft);
        }
        self.pump(now, outputs);
    }

    /// Turns what waits into messages while the window has room.
    pub(super) fn pump(&mut self, now: Instant, outputs: &mut Vec<LaneOutput>) {
        while let Some(message) = self.coalescer.next_message(self.outbox.under_way()) {
            let durability = message.first().and_then(|waiting| waiting.durability);
            let deadline = message.iter().map(|waiting| waiting.deadline).max().unwrap_or(now);
            let bytes = message.iter().map(|waiting| waiting.bytes).sum::<usize>();
            let mut payload = Vec::with_capacity(bytes + 8);
            // The coalescer keeps far below the number that a header can't hold.
            let header = message_header(durability, message.len()).unwrap_or_default();
            payload.extend_from_slice(&header);
            let mut appends = Vec::with_capacity(message.len());
            for waiting in message {
                let (ticket, encoded) = waiting.append;
                payload.extend_from_slice(&encoded);
                appends.push(ticket);
            }
            let payload = Bytes::from(payload);
            self.give(now, OutboxInput::Submit { payload, appends, deadline }, outputs);
        }
    }

    /// Tells everybody who still waits that the client is closed.
    pub(super) fn close(&mut self, now: Instant) {
        let mut concluded = Vec::new();
        self.outbox.close(&mut concluded);
        for output in concluded {
            if let OutboxOutput::Concluded { append, conclusion } = output {
                self.concluded.push((append, conclusion));
            }
        }
        self.tell(now);
        let waiting: Vec<_> = self.coalescer.drain().collect();
        for waiting in waiting {
            self.conclude(now, waiting.append.0, Conclusion::NeverLeft);
        }
    }

    fn give(&mut self, now: Instant, input: OutboxInput<Ticket>, outputs: &mut Vec<LaneOutput>) {
        let mut effects = Vec::new();
        self.outbox.handle(now, input, &mut effects);
        for effect in effects {
            match effect {
                OutboxOutput::Send { number, lowest, time_left, payload } => {
                    outputs.push(LaneOutput::Request(ClientRequest {
                        service: self.service.clone(),
                        number,
                        lowest,
                        flags: 0,
                        time_left: time_left.max(Duration::from_millis(1)),
                        body: vec![payload],
                    }));
                }
                OutboxOutput::Concluded { append, conclusion } => {
                    self.concluded.push((append, conclusion));
                }
                OutboxOutput::AskTopology => outputs.push(LaneOutput::AskTopology),
            }
        }
    }

    /// Tells the callers whose appends are over; to be called once what leaves has left, because
    /// they may well keep all cores busy from now on. The oldest is told last: whoever waits for
    /// it is woken once, and finds the answers to all.
    pub(super) fn tell(&mut self, now: Instant) {
        let concluded = std::mem::take(&mut self.concluded);
        for (ticket, conclusion) in concluded.into_iter().rev() {
            self.conclude(now, ticket, conclusion);
        }
    }

    fn conclude(&self, now: Instant, ticket: Ticket, conclusion: Conclusion) {
        let waited = now.saturating_duration_since(ticket.submitted);
        let result = match conclusion {
            Conclusion::Committed { done, epoch, durable_on } => Ok(self.receipt(AppendReceipt {
                store: (*self.key.store).clone(),
                partition: self.key.partition,
                first_sequence: done.first,
                last_sequence: done.last,
                versions: done.versions,
                epoch,
                durable_on,
                durability: done.durability,
                duplicate: done.duplicate,
            })),
            Conclusion::NotDone(error) => Err(error),
            Conclusion::NeverLeft if self.link_up => Err(AppendError::Refused(Refusal::new(
                ErrorCode::NO_WORKER,
                format!(
                    "not sent, because {} did not answer the appends before it within \
                     {waited:.1?}: check with `starlog status` that its store runs",
                    self.service
                ),
            ))),
            Conclusion::NeverLeft => {
                let brokers = self.brokers.clone();
                Err(AppendError::Unavailable(Unavailable { brokers, waited }))
            }
            Conclusion::Unknown { reason } => Err(AppendError::Unknown { waited, reason }),
        };
        // Room is made first, so that a caller that got its result finds it.
        drop(ticket.admission);
        ticket.promise.fulfil(result);
    }

    /// Notes what is about to be told, so that reads which follow see it.
    fn receipt(&self, receipt: AppendReceipt) -> AppendReceipt {
        let (epoch, sequence) = (receipt.epoch, receipt.last_sequence);
        self.acknowledged.raise(Mark { epoch, sequence, lasting: self.conflicts_last });
        receipt
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::TryRecvError;

    use broker::dialect::{MemberTopology, StoreTopology};
    use store::event::{Sequence, Version, Versions};
    use store::slot::PartitionNumber;
    use store::wire::append::{AppendDone, Durability};
    use uuid::Uuid;

    use super::super::admission::Gate;
    use super::*;
    use crate::pending::pending;

    fn topology(durability: &str, leaders: &[bool]) -> Topology {
        let member = |leader: &bool| MemberTopology {
            partition: 0,
            leader: *leader,
            epoch: 1,
            incarnation: Uuid::nil(),
            lineage: Uuid::nil(),
            durability: durability.to_owned(),
            feed: String::new(),
            replay: String::new(),
            alive_ms: 0,
        };
        let members = leaders.iter().map(member).collect();
        let store = StoreTopology { name: "orders".to_owned(), partitions: 1, members };
        Topology { stores: vec![store], ..Topology::default() }
    }

    fn lane() -> Lane {
        let name = "orders".parse().unwrap();
        let key = PartitionKey { store: Arc::new(name), partition: PartitionNumber(0) };
        let service = ServiceName::partition("orders", 0).unwrap();
        Lane::new((key, service), SharedMark::default(), &ClientConfig::default())
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any instant does")]
    fn what_leaves_goes_first_and_the_oldest_is_told_last() {
        let (mut lane, gate, now) = (lane(), Gate::new(9, 999), Instant::now());
        let (sender, told) = std::sync::mpsc::channel();
        let push = |lane: &mut Lane, number: u64| {
            let (promise, pending) = pending(AppendError::abandoned);
            let sender = sender.clone();
            pending.on_ready(move |result: Result<AppendReceipt, AppendError>| {
                // The last append has no answer when the test ends, and the receiver is gone.
                let _ = sender.send((number, result.map(|receipt| receipt.first_sequence.0)));
            });
            let ticket = Ticket { promise, submitted: now, admission: gate.admit(1).unwrap() };
            let append = (ticket, Bytes::from_static(b"an append"));
            let deadline = now + Duration::from_secs(1);
            lane.push(Waiting { bytes: 9, durability: None, deadline, append });
        };
        let mut outputs = Vec::new();
        lane.link(now, true, &mut outputs);
        (1..5).for_each(|number| push(&mut lane, number));
        lane.pump(now, &mut outputs);
        let Some(LaneOutput::Request(first)) = outputs.pop() else { panic!("{outputs:?}") };
        push(&mut lane, 5);
        lane.pump(now, &mut outputs);
        assert!(outputs.is_empty(), "one is too few beside a message of four: {outputs:?}");

        let done = |number| {
            let (first, last) = (Sequence(number), Sequence(number));
            let versions = Versions::from([Version(1)]);
            let durability = Durability::Local;
            let done = AppendDone { first, last, versions, durability, duplicate: false };
            AppendResult::Done(done)
        };
        let reply = AppendReply { durable_on: Vec::new(), results: (1..5).map(done).collect() };
        let reply = ClientReply {
            service: first.service,
            number: first.number,
            epoch: 1,
            code: None,
            retry_after: Duration::ZERO,
            more: false,
            body: vec![Bytes::from(reply.encode().unwrap())],
        };
        lane.reply(now, &reply, &mut outputs);
        assert!(matches!(&outputs[..], [LaneOutput::Request(_)]), "{outputs:?}");
        assert_eq!(told.try_recv(), Err(TryRecvError::Empty));
        lane.tell(now);
        let told: Vec<_> = told.try_iter().collect();
        assert_eq!(told, [(4, Ok(4)), (3, Ok(3)), (2, Ok(2)), (1, Ok(1))]);
    }

    /// A peer that is away may come back and lead without what was acknowledged meanwhile.
    #[test]
    fn a_peer_that_was_seen_once_is_not_forgotten() {
        let mut lane = lane();
        let steps = [
            ("local", vec![true], true),
            ("local", vec![true, false], false),
            ("local", vec![true], false),
            ("pair", vec![true], true),
            ("pair", vec![false], true),
            ("memory", vec![true], false),
        ];
        for (durability, leaders, lasts) in steps {
            lane.learn(&topology(durability, &leaders));
            assert_eq!(lane.conflicts_last, lasts, "{durability} {leaders:?}");
        }
    }
}
