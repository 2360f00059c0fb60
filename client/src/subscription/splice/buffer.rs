//! Feed messages that wait for a replay to reach them.

use std::collections::VecDeque;

use store::event::Sequence;

use super::message::FeedMessage;

/// Most bytes kept.
pub(super) const BUFFER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One unbroken run of messages. A break or an overflow throws the older part away, because the
/// replay will bring it.
#[derive(Debug)]
pub(super) struct Buffer<T> {
    messages: VecDeque<FeedMessage<T>>,
    bytes: usize,
}

impl<T> Buffer<T> {
    pub(super) fn new() -> Self {
        Self { messages: VecDeque::new(), bytes: 0 }
    }

    /// Keeps a message, unless it is a heartbeat or a double.
    pub(super) fn keep(&mut self, message: FeedMessage<T>) {
        let covered = self.messages.back().map(|back| back.span.last);
        if message.records.is_none() || covered >= Some(message.span.last) {
            return;
        }
        // In a filtered feed a message covers more than its last record, at which the next begins.
        let unbroken = covered.is_none_or(|covered| covered >= message.span.previous);
        if !unbroken || self.bytes + message.bytes > BUFFER_BYTES_MAX {
            self.clear();
        }
        self.bytes += message.bytes;
        self.messages.push_back(message);
    }

    /// The next message, if all before it was had up to `last` (inclusive).
    pub(super) fn next_behind(&mut self, last: Sequence) -> Option<FeedMessage<T>> {
        self.messages.front().filter(|front| front.span.previous <= last)?;
        let message = self.messages.pop_front()?;
        self.bytes -= message.bytes;
        Some(message)
    }

    pub(super) fn clear(&mut self) {
        self.messages.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use store::event::Epoch;
    use uuid::Uuid;

    use super::*;
    use crate::gap::Span;
    use crate::position::Lineage;

    fn message(previous: u64, last: u64, bytes: usize) -> FeedMessage<()> {
        FeedMessage {
            lineage: Lineage(Uuid::nil()),
            span: Span { epoch: Epoch(3), previous: Sequence(previous), last: Sequence(last) },
            cut: Sequence::ZERO,
            heartbeat: Duration::from_secs(1),
            first: Sequence(previous + 1),
            bytes,
            records: (previous < last).then_some(()),
        }
    }

    #[test]
    fn it_is_bounded_and_unbroken() {
        let mut buffer = Buffer::new();
        buffer.keep(message(10, 10, 0));
        assert!(buffer.messages.is_empty(), "heartbeats are not kept");
        buffer.keep(message(10, 11, 100));
        buffer.keep(message(11, 12, 100));
        assert_eq!((buffer.messages.len(), buffer.bytes), (2, 200));
        buffer.keep(message(13, 14, 100));
        assert_eq!((buffer.messages.len(), buffer.bytes), (1, 100), "a break");
        buffer.keep(message(14, 15, BUFFER_BYTES_MAX));
        assert_eq!((buffer.messages.len(), buffer.bytes), (1, BUFFER_BYTES_MAX), "an overflow");
        buffer.keep(message(13, 15, 0));
        assert_eq!(buffer.messages.len(), 1, "a double");
        buffer.keep(message(13, 20, 0));
        assert_eq!(buffer.messages.len(), 2, "unbroken, though filtered");
        assert_eq!(buffer.next_behind(Sequence(13)), None);
        assert_eq!(buffer.next_behind(Sequence(14)).map(|message| message.span.last.0), Some(15));
        assert_eq!((buffer.messages.len(), buffer.bytes), (1, 0));
    }
}
