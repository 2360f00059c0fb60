//! A subscription that takes down what it is given, from the first record on.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use client::{StoreHandle, SubscribeOptions};
use starlog_examples::{clock::Deadline, history::LogEntry, quickstart::verify::log_entry};

/// How long the thread listens before it looks whether it is still wanted.
const TURN: Duration = Duration::from_millis(50);

/// The subscription at work.
pub struct Listener {
    given: Arc<Mutex<Vec<LogEntry>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), String>>>,
}

impl Listener {
    pub fn start(orders: &StoreHandle) -> Self {
        let (given, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let options = SubscribeOptions { system_streams: true, ..SubscribeOptions::default() };
        let mut subscription = orders.subscribe(options).unwrap();
        let (taken, stopped) = (Arc::clone(&given), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                let batch = subscription.next(TURN).map_err(|error| error.to_string())?;
                let Some(batch) = batch else { continue };
                let entries = batch.events.iter().map(|event| log_entry(batch.partition.0, event));
                taken.lock().unwrap().extend(entries);
            }
            Ok(())
        });
        Self { given, stop, thread: Some(thread) }
    }

    /// Waits until it was given everything up to these heads; ends it and returns all of it.
    pub fn until(&mut self, heads: &BTreeMap<u16, u64>, patience: Duration) -> Vec<LogEntry> {
        let complete = || {
            let given = self.given.lock().unwrap();
            let reached = |(partition, head): (&u16, &u64)| {
                let mut newest = given.iter().rev();
                newest.any(|entry| entry.partition == *partition && entry.sequence.0 >= *head)
            };
            (heads.iter().all(reached) || self.has_ended()).then_some(())
        };
        // What is missing at the end of it is the checker's to name.
        let _ = Deadline::after(patience).wait_for(complete);
        self.stop.store(true, Ordering::Release);
        let ended = self.thread.take().unwrap().join().unwrap();
        assert_eq!(ended, Ok(()), "the subscription goes on through everything");
        let mut given = self.given.lock().unwrap().clone();
        // What a pair that changed meanwhile has written since is not asked for.
        given.retain(|entry| entry.sequence.0 <= heads[&entry.partition]);
        given
    }

    fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}
