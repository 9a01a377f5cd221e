//! Whole IPv4 packets with checksums computed in full, and the rewrite as a data plane does it.
//!
//! The sums in here are the plain definition of RFC 1071 over every byte: the oracle for the
//! differences of `masq_common::checksum`, none of which it uses.

use masq_common::{
    be::{Addr, Id},
    checksum::Delta,
    flow::{FlowKey, ICMP, TCP, Tuple, UDP},
    icmp,
    session::SessionHalf,
};
use proptest::{collection::vec, prelude::*, sample::Index};

/// Offset of the header checksum in the IP header.
const IP_CHECKSUM: usize = 10;

/// The one's-complement sum of `bytes` as big-endian words, an odd last byte padded with zero.
pub fn sum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
    let mut total: u64 = bytes.chunks(2).map(word).sum();
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

/// A packet from the IP header on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet(pub Vec<u8>);

impl Packet {
    pub fn protocol(&self) -> u8 {
        self.0[9]
    }

    /// Where the transport header begins.
    fn transport(&self) -> usize {
        usize::from(self.0[0] & 15) * 4
    }

    /// Where the transport checksum stands.
    fn checksum_at(&self) -> usize {
        self.transport()
            + match self.protocol() {
                TCP => 16,
                UDP => 6,
                _ => 2,
            }
    }

    /// A place that damage can hit without making it another kind of packet: anything behind the
    /// IP header but for the type of an ICMP message.
    pub fn damageable(&self, place: Index) -> usize {
        let first = self.transport() + usize::from(self.protocol() == ICMP);
        first + place.index(self.0.len() - first)
    }

    pub fn word(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.0[at], self.0[at + 1]])
    }

    pub fn set_word(&mut self, at: usize, word: u16) {
        self.0[at..at + 2].copy_from_slice(&word.to_be_bytes());
    }

    pub fn ip_checksum(&self) -> u16 {
        self.word(IP_CHECKSUM)
    }

    pub fn transport_checksum(&self) -> u16 {
        self.word(self.checksum_at())
    }

    pub fn set_transport_checksum(&mut self, word: u16) {
        self.set_word(self.checksum_at(), word);
    }

    /// The sum that the transport checksum covers: 0xffff (or 0) if the checksum is right.
    pub fn transport_sum(&self) -> u16 {
        let segment = &self.0[self.transport()..];
        let mut covered = segment.to_vec();
        if self.protocol() != ICMP {
            if covered.len() % 2 == 1 {
                covered.push(0);
            }
            covered.extend_from_slice(&self.0[12..20]);
            covered.extend_from_slice(&[0, self.protocol()]);
            covered.extend_from_slice(&(segment.len() as u16).to_be_bytes());
        }
        sum(&covered)
    }

    pub fn ip_sum(&self) -> u16 {
        sum(&self.0[..self.transport()])
    }

    /// Writes both checksums as a sender computes them.
    pub fn fill_checksums(&mut self) {
        self.set_word(IP_CHECKSUM, 0);
        let ip = !self.ip_sum();
        self.set_word(IP_CHECKSUM, ip);
        self.set_transport_checksum(0);
        let transport = match (self.protocol(), !self.transport_sum()) {
            (UDP, 0) => 0xffff,
            (_, sum) => sum,
        };
        self.set_transport_checksum(transport);
    }

    /// The tuple as received, as `masq_common::flow` defines it.
    pub fn tuple(&self) -> Tuple {
        let addr = |at: usize| Addr::from_octets(self.0[at..at + 4].try_into().unwrap());
        let id = |at: usize| Id::new(self.word(self.transport() + at));
        let (source_id, destination_id) = match (self.protocol(), self.is_reply()) {
            (ICMP, false) => (id(4), Id::ZERO),
            (ICMP, true) => (Id::ZERO, id(4)),
            _ => (id(0), id(2)),
        };
        Tuple { source: addr(12), destination: addr(16), source_id, destination_id }
    }

    pub fn key(&self) -> FlowKey {
        self.tuple().key(self.protocol())
    }

    fn is_reply(&self) -> bool {
        icmp::kind(self.0[self.transport()]) == icmp::Kind::Reply
    }

    /// Writes `tuple` into the headers and leaves the checksums alone.
    pub fn set_tuple(&mut self, tuple: &Tuple) {
        self.0[12..16].copy_from_slice(&tuple.source.octets());
        self.0[16..20].copy_from_slice(&tuple.destination.octets());
        let at = self.transport();
        if self.protocol() == ICMP {
            let id = if self.is_reply() { tuple.destination_id } else { tuple.source_id };
            self.set_word(at + 4, id.get());
        } else {
            self.set_word(at, tuple.source_id.get());
            self.set_word(at + 2, tuple.destination_id.get());
        }
    }

    /// The rewrite of `half` with the differences stored in it, as a data plane does it.
    pub fn translated(&self, half: &SessionHalf, decrement_ttl: bool) -> Self {
        let mut packet = self.clone();
        packet.set_tuple(&half.to());
        let mut ip_delta = half.addr_delta();
        if decrement_ttl {
            packet.0[8] -= 1;
            ip_delta = ip_delta.and(Delta::word(self.word(8).to_be(), packet.word(8).to_be()));
        }
        let ip = ip_delta.apply(self.ip_checksum().to_be());
        packet.set_word(IP_CHECKSUM, u16::from_be(ip));
        let field = self.transport_checksum().to_be();
        let transport = match self.protocol() {
            UDP => half.transport_delta().apply_udp(field),
            TCP => half.transport_delta().apply(field),
            _ => half.id_delta().apply(field),
        };
        packet.set_transport_checksum(u16::from_be(transport));
        packet
    }

    /// What must come out of the rewrite: the new tuple, and every sum taken afresh.
    pub fn recomputed(&self, to: &Tuple, decrement_ttl: bool) -> Self {
        let mut packet = self.clone();
        packet.set_tuple(to);
        packet.0[8] -= u8::from(decrement_ttl);
        packet.fill_checksums();
        if self.protocol() == UDP && self.transport_checksum() == 0 {
            packet.set_transport_checksum(0);
        }
        packet
    }

    /// The packet with both ends exchanged; sums do not care about the order of words. An ICMP
    /// request becomes the reply, which does change its sum.
    pub fn turned_round(&self) -> Self {
        let mut packet = self.clone();
        let tuple = self.tuple().reversed();
        let at = self.transport();
        if self.protocol() == ICMP {
            packet.0[at] = match self.0[at] {
                icmp::ECHO => icmp::ECHO_REPLY,
                icmp::ECHO_REPLY => icmp::ECHO,
                icmp::TIMESTAMP => icmp::TIMESTAMP_REPLY,
                _ => icmp::TIMESTAMP,
            };
        }
        packet.set_tuple(&tuple);
        if self.protocol() == ICMP {
            packet.fill_checksums();
        }
        packet
    }

    /// Changes the payload so that the transport checksum comes out as `wanted`. (All ones would
    /// need a segment of zeros only; UDP writes it where zero is computed.)
    fn steer_checksum(&mut self, wanted: u16) {
        let at = self.checksum_at() + if self.protocol() == ICMP { 4 } else { 2 };
        let at = if self.protocol() == UDP { self.transport() + 8 } else { at };
        self.set_word(at, 0);
        self.set_transport_checksum(0);
        let rest = !self.transport_sum();
        let total = u32::from(rest) + u32::from(!wanted);
        self.set_word(at, ((total & 0xffff) + (total >> 16)) as u16);
        self.fill_checksums();
    }
}

