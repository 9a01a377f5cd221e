//! What is sent: flows, in words that the kernel programs of `frames` understand.

use std::{net::Ipv4Addr, num::NonZero};

use super::{
    line::{FIRST_FAR, FIRST_INNER, HOST, HOSTS, MACS, REMOTE},
    link::Link,
    plan::{Expectation, Front, LENGTHS, Plan, SMALLEST, WORDS, word},
};
use crate::lab::ROUTER_WAN;

/// First source port of a host.
const FIRST_PORT: u16 = 5_000;
/// The port that all flows go to: discard, where nobody listens.
const REMOTE_PORT: u16 = 9;

/// Which way packets go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the host to the remote.
    Outbound,
    /// From the remote to the host: answers to flows that were opened outbound.
    Inbound,
}

/// How long the packets are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Size {
    /// Frames of 64 bytes, checksum included.
    Smallest,
    /// Seven packets of 46 bytes, four of 576 and one of 1500.
    Imix,
}

impl Size {
    fn lengths(self) -> [u16; LENGTHS] {
        match self {
            Self::Smallest => [SMALLEST; LENGTHS],
            Self::Imix => [46, 576, 46, 46, 576, 46, 1500, 46, 576, 46, 576, 46],
        }
    }

    /// Total length of the longest IP packet.
    pub(super) fn longest(self) -> u16 {
        self.lengths().into_iter().max().unwrap_or(SMALLEST)
    }
}

/// Who talks to whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Profile {
    /// One host, from one port after the other, to one remote endpoint. Every port is free for it,
    /// and kept. More flows than [`Profile::PORTS`] are of further hosts.
    OneHost,
    /// The profile of NAT44 tests: 63 ports of each of many hosts behind the LAN's next hop, to a
    /// further remote address for each [`Profile::SHARING`] flows, so that external ports, of which
    /// there are less, can be shared.
    ManyHosts,
    /// As many hosts, all to one remote endpoint: external ports run out.
    OneRemote,
    /// [`Profile::ENDPOINTS`] inside endpoints, each to one remote address after the other: few
    /// mappings, many sessions.
    ManyRemotes,
}

impl Profile {
    /// Ports of the one host.
    pub const PORTS: u16 = 60_000;
    /// Ports of each of many hosts.
    pub const HOST_PORTS: u16 = 63;
    /// Flows to one remote address where there are many. Fewer than ports by so much that a free one
    /// is found quickly.
    pub const SHARING: u32 = 30_000;
    /// Inside endpoints with many sessions each.
    pub const ENDPOINTS: u32 = 1_000;

    /// Most flows.
    pub const fn capacity(self) -> u32 {
        match self {
            Self::OneHost => HOSTS * Self::PORTS as u32,
            // Far more than anybody has memory for, and well inside of the prefixes.
            Self::ManyHosts | Self::OneRemote => 63 << 19,
            Self::ManyRemotes => Self::ENDPOINTS << 16,
        }
    }
}

/// A number of flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flows {
    /// Who talks to whom.
    pub profile: Profile,
    /// Number of the first one.
    pub first: u32,
    /// How many.
    pub count: NonZero<u32>,
}

impl Flows {
    /// The first flows of a profile.
    ///
    /// # Panics
    /// If there are none, or not so many.
    pub fn new(profile: Profile, count: u32) -> Self {
        Self::from(profile, 0, count)
    }

    /// Flows from number `first` on.
    ///
    /// # Panics
    /// If there are none, or not so many.
    pub fn from(profile: Profile, first: u32, count: u32) -> Self {
        assert!(first + count <= profile.capacity(), "{profile:?} has not so many flows");
        let count = NonZero::new(count).expect("at least one flow");
        Self { profile, first, count }
    }

    /// Part `part` of `parts` of about the same size.
    pub fn part(self, part: u32, parts: u32) -> Self {
        let each = self.count.get() / parts;
        Self::from(self.profile, self.first + part * each, each)
    }
}

/// A stream of packets over a number of flows, each in its turn.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Stream {
    /// Which way they go.
    pub direction: Direction,
    /// The flows: UDP, each from an endpoint of its own. Answers only for one host, whose ports are
    /// kept.
    pub flows: Flows,
    /// How long the packets are.
    pub size: Size,
    /// Besides, one packet in so many is the only one of a flow of the same profile, and the number
    /// of the first such flow.
    pub new: Option<(NonZero<u32>, u32)>,
    /// Packets a second; `None` for as many as possible.
    pub pace: Option<f64>,
}

/// Packets that a stream with a pace sends at once.
pub const BURST: u32 = 16;

impl Stream {
    /// As many packets of the smallest size as possible, outbound.
    pub fn outbound(flows: Flows) -> Self {
        Self { direction: Direction::Outbound, flows, size: Size::Smallest, new: None, pace: None }
    }

    /// The address that stands for all hosts in the packets of the generator.
    fn first_address(&self, translated: bool) -> Ipv4Addr {
        match (self.direction, self.flows.profile) {
            (Direction::Inbound, _) if translated => ROUTER_WAN,
            (_, Profile::OneHost) => HOST,
            _ => FIRST_INNER,
        }
    }

