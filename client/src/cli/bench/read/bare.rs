//! Reads on sockets that are the reader's own: what the replayer gives, without the client
//! library's threads in between. Every record is decoded and checked as the library does it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use broker::net::{self, Endpoint};
use bytes::Bytes;
use client::{PartitionNumber, StoreHandle, StoreName, StreamName};
use store::event::{Epoch, Sequence};
use store::record;
use store::wire::replay::{
    Block, Read, ReadDirection, ReadSource, ReplayAnswer, ReplayRequest, RequestNumber,
};
use zmq::{Context, Socket, SocketType};

use super::{Measured, READS_PER_CONNECTION, Shelf};
use crate::cli::bench::latency::Latencies;
use crate::cli::bench::limits::raw::socket_failed;
use crate::cli::bench::streams::Random;
use crate::cli::bench::{broken, now};
use crate::cli::failure::Failure;

/// A read that takes longer is taken for lost.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(10);
/// Reads before counting starts.
const WARM_UP: u64 = 100;
/// What the client library asks for, too.
const BLOCK_BYTES: u32 = 256 * 1024;
/// More than a whole stream: credit is never what a read waits for.
const CREDIT_BYTES: u64 = 1 << 40;

/// Sockets to one replayer, used by one thread.
pub struct BareSockets<'a> {
    sockets: Vec<Socket>,
    shelf: &'a Shelf<'a>,
    store: StoreName,
    /// The streams that live there.
    streams: Vec<(PartitionNumber, &'a StreamName)>,
    random: Random,
    /// Number of the last read that was asked for.
    number: u64,
    under_way: HashMap<RequestNumber, UnderWay>,
    /// For each read that may be asked for now, the socket to ask on.
    free: Vec<usize>,
}

struct UnderWay {
    asked: Instant,
    events: u64,
    socket: usize,
}

impl<'a> BareSockets<'a> {
    /// Connects to the replayer of the first stream's partition, often enough for so many reads.
    ///
    /// # Errors
    /// [`Failure`] when nobody leads that partition.
    pub fn connect(
        store: &StoreHandle,
        shelf: &'a Shelf<'a>,
        in_flight: u16,
    ) -> Result<Self, Failure> {
        let client = store.client();
        let topology = client.topology(client.config().request_timeout)?;
        let known = topology.store(store.name().as_str());
        let replayer_of = |stream: &StreamName| {
            let leader = known.and_then(|known| known.leader(store.partition_of(stream).0));
            leader.map(|leader| leader.replay.clone())
        };
        let endpoint = shelf.filled.streams.first().and_then(replayer_of);
        let endpoint = endpoint.ok_or_else(|| broken("nobody leads the first partition"))?;
        let lives_there = |stream: &&StreamName| replayer_of(stream).as_ref() == Some(&endpoint);
        let streams = shelf.filled.streams.iter().filter(lives_there);
        let free: Vec<usize> =
            (0..in_flight).map(|read| usize::from(read / READS_PER_CONNECTION)).collect();
        let count = free.last().map_or(0, |last| last + 1);
        Ok(Self {
            streams: streams.map(|stream| (store.partition_of(stream), stream)).collect(),
            sockets: (0..count).map(|_| connected(&endpoint)).collect::<Result<_, _>>()?,
            shelf,
            store: store.name().clone(),
            random: Random::new(1),
            number: 0,
            under_way: HashMap::new(),
            free,
        })
    }

    /// Keeps all reads under way for `duration`.
    ///
    /// # Errors
    /// [`Failure`] at the first read that fails or is not whole.
    pub fn read(mut self, duration: Duration) -> Result<Measured, Failure> {
        let mut latencies = Latencies::new()?;
        let (mut left_to_warm_up, mut started) = (WARM_UP, now());
        loop {
            let counting = now().saturating_duration_since(started);
            if left_to_warm_up > 0 || counting < duration {
                while let Some(socket) = self.free.pop() {
                    self.ask(socket)?;
                }
            }
            if self.under_way.is_empty() {
                break;
            }
            for asked in self.receive()? {
                let time = now();
                if left_to_warm_up == 0 {
                    latencies.record(time.saturating_duration_since(asked));
                } else {
                    left_to_warm_up -= 1;
                    started = time;
                }
            }
        }
        Ok(Measured { latencies, elapsed: now().saturating_duration_since(started) })
    }

