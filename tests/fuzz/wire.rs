//! Bytes of a packet as RFC 791, 768, 792 and 9293 lay them out, and checksums as sums of whole
//! headers (RFC 1071). Shares nothing with masq: what is wrong there must not be wrong here too.

use std::net::Ipv4Addr;

/// Bytes of an Ethernet header.
pub const ETHERNET: usize = 14;

/// IP protocol numbers.
pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const IGMP: u8 = 2;
pub const DCCP: u8 = 33;
pub const AH: u8 = 51;
pub const UDP_LITE: u8 = 136;

/// The 16-bit word at `at`.
pub fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Writes the 16-bit word at `at`.
pub fn set_word(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// The address at `at`.
pub fn address(bytes: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3])
}

/// Writes the address at `at`.
pub fn set_address(bytes: &mut [u8], at: usize, address: Ipv4Addr) {
    bytes[at..at + 4].copy_from_slice(&address.octets());
}

/// The one's-complement sum as a number below 65535: in that arithmetic 0 and 0xffff are one.
pub fn sum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks(2).map(|pair| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        [last] => u32::from(*last) << 8,
        _ => 0,
    });
    words.fold(0, |sum, word| (sum + word) % 0xffff)
}

/// An IPv4 header that is as it has to be (its checksum apart) and a packet that is all there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ip {
    /// Bytes of the header.
    pub header: usize,
    /// Bytes of the packet, header included.
    pub total: usize,
    /// Identification.
    pub id: u16,
    /// Flags and fragment offset.
    pub fragment: u16,
    /// Hop limit.
    pub ttl: u8,
    /// What follows.
    pub protocol: u8,
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
}

impl Ip {
    /// Reads the header at the beginning of `packet`; `None` if it is damaged, or says that the
    /// packet is longer than what is there.
    pub fn read(packet: &[u8]) -> Option<Self> {
        let ip = Self::read_header(packet)?;
        (ip.total >= ip.header && ip.total <= packet.len()).then_some(ip)
    }

    /// Reads a header of a packet that may be cut off behind it.
    pub fn read_header(packet: &[u8]) -> Option<Self> {
        let first = *packet.first()?;
        let header = usize::from(first & 0xf) * 4;
        if first >> 4 != 4 || header < 20 || packet.len() < header {
            return None;
        }
        Some(Self {
            header,
            total: word(packet, 2).into(),
            id: word(packet, 4),
            fragment: word(packet, 6),
            ttl: packet[8],
            protocol: packet[9],
            source: address(packet, 12),
            destination: address(packet, 16),
        })
    }

    /// Whether it is a fragment that does not begin its datagram.
    pub fn is_later_fragment(&self) -> bool {
        self.fragment & 0x1fff != 0
    }

    /// Whether it begins a datagram in several fragments.
    pub fn is_first_fragment(&self) -> bool {
        self.fragment & 0x3fff == 0x2000
    }

    /// Whether it is in one piece.
    pub fn is_whole(&self) -> bool {
        self.fragment & 0x3fff == 0
    }
}

/// Whether the checksum of an IP header is right.
pub fn header_is_good(header: &[u8]) -> bool {
    sum(header) == 0 && header.iter().any(|byte| *byte != 0)
}

/// Where the checksum stands in the transport header of a protocol.
pub const fn checksum_at(protocol: u8) -> Option<usize> {
    match protocol {
        ICMP => Some(2),
        TCP => Some(16),
        UDP | UDP_LITE | DCCP => Some(6),
        _ => None,
    }
}

/// Bytes of a transport header without options.
pub const fn transport_header(protocol: u8) -> usize {
    match protocol {
        TCP => 20,
        UDP | ICMP | UDP_LITE => 8,
        DCCP => 12,
        _ => 0,
    }
}

/// Makes the checksum of an IP header right, whatever follows it.
pub fn seal_header(packet: &mut [u8]) {
    let Some(ip) = Ip::read_header(packet) else { return };
    set_word(packet, 10, 0);
    let header = complement(sum(&packet[..ip.header]));
    set_word(packet, 10, header);
}

/// Makes the checksums of a packet right, as far as it has any and they are there.
pub fn seal(packet: &mut [u8]) {
    seal_header(packet);
    let Some(ip) = Ip::read(packet) else { return };
    // What of a packet of UDP-Lite or DCCP is covered, it says itself.
    let covered = matches!(ip.protocol, ICMP | TCP | UDP);
    let Some(at) = checksum_at(ip.protocol).map(|at| ip.header + at) else { return };
    if !covered || !ip.is_whole() || at + 2 > ip.total {
        return;
    }
    if ip.protocol == UDP && word(packet, at) == 0 {
        // It has none, and that is right too.
        return;
    }
    set_word(packet, at, 0);
    let mut whole = sum(&packet[ip.header..ip.total]);
    if ip.protocol != ICMP {
        let length = (ip.total - ip.header) as u32;
        whole = (whole + sum(&packet[12..20]) + u32::from(ip.protocol) + length) % 0xffff;
    }
    let checksum = complement(whole);
    set_word(packet, at, if ip.protocol == UDP && checksum == 0 { 0xffff } else { checksum });
}

/// The checksum that belongs to a sum.
fn complement(sum: u32) -> u16 {
    // A sum of 0 is 0xffff, unless all bytes were 0, which no packet's are.
    let sum = if sum == 0 { 0xffff } else { sum };
    !(sum as u16)
}
