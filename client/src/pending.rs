//! The answer that is still under way: wait on it, or `.await` it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// The future result of a request that the client's thread carries on with by itself.
///
/// Dropping a `Pending` is harmless: the request goes on and its result is thrown away.
/// It needs no runtime: any executor can poll it, and without one [`Pending::wait`] blocks.
#[must_use = "a request that is not waited for has an unknown outcome"]
#[derive(Debug)]
pub struct Pending<T, E> {
    cell: Arc<Cell<T, E>>,
}

/// The other end of a [`Pending`]. Dropping it unfulfilled gives `abandoned` to the waiter.
#[derive(Debug)]
pub(crate) struct Promise<T, E> {
    cell: Arc<Cell<T, E>>,
    /// `None` once it is fulfilled.
    abandoned: Option<fn() -> E>,
}

#[derive(Debug)]
struct Cell<T, E> {
    state: Mutex<State<T, E>>,
    changed: Condvar,
}

enum State<T, E> {
    Waiting(Waiters),
    /// Nobody waits: the result goes to this.
    Calling(Then<T, E>),
    Done(Result<T, E>),
    /// It went there.
    Given,
}

/// Who is to be told. Whoever comes for a result that is there already costs no system call, and
/// that is most of them where many requests are answered by one message.
#[derive(Default)]
struct Waiters {
    /// The task that polled last.
    task: Option<Waker>,
    /// Threads are blocked, or were.
    threads: bool,
}

type Then<T, E> = Box<dyn FnOnce(Result<T, E>) + Send>;

impl<T, E> fmt::Debug for State<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting(_) | Self::Calling(_) => "Waiting",
            Self::Done(_) | Self::Given => "Done",
        })
    }
}

impl<T, E> Cell<T, E> {
    fn lock(&self) -> MutexGuard<'_, State<T, E>> {
        // No code that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request's two ends. `abandoned` makes what the waiter gets if the promise is dropped.
pub(crate) fn pending<T, E>(abandoned: fn() -> E) -> (Promise<T, E>, Pending<T, E>) {
    let cell = Arc::new(Cell {
        state: Mutex::new(State::Waiting(Waiters::default())),
        changed: Condvar::new(),
    });
    let promise = Promise { cell: Arc::clone(&cell), abandoned: Some(abandoned) };
    (promise, Pending { cell })
}

impl<T, E> Promise<T, E> {
    /// Hands the result to whoever waits.
    pub(crate) fn fulfil(mut self, result: Result<T, E>) {
        self.abandoned = None;
        self.finish(result);
    }

    fn finish(&self, result: Result<T, E>) {
        let mut state = self.cell.lock();
        match std::mem::replace(&mut *state, State::Given) {
            State::Calling(then) => {
                drop(state);
                then(result);
            }
            before => {
                *state = State::Done(result);
                drop(state);
                let State::Waiting(waiters) = before else { return };
                if waiters.threads {
                    self.cell.changed.notify_all();
                }
                if let Some(task) = waiters.task {
                    task.wake();
                }
            }
        }
    }
}

impl<T, E> Drop for Promise<T, E> {
    fn drop(&mut self) {
        if let Some(abandoned) = self.abandoned.take() {
            self.finish(Err(abandoned()));
        }
    }
}

impl<T, E> Pending<T, E> {
    /// Has the result handed to `then`, once, instead of waiting for it: so a loop can follow
    /// thousands of requests.
    ///
    /// If the result is there already, `then` runs at once on this thread; otherwise on the
    /// client's own thread, which does nothing else meanwhile. So `then` should put the result
    /// somewhere, wake whoever is to look, and return; it must not wait for this client.
    pub fn on_ready(self, then: impl FnOnce(Result<T, E>) + Send + 'static) {
        let mut state = self.cell.lock();
        match std::mem::replace(&mut *state, State::Given) {
            State::Done(result) => {
                drop(state);
                then(result);
            }
            _ => *state = State::Calling(Box::new(then)),
        }
    }
}

impl<T: Clone, E: Clone> Pending<T, E> {
    /// One that has its result already.
    pub(crate) fn ready(result: Result<T, E>) -> Self {
        let cell = Cell { state: Mutex::new(State::Done(result)), changed: Condvar::new() };
        Self { cell: Arc::new(cell) }
    }

