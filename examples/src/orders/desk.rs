//! A thread's share of the data set.

use std::collections::VecDeque;

use crate::{
    batch::{Batch, BatchError},
    orders::OrderScript,
};

/// The orders that one thread looks after, served in turn, until `events_max` events are made.
///
/// With more orders open than appends may be under way, an order's last append has been answered
/// when its turn comes again: the aggregate decides from what it knows to be stored.
#[derive(Debug)]
pub struct OrderDesk {
    seed: u64,
    open: VecDeque<OrderScript>,
    next_index: u64,
    step: u64,
    events_left: u64,
}

impl OrderDesk {
    /// Desk `number` of `desks`, with `open` orders at a time.
    ///
    /// # Errors
    /// [`BatchError`] if an order cannot be made.
    pub fn new(seed: u64, (number, desks): (u64, u64), open: usize) -> Result<Self, BatchError> {
        let mut desk = Self {
            seed,
            open: VecDeque::with_capacity(open),
            next_index: number,
            step: desks,
            events_left: 0,
        };
        for _ in 0..open {
            let order = desk.next_order()?;
            desk.open.push_back(order);
        }
        Ok(desk)
    }

    /// The same desk, closing after that many events; a batch is not cut short.
    #[must_use]
    pub fn until(mut self, events_max: u64) -> Self {
        self.events_left = events_max;
        self
    }

    fn next_order(&mut self) -> Result<OrderScript, BatchError> {
        let order = OrderScript::new(self.seed, self.next_index)?;
        self.next_index += self.step;
        Ok(order)
    }

    fn next_batch(&mut self) -> Result<Option<Batch>, BatchError> {
        if self.events_left == 0 {
            return Ok(None);
        }
        let mut order = match self.open.pop_front() {
            Some(order) if !order.is_over() => order,
            _ => self.next_order()?,
        };
        let batch = order.next_batch()?;
        self.open.push_back(order);
        self.events_left =
            self.events_left.saturating_sub(u64::try_from(batch.events.len()).unwrap_or(u64::MAX));
        Ok(Some(batch))
    }
}

impl Iterator for OrderDesk {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().transpose()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn desks_share_the_orders_and_serve_each_only_when_its_turn_comes() {
        let mut streams = BTreeSet::new();
        for number in 0..3 {
            let desk = OrderDesk::new(1, (number, 3), 5).unwrap().until(2_000);
            let batches: Vec<Batch> = desk.map(Result::unwrap).collect();
            let events: usize = batches.iter().map(|batch| batch.events.len()).sum();
            assert!((2_000..2_005).contains(&events), "{events}");
            for window in batches.windows(5) {
                let served: BTreeSet<_> = window.iter().map(|batch| &batch.stream).collect();
                assert_eq!(served.len(), 5);
            }
            for stream in batches.iter().map(|batch| &batch.stream).collect::<BTreeSet<_>>() {
                assert!(streams.insert(stream.clone()), "{stream} at two desks");
            }
        }
    }
}
