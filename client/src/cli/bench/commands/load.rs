//! What is measured: accepts, and whole ways from sending to the reply.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::Pending;
use client::command::{CommandError, CommandId, CommandReply, Commands, NewCommand};

use crate::cli::bench::latency::Latencies;
use crate::cli::bench::load::random_bytes;
use crate::cli::bench::{broken, now};
use crate::cli::failure::Failure;

/// A service that nobody offers: what is accepted for it stays where it is.
pub const NOBODY: &str = "bench-nobody";
/// The service of the idle worker.
pub const WORKER: &str = "bench-worker";
/// A reply that takes longer is taken for lost.
const REPLY_WAIT_MAX: Duration = Duration::from_secs(30);
/// Commands before counting starts.
const WARM_UP: usize = 50;

/// Commands of one size.
#[derive(Debug)]
pub struct Load<'a> {
    commands: &'a Commands,
    body: Bytes,
}

/// What was measured.
#[derive(Debug)]
pub struct Measured {
    /// One latency per counted command.
    pub latencies: Latencies,
    /// From the start of counting to the last answer.
    pub elapsed: Duration,
}

/// When a load is over.
#[derive(Debug, Clone, Copy)]
enum End {
    At(Instant),
    After(u64),
}

impl<'a> Load<'a> {
    /// Commands with bodies of so many bytes.
    pub fn new(commands: &'a Commands, size: usize) -> Self {
        Self { commands, body: random_bytes(size, 1) }
    }

    /// Keeps `in_flight` accepts under way for `duration`.
    ///
    /// # Errors
    /// [`Failure`] when one is refused.
    pub fn accept(&self, in_flight: usize, duration: Duration) -> Result<Measured, Failure> {
        for _ in 0..WARM_UP {
            self.submit(NOBODY).1.wait()?;
        }
        self.keep_under_way(in_flight, End::At(now() + duration))
    }

    /// Has so many commands accepted, as fast as that goes.
    ///
    /// # Errors
    /// [`Failure`] when one is refused.
    pub fn fill(&self, in_flight: usize, count: u64) -> Result<Measured, Failure> {
        self.keep_under_way(in_flight, End::After(count))
    }

    fn keep_under_way(&self, in_flight: usize, end: End) -> Result<Measured, Failure> {
        let mut latencies = Latencies::new()?;
        let mut under_way = VecDeque::with_capacity(in_flight);
        let (started, mut sent): (Instant, u64) = (now(), 0);
        loop {
            while under_way.len() < in_flight && !is_over(end, sent) {
                let asked = now();
                under_way.push_back((asked, self.submit(NOBODY).1));
                sent += 1;
            }
            let Some((asked, pending)) = under_way.pop_front() else { break };
            pending.wait()?;
            latencies.record(now().saturating_duration_since(asked));
        }
        Ok(Measured { latencies, elapsed: now().saturating_duration_since(started) })
    }

    /// Sends commands one after the other for `duration`, each with a fetch that waits for its
    /// reply; closing it is not counted.
    ///
    /// # Errors
    /// [`Failure`] when one is refused or has no reply.
    pub fn round(&self, duration: Duration) -> Result<Measured, Failure> {
        let mut latencies = Latencies::new()?;
        for _ in 0..WARM_UP {
            self.send_and_fetch()?;
        }
        let (started, mut asked) = (now(), now());
        while asked < started + duration {
            let id = self.send_and_fetch()?;
            latencies.record(now().saturating_duration_since(asked));
            self.commands.close(id)?;
            asked = now();
        }
        Ok(Measured { latencies, elapsed: now().saturating_duration_since(started) })
    }

    fn send_and_fetch(&self) -> Result<CommandId, Failure> {
        let (id, pending) = self.submit(WORKER);
        pending.wait()?;
        match self.commands.reply(id, REPLY_WAIT_MAX)? {
            CommandReply::Done(_) => Ok(id),
            CommandReply::Pending => {
                Err(broken(format!("command {id} has no reply after {REPLY_WAIT_MAX:?}")))
            }
        }
    }

    fn submit(&self, service: &str) -> (CommandId, Pending<CommandId, CommandError>) {
        let command = NewCommand::new(service, vec![self.body.clone()]);
        (command.id(), self.commands.submit(command))
    }
}

fn is_over(end: End, sent: u64) -> bool {
    match end {
        End::At(deadline) => now() >= deadline,
        End::After(count) => sent >= count,
    }
}
