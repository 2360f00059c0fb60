//! What the processes of the house have in common: whether they serve, whether they must end and
//! why, threads whose end is noticed, how much memory they may have, and what they tell whoever has
//! started them.
//!
//! ```text
//!              ┌─────────────────────── process ────────────────────────┐
//! signals ────►│ run ── start ──► Running ── stop or drop ──► joined    │
//!              │   └── waits for the stop        ▲ asks for it          │
//!              │ threads ── now_serving, fail ── Lifecycle              │
//!              └─────────────────────────────────────────────────────────┘
//! ```

mod memory;

use std::fmt::Display;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::net::{self, Stop, TICK, Waker};

pub(crate) use self::memory::Watchdog;
pub use self::memory::{MemoryWatch, TooMuchMemory, memory_max, parse_memory_max};

/// How often a starting process looks whether it serves already.
const SERVING_CHECK: Duration = Duration::from_millis(20);

/// A loop ended although nobody asked it to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {name} thread failed ({reason}): start the process again, and report this")]
pub struct ThreadFailed {
    /// Its name.
    pub name: &'static str,
    /// What it said.
    pub reason: String,
}

/// Shared by all threads of a process. `F` says why it had to end: a process never goes on half
/// alive, because a supervisor starts it again.
#[derive(Debug)]
pub struct Lifecycle<F> {
    stop: Stop,
    shared: Arc<Shared<F>>,
}

#[derive(Debug)]
struct Shared<F> {
    state: Mutex<State<F>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<F> {
    serving: bool,
    fatal: Option<F>,
}

impl<F> Clone for Lifecycle<F> {
    fn clone(&self) -> Lifecycle<F> {
        Lifecycle { stop: self.stop.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<F> Lifecycle<F> {
    /// A process that ends when `stop` is requested, e.g. by a signal, and requests it itself when
    /// it must not go on.
    pub fn new(stop: Stop) -> Lifecycle<F> {
        let state = Mutex::new(State { serving: false, fatal: None });
        Lifecycle { stop, shared: Arc::new(Shared { state, changed: Condvar::new() }) }
    }

    /// Asks the process to end.
    pub const fn stop(&self) -> &Stop {
        &self.stop
    }

    /// From now on the process does what it is there for.
    pub fn now_serving(&self) {
        self.lock().serving = true;
        self.shared.changed.notify_all();
    }

    /// Waits for [`Lifecycle::now_serving`]; `false` if that takes too long.
    pub fn wait_serving(&self, timeout: Duration) -> bool {
        let waited =
            self.shared.changed.wait_timeout_while(self.lock(), timeout, |state| !state.serving);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.serving
    }

    /// Something happened that the process must not outlive. The first reason is kept.
    pub fn fail(&self, fatal: F)
    where
        F: Display,
    {
        log::error!("{fatal}");
        self.lock().fatal.get_or_insert(fatal);
        self.stop.request();
    }

    /// Why the process has to end, if it has to.
    pub fn fatal(&self) -> Option<F>
    where
        F: Clone,
    {
        self.lock().fatal.clone()
    }

    /// Starts a thread whose error or panic ends the process.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn spawn<E: Display>(
        &self,
        name: &'static str,
        body: impl FnOnce() -> Result<(), E> + Send + 'static,
    ) -> io::Result<JoinHandle<()>>
    where
        F: Display + From<ThreadFailed> + Send + 'static,
    {
        let lifecycle = self.clone();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let reason = match catch_unwind(AssertUnwindSafe(body)) {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "it panicked".to_owned(),
            };
            lifecycle.fail(ThreadFailed { name, reason }.into());
        })
    }