    /// Blocks until the result is there; that is at the latest when the request's time is over.
    ///
    /// # Errors
    /// The request's own error.
    pub fn wait(&self) -> Result<T, E> {
        let mut state = self.cell.lock();
        loop {
            match &mut *state {
                State::Done(result) => return result.clone(),
                State::Waiting(waiters) => waiters.threads = true,
                State::Calling(_) | State::Given => {}
            }
            state = self.cell.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Blocks for at most `timeout`; `None` says that the result is not there yet, and it can be
    /// waited for again.
    #[expect(clippy::disallowed_methods, reason = "a caller's own waiting reads the clock")]
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Result<T, E>> {
        let until = Instant::now() + timeout;
        let mut state = self.cell.lock();
        loop {
            match &mut *state {
                State::Done(result) => return Some(result.clone()),
                State::Waiting(waiters) => waiters.threads = true,
                State::Calling(_) | State::Given => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let waited = self.cell.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The result if it is there, without blocking.
    #[must_use]
    pub fn result(&self) -> Option<Result<T, E>> {
        match &*self.cell.lock() {
            State::Done(result) => Some(result.clone()),
            _ => None,
        }
    }
}

impl<T: Clone, E: Clone> Future for Pending<T, E> {
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self.cell.lock() {
            State::Done(result) => Poll::Ready(result.clone()),
            state => {
                if let State::Waiting(waiters) = state {
                    waiters.task = Some(context.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    use super::*;

    struct Flag(AtomicBool);
    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_result_reaches_a_blocked_thread() {
        let (promise, pending) = pending::<u32, &str>(|| "abandoned");
        let waiter = std::thread::spawn(move || pending.wait());
        promise.fulfil(Ok(7));
        assert_eq!(waiter.join().unwrap(), Ok(7));
    }

    #[test]
    fn waiting_in_vain_leaves_it_waitable() {
        let (promise, pending) = pending::<u32, &str>(|| "abandoned");
        assert_eq!(pending.wait_timeout(Duration::from_millis(1)), None);
        assert_eq!(pending.result(), None);
        promise.fulfil(Err("no"));
        assert_eq!(pending.wait_timeout(Duration::ZERO), Some(Err("no")));
    }

    #[test]
    fn a_dropped_promise_ends_the_wait() {
        let (promise, pending) = pending::<u32, &str>(|| "abandoned");
        drop(promise);
        assert_eq!(pending.wait(), Err("abandoned"));
    }

    #[test]
    fn a_result_is_handed_on_once_whenever_it_comes() {
        let (sender, results) = std::sync::mpsc::channel();
        let hand_on = |sender: &std::sync::mpsc::Sender<_>| {
            let sender = sender.clone();
            move |result| sender.send(result).unwrap()
        };
        let (promise, pending_one) = pending::<u32, &str>(|| "abandoned");
        pending_one.on_ready(hand_on(&sender));
        assert!(results.try_recv().is_err());
        promise.fulfil(Ok(1));
        let (promise, pending_one) = pending::<u32, &str>(|| "abandoned");
        promise.fulfil(Ok(2));
        pending_one.on_ready(hand_on(&sender));
        let (promise, pending_one) = pending::<u32, &str>(|| "abandoned");
        pending_one.on_ready(hand_on(&sender));
        drop(promise);
        Pending::<u32, &str>::ready(Ok(4)).on_ready(hand_on(&sender));
        let all: Vec<_> = results.try_iter().collect();
        assert_eq!(all, [Ok(1), Ok(2), Err("abandoned"), Ok(4)]);
    }

    #[test]
    fn dropping_the_waiter_is_harmless() {
        let (promise, pending) = pending::<u32, &str>(|| "abandoned");
        drop(pending);
        promise.fulfil(Ok(1));
    }

    #[test]
    fn a_future_is_woken() {
        let (promise, mut pending) = pending::<u32, &str>(|| "abandoned");
        let flag = Arc::new(Flag(AtomicBool::new(false)));
        let waker = Waker::from(Arc::clone(&flag));
        let mut context = Context::from_waker(&waker);
        assert!(Pin::new(&mut pending).poll(&mut context).is_pending());
        promise.fulfil(Ok(3));
        assert!(flag.0.load(Ordering::SeqCst));
        assert_eq!(Pin::new(&mut pending).poll(&mut context), Poll::Ready(Ok(3)));
    }
}
