//! The inside hosts in the metrics: those with most bytes, as exact as `masq hosts`.
//!
//! A session that ends while the table is read may be missing from one answer, and a counter that goes
//! backwards is a restart to Prometheus. So what each host had is remembered, and the larger number
//! holds. The hosts are summed up once in some seconds at most, by a thread of its own; who asks meanwhile
//! waits for the same sums.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet, hash_map::Entry},
    net::Ipv4Addr,
    sync::Arc,
    time::Duration,
};

use anyhow::Result;
use tokio::{sync::Mutex, time::Instant};

use crate::{
    control::{
        aside::{Aside, Teller},
        hosts::{self, Host},
        turn::Turn,
    },
    plane::Plane,
};

/// How old an answer may be.
const FRESH: Duration = Duration::from_secs(5);

/// Hosts that are remembered although nothing is left of them: twice as many as have an account.
const ROOM: usize = 1 << 18;

/// The exporter's view of the hosts.
#[derive(Debug, Default)]
pub struct Hosts(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// When, and of how many hosts.
    summed: Option<(Instant, usize)>,
    first: Arc<[Host]>,
    /// The largest numbers of each host so far; `None` for those that share an account.
    before: HashMap<Option<Ipv4Addr>, Counted>,
}

/// What only grows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Counted {
    packets: [u64; 2],
    bytes: [u64; 2],
}

impl Hosts {
    /// The `most` hosts with most bytes; empty if none are wanted. The one without an address stands for
    /// all those together that there was no room to tell apart.
    ///
    /// # Errors
    /// If the tables cannot be read.
    pub async fn first(&self, plane: &Plane, most: usize) -> Result<Arc<[Host]>> {
        if most == 0 {
            return Ok(Arc::default());
        }
        // Others that ask meanwhile wait here, and find it done.
        let mut known = self.0.lock().await;
        if !known.is_fresh(most) {
            let (accounts, sessions) = (Arc::clone(&plane.accounts), Arc::clone(&plane.sessions));
            let sum = Aside::begin(move |teller: Teller<()>| {
                hosts::all(&accounts, &sessions, |_| teller.check())
            });
            let mut found = sum.outcome().await?;
            let mut turn = Turn::new();
            for host in &mut found {
                known.remember(host);
                if turn.is_due() {
                    turn.pass().await;
                }
            }
            known.forget(&found);
            known.first = first(found, most);
            known.summed = Some((Instant::now(), most));
        }
        Ok(Arc::clone(&known.first))
    }
}

impl Known {
    fn is_fresh(&self, most: usize) -> bool {
        self.summed.is_some_and(|(when, of)| of == most && when.elapsed() < FRESH)
    }

    /// Remembers what a host has, and shows no less than before.
    fn remember(&mut self, host: &mut Host) {
        match self.before.entry(host.address) {
            Entry::Occupied(mut before) => before.get_mut().raise(host),
            Entry::Vacant(place) => {
                place.insert(Counted::of(host));
            }
        }
    }

    /// Forgets those of which nothing is left, if they are many: without an account, hosts may come and go
    /// in any number.
    fn forget(&mut self, found: &[Host]) {
        if self.before.len() > ROOM {
            let present: HashSet<_> = found.iter().map(|host| host.address).collect();
            self.before.retain(|address, _| present.contains(address));
        }
    }
}

/// Those with most bytes, in order.
fn first(mut found: Vec<Host>, most: usize) -> Arc<[Host]> {
    let rank = |host: &Host| (Reverse(host.bytes_out.saturating_add(host.bytes_in)), host.address);
    if found.len() > most {
        found.select_nth_unstable_by_key(most, rank);
        found.truncate(most);
    }
    found.sort_unstable_by_key(rank);
    found.into()
}

impl Counted {
    const fn of(host: &Host) -> Self {
        Self {
            packets: [host.packets_out, host.packets_in],
            bytes: [host.bytes_out, host.bytes_in],
        }
    }

