//! Which sessions come first: the keys of `--sort`, and the first N of any number in bounded memory.
//! Pure.

use std::{cmp::Ordering, collections::BinaryHeap};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::proto::Session;

/// How many sessions the daemon ranks at most, which is some megabytes; a command that wants more of
/// them sorts by itself.
pub const MOST: u64 = 10_000;

/// By what sessions are sorted.
#[derive(ValueEnum, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// Bytes of both directions, most first
    Bytes,
    /// Packets of both directions, most first
    Packets,
    /// Time since the first packet, oldest first
    Age,
    /// Time since the last packet, longest idle first
    Idle,
    /// Time until it expires, longest first
    Remaining,
}

impl Sort {
    /// What is compared.
    pub const fn of(self, session: &Session) -> u64 {
        match self {
            Self::Bytes => session.bytes_out.saturating_add(session.bytes_in),
            Self::Packets => session.packets_out.saturating_add(session.packets_in),
            Self::Age => session.age_ms,
            Self::Idle => session.idle_ms,
            Self::Remaining => session.remaining_ms,
        }
    }
}

/// The first of the things that are offered: those with the highest numbers, or the lowest.
#[derive(Debug)]
pub struct Ranking<T> {
    limit: usize,
    reverse: bool,
    /// The last of them on top.
    ranked: BinaryHeap<Ranked<T>>,
}

impl<T> Ranking<T> {
    /// At most `limit`; the lowest with `reverse`.
    pub const fn new(limit: usize, reverse: bool) -> Self {
        Self { limit, reverse, ranked: BinaryHeap::new() }
    }

    /// Takes one if it is among the first so far.
    pub fn offer(&mut self, number: u64, item: T) {
        let rank = if self.reverse { !number } else { number };
        if self.ranked.len() < self.limit {
            self.ranked.push(Ranked { rank, item });
        } else if let Some(mut last) = self.ranked.peek_mut()
            && rank > last.rank
        {
            *last = Ranked { rank, item };
        }
    }

    /// The first, in order.
    pub fn into_sorted(self) -> impl Iterator<Item = T> {
        self.ranked.into_sorted_vec().into_iter().map(|ranked| ranked.item)
    }
}

/// Ordered by its rank alone, the highest first.
#[derive(Debug)]
struct Ranked<T> {
    rank: u64,
    item: T,
}

impl<T> PartialEq for Ranked<T> {
    fn eq(&self, other: &Self) -> bool {
        self.rank == other.rank
    }
}

impl<T> Eq for Ranked<T> {}

impl<T> PartialOrd for Ranked<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Ranked<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.rank.cmp(&self.rank)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_are_those_of_a_sorted_list(
            numbers in prop::collection::vec(0..50_u64, 0..100),
            limit in 0..20_usize,
            reverse: bool,
        ) {
            let mut ranking = Ranking::new(limit, reverse);
            numbers.iter().for_each(|&number| ranking.offer(number, number));
            let mut sorted = numbers;
            sorted.sort_unstable_by(|a, b| if reverse { a.cmp(b) } else { b.cmp(a) });
            sorted.truncate(limit);
            prop_assert_eq!(ranking.into_sorted().collect::<Vec<_>>(), sorted);
        }
    }
}
