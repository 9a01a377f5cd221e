//! Packets made by hand, with checksums that are sums of the whole packet.
//!
//! A [`Packet`] is a description; [`Packet::bytes`] builds it from the IP header on. What cannot
//! be described is made by changing the bytes, with [`reseal`] if the checksums are to fit.
//!
//! ```
//! use masq_tests::{lab::{HOST_A, SERVER_1}, packet::Packet};
//!
//! let query = Packet::udp((HOST_A, 40000), (SERVER_1, 53), b"query").ttl(1).bytes();
//! assert_eq!(query.len(), 20 + 8 + 5);
//! ```

use std::net::Ipv4Addr;

use crate::checksum;

/// TCP header flags.
pub mod tcp {
    /// The sender has no more data.
    pub const FIN: u8 = 0x01;
    /// Opens a connection.
    pub const SYN: u8 = 0x02;
    /// Breaks a connection off.
    pub const RST: u8 = 0x04;
    /// The sender wants its data delivered at once.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement number is valid.
    pub const ACK: u8 = 0x10;
}

/// An IP address and a port.
pub type Endpoint = (Ipv4Addr, u16);

/// What an IPv4 packet is to look like.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    tos: u8,
    id: u16,
    fragment: u16,
    ttl: u8,
    options: Vec<u8>,
    payload: Vec<u8>,
}

/// The flag "don't fragment" in the fragment word of the IP header.
const DONT_FRAGMENT: u16 = 0x4000;
/// The flag "more fragments" in the fragment word of the IP header.
const MORE_FRAGMENTS: u16 = 0x2000;

impl Packet {
    /// A packet of any protocol, without transport checksum.
    pub fn new(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload: &[u8]) -> Self {
        Self {
            source,
            destination,
            protocol,
            tos: 0,
            id: 0x1001,
            fragment: DONT_FRAGMENT,
            ttl: 64,
            options: Vec::new(),
            payload: payload.to_vec(),
        }
    }

    /// A UDP datagram.
    pub fn udp(from: Endpoint, to: Endpoint, data: &[u8]) -> Self {
        let length = 8 + data.len() as u16;
        let words = [from.1, to.1, length, 0].map(u16::to_be_bytes);
        Self::new(from.0, to.0, 17, &[words.as_flattened(), data].concat())
    }

    /// The sequence number of [`Packet::tcp`].
    pub const SEQUENCE: u32 = 0x0102_0304;

    /// A TCP segment with these [`tcp`] flags.
    pub fn tcp(from: Endpoint, to: Endpoint, flags: u8, data: &[u8]) -> Self {
        Self::segment(from, to, flags, Self::SEQUENCE, data)
    }

    /// A TCP segment with this sequence number.
    pub fn segment(from: Endpoint, to: Endpoint, flags: u8, sequence: u32, data: &[u8]) -> Self {
        let ports = [from.1, to.1].map(u16::to_be_bytes);
        let numbers = [sequence, 0x0a0b_0c0d].map(u32::to_be_bytes);
        let rest = [5 << 4, flags, 0xfa, 0xf0, 0, 0, 0, 0];
        let header = [ports.as_flattened(), numbers.as_flattened(), &rest].concat();
        Self::new(from.0, to.0, 6, &[&header, data].concat())
    }

    /// An ICMP message: `rest` is the second word of its header.
    pub fn icmp(
        source: Ipv4Addr,
        destination: Ipv4Addr,
        (kind, code): (u8, u8),
        rest: u32,
        data: &[u8],
    ) -> Self {
        let header = [&[kind, code, 0, 0][..], &rest.to_be_bytes()].concat();
        Self::new(source, destination, 1, &[&header, data].concat())
    }

    /// An echo request; `from.1` is its identifier.
    pub fn echo(from: Endpoint, destination: Ipv4Addr, data: &[u8]) -> Self {
        Self::icmp(from.0, destination, (8, 0), u32::from(from.1) << 16 | 1, data)
    }

    /// An echo reply; `to.1` is its identifier.
    pub fn echo_reply(source: Ipv4Addr, to: Endpoint, data: &[u8]) -> Self {
        Self::icmp(source, to.0, (0, 0), u32::from(to.1) << 16 | 1, data)
    }

    /// With this hop limit.
    pub fn ttl(self, ttl: u8) -> Self {
        Self { ttl, ..self }
    }

    /// With this type of service (DSCP and ECN).
    pub fn tos(self, tos: u8) -> Self {
        Self { tos, ..self }
    }

    /// With this identification.
    pub fn id(self, id: u16) -> Self {
        Self { id, ..self }
    }

    /// Without the flag "don't fragment".
    pub fn may_be_fragmented(self) -> Self {
        Self { fragment: self.fragment & !DONT_FRAGMENT, ..self }
    }

