//! Which way packets have taken through masq, by the counters of masq and of the router's port.

use masq_common::reason::Reason;

use super::{contender::Contender, line::Line, stream::Direction};
use crate::daemon::{self, Mode};

/// Packets of one direction so far, as far as somebody counts them.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// Forwarded by a fast path of masq, in TC or XDP; `None` if this is not masq.
    fast: Option<u64>,
    /// Redirected by XDP in the driver of the port that they come in by; `None` if this is not masq in XDP.
    redirected: Option<u64>,
}

impl Counts {
    /// Those of a contender in the router of a line.
    ///
    /// # Panics
    /// If masq or `ethtool` do not tell.
    pub fn of(contender: Contender, line: &Line, direction: Direction) -> Self {
        let Contender::Masq(mode) = contender else { return Self { fast: None, redirected: None } };
        let reason = match direction {
            Direction::Outbound => Reason::OutboundFast,
            Direction::Inbound => Reason::InboundFast,
        };
        let fast = daemon::counter(&daemon::stats(&line.router), reason.label());
        let redirected = || {
            let port = line.ports()[direction as usize];
            redirected(&line.router.output("ethtool", &["-S", port]))
        };
        Self { fast: Some(fast), redirected: (mode == Mode::Xdp).then(redirected) }
    }

    /// Those since an earlier time.
    pub fn since(self, earlier: Self) -> Self {
        let since = |now: Option<u64>, then: Option<u64>| Some(now? - then?);
        Self {
            fast: since(self.fast, earlier.fast),
            redirected: since(self.redirected, earlier.redirected),
        }
    }

    /// What is known, in words that follow a number of packets.
    pub fn ways(self) -> impl Iterator<Item = (&'static str, u64)> {
        let ways = [("took the fast path", self.fast), ("were sent by XDP", self.redirected)];
        ways.into_iter().filter_map(|(way, packets)| Some((way, packets?)))
    }
}

/// Frames that XDP has redirected, by the statistics of a veth device, which has them for each queue.
fn redirected(statistics: &str) -> u64 {
    let of_queues = statistics.lines().filter(|line| line.contains("_xdp_redirect:"));
    of_queues.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirected_frames_are_those_of_all_queues() {
        let statistics = "NIC statistics:\n     peer_ifindex: 2\n     rx_queue_0_xdp_packets: 9\n     \
             rx_queue_0_xdp_redirect: 5\n     rx_queue_1_xdp_redirect: 2\n     \
             rx_queue_1_xdp_redirect_errors: 8\n";
        assert_eq!(redirected(statistics), 7);
    }

    #[test]
    fn what_nobody_counts_is_no_way() {
        let now = Counts { fast: Some(9), redirected: None };
        let taken = now.since(Counts { fast: Some(4), redirected: None });
        assert_eq!(taken.ways().collect::<Vec<_>>(), [("took the fast path", 5)]);
    }
}