    /// Makes both the larger of the two.
    fn raise(&mut self, host: &mut Host) {
        let Self { packets: [packets_out, packets_in], bytes: [bytes_out, bytes_in] } = self;
        for (before, now) in [
            (packets_out, &mut host.packets_out),
            (packets_in, &mut host.packets_in),
            (bytes_out, &mut host.bytes_out),
            (bytes_in, &mut host.bytes_in),
        ] {
            *before = (*before).max(*now);
            *now = *before;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(last: u8, numbers: [u64; 4]) -> Host {
        let [packets_out, packets_in, bytes_out, bytes_in] = numbers;
        let address = (last != 0).then(|| [192, 168, 1, last].into());
        Host {
            address,
            sessions: 1,
            packets_out,
            packets_in,
            bytes_out,
            bytes_in,
            ..Host::default()
        }
    }

    fn shown(known: &Known) -> Vec<(Option<u8>, [u64; 4])> {
        let row = |host: &Host| {
            let numbers = [host.packets_out, host.packets_in, host.bytes_out, host.bytes_in];
            (host.address.map(|address| address.octets()[3]), numbers)
        };
        known.first.iter().map(row).collect()
    }

    fn learn(known: &mut Known, mut found: Vec<Host>, most: usize) {
        found.iter_mut().for_each(|host| known.remember(host));
        known.forget(&found);
        known.first = first(found, most);
    }

    #[test]
    fn those_with_most_bytes_are_shown() {
        let mut known = Known::default();
        learn(
            &mut known,
            vec![
                host(10, [1, 1, 100, 0]),
                host(11, [9, 9, 50, 60]),
                host(12, [1, 1, 5, 5]),
                host(0, [1, 1, 100, 9]),
            ],
            3,
        );
        let order: Vec<_> = shown(&known).into_iter().map(|(host, _)| host).collect();
        assert_eq!(order, [Some(11), None, Some(10)]);
    }

    #[test]
    fn no_counter_goes_backwards_even_of_hosts_that_were_not_shown_meanwhile() {
        let mut known = Known::default();
        learn(&mut known, vec![host(10, [9, 8, 700, 600]), host(11, [1, 1, 1, 1])], 1);
        assert_eq!(shown(&known), [(Some(10), [9, 8, 700, 600])]);
        // A session of it is in neither table, and another host is first.
        learn(&mut known, vec![host(10, [2, 9, 300, 700]), host(11, [1, 1, 5_000, 1])], 1);
        assert_eq!(shown(&known), [(Some(11), [1, 1, 5_000, 1])]);
        learn(&mut known, vec![host(10, [3, 9, 400, 650])], 1);
        assert_eq!(shown(&known), [(Some(10), [9, 9, 700, 700])]);
        learn(&mut known, vec![host(10, [10, 10, 800, 800])], 1);
        assert_eq!(shown(&known), [(Some(10), [10, 10, 800, 800])]);
    }

    #[test]
    fn hosts_that_are_gone_are_forgotten_when_they_are_many() {
        let mut known = Known::default();
        learn(&mut known, vec![host(10, [1; 4]), host(11, [1; 4])], 1);
        learn(&mut known, vec![host(10, [1; 4])], 1);
        assert_eq!(known.before.len(), 2);
        let many = |first: u32| {
            let address = |n: u32| Some((first + n).into());
            (0..ROOM as u32).map(|n| Host { address: address(n), ..Host::default() }).collect()
        };
        learn(&mut known, many(1 << 24), 1);
        assert_eq!(known.before.len(), ROOM, "those that are there");
        learn(&mut known, many(1 << 24), 1);
        assert_eq!((known.before.len(), known.first.len()), (ROOM, 1));
    }

    #[test]
    fn an_answer_holds_for_some_seconds_and_for_as_many_hosts() {
        let mut known = Known::default();
        assert!(!known.is_fresh(5));
        known.summed = Some((Instant::now(), 5));
        assert!(known.is_fresh(5) && !known.is_fresh(6));
        known.summed = Instant::now().checked_sub(FRESH).map(|then| (then, 5));
        assert!(!known.is_fresh(5));
    }
}
