//! Sums and ranks of one look: the totals, the hosts, the sessions at the top. Pure.
//!
//! Halves come one by one. A session is ranked by each of its halves, and at the end, when both are
//! known, the sessions themselves are put in order: so the best of each order are kept twice over.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet},
    net::Ipv4Addr,
};

use masq_common::{flow::FlowKey, session::SessionHalf, time::Tick};

use super::{
    super::{
        filter::Ends,
        proto::{Top, TopHost, TopSession},
    },
    PerSecond,
};

/// Hosts that are summed. More inside hosts than this are forged or many networks.
const MAX_HOSTS: usize = 16_384;

/// A place in an order: the higher, the further up. The second number decides between equal ones.
type Score<T> = fn(&T) -> (u64, u64);

/// The sums of one host.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    sessions: u64,
    bytes: [u64; 2],
    sent: [u64; 2],
}

/// See the module text. Pairs of numbers are those from inside and those from outside.
#[derive(Debug)]
pub struct Board {
    limit: usize,
    sent: [u64; 2],
    matched: u64,
    hosts: HashMap<Ipv4Addr, Sum>,
    not_summed: u64,
    by_rate: Best,
    by_bytes: Best,
    by_youth: Best,
}

impl Board {
    /// An empty one that keeps so many of each order.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            sent: [0; 2],
            matched: 0,
            hosts: HashMap::new(),
            not_summed: 0,
            by_rate: Best::new(limit * 2),
            by_bytes: Best::new(limit * 2),
            by_youth: Best::new(limit),
        }
    }

    /// Counts a half, whether it matches or not.
    pub fn count(&mut self, half: &SessionHalf, sent: u64) {
        self.sent[direction(half)] += sent;
    }

    /// Sums and ranks a half that matches.
    pub fn rank(&mut self, half: &SessionHalf, ends: &Ends, sent: u64, now: Tick) {
        let key = if half.is_outbound() { half.key() } else { half.partner() };
        let idle = u64::from(now.since(half.last_seen).0);
        self.by_rate.offer((sent, u64::MAX - idle), key);
        self.by_bytes.offer((half.bytes, 0), key);
        if half.is_outbound() {
            self.matched += 1;
            let age = u64::from(now.since(half.created).0);
            self.by_youth.offer((u64::MAX - age, 0), key);
        }
        self.sum(half, ends.inside.address, sent);
    }

    fn sum(&mut self, half: &SessionHalf, host: Ipv4Addr, sent: u64) {
        if self.hosts.len() >= MAX_HOSTS && !self.hosts.contains_key(&host) {
            self.not_summed += u64::from(half.is_outbound());
            return;
        }
        let sum = self.hosts.entry(host).or_default();
        sum.sessions += u64::from(half.is_outbound());
        sum.bytes[direction(half)] += half.bytes;
        sum.sent[direction(half)] += sent;
    }

    /// The sessions that may be at the top, by the keys of their outbound halves.
    pub fn candidates(&self) -> HashSet<FlowKey> {
        let orders = [&self.by_rate, &self.by_bytes, &self.by_youth];
        orders.into_iter().flat_map(Best::keys).collect()
    }

    /// The answer, with the candidates as they are.
    pub fn finish(self, sessions: Vec<TopSession>, per_second: PerSecond) -> Top {
        let hosts = self.hosts.into_iter().map(|(address, sum)| TopHost {
            address,
            sessions: sum.sessions,
            bytes_out: sum.bytes[0],
            bytes_in: sum.bytes[1],
            rate_out: per_second.of(sum.sent[0]),
            rate_in: per_second.of(sum.sent[1]),
        });
        let session_orders: [Score<TopSession>; 3] = [
            |s| (s.rate_out + s.rate_in, u64::MAX - s.session.idle_ms),
            |s| (s.session.bytes_out + s.session.bytes_in, 0),
            |s| (u64::MAX - s.session.age_ms, 0),
        ];
        let host_orders: [Score<TopHost>; 3] = [
            |h| (h.rate_out + h.rate_in, h.bytes_out + h.bytes_in),
            |h| (h.bytes_out + h.bytes_in, 0),
            |h| (h.sessions, 0),
        ];
        Top {
            rate_out: per_second.of(self.sent[0]),
            rate_in: per_second.of(self.sent[1]),
            matched: self.matched,
            not_summed: self.not_summed,
            sessions: best_of_each(sessions, self.limit, session_orders),
            hosts: best_of_each(hosts.collect(), self.limit, host_orders),
            ..Top::default()
        }
    }
}

/// Those that are among the first `limit` of any order, in the first order. Only these are sorted: of
/// the hosts there may be many.
fn best_of_each<T, const N: usize>(
    mut items: Vec<T>,
    limit: usize,
    orders: [Score<T>; N],
) -> Vec<T> {
    let mut kept = vec![items.len() <= limit; items.len()];
    let mut places: Vec<_> = (0..items.len()).collect();
    if items.len() > limit {
        for order in &orders {
            places.select_nth_unstable_by_key(limit, |&place| Reverse(order(&items[place])));
            places[..limit].iter().for_each(|&place| kept[place] = true);
        }
    }
    let mut kept = kept.into_iter();
    items.retain(|_| kept.next() == Some(true));
    items.sort_by_key(|item| Reverse(orders[0](item)));
    items
}

