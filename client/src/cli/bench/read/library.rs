//! Reads through the client library: each under way by a thread of its own, as an application
//! that serves many requests at once would do it.

use std::thread;
use std::time::{Duration, Instant};

use client::{ReadOptions, StoreHandle, StreamName};

use super::{Measured, Shelf};
use crate::cli::bench::latency::Latencies;
use crate::cli::bench::streams::Random;
use crate::cli::bench::{broken, now};
use crate::cli::failure::Failure;

/// Reads of each thread before counting starts.
const WARM_UP: usize = 20;

/// Keeps `in_flight` reads under way for `duration`, spread over the clients.
///
/// # Errors
/// [`Failure`] at the first read that fails or is not whole.
pub fn read(
    clients: &[StoreHandle],
    shelf: &Shelf<'_>,
    in_flight: u16,
    duration: Duration,
) -> Result<Measured, Failure> {
    let tallies: Vec<Result<(Latencies, Instant), Failure>> = thread::scope(|scope| {
        let threads: Vec<_> = (1..=u64::from(in_flight))
            .zip(clients.iter().cycle())
            .map(|(seed, store)| scope.spawn(move || read_until(store, shelf, seed, duration)))
            .collect();
        let ended = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|_| Err(broken("a reader's thread ended early")))
        };
        threads.into_iter().map(ended).collect()
    });
    let ended = now();
    let mut latencies = Latencies::new()?;
    // The threads warm up for themselves: what was measured begins with the first that was ready.
    let mut first = ended;
    for tally in tallies {
        let (own, counting) = tally?;
        latencies.add(&own)?;
        first = first.min(counting);
    }
    Ok(Measured { latencies, elapsed: ended.saturating_duration_since(first) })
}

/// Reads one stream after the other and says when counting began.
fn read_until(
    store: &StoreHandle,
    shelf: &Shelf<'_>,
    seed: u64,
    duration: Duration,
) -> Result<(Latencies, Instant), Failure> {
    let mut random = Random::new(seed);
    let streams = &shelf.filled.streams;
    let mut choose = || streams.get(random.below(streams.len()));
    let none = || broken("there is no stream");
    for _ in 0..WARM_UP {
        read_one(store, choose().ok_or_else(none)?, shelf)?;
    }
    let mut latencies = Latencies::new()?;
    let counting = now();
    let mut asked = counting;
    while asked.saturating_duration_since(counting) < duration {
        read_one(store, choose().ok_or_else(none)?, shelf)?;
        let answered = now();
        latencies.record(answered.saturating_duration_since(asked));
        asked = answered;
    }
    Ok((latencies, counting))
}

fn read_one(store: &StoreHandle, stream: &StreamName, shelf: &Shelf<'_>) -> Result<(), Failure> {
    let mut events = 0;
    for event in store.read_stream(stream.clone(), ReadOptions::default()) {
        event?;
        events += 1;
    }
    shelf.check(events)
}
