//! What waits for one reader of the event stream: a bounded queue that knows what it has lost. Pure.

use std::collections::VecDeque;

use masq_common::{event::Event, reason::Reason};

use crate::control::record::{Fate, Place};

/// What is told to a reader; times in nanoseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Item {
    /// A session was opened or closed.
    Session {
        /// When.
        time: i64,
        /// What.
        event: Event,
    },
    /// First packets were dropped.
    Dropped {
        /// When.
        time: i64,
        /// One of them.
        event: Event,
        /// Why.
        reason: Reason,
        /// How many since the last time.
        count: u64,
    },
    /// Something is missing here.
    Lost {
        /// Since when.
        time: i64,
        /// How much.
        count: u64,
        /// Where.
        place: Place,
    },
    /// The daemon ends.
    Ended {
        /// When.
        time: i64,
        /// What becomes of the sessions.
        fate: Fate,
    },
}

impl Item {
    const fn time(&self) -> i64 {
        let (Self::Session { time, .. }
        | Self::Dropped { time, .. }
        | Self::Lost { time, .. }
        | Self::Ended { time, .. }) = self;
        *time
    }

    /// How many records are lost if it is.
    const fn weight(&self) -> u64 {
        if let Self::Lost { count, .. } = self { *count } else { 1 }
    }
}

/// A queue for one reader. When it is full it loses what comes until half of it has been read, so that
/// the log of a reader who is too slow has a few gaps of a known size instead of many.
#[derive(Debug)]
pub struct Queue {
    items: VecDeque<Item>,
    limit: usize,
    /// Since when items are being lost, and how many.
    losing: Option<(i64, u64)>,
}

impl Queue {
    /// For at most `limit` items.
    pub const fn new(limit: usize) -> Self {
        Self { items: VecDeque::new(), limit, losing: None }
    }

    /// Adds an item, or counts it as lost.
    pub fn push(&mut self, item: Item) {
        let room = if self.losing.is_some() { self.limit / 2 } else { self.limit };
        if self.items.len() >= room {
            let (since, count) = self.losing.unwrap_or((item.time(), 0));
            self.losing = Some((since, count.saturating_add(item.weight())));
            return;
        }
        let gap = self.gap();
        self.items.extend(gap);
        self.items.push_back(item);
    }

    /// Adds the last item, for which there is always room.
    pub fn push_last(&mut self, item: Item) {
        let gap = self.gap();
        self.items.extend(gap);
        self.items.push_back(item);
    }

    /// The next item.
    pub fn pop(&mut self) -> Option<Item> {
        self.items.pop_front().or_else(|| self.gap())
    }

    /// The gap that ends here.
    fn gap(&mut self) -> Option<Item> {
        let (time, count) = self.losing.take()?;
        Some(Item::Lost { time, count, place: Place::Reader })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(time: i64) -> Item {
        Item::Session { time, event: Event::default() }
    }

    fn gap(time: i64, count: u64) -> Item {
        Item::Lost { time, count, place: Place::Reader }
    }

    fn drain(queue: &mut Queue) -> Vec<Item> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn what_comes_in_time_is_read_in_order() {
        let mut queue = Queue::new(4);
        (1..=4).for_each(|time| queue.push(item(time)));
        assert_eq!(drain(&mut queue), [item(1), item(2), item(3), item(4)]);
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn a_gap_stands_where_it_was_with_its_size() {
        let mut queue = Queue::new(4);
        (1..=6).for_each(|time| queue.push(item(time)));
        assert_eq!((queue.pop(), queue.pop()), (Some(item(1)), Some(item(2))));
        // Half of it still has to be read.
        queue.push(item(7));
        assert_eq!(queue.pop(), Some(item(3)));
        queue.push(item(8));
        assert_eq!(drain(&mut queue), [item(4), gap(5, 3), item(8)]);
    }

    #[test]
    fn a_gap_at_the_end_is_told_too() {
        let mut queue = Queue::new(2);
        (1..=3).for_each(|time| queue.push(item(time)));
        assert_eq!(drain(&mut queue), [item(1), item(2), gap(3, 1)]);
        queue.push(item(4));
        assert_eq!(drain(&mut queue), [item(4)], "it is told once");
    }

    #[test]
    fn a_gap_that_is_lost_counts_as_what_it_stands_for() {
        let mut queue = Queue::new(1);
        queue.push(item(1));
        queue.push(Item::Lost { time: 2, count: 40, place: Place::Kernel });
        queue.push(item(3));
        assert_eq!(drain(&mut queue), [item(1), gap(2, 41)]);
    }

    #[test]
    fn the_end_is_never_lost() {
        let mut queue = Queue::new(1);
        queue.push(item(1));
        queue.push(item(2));
        let end = Item::Ended { time: 3, fate: Fate::Kept };
        queue.push_last(end);
        assert_eq!(drain(&mut queue), [item(1), gap(2, 1), end]);
    }
}
