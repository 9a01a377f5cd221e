//! The inside hosts in the metrics: those with most bytes, as exact as `masq hosts`.
//!
//! A session that ends while the table is read may be missing from one answer, and a counter that goes
//! backwards is a restart to Prometheus. So what each host had is remembered, and the larger number
//! holds. The hosts are summed up once in some seconds at most, by a thread of its own; who asks meanwhile
//! waits for the same sums, but not for long: the other metrics do not depend on them.

use std::{
    cell::{Cell, RefCell},
    cmp::Reverse,
    collections::{HashMap, HashSet, hash_map::Entry},
    net::Ipv4Addr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use anyhow::Result;
use tokio::{
    sync::Notify,
    task::spawn_local,
    time::{Instant, timeout},
};

use crate::{
    control::{
        aside::{Aside, Teller},
        hosts::{self, Host},
    },
    plane::Plane,
};

/// How old an answer may be.
const FRESH: Duration = Duration::from_secs(5);

/// How long a scrape waits for sums. They take about a second; scrapers have mostly ten.
const PATIENCE: Duration = Duration::from_secs(5);

/// Hosts that are remembered although nothing is left of them: twice as many as have an account.
const ROOM: usize = 1 << 18;

/// The exporter's view of the hosts.
#[derive(Debug, Default)]
pub struct Hosts {
    known: RefCell<Known>,
    /// Whether a sum is being made.
    at_work: Cell<bool>,
    done: Notify,
}

#[derive(Debug, Default)]
struct Known {
    /// When, and of how many hosts.
    summed: Option<(Instant, usize)>,
    first: Arc<[Host]>,
    /// Is with the thread while that is at work.
    before: Before,
}

/// The largest numbers of each host so far; `None` for those that share an account.
#[derive(Debug, Default)]
struct Before(HashMap<Option<Ipv4Addr>, Counted>);

/// What only grows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Counted {
    packets: [u64; 2],
    bytes: [u64; 2],
}

impl Hosts {
    /// The `most` hosts with most bytes; empty if none are wanted. The one without an address stands for
    /// all those together that there was no room to tell apart. If the tables cannot be read, or not in
    /// time, it is those of before.
    pub async fn first(self: &Rc<Self>, plane: &Plane, most: usize) -> Arc<[Host]> {
        if most == 0 {
            return Arc::default();
        }
        let (accounts, sessions) = (Arc::clone(&plane.accounts), Arc::clone(&plane.sessions));
        let all = move |teller: Teller<()>| hosts::all(&accounts, &sessions, |_| teller.check());
        self.first_of(most, PATIENCE, all).await
    }

    /// The same, of those that `all` finds. A sum that nobody has waited for is made all the same, for the
    /// next scrape.
    async fn first_of(
        self: &Rc<Self>,
        most: usize,
        patience: Duration,
        all: impl FnOnce(Teller<()>) -> Result<Vec<Host>> + Send + 'static,
    ) -> Arc<[Host]> {
        if !self.known.borrow().is_fresh(most) {
            let done = self.done.notified();
            if !self.at_work.replace(true) {
                let hosts = Rc::clone(self);
                spawn_local(async move { hosts.sum(most, all).await });
            }
            if timeout(patience, done).await.is_err() {
                tracing::debug!("the hosts in the metrics are those of before");
            }
        }
        Arc::clone(&self.known.borrow().first)
    }

    async fn sum(
        &self,
        most: usize,
        all: impl FnOnce(Teller<()>) -> Result<Vec<Host>> + Send + 'static,
    ) {
        let mut before = std::mem::take(&mut self.known.borrow_mut().before);
        let sum = Aside::begin(move |teller: Teller<()>| {
            let first = all(teller).map(|found| before.learn(found, most));
            Ok((first, before))
        });
        let outcome = sum.outcome().await;
        let mut known = self.known.borrow_mut();
        let first = outcome.and_then(|(first, before)| {
            known.before = before;
            first
        });
        match first {
            Ok(first) => (known.first, known.summed) = (first, Some((Instant::now(), most))),
            Err(error) => tracing::warn!("no new sums of hosts in the metrics: {error:#}"),
        }
        self.at_work.set(false);
        self.done.notify_waiters();
    }
}

