//! How often a refused sender is answered (RFC 5508 REQ-10f, RFC 1812 section 4.3.2.8). Pure: the
//! clock is an argument.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use masq_common::be::Addr;

/// Time between two answers in the long run: 100 a second.
pub const INTERVAL: Duration = Duration::from_millis(10);

/// How many answers may follow each other at once.
pub const BURST: u32 = 50;

/// Time between two answers to the same host.
pub const PAUSE: Duration = Duration::from_secs(1);

/// Hosts that are remembered. More than [`BURST`] and [`INTERVAL`] let through within a
/// [`PAUSE`], so that there is always room.
const HOSTS: usize = 256;

/// The limits on answers.
#[derive(Debug, Default)]
pub struct Rate {
    /// When the bucket will be full again.
    full: Option<Instant>,
    /// When each host was answered last.
    last: HashMap<Addr, Instant>,
}

impl Rate {
    /// Whether `host` may be answered now. If so, it counts as answered.
    pub fn allows(&mut self, now: Instant, host: Addr) -> bool {
        let recent = |last: &Instant| now.saturating_duration_since(*last) < PAUSE;
        if self.last.get(&host).is_some_and(recent) {
            return false;
        }
        let full = self.full.map_or(now, |full| full.max(now));
        if full - now > INTERVAL * (BURST - 1) {
            return false;
        }
        if self.last.len() >= HOSTS {
            self.last.retain(|_, last| recent(last));
        }
        self.full = Some(full + INTERVAL);
        self.last.insert(host, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(number: u32) -> Addr {
        Addr::from_octets((0x0a00_0000 + number).to_be_bytes())
    }

    #[test]
    fn one_host_is_answered_once_a_second() {
        let (mut rate, begin) = (Rate::default(), Instant::now());
        let mut allows = |millis| rate.allows(begin + Duration::from_millis(millis), host(1));
        assert!(allows(0));
        assert!(!allows(1) && !allows(999));
        assert!(allows(1000));
        assert!(!allows(1001));
    }

    #[test]
    fn many_hosts_share_a_burst_and_then_a_hundred_a_second() {
        let (mut rate, begin) = (Rate::default(), Instant::now());
        let allowed = (0..1000).filter(|&n| rate.allows(begin, host(n))).count();
        assert_eq!(allowed, BURST as usize);
        // A thousand more in each millisecond of the next two seconds, all from new hosts.
        let mut next = 1000;
        let mut allowed = 0;
        for millis in 1..=2000 {
            for _ in 0..1000 {
                next += 1;
                allowed +=
                    usize::from(rate.allows(begin + Duration::from_millis(millis), host(next)));
            }
            assert!(rate.last.len() <= HOSTS, "memory is bounded");
        }
        assert_eq!(allowed, 200);
    }

    #[test]
    fn a_rest_fills_the_bucket_and_no_more() {
        let (mut rate, begin) = (Rate::default(), Instant::now());
        assert!((0..50).all(|n| rate.allows(begin, host(n))));
        let later = begin + Duration::from_secs(3600);
        let allowed = (0..1000).filter(|&n| rate.allows(later, host(n))).count();
        assert_eq!(allowed, BURST as usize);
    }
}
