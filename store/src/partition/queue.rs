//! The bounded queue before a writer.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::append::Submission;
use super::replicate::Replication;

/// Most that may wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueLimits {
    pub(crate) messages_max: usize,
    pub(crate) bytes_max: usize,
}

/// Something for the writer to do.
pub(crate) enum Work {
    /// Events that are to be numbered.
    Submission(Submission),
    /// Records that another node has numbered.
    Replication(Replication),
}

impl Work {
    /// Record bytes.
    fn bytes(&self) -> usize {
        match self {
            Self::Submission(submission) => {
                submission.appends.iter().map(super::append::Append::record_bytes).sum()
            }
            Self::Replication(replication) => replication.bytes(),
        }
    }
}

/// Work in the order of its arrival.
pub(crate) struct Queue {
    limits: QueueLimits,
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Queued>,
    bytes: usize,
    closed: bool,
    /// The writer sleeps and must be woken.
    asleep: bool,
}

struct Queued {
    work: Work,
    bytes: usize,
}

/// Why work was not taken; it comes back.
pub(crate) enum PushError {
    Full(Work),
    Closed(Work),
}

impl Queue {
    pub(crate) fn new(limits: QueueLimits) -> Self {
        Self { limits, state: Mutex::default(), arrived: Condvar::new() }
    }

    /// Adds work. One alone is taken whatever its size.
    pub(crate) fn push(&self, work: Work) -> Result<(), PushError> {
        let bytes = work.bytes();
        let mut state = self.lock();
        if state.closed {
            return Err(PushError::Closed(work));
        }
        let full = state.waiting.len() >= self.limits.messages_max
            || state.bytes + bytes > self.limits.bytes_max;
        if full && !state.waiting.is_empty() {
            return Err(PushError::Full(work));
        }
        state.waiting.push_back(Queued { work, bytes });
        state.bytes += bytes;
        if state.asleep {
            self.arrived.notify_one();
        }
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().waiting.is_empty()
    }

    /// Messages and bytes that wait.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        let state = self.lock();
        (state.waiting.len(), state.bytes)
    }

    /// Waits until something has arrived; `false` when the queue is closed and empty.
    pub(crate) fn wait(&self) -> bool {
        let mut state = self.lock();
        while state.waiting.is_empty() && !state.closed {
            state.asleep = true;
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.asleep = false;
        }
        !state.waiting.is_empty()
    }

    /// Takes what has arrived, up to about `bytes_max` but at least one.
    pub(crate) fn drain(&self, bytes_max: usize, out: &mut Vec<Work>) {
        let mut state = self.lock();
        let mut taken = 0;
        while let Some(next) = state.waiting.front() {
            if taken > 0 && taken + next.bytes > bytes_max {
                break;
            }
            taken += next.bytes;
            if let Some(queued) = state.waiting.pop_front() {
                state.bytes -= queued.bytes;
                out.push(queued.work);
            }
        }
    }

    /// Takes all submissions out, whatever they are; the rest keeps its place.
    pub(crate) fn take_submissions(&self) -> Vec<Submission> {
        let mut state = self.lock();
        let mut taken = Vec::new();
        for Queued { work, bytes } in std::mem::take(&mut state.waiting) {
            match work {
                Work::Submission(submission) => {
                    state.bytes -= bytes;
                    taken.push(submission);
                }
                work @ Work::Replication(_) => state.waiting.push_back(Queued { work, bytes }),
            }
        }
        taken
    }

    /// Takes nothing more; what waits is still to be drained.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{ContentType, ExpectedVersion, NewEvent};
    use crate::names::{EventType, StreamName};
    use crate::partition::append::Append;

    fn submission(data: usize) -> Work {
        let event_type = EventType::new("T").unwrap();
        let event = NewEvent::new(event_type, ContentType::Bytes, vec![0; data]);
        let stream = StreamName::try_from("s-1").unwrap();
        let append = Append::to(stream, ExpectedVersion::Any, vec![event]);
        Work::Submission(Submission::new(vec![append], Box::new(|_| {})))
    }

    #[test]
    fn it_is_bounded_in_messages_and_bytes() {
        let queue = Queue::new(QueueLimits { messages_max: 2, bytes_max: 1000 });
        assert!(queue.push(submission(2000)).is_ok(), "one alone is always taken");
        assert!(matches!(queue.push(submission(1)), Err(PushError::Full(_))));
        queue.drain(usize::MAX, &mut Vec::new());
        assert!(queue.push(submission(1)).is_ok());
        assert!(queue.push(submission(1)).is_ok());
        assert!(matches!(queue.push(submission(1)), Err(PushError::Full(_))));
        assert_eq!(queue.waiting(), (2, 256));
    }

    #[test]
    fn a_drain_stops_at_its_limit_but_takes_one() {
        let queue = Queue::new(QueueLimits { messages_max: 9, bytes_max: 10_000 });
        for _ in 0..3 {
            assert!(queue.push(submission(72)).is_ok());
        }
        let mut taken = Vec::new();
        queue.drain(1, &mut taken);
        assert_eq!(taken.len(), 1);
        queue.drain(500, &mut taken);
        assert_eq!(taken.len(), 3);
    }

    #[test]
    fn a_closed_queue_gives_what_it_has_and_no_more() {
        let queue = Queue::new(QueueLimits { messages_max: 9, bytes_max: 10_000 });
        assert!(queue.push(submission(1)).is_ok());
        queue.close();
        assert!(matches!(queue.push(submission(1)), Err(PushError::Closed(_))));
        assert!(queue.wait());
        queue.drain(usize::MAX, &mut Vec::new());
        assert!(!queue.wait());
    }
}