impl Known {
    fn is_fresh(&self, most: usize) -> bool {
        self.summed.is_some_and(|(when, of)| of == most && when.elapsed() < FRESH)
    }
}

impl Before {
    /// Takes what was found now; those with most bytes, with no less than before.
    fn learn(&mut self, mut found: Vec<Host>, most: usize) -> Arc<[Host]> {
        found.iter_mut().for_each(|host| self.remember(host));
        self.forget(&found);
        first(found, most)
    }

    /// Remembers what a host has, and shows no less than before.
    fn remember(&mut self, host: &mut Host) {
        match self.0.entry(host.address) {
            Entry::Occupied(mut before) => before.get_mut().raise(host),
            Entry::Vacant(place) => {
                place.insert(Counted::of(host));
            }
        }
    }

    /// Forgets those of which nothing is left, if they are many: without an account, hosts may come and go
    /// in any number.
    fn forget(&mut self, found: &[Host]) {
        if self.0.len() > ROOM {
            let present: HashSet<_> = found.iter().map(|host| host.address).collect();
            self.0.retain(|address, _| present.contains(address));
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

    fn learn(known: &mut Known, found: Vec<Host>, most: usize) {
        known.first = known.before.learn(found, most);
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
        assert_eq!(known.before.0.len(), 2);
        let many = |first: u32| {
            let address = |n: u32| Some((first + n).into());
            (0..ROOM as u32).map(|n| Host { address: address(n), ..Host::default() }).collect()
        };
        learn(&mut known, many(1 << 24), 1);
        assert_eq!(known.before.0.len(), ROOM, "those that are there");
        learn(&mut known, many(1 << 24), 1);
        assert_eq!((known.before.0.len(), known.first.len()), (ROOM, 1));
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

    #[tokio::test]
    async fn who_cannot_have_new_sums_has_those_of_before() {
        const LONG: Duration = Duration::from_secs(60);
        let hosts = Rc::new(Hosts::default());
        let stale = |hosts: &Hosts| hosts.known.borrow_mut().summed = None;
        let sent = |first: Arc<[Host]>| first.iter().map(|host| host.bytes_out).collect::<Vec<_>>();
        let test = async {
            let found = |bytes| move |_: Teller<()>| Ok(vec![host(10, [1, 1, bytes, 1])]);
            assert_eq!(sent(hosts.first_of(5, LONG, found(100)).await), [100]);
            assert_eq!(sent(hosts.first_of(5, LONG, found(999)).await), [100], "they are fresh");
            stale(&hosts);
            let failure = |_: Teller<()>| Err(anyhow::anyhow!("no table"));
            assert_eq!(sent(hosts.first_of(5, LONG, failure).await), [100]);
            let (go_on, wait) = std::sync::mpsc::channel();
            let slow = move |_: Teller<()>| {
                wait.recv()?;
                Ok(vec![host(10, [1, 1, 300, 1])])
            };
            assert_eq!(sent(hosts.first_of(5, Duration::ZERO, slow).await), [100]);
            go_on.send(()).unwrap();
            // Two at once make no second sum, and both have the one that is being made.
            let both = [hosts.first_of(5, LONG, found(999)), hosts.first_of(5, LONG, found(999))];
            for first in futures_util::future::join_all(both).await {
                assert_eq!(sent(first), [300]);
            }
            stale(&hosts);
            // What is remembered has come back from the failure and from the slow one.
            assert_eq!(sent(hosts.first_of(5, LONG, found(200)).await), [300]);
        };
        tokio::task::LocalSet::new().run_until(test).await;
    }
}
