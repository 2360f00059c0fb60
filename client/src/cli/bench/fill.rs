//! Streams to read, written before a measurement: fast, because that is not what is measured, and
//! round and round, so that the events of a stream lie as far apart as they can.

use std::collections::VecDeque;
use std::time::Duration;

use client::{
    ContentType, EventType, ExpectedVersion, NewEvent, PendingAppend, StoreHandle, StreamName,
};
use indicatif::ProgressBar;
use uuid::Uuid;

use super::load::random_bytes;
use super::{broken, now};
use crate::cli::failure::Failure;

/// Appends under way.
const IN_FLIGHT: usize = 4096;

/// What is written.
#[derive(Debug, Clone, Copy)]
pub struct Filling {
    /// Events altogether.
    pub events: u64,
    /// Streams; some hold one event more than others if it does not come out even.
    pub streams: u32,
    /// Bytes of data per event.
    pub size: usize,
}

/// What was written.
#[derive(Debug)]
pub struct Filled {
    /// The streams, with names that no other run uses.
    pub streams: Vec<StreamName>,
    /// Events altogether.
    pub events: u64,
    /// Bytes of data and names in them.
    pub content_bytes: u64,
    /// How long it took.
    pub elapsed: Duration,
}

impl Filling {
    /// Appends it all.
    ///
    /// # Errors
    /// [`Failure`] at the first append that fails.
    pub fn write(self, store: &StoreHandle, progress: &ProgressBar) -> Result<Filled, Failure> {
        let streams = self.names()?;
        let event_type: EventType = "Measured".parse().map_err(|_| broken("no event type"))?;
        let data = random_bytes(self.size, 1);
        let started = now();
        let mut content_bytes = 0;
        let mut under_way: VecDeque<PendingAppend> = VecDeque::with_capacity(IN_FLIGHT);
        for (_, stream) in (0..self.events).zip(streams.iter().cycle()) {
            if under_way.len() == IN_FLIGHT {
                take_oldest(&mut under_way, progress)?;
            }
            content_bytes += stream.as_bytes().len() + event_type.as_bytes().len() + data.len();
            let event = NewEvent::new(event_type.clone(), ContentType::Bytes, data.clone());
            let pending = store.append(stream.clone(), ExpectedVersion::Any, vec![event]);
            under_way.push_back(pending);
        }
        while !under_way.is_empty() {
            take_oldest(&mut under_way, progress)?;
        }
        Ok(Filled {
            streams,
            events: self.events,
            content_bytes: u64::try_from(content_bytes).unwrap_or(u64::MAX),
            elapsed: now().saturating_duration_since(started),
        })
    }

    fn names(self) -> Result<Vec<StreamName>, Failure> {
        let run = Uuid::new_v4().as_fields().0;
        (1..=self.streams)
            .map(|number| StreamName::try_from(format!("bench{run:08x}-{number}").as_str()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| broken(error.to_string()))
    }
}

fn take_oldest(
    under_way: &mut VecDeque<PendingAppend>,
    progress: &ProgressBar,
) -> Result<(), Failure> {
    if let Some(oldest) = under_way.pop_front() {
        oldest.wait()?;
        progress.inc(1);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_runs_write_the_same_streams() {
        let filling = Filling { events: 10, streams: 3, size: 1 };
        let (first, second) = (filling.names().unwrap(), filling.names().unwrap());
        assert_eq!(first.len(), 3);
        assert!(first.iter().all(|name| !second.contains(name)), "{first:?} {second:?}");
    }
}
