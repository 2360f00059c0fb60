//! What will happen, in order.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::clock::Moment;

/// Events by their moments; those of one moment in the order in which they were put in.
#[derive(Debug)]
pub struct Queue<E> {
    order: BinaryHeap<Reverse<(Moment, u64)>>,
    events: BTreeMap<u64, E>,
    next: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { order: BinaryHeap::new(), events: BTreeMap::new(), next: 0 }
    }
}

impl<E> Queue<E> {
    pub fn put(&mut self, at: Moment, event: E) {
        self.next += 1;
        self.order.push(Reverse((at, self.next)));
        self.events.insert(self.next, event);
    }

    pub fn take(&mut self) -> Option<(Moment, E)> {
        let Reverse((at, number)) = self.order.pop()?;
        Some((at, self.events.remove(&number)?))
    }

    /// Everything that is still to happen, in no useful order.
    pub fn iter(&self) -> impl Iterator<Item = &E> {
        self.events.values()
    }
}
