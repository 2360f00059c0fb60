//! The thread that follows the store: every step of every command, in order, for the loop.

use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use broker::net::{Stop, Waker};
use client::{Batch, Checkpoint, PartitionNumber, Position, StoreHandle, SubscribeOptions};
use client::{Subscription, SubscriptionError};
use crossbeam_channel::{Receiver, SendTimeoutError, Sender};

use super::lifecycle::{Fatal, Lifecycle};
use crate::Logged;

/// Batches on their way to the loop. One has at most a block of history, and a loop that is behind
/// holds up the subscription, which then pulls history at the loop's pace.
const QUEUE_BATCHES: usize = 16;
/// How often the thread looks whether the feed is heard, and whether it is to end.
const LOOK: Duration = Duration::from_millis(200);

/// What the thread tells the loop, in this order.
#[derive(Debug)]
pub(super) enum Followed {
    /// What happened in one partition.
    Log {
        /// The partition.
        partition: PartitionNumber,
        /// The events, those that are not ours included.
        entries: Vec<Logged>,
        /// The checkpoint after them.
        position: Position,
    },
    /// Whether all that is committed has been told, and the feed is heard.
    Live(bool),
}

/// The loop's end of the thread. Dropping it does not end the thread; `stop` does.
pub(super) struct Follower {
    pub(super) followed: Receiver<Followed>,
    pub(super) stop: Stop,
    pub(super) thread: JoinHandle<()>,
}

impl Follower {
    /// Follows `store` on from a checkpoint. `waker` is the loop's.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn start(
        store: &StoreHandle,
        from: Checkpoint,
        (lifecycle, waker): (&Lifecycle, &Waker),
    ) -> io::Result<Self> {
        let (sender, followed) = crossbeam_channel::bounded(QUEUE_BATCHES);
        let stop = Stop::new();
        let following = Following {
            store: store.clone(),
            told: sender,
            waker: waker.clone(),
            stop: stop.clone(),
            live: false,
        };
        let fatal = lifecycle.clone();
        let thread = lifecycle.spawn("titanic-follower", move || -> Result<(), io::Error> {
            if let Err(error) = following.run(from) {
                fatal.fail(reason(&error));
            }
            Ok(())
        })?;
        Ok(Self { followed, stop, thread })
    }
}

/// Whether making the view anew helps.
fn reason(error: &SubscriptionError) -> Fatal {
    match error {
        SubscriptionError::AheadOfLog { .. } => Fatal::Cut(error.to_string()),
        other => Fatal::View(other.to_string()),
    }
}

/// The thread's own state.
struct Following {
    store: StoreHandle,
    told: Sender<Followed>,
    waker: Waker,
    stop: Stop,
    live: bool,
}

impl Following {
    fn run(mut self, from: Checkpoint) -> Result<(), SubscriptionError> {
        let mut subscription = self.store.subscribe(SubscribeOptions::from(from))?;
        while !self.stop.is_requested() {
            if let Some(batch) = subscription.next(LOOK)? {
                self.tell(log(batch));
            }
            self.tell_live(&subscription);
        }
        Ok(())
    }

    fn tell_live(&mut self, subscription: &Subscription) {
        let live = subscription.caught_up() && !subscription.is_silent();
        if live != self.live {
            self.live = live;
            self.tell(Followed::Live(live));
        }
    }

    /// Waits while the loop is behind, unless the thread is to end.
    fn tell(&self, followed: Followed) {
        let mut waiting = Some(followed);
        while let Some(followed) = waiting.take()
            && !self.stop.is_requested()
        {
            if let Err(SendTimeoutError::Timeout(again)) = self.told.send_timeout(followed, LOOK) {
                waiting = Some(again);
            }
            self.waker.wake();
        }
    }
}

fn log(batch: Batch) -> Followed {
    let Batch { partition, events, position } = batch;
    let entries = events.iter().map(Logged::decode).collect();
    Followed::Log { partition, entries, position }
}
