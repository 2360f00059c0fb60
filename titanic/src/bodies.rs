//! Bodies that were just accepted or replied, so that most need not be read from the store.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use client::command::{Body, CommandId};

/// What an entry costs beside its frames, about.
const ENTRY_BYTES: usize = 160;
/// What a frame costs beside its bytes, about.
const FRAME_BYTES: usize = 48;

/// A bounded cache; the oldest goes first. A body belongs to a step, and never changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bodies {
    kept: BTreeMap<(CommandId, u32), Body>,
    order: VecDeque<(CommandId, u32)>,
    bytes: usize,
    bytes_max: usize,
}

impl Bodies {
    /// Empty, for this many bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Bodies {
        Bodies { kept: BTreeMap::new(), order: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Keeps a copy of the body of a step; a slice of a large block would keep the whole block.
    pub fn put(&mut self, command: CommandId, step: u32, body: &Body) {
        let bytes = cost(body);
        if bytes > self.bytes_max || self.kept.contains_key(&(command, step)) {
            return;
        }
        let copies = body.frames().iter().map(|frame| Bytes::copy_from_slice(frame)).collect();
        let Ok(copy) = Body::new(copies) else {
            return;
        };
        self.kept.insert((command, step), copy);
        self.order.push_back((command, step));
        self.bytes += bytes;
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.order.pop_front() else {
                return;
            };
            self.remove(oldest);
        }
    }

    /// The body of a step, if it is here.
    #[must_use]
    pub fn get(&self, command: CommandId, step: u32) -> Option<&Body> {
        self.kept.get(&(command, step))
    }

    /// Forgets the bodies of a command that is over.
    pub fn forget(&mut self, command: CommandId) {
        let of_command = (command, 0)..=(command, u32::MAX);
        let steps: Vec<_> = self.kept.range(of_command).map(|(key, _)| *key).collect();
        for key in steps {
            self.remove(key);
        }
        // Keys of what was forgotten are passed over when their turn comes, but never many.
        if self.order.len() > 2 * self.kept.len() + 64 {
            let kept = &self.kept;
            self.order.retain(|key| kept.contains_key(key));
        }
    }

    /// Bytes in use, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn remove(&mut self, key: (CommandId, u32)) {
        if let Some(body) = self.kept.remove(&key) {
            self.bytes = self.bytes.saturating_sub(cost(&body));
        }
    }
}

fn cost(body: &Body) -> usize {
    body.frames().iter().map(|frame| frame.len() + FRAME_BYTES).sum::<usize>() + ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn id(number: u128) -> CommandId {
        CommandId::new(Uuid::from_u128(number))
    }

    fn body(bytes: usize) -> Body {
        Body::new(vec![Bytes::from(vec![7; bytes])]).unwrap()
    }

    #[test]
    fn the_oldest_goes_first() {
        let mut bodies = Bodies::new(3 * (1000 + ENTRY_BYTES + FRAME_BYTES));
        for number in 0..4 {
            bodies.put(id(number), 0, &body(1000));
        }
        let kept: Vec<bool> = (0..4).map(|number| bodies.get(id(number), 0).is_some()).collect();
        assert_eq!(kept, [false, true, true, true]);
        assert_eq!(bodies.bytes(), 3 * cost(&body(1000)));
    }

    #[test]
    fn a_body_larger_than_the_cache_drives_nobody_out() {
        let mut bodies = Bodies::new(2000);
        bodies.put(id(1), 0, &body(100));
        bodies.put(id(2), 0, &body(5000));
        assert_eq!(bodies.get(id(1), 0), Some(&body(100)));
        assert_eq!(bodies.get(id(2), 0), None);
    }

    #[test]
    fn what_is_over_leaves_nothing_behind() {
        let mut bodies = Bodies::new(1 << 20);
        for number in 0..10_000 {
            bodies.put(id(number), 0, &body(10));
            bodies.put(id(number), 2, &body(10));
            bodies.forget(id(number));
        }
        assert_eq!(bodies.bytes(), 0);
        assert!(bodies.order.len() <= 64 + 2, "{}", bodies.order.len());
    }
}
