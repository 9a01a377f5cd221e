//! Which external port to try next.
//!
//! The order (RFC 4787 REQ-3a and REQ-4, RFC 6056): the inside port itself; random ports of its
//! class and parity; random ports of its class; then every port of the class in turn from a
//! random start, so that a free port is found if there is one. Randomness is an argument.

use bytemuck::{Pod, Zeroable};

/// A range of ports, both ends included. Empty if `low` is greater than `high`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct Pool {
    /// Lowest port, host byte order.
    pub low: u16,
    /// Highest port, host byte order.
    pub high: u16,
}

/// Random ports of the same parity that are tried before parity is given up.
pub const PARITY_PROBES: u32 = 8;
/// Random ports that are tried in all before the search goes through them one by one.
pub const PROBES: u32 = 16;

impl Pool {
    /// A pool without ports.
    pub const EMPTY: Self = Self { low: 1, high: 0 };
    /// The ports from 1024 up.
    pub const USER: Self = Self { low: 1024, high: 65535 };
    /// The privileged ports that no well-known service of a gateway uses (as in netfilter).
    pub const PRIVILEGED: Self = Self { low: 600, high: 1023 };
    /// The ICMP identifiers. Without 0, which stands for "none" in a tuple.
    pub const IDENTIFIERS: Self = Self { low: 1, high: 65535 };

    /// Number of ports.
    #[inline(always)]
    pub const fn len(self) -> u32 {
        if self.is_empty() { 0 } else { self.high as u32 - self.low as u32 + 1 }
    }

    /// Whether there is no port in it.
    #[inline(always)]
    pub const fn is_empty(self) -> bool {
        self.low > self.high
    }

    /// Whether `port` belongs to it.
    #[inline(always)]
    pub const fn contains(self, port: u16) -> bool {
        self.low <= port && port <= self.high
    }

    /// The port at `offset`, counted round and round; `low` of an empty pool.
    #[inline(always)]
    pub const fn at(self, offset: u32) -> u16 {
        let len = self.len();
        if len == 0 { self.low } else { self.low.wrapping_add((offset % len) as u16) }
    }

    /// The port of probe number `attempt` (from 0) for an inside port `wanted`, given a fresh
    /// random word. Always in the pool, unless that is empty.
    #[inline(always)]
    pub const fn probe(self, wanted: u16, attempt: u32, random: u32) -> u16 {
        if attempt == 0 && self.contains(wanted) {
            return wanted;
        }
        let port = self.at(random);
        if attempt > PARITY_PROBES || (port ^ wanted) & 1 == 0 {
            return port;
        }
        // The neighbour has the other parity; at the ends of the pool take the inner one.
        if port < self.high {
            port + 1
        } else if port > self.low {
            port - 1
        } else {
            port
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inside_port_comes_first() {
        assert_eq!(Pool::USER.probe(40000, 0, 12345), 40000);
        assert_ne!(Pool::USER.probe(80, 0, 12345), 80);
    }

    #[test]
    fn both_ends_of_a_pool_are_reached() {
        let pool = Pool { low: 2000, high: 2003 };
        assert_eq!([pool.at(0), pool.at(3), pool.at(4)], [2000, 2003, 2000]);
        assert_eq!(Pool::IDENTIFIERS.at(65534), 65535);
        assert_eq!(Pool { low: 0, high: 65535 }.len(), 65536);
    }

    #[test]
    fn early_probes_keep_the_parity() {
        for random in 0..1000 {
            assert_eq!(Pool::USER.probe(80, 1, random) & 1, 0);
            assert_eq!(Pool::USER.probe(81, 1, random) & 1, 1);
        }
    }
}