    fn ask(&mut self, socket: usize) -> Result<(), Failure> {
        let chosen = self.streams.get(self.random.below(self.streams.len()));
        let (partition, stream) = chosen.ok_or_else(|| broken("there is no stream"))?;
        self.number += 1;
        let request = RequestNumber(self.number);
        let read = ReplayRequest::Read(Read {
            request,
            store: self.store.clone(),
            partition: partition.0,
            source: ReadSource::Stream((*stream).clone()),
            direction: ReadDirection::Forward,
            from: 0,
            to: 0,
            count_max: 0,
            at_least: Sequence::ZERO,
            credit_bytes: CREDIT_BYTES,
            epoch: Epoch::ZERO,
            block_bytes_max: BLOCK_BYTES,
            strong: false,
        });
        let frame = read.encode().map_err(|error| broken(error.to_string()))?;
        self.under_way.insert(request, UnderWay { asked: now(), events: 0, socket });
        let socket = self.sockets.get(socket).ok_or_else(|| broken("there is no socket"))?;
        socket.send(frame, 0).map_err(socket_failed)
    }

    /// Waits for answers and returns when the reads that they end were asked for.
    fn receive(&mut self) -> Result<Vec<Instant>, Failure> {
        let deadline = now() + ANSWER_WAIT_MAX;
        loop {
            let mut answers = Vec::new();
            for socket in &self.sockets {
                while let Some(frames) = net::receive(socket).map_err(socket_failed)? {
                    answers.push(frames);
                }
            }
            let mut ended = Vec::new();
            for frames in answers {
                ended.extend(self.take(frames)?);
            }
            if !ended.is_empty() {
                return Ok(ended);
            }
            let left = deadline.saturating_duration_since(now());
            if left.is_zero() {
                return Err(broken("the replayer does not answer"));
            }
            let mut items: Vec<zmq::PollItem<'_>> =
                self.sockets.iter().map(|socket| socket.as_poll_item(zmq::POLLIN)).collect();
            net::poll(&mut items, Some(left)).map_err(socket_failed)?;
        }
    }

    fn take(&mut self, frames: Vec<Bytes>) -> Result<Option<Instant>, Failure> {
        let [head, body] = <[Bytes; 2]>::try_from(frames)
            .map_err(|frames| broken(format!("an answer of {} frames", frames.len())))?;
        match ReplayAnswer::decode(head, body).map_err(|error| broken(error.to_string()))? {
            ReplayAnswer::Block(block) => self.take_block(&block),
            ReplayAnswer::Fail { refusal, .. } => {
                Err(broken(format!("a read was refused with code {}", refusal.code)))
            }
            ReplayAnswer::Status { .. } | ReplayAnswer::Done { .. } => Ok(None),
        }
    }

    fn take_block(&mut self, block: &Block) -> Result<Option<Instant>, Failure> {
        let Some(read) = self.under_way.get_mut(&block.request) else { return Ok(None) };
        for event in record::iterate(&block.records) {
            let event = event.map_err(|error| broken(error.to_string()))?;
            if !event.signature_is_valid() {
                return Err(broken(format!("event {} is not what was signed", event.id)));
            }
            read.events += 1;
        }
        if !block.end {
            return Ok(None);
        }
        let UnderWay { asked, events, socket } = *read;
        self.under_way.remove(&block.request);
        self.free.push(socket);
        self.shelf.check(events)?;
        Ok(Some(asked))
    }
}

fn connected(endpoint: &str) -> Result<Socket, Failure> {
    let endpoint: Endpoint =
        endpoint.parse().map_err(|_| broken(format!("no endpoint: {endpoint}")))?;
    let socket = net::socket(&Context::new(), SocketType::DEALER).map_err(socket_failed)?;
    net::connect(&socket, &endpoint).map_err(socket_failed)?;
    Ok(socket)
}
