//! A queue into a loop that sleeps in `poll`.

use crossbeam_channel::{Receiver, Sender};

use super::Waker;

/// A queue into a loop: whoever sends also wakes the loop.
#[derive(Debug)]
pub struct Queue<T> {
    sender: Sender<T>,
    waker: Waker,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Queue<T> {
        Queue { sender: self.sender.clone(), waker: self.waker.clone() }
    }
}

impl<T> Queue<T> {
    /// A queue and the end that the loop keeps. What it carries is bounded by what the loop itself
    /// let under way; sending never blocks.
    pub fn new(waker: Waker) -> (Queue<T>, Receiver<T>) {
        let (sender, receiver) = crossbeam_channel::unbounded();
        (Queue { sender, waker }, receiver)
    }

    /// Hands over one item. A loop that has ended no longer needs it.
    pub fn send(&self, item: T) {
        if self.sender.send(item).is_ok() {
            self.waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::waker::tests::is_awake;

    #[test]
    fn whoever_sends_wakes_the_loop_and_the_order_is_kept() {
        let waker = Waker::new().unwrap();
        let (queue, received) = Queue::new(waker.clone());
        assert!(!is_awake(&waker));
        queue.send(1);
        let other = queue.clone();
        std::thread::spawn(move || other.send(2)).join().unwrap();
        assert!(is_awake(&waker));
        assert_eq!(received.try_iter().collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn a_loop_that_has_ended_is_not_woken() {
        let waker = Waker::new().unwrap();
        let (queue, received) = Queue::new(waker.clone());
        drop(received);
        queue.send("too late");
        assert!(!is_awake(&waker));
    }
}