    fn lock(&self) -> MutexGuard<'_, State<F>> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running process. Dropping it stops it.
pub struct Running<F> {
    lifecycle: Lifecycle<F>,
    end: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl<F> Running<F> {
    /// A process whose threads are all there. `end` is called after the stop was requested, and
    /// waits for them.
    pub fn new(lifecycle: &Lifecycle<F>, end: impl FnOnce() + Send + Sync + 'static) -> Running<F> {
        Running { lifecycle: lifecycle.clone(), end: Some(Box::new(end)) }
    }

    /// Waits until the process does what it is there for; `false` if that takes too long.
    #[must_use]
    pub fn wait_serving(&self, timeout: Duration) -> bool {
        self.lifecycle.wait_serving(timeout)
    }

    /// Lets what is under way come to its end, and waits for all threads.
    ///
    /// # Errors
    /// Why the process had to stop, if it had to.
    pub fn stop(mut self) -> Result<(), F>
    where
        F: Clone,
    {
        self.end();
        self.lifecycle.fatal().map_or(Ok(()), Err)
    }

    /// Waits until the process is asked to stop, and calls `serving` once it serves. Has it stop if
    /// it takes too much memory.
    fn wait_stop(&self, serving: impl FnOnce(), mut watchdog: Watchdog) -> io::Result<()>
    where
        F: Display + From<TooMuchMemory>,
    {
        let (stop, waker) = (&self.lifecycle.stop, Waker::new()?);
        stop.register(&waker);
        let mut serving = Some(serving);
        while !stop.is_requested() {
            if self.wait_serving(Duration::ZERO)
                && let Some(serving) = serving.take()
            {
                serving();
            }
            let pause = if serving.is_none() { TICK } else { SERVING_CHECK };
            net::poll(&mut [waker.poll_item()], Some(pause))?;
            if let Some(too_much) = watchdog.look() {
                self.lifecycle.fail(too_much.into());
            }
        }
        Ok(())
    }

    fn end(&mut self) {
        self.lifecycle.stop.request();
        if let Some(end) = self.end.take() {
            end();
        }
    }
}

impl<F> Drop for Running<F> {
    fn drop(&mut self) {
        self.end();
    }
}

/// Why a process ended other than cleanly.
#[derive(Debug, thiserror::Error)]
pub enum RunError<S, F> {
    /// It could not start.
    #[error(transparent)]
    Start(S),
    /// It had to stop.
    #[error(transparent)]
    Fatal(F),
}

/// Starts a process and lets it run until SIGTERM or SIGINT, or until it must not go on, e.g.
/// because it has more memory than it may. Calls `serving` once it serves.
///
/// # Errors
/// Why it did not start, or had to stop.
pub fn run<S: From<io::Error>, F: Clone + Display + From<TooMuchMemory>>(
    start: impl FnOnce(Stop) -> Result<Running<F>, S>,
    serving: impl FnOnce(),
    memory_bytes_max: Option<u64>,
) -> Result<(), RunError<S, F>> {
    let lacks = |error: io::Error| RunError::Start(error.into());
    let stop = net::stop_on_signals().map_err(lacks)?;
    let running = start(stop).map_err(RunError::Start)?;
    running.wait_stop(serving, Watchdog::new(memory_bytes_max)).map_err(lacks)?;
    running.stop().map_err(RunError::Fatal)
}

/// Tells whoever has started the process, by a line on standard output.
pub fn announce(line: impl Display) {
    let mut out = io::stdout().lock();
    // Standard output may have been closed, which is no reason to stop.
    if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush()) {
        log::warn!("standard output is closed: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
    enum Fatal {
        #[error("the disk is full")]
        Disk,
        #[error(transparent)]
        Thread(#[from] ThreadFailed),
        #[error(transparent)]
        Memory(#[from] TooMuchMemory),
    }

    fn lifecycle() -> Lifecycle<Fatal> {
        Lifecycle::new(Stop::new())
    }

    #[test]
    fn a_thread_that_ends_as_it_should_ends_nothing_else() {
        let lifecycle = lifecycle();
        lifecycle.spawn("good", || Ok::<_, Fatal>(())).unwrap().join().unwrap();
        assert_eq!((lifecycle.stop().is_requested(), lifecycle.fatal()), (false, None));
    }

    #[test]
    fn an_error_and_a_panic_of_a_thread_end_the_process() {
        let by_error = lifecycle();
        by_error.spawn("bad", || Err(Fatal::Disk)).unwrap().join().unwrap();
        let by_panic = lifecycle();
        let panics = || -> Result<(), Fatal> { panic!("on purpose") };
        by_panic.spawn("worse", panics).unwrap().join().unwrap();
        for (lifecycle, words) in [
            (by_error, "the bad thread failed (the disk is full): start the process again"),
            (by_panic, "the worse thread failed (it panicked): start the process again"),
        ] {
            assert!(lifecycle.stop().is_requested());
            let fatal = lifecycle.fatal().unwrap().to_string();
            assert!(fatal.starts_with(words), "{fatal}");
        }
    }

    #[test]
    fn the_first_reason_is_kept() {
        let lifecycle = lifecycle();
        lifecycle.fail(Fatal::Disk);
        let later = ThreadFailed { name: "later", reason: "no disk".to_owned() };
        lifecycle.clone().fail(later.into());
        assert_eq!(lifecycle.fatal(), Some(Fatal::Disk));
    }

    #[test]
    fn whoever_waits_is_told_that_it_serves_and_that_it_stops() {
        let lifecycle = lifecycle();
        assert!(!lifecycle.wait_serving(Duration::from_millis(1)));
        let running = Running::new(&lifecycle, || ());
        let (told, stop) = (Arc::new(AtomicUsize::new(0)), lifecycle.stop().clone());
        let telling = Arc::clone(&told);
        let waits = std::thread::spawn(move || {
            // Being told is the one thing that stops it.
            let serving = || {
                telling.fetch_add(1, Ordering::Relaxed);
                stop.request();
            };
            running.wait_stop(serving, Watchdog::new(None))
        });
        lifecycle.now_serving();
        assert!(lifecycle.wait_serving(Duration::ZERO));
        waits.join().unwrap().unwrap();
        assert_eq!(told.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn too_much_memory_ends_it() {
        let running = Running::new(&lifecycle(), || ());
        running.wait_stop(|| (), Watchdog::new(Some(1))).unwrap();
        assert!(matches!(running.stop(), Err(Fatal::Memory(TooMuchMemory { bytes_max: 1, .. }))));
    }

    #[test]
    fn stopped_or_dropped_it_waits_for_its_threads_and_says_why() {
        for fatal in [None, Some(Fatal::Disk)] {
            let lifecycle = lifecycle();
            let (ended, stop) = (Arc::new(AtomicUsize::new(0)), lifecycle.stop().clone());
            let ending = Arc::clone(&ended);
            let end = move || {
                assert!(stop.is_requested(), "before anybody is waited for");
                ending.fetch_add(1, Ordering::Relaxed);
            };
            fatal.iter().for_each(|fatal| lifecycle.fail(fatal.clone()));
            drop(Running::new(&lifecycle, end.clone()));
            assert_eq!(Running::new(&lifecycle, end).stop(), fatal.map_or(Ok(()), Err));
            assert_eq!(ended.load(Ordering::Relaxed), 2, "once each");
        }
    }
}
