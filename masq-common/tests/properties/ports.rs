//! Which port is tried next: in the pool, of the wanted parity at first, and none left out.

use std::collections::HashMap;

use masq_common::ports::{PARITY_PROBES, PROBES, Pool};
use proptest::prelude::*;

/// Pools that are not empty; small ones and the ends of the range are frequent.
fn pool() -> impl Strategy<Value = Pool> {
    prop_oneof![
        (any::<u16>(), 0_u16..40).prop_map(|(low, more)| (low, low.saturating_add(more))),
        (any::<u16>(), any::<u16>()).prop_map(|(a, b)| (a.min(b), a.max(b))),
        Just((0, u16::MAX)),
        Just((1024, u16::MAX)),
        Just((u16::MAX, u16::MAX)),
        Just((0, 0)),
    ]
    .prop_map(|(low, high)| Pool { low, high })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn every_probe_is_in_the_pool(
        pool in pool(), wanted: u16, attempt in 0..PROBES + 4, random: u32,
    ) {
        prop_assert!(pool.contains(pool.probe(wanted, attempt, random)));
        prop_assert!(pool.contains(pool.at(random)));
    }

    #[test]
    fn the_inside_port_comes_first_if_the_pool_has_it(
        pool in pool(), wanted: u16, random: u32,
    ) {
        let first = pool.probe(wanted, 0, random);
        prop_assert_eq!(first == wanted, pool.contains(wanted) || first == wanted);
        if pool.contains(wanted) {
            prop_assert_eq!(first, wanted);
        }
    }

    #[test]
    fn early_probes_keep_the_parity(
        pool in pool(), wanted: u16, attempt in 0..=PARITY_PROBES, random: u32,
    ) {
        // Two neighbours have both parities; a pool of one port has only its own.
        prop_assume!(pool.len() > 1);
        prop_assert_eq!(pool.probe(wanted, attempt, random) & 1, wanted & 1);
    }

    #[test]
    fn the_length_is_the_number_of_ports(low: u16, high: u16) {
        let pool = Pool { low, high };
        let ports = (0..=u16::MAX).filter(|&port| pool.contains(port)).count();
        prop_assert_eq!(pool.len() as usize, ports);
        prop_assert_eq!(pool.is_empty(), ports == 0);
    }
}

proptest! {
    // Each case walks a whole pool.
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn the_search_one_by_one_visits_each_port_once(pool in pool(), start: u32) {
        // From a start that leaves room: the search counts up from a random word.
        let start = start % pool.len();
        let mut visited = vec![false; 65536];
        for offset in 0..pool.len() {
            let port = usize::from(pool.at(start + offset));
            prop_assert!(!std::mem::replace(&mut visited[port], true), "{} twice", port);
        }
        for port in 0..=u16::MAX {
            prop_assert_eq!(visited[usize::from(port)], pool.contains(port));
        }
    }

    #[test]
    fn late_probes_are_uniform_over_the_pool(
        pool in pool(), wanted: u16, attempt in PARITY_PROBES + 1..PROBES,
    ) {
        let counts = histogram(pool, wanted, attempt);
        prop_assert_eq!(counts.len() as u32, pool.len());
        prop_assert!(counts.values().all(|&count| count == 1));
    }

    /// Each port of the parity is reached, and none much more often than another: its neighbour
    /// stands in for it, at the ends of the pool at most two do.
    #[test]
    fn early_probes_cover_their_parity(
        pool in pool(), wanted: u16, attempt in 1..=PARITY_PROBES,
    ) {
        prop_assume!(pool.len() > 1);
        let counts = histogram(pool, wanted, attempt);
        for port in pool.low..=pool.high {
            let count = counts.get(&port).copied().unwrap_or(0);
            let expected = if port & 1 == wanted & 1 { 1..=3 } else { 0..=0 };
            prop_assert!(expected.contains(&count), "port {} was hit {} times", port, count);
        }
    }
}

/// How often each port comes out when the random word takes each value modulo the pool once.
fn histogram(pool: Pool, wanted: u16, attempt: u32) -> HashMap<u16, u32> {
    let mut counts = HashMap::new();
    for random in 0..pool.len() {
        *counts.entry(pool.probe(wanted, attempt, random)).or_default() += 1;
    }
    counts
}

#[test]
fn an_empty_pool_panics_nowhere() {
    for attempt in 0..PROBES {
        Pool::EMPTY.probe(80, attempt, 12345);
    }
    assert_eq!((Pool::EMPTY.len(), Pool::EMPTY.contains(0)), (0, false));
}