/// Words at which a carry is lost first are as frequent as all others.
fn word() -> impl Strategy<Value = u16> {
    prop_oneof![4 => any::<u16>(), 1 => 0..3_u16, 1 => 0xfffd..=u16::MAX]
}

pub fn addr() -> impl Strategy<Value = Addr> {
    (word(), word()).prop_map(|(high, low)| {
        let ([a, b], [c, d]) = (high.to_ne_bytes(), low.to_ne_bytes());
        Addr::from_octets([a, b, c, d])
    })
}

pub fn id() -> impl Strategy<Value = Id> {
    word().prop_map(Id::new)
}

pub fn protocol() -> impl Strategy<Value = u8> {
    prop_oneof![Just(TCP), Just(UDP), Just(ICMP)]
}

/// A tuple in the form that `protocol` gives it when sent as a request.
pub fn tuple(protocol: u8) -> impl Strategy<Value = Tuple> {
    (addr(), addr(), id(), id()).prop_map(move |(source, destination, source_id, other)| {
        let destination_id = if protocol == ICMP { Id::ZERO } else { other };
        Tuple { source, destination, source_id, destination_id }
    })
}

/// Checksums that a translation gets wrong first are as frequent as all others.
fn checksum_goal() -> impl Strategy<Value = Option<u16>> {
    prop_oneof![
        3 => Just(None),
        1 => Just(Some(0)),
        1 => Just(Some(1)),
        1 => Just(Some(0xfffe)),
        1 => any::<u16>().prop_map(|word| Some(word.min(0xfffe))),
    ]
}

/// A correct packet of any translated protocol, with or without IP options, of any length; a
/// tenth of the UDP ones without checksum. ICMP ones are requests.
pub fn packet() -> impl Strategy<Value = Packet> {
    let headers = (protocol(), 0_usize..=10, any::<[u8; 20]>(), vec(any::<u8>(), 40));
    let body = (vec(any::<u8>(), 24..200), checksum_goal(), 0_u8..10, any::<bool>());
    (headers, body).prop_map(|((protocol, options, ip, padding), (body, goal, dice, echo))| {
        let mut bytes = ip.to_vec();
        bytes.extend_from_slice(&padding[..options * 4]);
        bytes.extend_from_slice(&body);
        bytes[0] = 0x45 + options as u8;
        let length = bytes.len() as u16;
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        bytes[8] = ip[8].max(2);
        bytes[9] = protocol;
        let mut packet = Packet(bytes);
        if protocol == ICMP {
            let at = packet.transport();
            packet.0[at] = if echo { icmp::ECHO } else { icmp::TIMESTAMP };
        }
        packet.fill_checksums();
        if let Some(wanted) = goal {
            packet.steer_checksum(wanted);
        }
        if protocol == UDP && dice == 0 {
            packet.set_transport_checksum(0);
        }
        packet
    })
}
