//! Stopping a process by SIGTERM or SIGINT, and ignoring the signals that must not kill it.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use signal_hook::consts::{SIGINT, SIGPIPE, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

use super::Waker;

/// A wish to stop, shared by the threads of a process. Once made it is not taken back.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    requested: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
}

impl Stop {
    /// Nobody wants to stop yet.
    pub fn new() -> Stop {
        Stop::default()
    }

    /// Asks every loop to stop and wakes the registered ones.
    pub fn request(&self) {
        self.0.requested.store(true, Ordering::Release);
        let wakers = self.0.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        for waker in wakers.iter() {
            waker.wake();
        }
    }

    /// Whether somebody asked to stop.
    pub fn is_requested(&self) -> bool {
        self.0.requested.load(Ordering::Acquire)
    }

    /// Has this loop woken when somebody asks to stop; at once if somebody already did.
    pub fn register(&self, waker: &Waker) {
        let mut wakers = self.0.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        wakers.push(waker.clone());
        if self.is_requested() {
            waker.wake();
        }
    }
}

/// SIGTERM and SIGINT ask to stop; SIGPIPE and SIGXFSZ become ordinary errors of the failing call.
///
/// A thread of its own waits for the signals, so that nothing runs inside a signal handler.
///
/// # Errors
/// The handlers cannot be installed, or the thread cannot be started.
pub fn stop_on_signals() -> io::Result<Stop> {
    for ignored in [SIGPIPE, SIGXFSZ] {
        // A flag that nobody reads: with a handler in place the signal no longer kills.
        signal_hook::flag::register(ignored, Arc::new(AtomicBool::new(false)))?;
    }
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let stop = Stop::new();
    let shared = stop.clone();
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            log::info!("signal {signal}: stopping");
            shared.request();
        }
    })?;
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stopping_wakes_loops_registered_before_and_after() {
        let stop = Stop::new();
        let (early, late) = (Waker::new().unwrap(), Waker::new().unwrap());
        stop.register(&early);
        assert!(!stop.is_requested());
        stop.clone().request();
        assert!(stop.is_requested());
        stop.register(&late);
        for waker in [early, late] {
            let mut items = [waker.poll_item()];
            crate::net::poll(&mut items, None).unwrap();
            assert!(items[0].is_readable());
        }
    }
}
