//! Waking a loop that sleeps in `poll`.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};
use zmq::PollItem;

/// Wakes a loop that sleeps in `poll`, from any thread, by an eventfd in its poll set.
///
/// The loop calls [`Waker::drain`] *before* it looks at its queue; a wake-up that comes after that
/// ends the next sleep at once. Waking an already woken loop costs one atomic operation.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    fd: OwnedFd,
    signalled: AtomicBool,
}

impl Waker {
    /// A waker that is not signalled.
    ///
    /// # Errors
    /// The process has no file descriptor left.
    pub fn new() -> io::Result<Waker> {
        let fd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Waker(Arc::new(Shared { fd, signalled: AtomicBool::new(false) })))
    }

    /// Ends the loop's current or next sleep.
    pub fn wake(&self) {
        if !self.0.signalled.swap(true, Ordering::AcqRel) {
            // It can only fail with the counter at its maximum, and then the loop wakes anyway.
            let _ = rustix::io::write(self.0.fd.as_fd(), &1u64.to_ne_bytes());
        }
    }

    /// Takes the signal back, so that the next sleep is a sleep.
    ///
    /// The eventfd is emptied first: in the other order a wake-up between the two steps would be
    /// emptied away while the flag stays up, and no later one would get through. Taking the flag
    /// by a swap makes what the waking thread did before visible to this one.
    pub fn drain(&self) {
        let mut count = [0; 8];
        let _ = rustix::io::read(self.0.fd.as_fd(), &mut count);
        self.0.signalled.swap(false, Ordering::AcqRel);
    }

    /// The item for the loop's poll set.
    pub fn poll_item(&self) -> PollItem<'_> {
        PollItem::from_fd(self.as_raw_fd(), zmq::POLLIN)
    }
}

impl AsRawFd for Waker {
    fn as_raw_fd(&self) -> RawFd {
        self.0.fd.as_raw_fd()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::time::Duration;

    pub(in crate::net) fn is_awake(waker: &Waker) -> bool {
        let mut items = [waker.poll_item()];
        crate::net::poll(&mut items, Some(Duration::ZERO)).unwrap();
        items[0].is_readable()
    }

    #[test]
    fn a_wake_up_lasts_until_it_is_drained() {
        let waker = Waker::new().unwrap();
        assert!(!is_awake(&waker));
        waker.wake();
        waker.wake();
        assert!(is_awake(&waker));
        waker.drain();
        assert!(!is_awake(&waker));
        waker.clone().wake();
        assert!(is_awake(&waker));
    }

    #[test]
    fn another_thread_ends_the_sleep() {
        let waker = Waker::new().unwrap();
        let other = waker.clone();
        let thread = std::thread::spawn(move || other.wake());
        let mut items = [waker.poll_item()];
        crate::net::poll(&mut items, None).unwrap();
        assert!(items[0].is_readable());
        thread.join().unwrap();
    }
}