const fn direction(half: &SessionHalf) -> usize {
    if half.is_outbound() { 0 } else { 1 }
}

/// The best of one order, as many as fit.
#[derive(Debug)]
struct Best {
    room: usize,
    /// The worst is on top, the first to go.
    kept: BinaryHeap<Reverse<Ranked>>,
}

impl Best {
    fn new(room: usize) -> Self {
        Self { room, kept: BinaryHeap::with_capacity(room) }
    }

    fn offer(&mut self, score: (u64, u64), key: FlowKey) {
        if self.kept.len() < self.room {
            self.kept.push(Reverse(Ranked { score, key }));
        } else if let Some(mut worst) = self.kept.peek_mut()
            && worst.0.score < score
        {
            worst.0 = Ranked { score, key };
        }
    }

    fn keys(&self) -> impl Iterator<Item = FlowKey> {
        self.kept.iter().map(|ranked| ranked.0.key)
    }
}

/// A session with its place in one order; ordered by that alone.
#[derive(Clone, Copy, Debug)]
struct Ranked {
    score: (u64, u64),
    key: FlowKey,
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.score == other.score
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.score.cmp(&other.score)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use masq_common::{
        be::{Addr, Id},
        flow::{TCP, Tuple},
        session::SessionPair,
    };

    use super::*;
    use crate::control::session;

    const NOW: Tick = Tick(1_000);

    fn pair(host: u8, port: u16, created: u32) -> SessionPair {
        let key = Tuple {
            source: Addr::from_octets([192, 168, 1, host]),
            destination: Addr::from_octets([198, 51, 100, 1]),
            source_id: Id::new(port),
            destination_id: Id::new(443),
        }
        .key(TCP);
        let external = Addr::from_octets([203, 0, 113, 5]);
        SessionPair::masquerade(key, external, Id::new(port), 0, 0, Tick(created))
    }

    fn add(board: &mut Board, mut pair: SessionPair, bytes: [u64; 2], sent: [u64; 2]) {
        (pair.outbound.bytes, pair.inbound.bytes) = (bytes[0], bytes[1]);
        for (half, sent) in [pair.outbound, pair.inbound].iter().zip(sent) {
            board.count(half, sent);
            board.rank(half, &session::ends_of(half), sent, NOW);
        }
    }

    #[test]
    fn the_first_of_each_order_are_candidates() {
        let mut board = Board::new(1);
        for port in 1..=100 {
            add(&mut board, pair(10, port, 1), [10, 10], [1, 1]);
        }
        let (fast, large, young) = (pair(10, 201, 1), pair(10, 202, 1), pair(10, 203, 999));
        add(&mut board, fast, [500, 500], [20, 300]);
        add(&mut board, large, [5, 1_000_000], [0, 0]);
        add(&mut board, young, [5, 5], [0, 0]);
        let candidates = board.candidates();
        for pair in [fast, large, young] {
            assert!(candidates.contains(&pair.outbound.key()));
        }
        assert!(candidates.len() <= 5, "{candidates:?}");
        assert_eq!(board.matched, 103);
    }

    #[test]
    fn hosts_are_summed_and_rated() {
        let mut board = Board::new(2);
        add(&mut board, pair(10, 1, 1), [100, 1_000], [10, 100]);
        add(&mut board, pair(10, 2, 1), [100, 1_000], [10, 100]);
        add(&mut board, pair(11, 1, 1), [7, 9_000], [0, 900]);
        for host in 20..60 {
            add(&mut board, pair(host, 1, 1), [1, 1], [0, 0]);
        }
        let top = board.finish(Vec::new(), PerSecond(Some(Duration::from_millis(500))));
        let first: Vec<_> = top.hosts.iter().take(2).collect();
        assert_eq!(first[0].address, Ipv4Addr::new(192, 168, 1, 11));
        assert_eq!((first[0].rate_in, first[0].bytes_in, first[0].sessions), (1_800, 9_000, 1));
        assert_eq!(first[1].address, Ipv4Addr::new(192, 168, 1, 10));
        assert_eq!((first[1].sessions, first[1].bytes_out, first[1].rate_out), (2, 200, 40));
        assert!(top.hosts.len() <= 6, "no more than the best of each order");
        assert_eq!((top.rate_out, top.rate_in), (40, 2_200));
    }

    #[test]
    fn hosts_beyond_the_bound_are_counted_and_not_kept() {
        let mut board = Board::new(1);
        board.hosts = (0..MAX_HOSTS as u32).map(|n| (n.into(), Sum::default())).collect();
        add(&mut board, pair(10, 1, 1), [1, 1], [1, 1]);
        let top = board.finish(Vec::new(), PerSecond(None));
        assert_eq!((top.not_summed, top.matched), (1, 1));
    }

    #[test]
    fn the_best_of_each_order_are_kept_in_the_first_one() {
        let orders: [Score<(u64, u64)>; 2] = [|i| (i.0, 0), |i| (i.1, 0)];
        let items = vec![(1, 50), (9, 1), (8, 2), (5, 40)];
        assert_eq!(best_of_each(items.clone(), 1, orders), [(9, 1), (1, 50)]);
        assert_eq!(best_of_each(items, 9, orders), [(9, 1), (8, 2), (5, 40), (1, 50)]);
    }
}