    /// What the generator is to do. `translated` says whether the router translates: it decides what
    /// is sent inbound. `links` are how frames look at the host and at the remote.
    pub(super) fn plan(&self, translated: bool, links: [Link; 2]) -> Plan {
        let Flows { profile, first, count } = self.flows;
        let [host, lan, wan, remote] = MACS;
        let (end, macs) = match self.direction {
            Direction::Outbound => (0, [lan, host]),
            Direction::Inbound => (1, [wan, remote]),
        };
        let link = links[end];
        assert!(end == 0 || profile == Profile::OneHost, "answers are for one host");
        let (ports, insides, per_remote) = match profile {
            Profile::OneHost => (Profile::PORTS, 0, 0),
            Profile::ManyHosts => (Profile::HOST_PORTS, 0, Profile::SHARING),
            Profile::OneRemote => (Profile::HOST_PORTS, 0, 0),
            Profile::ManyRemotes => (Profile::HOST_PORTS, Profile::ENDPOINTS, Profile::ENDPOINTS),
        };
        let mut headers = [0; WORDS];
        let mut put = |at: usize, bytes: &[u8]| {
            for (word, pair) in headers[at..].iter_mut().zip(bytes.chunks_exact(2)) {
                *word = u16::from_ne_bytes([pair[0], pair[1]]);
            }
        };
        put(0, macs.as_flattened());
        put(6, &link.last().to_ne_bytes());
        put(7, &[0x45, 0x00]);
        put(10, &[0x40, 0x00, 64, 17]);
        if per_remote == 0 {
            put(word::ADDRESSES + 2 * (1 - end), &REMOTE.octets());
        }
        put(word::PORTS + 1 - end, &REMOTE_PORT.to_be_bytes());
        let sum = |words: &[u16]| words.iter().map(|&word| u32::from(word)).sum::<u32>();
        Plan {
            headers,
            end: end as u16,
            flows: count.get(),
            stride: stride(count.get()),
            first_flow: first,
            first_address: self.first_address(translated).into(),
            first_port: FIRST_PORT,
            ports,
            insides,
            first_remote: FIRST_FAR.into(),
            per_remote,
            new_every: self.new.map_or(0, |(every, _)| every.get()),
            first_new: self.new.map_or(0, |(_, first)| first),
            burst: BURST,
            burst_gap: self.pace.map_or(0, |pace| (f64::from(BURST) * 1e9 / pace) as u32),
            ip_sum: sum(&headers[7..word::PORTS]),
            udp_sum: sum(&headers[word::ADDRESSES..]) + u32::from(17_u16.to_be()),
            lengths: self.size.lengths(),
            front: link.front(macs, 0),
        }
    }

    /// What the sink is to count; `gaps` if the times between packets are of interest, `links` as for
    /// [`plan`](Self::plan).
    pub(super) fn expectation(
        &self,
        translated: bool,
        gaps: bool,
        links: [Link; 2],
    ) -> Expectation {
        let raw = |address: Ipv4Addr| u32::from_ne_bytes(address.octets());
        let Flows { profile, first, count } = self.flows;
        let one = profile == Profile::OneHost && first + count.get() <= u32::from(Profile::PORTS);
        let host = if one { raw(HOST) } else { 0 };
        let remote = match profile {
            Profile::OneHost | Profile::OneRemote => raw(REMOTE),
            Profile::ManyHosts | Profile::ManyRemotes => 0,
        };
        let port = REMOTE_PORT.to_be();
        let gaps = u32::from(gaps);
        let front = self.arriving(links);
        match self.direction {
            Direction::Outbound => {
                let source = if translated { raw(ROUTER_WAN) } else { host };
                Expectation { addresses: [source, remote], ports: [0, port], gaps, front }
            }
            Direction::Inbound => {
                Expectation { addresses: [remote, host], ports: [port, 0], gaps, front }
            }
        }
    }

    /// What frames begin with where they arrive.
    fn arriving(&self, [host_link, remote_link]: [Link; 2]) -> Front {
        let [host, lan, wan, remote] = MACS;
        match self.direction {
            Direction::Outbound => remote_link.front([remote, wan], 0),
            Direction::Inbound => host_link.front([host, lan], 0),
        }
    }
}

/// A step through `flows` flows that meets each of them and jumps as far as possible: near the
/// golden section, with no divisor in common.
pub(super) fn stride(flows: u32) -> u32 {
    let gcd = |mut a: u32, mut b: u32| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let golden = (f64::from(flows) * 0.618).round() as u32;
    if flows == 1 { 0 } else { (golden.max(1)..flows).find(|&s| gcd(s, flows) == 1).unwrap_or(1) }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_stride_meets_every_flow() {
        for flows in [1, 2, 3, 7, 100, 4096, 50_000] {
            let step = stride(flows);
            let met: HashSet<u64> =
                (0..flows).map(|n| u64::from(n) * u64::from(step) % u64::from(flows)).collect();
            assert_eq!(met.len(), flows as usize, "{flows} flows");
        }
    }

    #[test]
    fn what_is_sent_and_expected_has_the_link_of_its_end() {
        let out = Stream::outbound(Flows::new(Profile::OneHost, 1));
        let back = Stream { direction: Direction::Inbound, ..out };
        let links = [Link::Ethernet, Link::PppoeOnVlan];
        let more = |stream: Stream| {
            let expectation = stream.expectation(true, false, links);
            [stream.plan(true, links).front.more, expectation.front.more]
        };
        assert_eq!((more(out), more(back)), ([0, 6], [6, 0]));
        assert_eq!(back.plan(true, links).headers[6], 0x0021_u16.to_be(), "IPv4, as PPP has it");
        // From the remote to the router, and the other way round.
        let sent = back.plan(true, links).front.words;
        let arriving = out.expectation(true, false, links).front.words;
        assert_eq!((&sent[..3], &sent[3..6]), (&arriving[3..6], &arriving[..3]));
    }

    #[test]
    fn parts_are_apart() {
        let flows = Flows::new(Profile::OneHost, 101);
        let parts = [flows.part(0, 2), flows.part(1, 2)];
        assert_eq!(parts.map(|part| (part.first, part.count.get())), [(0, 50), (50, 50)]);
    }
}
