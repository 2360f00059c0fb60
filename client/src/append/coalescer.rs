//! Putting appends together into messages while earlier messages are under way.

use std::collections::VecDeque;
use std::time::Instant;

use super::Durability;

/// Most bytes of appends in one message, unless one append alone has more.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Most appends in one message.
const MESSAGE_APPENDS_MAX: usize = 1024;

const _: () = assert!(MESSAGE_APPENDS_MAX <= store::wire::append::MESSAGE_APPENDS_MAX);

/// How much may be under way at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Messages.
    pub messages: usize,
    /// Bytes of their appends. One message may always go, however large.
    pub bytes: usize,
}

/// One append that waits.
#[derive(Debug)]
pub struct Waiting<T> {
    /// Its encoded size.
    pub bytes: usize,
    /// What it asked for; a message carries appends of one level only.
    pub durability: Option<Durability>,
    /// When its time is over.
    pub deadline: Instant,
    /// The append.
    pub append: T,
}

/// The queue in front of one partition.
///
/// While little is under way an append leaves at once and alone, for the sake of latency; while
/// the window is full appends gather, and the next message takes them all. That makes messages
/// larger exactly when there is more to do.
///
/// One answer sets many callers free, and their next appends come one after the other. If the
/// first of them left alone, messages would fall apart into ever smaller ones, each as dear as a
/// large one on its way through three processes. So while another message is under way the next
/// one waits until it has half as many appends as the one before it, or for the next answer.
#[derive(Debug)]
pub struct Coalescer<T> {
    window: Window,
    queue: VecDeque<Waiting<T>>,
    /// Appends in the message that left last.
    last_count: usize,
}

impl<T> Coalescer<T> {
    /// An empty queue.
    #[must_use]
    pub fn new(window: Window) -> Self {
        Self { window, queue: VecDeque::new(), last_count: 0 }
    }

    /// Adds an append behind the others.
    pub fn push(&mut self, append: Waiting<T>) {
        self.queue.push_back(append);
    }

    /// The appends of the next message, in order, if a message may leave now.
    pub fn next_message(&mut self, under_way: Window) -> Option<Vec<Waiting<T>>> {
        let first = self.queue.front()?;
        let alone = under_way.messages == 0;
        let room = under_way.messages < self.window.messages && under_way.bytes < self.window.bytes;
        let worth_it = self.queue.len() >= self.last_count / 2;
        let may_leave = alone || (room && worth_it);
        if !may_leave {
            return None;
        }
        let durability = first.durability;
        let mut bytes = 0;
        let fits = |waiting: &&Waiting<T>| {
            bytes += waiting.bytes;
            waiting.durability == durability && bytes <= MESSAGE_BYTES_MAX
        };
        let count = self.queue.iter().take(MESSAGE_APPENDS_MAX).take_while(fits).count();
        self.last_count = count.max(1);
        Some(self.queue.drain(..self.last_count).collect())
    }

    /// Takes out an append whose time is over while it waited; call until `None`.
    pub fn next_expired(&mut self, now: Instant) -> Option<Waiting<T>> {
        // All appends of a client have the same time, so the first in is the first out.
        if self.queue.front()?.deadline <= now { self.queue.pop_front() } else { None }
    }