    /// With IP options; their length is rounded up to whole words with zeros.
    pub fn options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self.options.resize(options.len().next_multiple_of(4), 0);
        self
    }

    /// Only the payload bytes from `from` up to `to`, as a fragment. The transport checksum is
    /// that of the whole packet.
    pub fn fragment(mut self, from: usize, to: usize) -> Self {
        assert!(from.is_multiple_of(8), "fragments begin at multiples of 8");
        self.seal_transport();
        let more = if to < self.payload.len() { MORE_FRAGMENTS } else { 0 };
        self.fragment = (from / 8) as u16 | more;
        self.payload = self.payload[from..to].to_vec();
        self
    }

    /// The packet from the IP header on, with its checksums.
    pub fn bytes(&self) -> Vec<u8> {
        let mut sealed = self.clone();
        if sealed.fragment & !DONT_FRAGMENT == 0 {
            sealed.seal_transport();
        }
        [sealed.header(), sealed.payload].concat()
    }

    /// The packet in an Ethernet frame.
    pub fn frame(&self, destination: [u8; 6], source: [u8; 6]) -> Vec<u8> {
        frame(destination, source, &self.bytes())
    }

    fn header(&self) -> Vec<u8> {
        let header_len = 20 + self.options.len();
        let total = (header_len + self.payload.len()) as u16;
        let mut header = vec![0x40 | (header_len / 4) as u8, self.tos];
        header.extend([total, self.id, self.fragment].map(u16::to_be_bytes).as_flattened());
        header.extend([self.ttl, self.protocol, 0, 0]);
        header.extend(self.source.octets());
        header.extend(self.destination.octets());
        header.extend(&self.options);
        let sum = checksum::internet(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        header
    }

    fn seal_transport(&mut self) {
        let header = self.header();
        seal_transport(&header, &mut self.payload);
    }
}

/// A packet in an Ethernet frame.
pub fn frame(destination: [u8; 6], source: [u8; 6], packet: &[u8]) -> Vec<u8> {
    [&destination[..], &source, &[0x08, 0x00], packet].concat()
}

/// Makes the checksums fit after the bytes of an unfragmented packet have been changed. A packet
/// whose lengths make no sense gets what can be given.
pub fn reseal(packet: &mut [u8]) {
    let header_len = (usize::from(packet[0] & 0xf) * 4).clamp(20, packet.len());
    let (header, transport) = packet.split_at_mut(header_len);
    header[10..12].fill(0);
    let sum = checksum::internet(header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    seal_transport(header, transport);
}

fn seal_transport(header: &[u8], transport: &mut [u8]) {
    let Some(at) = checksum_field(header[9]).filter(|at| transport.len() >= at + 2) else {
        return;
    };
    transport[at..at + 2].fill(0);
    let sum = match header[9] {
        1 => checksum::internet(transport),
        _ => checksum::with_pseudo_header(header, transport),
    };
    // Zero would say that a UDP datagram has no checksum.
    let sum = if header[9] == 17 && sum == 0 { 0xffff } else { sum };
    transport[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// Where the checksum lies in the transport header of a protocol.
fn checksum_field(protocol: u8) -> Option<usize> {
    match protocol {
        1 => Some(2),
        6 => Some(16),
        17 => Some(6),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        checksum::{Transport, check},
        lab::{HOST_A, SERVER_1},
    };

    #[test]
    fn the_vector_v01_is_built_byte_for_byte() {
        let query = [0x12, 0x34, 0x01, 0x00, 0x00, 0x01, 0x00, 0x00];
        let packet = Packet::udp((HOST_A, 40000), (SERVER_1, 53), &query).bytes();
        let expected = "450000241001400040113ee1c0a8010ac63364019c4000350010643c1234010000010000";
        assert_eq!(packet.iter().map(|b| format!("{b:02x}")).collect::<String>(), expected);
    }

    #[test]
    fn every_kind_has_good_checksums() {
        let packets = [
            Packet::udp((HOST_A, 1), (SERVER_1, 2), b"odd"),
            Packet::tcp((HOST_A, 1), (SERVER_1, 2), tcp::SYN, b""),
            Packet::echo((HOST_A, 7), SERVER_1, b"data").options(&[0x94, 4, 0, 0]),
            Packet::icmp(SERVER_1, HOST_A, (3, 4), 1400, &[0x45; 28]).tos(0xc0).ttl(3),
            Packet::udp((HOST_A, 1), (SERVER_1, 2), &[7; 64]).fragment(16, 32),
        ];
        for packet in packets {
            assert_eq!(check(&packet.bytes(), Transport::Whole), Ok(()), "{packet:?}");
        }
    }

    #[test]
    fn a_changed_packet_can_be_sealed_again() {
        let mut packet = Packet::tcp((HOST_A, 1), (SERVER_1, 2), tcp::ACK, b"data").bytes();
        packet[30] ^= 0x40;
        packet[8] = 3;
        assert!(check(&packet, Transport::Whole).is_err());
        reseal(&mut packet);
        assert_eq!(check(&packet, Transport::Whole), Ok(()));
    }
}