    /// When the first waiting append expires.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.queue.front().map(|waiting| waiting.deadline)
    }

    /// Everything that still waits, for when the client is closed.
    pub fn drain(&mut self) -> impl Iterator<Item = Waiting<T>> + '_ {
        self.queue.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const WINDOW: Window = Window { messages: 4, bytes: 256 * 1024 };

    fn under_way(messages: usize, bytes: usize) -> Window {
        Window { messages, bytes }
    }

    #[expect(clippy::disallowed_methods, reason = "an arbitrary point to count from")]
    fn filled(sizes: &[usize]) -> (Coalescer<usize>, Instant) {
        let now = Instant::now();
        let mut coalescer = Coalescer::new(WINDOW);
        for (number, bytes) in sizes.iter().enumerate() {
            let deadline = now + Duration::from_secs(1);
            let waiting = Waiting { bytes: *bytes, durability: None, deadline, append: number };
            coalescer.push(waiting);
        }
        (coalescer, now)
    }

    fn appends(message: Option<Vec<Waiting<usize>>>) -> Option<Vec<usize>> {
        message.map(|message| message.into_iter().map(|waiting| waiting.append).collect())
    }

    #[test]
    fn a_message_leaves_while_the_window_has_room() {
        let rows = [
            ("nothing under way", under_way(0, 0), true),
            ("three messages", under_way(3, 300), true),
            ("four messages", under_way(4, 400), false),
            ("bytes not quite used", under_way(1, 256 * 1024 - 1), true),
            ("bytes used up by one", under_way(1, 256 * 1024), false),
        ];
        for (name, now_under_way, leaves) in rows {
            let (mut coalescer, _) = filled(&[10, 10]);
            let message = appends(coalescer.next_message(now_under_way));
            assert_eq!(message, leaves.then(|| vec![0, 1]), "{name}");
        }
    }

    #[test]
    fn a_message_is_not_much_smaller_than_the_one_before_it() {
        let (mut coalescer, now) = filled(&[1; 9]);
        assert_eq!(coalescer.next_message(under_way(0, 0)).unwrap().len(), 9);
        let mut push = || {
            let waiting = Waiting { bytes: 1, durability: None, deadline: now, append: 0 };
            coalescer.push(waiting);
            coalescer.next_message(under_way(1, 9)).map(|message| message.len())
        };
        assert_eq!([push(), push(), push(), push()], [None, None, None, Some(4)]);
        assert_eq!([push(), push()], [None, Some(2)]);
        assert_eq!([push(), push()], [Some(1), Some(1)]);
    }

    #[test]
    fn nothing_waits_while_nothing_is_under_way() {
        let (mut coalescer, _) = filled(&[1; 9]);
        assert_eq!(coalescer.next_message(under_way(0, 0)).unwrap().len(), 9);
        let (other, _) = filled(&[1]);
        coalescer.queue = other.queue;
        assert_eq!(coalescer.next_message(under_way(0, 0)).unwrap().len(), 1);
    }

    #[test]
    fn a_giant_travels_alone_and_order_is_kept() {
        let (mut coalescer, _) = filled(&[10, 3 * 1024 * 1024, 10, 20]);
        let mut next = || appends(coalescer.next_message(under_way(0, 0)));
        assert_eq!(next(), Some(vec![0]));
        assert_eq!(next(), Some(vec![1]));
        assert_eq!(next(), Some(vec![2, 3]));
        assert_eq!(next(), None);
    }

    #[test]
    fn counts_are_limited() {
        let (mut coalescer, _) = filled(&vec![1; MESSAGE_APPENDS_MAX + 5]);
        let first = coalescer.next_message(under_way(0, 0)).unwrap();
        assert_eq!(first.len(), MESSAGE_APPENDS_MAX);
        assert_eq!(coalescer.next_message(under_way(0, 0)).unwrap().len(), 5);
    }

    #[test]
    fn a_message_has_one_durability() {
        let (mut coalescer, now) = filled(&[10]);
        let durability = Some(Durability::Local);
        coalescer.push(Waiting { bytes: 1, durability, deadline: now, append: 1 });
        assert_eq!(appends(coalescer.next_message(under_way(0, 0))), Some(vec![0]));
        assert_eq!(appends(coalescer.next_message(under_way(1, 10))), Some(vec![1]));
    }

    #[test]
    fn what_waits_too_long_is_handed_back() {
        let (mut coalescer, now) = filled(&[10, 10]);
        assert!(coalescer.next_expired(now).is_none());
        let later = coalescer.deadline().unwrap();
        assert_eq!(coalescer.next_expired(later).unwrap().append, 0);
        assert_eq!(coalescer.next_expired(later).unwrap().append, 1);
        assert!(coalescer.next_expired(later).is_none());
        assert_eq!(coalescer.deadline(), None);
    }
}
