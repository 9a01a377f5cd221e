//! Packets in words, up to what two gateways may choose differently.
//!
//! An external port is named after the inside endpoint it belongs to, with a prime for each other
//! port that this endpoint has had before, so that mapping by remote endpoint shows. A checksum is
//! right, or wrong by a number; where it cannot be computed (quotes, fragments) stands what a
//! correct translation leaves unchanged: its sum with the addresses and ports that it covers.

use std::net::Ipv4Addr;

use masq_tests::{
    capture::Captured,
    lab::{ISP, ROUTER_LAN, ROUTER_WAN},
    packet::Endpoint,
};

use crate::case::{A, B, FAR, HOP, Known, NARROW, NEIGHBOUR, R1, R2};

/// IP protocol numbers of what has a checksum that covers the addresses, besides TCP and UDP.
const DCCP: u8 = 33;
const UDP_LITE: u8 = 136;

/// What a step has sent, as far as it decides what can be compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    protocol: u8,
    /// The ICMP type.
    icmp: Option<u8>,
}

impl Sent {
    /// Of a packet from its IP header on.
    pub fn of(packet: &[u8]) -> Self {
        Self { protocol: packet[9], icmp: body(packet).first().copied().filter(|_| packet[9] == 1) }
    }

    fn is_error(self) -> bool {
        matches!(self.icmp, Some(3 | 4 | 5 | 11 | 12))
    }
}

/// A captured packet in one line.
pub fn describe(packet: &Captured, sent: Sent, known: &Known) -> String {
    let bytes = &packet.bytes;
    let this = Sent::of(bytes);
    let mut words = vec![headers(bytes, is_fragment(bytes), known)];
    // What the router says itself it numbers as it likes, and its clock is its own.
    let own = this.is_error() && !sent.is_error()
        || this.icmp.is_some() && !this.is_error() && this.icmp != sent.icmp;
    if !own {
        words.push(format!("id {:04x}", word(bytes, 4)));
    }
    words.push(format!("length {}", packet.length));
    match &packet.bad {
        Some(bad) => {
            let difference = sum(&[bad.found, !bad.expected]);
            words.push(format!("bad {} sum by {difference:04x}", bad.field));
        }
        None => words.push("sums ok".to_owned()),
    }
    words.extend(covered_sum(bytes));
    match quote(bytes) {
        Some(quote) => {
            let length = packet.length - header_length(bytes) - 8;
            words.push(format!("quotes {length} bytes: {}", headers(quote, true, known)));
            let checksum = sum_with_addresses(quote, &[word(quote, 10)]);
            words.push(format!("id {:04x} ip sum {checksum:04x}", word(quote, 4)));
        }
        None if own && this.icmp == Some(14) => (),
        None => words.push(format!("data {:08x}", fingerprint(data(bytes)))),
    }
    words.join(" ")
}

/// Whether the checksum of DCCP or UDP-Lite fits, which covers the addresses (RFC 4340 section 9.1,
/// RFC 3828 section 3.1).
fn covered_sum(packet: &[u8]) -> Option<String> {
    let body = body(packet);
    let all = body.len();
    let covers = match (packet[9], is_fragment(packet)) {
        (DCCP, false) if all >= 12 => all,
        (UDP_LITE, false) if all >= 8 => match usize::from(word(body, 4)) {
            0 => all,
            length => length.clamp(8, all),
        },
        _ => return None,
    };
    let pseudo = [u16::from(packet[9]), all as u16];
    let total = covered(&body[..covers])
        .fold(sum_with_addresses(packet, &pseudo), |total, word| sum(&[total, word]));
    Some(if total == 0 { "covered sum ok" } else { "covered sum wrong" }.to_owned())
}

/// The words of some bytes, the last one filled up.
fn covered(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.chunks(2).map(|pair| u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]))
}

/// Addresses, ports and header fields of a packet, or of a quoted one; `invariant` adds what stands
/// for its checksum.
fn headers(packet: &[u8], invariant: bool, known: &Known) -> String {
    let (protocol, body) = (packet[9], body(packet));
    let Transport { text, ids, checksum } = Transport::of(packet);
    let ends = [address(packet, 12), address(packet, 16)];
    let name = |at: usize| {
        let remote = (ends[1 - at], ids[1 - at].unwrap_or(0));
        endpoint_name(protocol, (ends[at], ids[at]), remote, known)
    };
    let mut words = vec![
        format!("{} > {} {text}", name(0), name(1)),
        format!("ttl {} tos {:02x}", packet[8], packet[1]),
    ];
    let fragment = word(packet, 6);
    words.extend((fragment & 0x4000 != 0).then(|| "DF".to_owned()));
    words.extend((fragment & 0x2000 != 0).then(|| "MF".to_owned()));
    match packet.get(20..header_length(packet)).unwrap_or_default() {
        [] => (),
        // Timestamps: the router's clock is its own.
        [0x44, length, pointer, overflow, ..] => {
            words.push(format!("options 44{length:02x}{pointer:02x}{overflow:02x} and times"));
        }
        options => words.push(format!("options {}", hex(options))),
    }
    if let Some(at) = checksum.filter(|at| invariant && body.len() >= at + 2) {
        let field = word(body, at);
        words.push(match (protocol, field) {
            (17, 0) => "without sum".to_owned(),
            (1, _) => format!("sum {:04x}", sum(&[field, word(body, 4)])),
            _ => {
                let ports = [field, word(body, 0), word(body, 2)];
                format!("sum {:04x}", sum_with_addresses(packet, &ports))
            }
        });
    }
    words.join(" ")
}

/// What follows the IP header.
struct Transport {
    text: String,
    /// Ports or identifiers of source and destination.
    ids: [Option<u16>; 2],
    /// Where the checksum stands.
    checksum: Option<usize>,
}

impl Transport {
    fn of(packet: &[u8]) -> Self {
        let (protocol, body) = (packet[9], body(packet));
        let offset = (word(packet, 6) & 0x1fff) * 8;
        let ports = |body: &[u8]| [0, 2].map(|at| Some(word(body, at)));
        match (protocol, offset) {
            (1, 0) if body.len() >= 8 => {
                let (kind, code, id) = (body[0], body[1], Some(word(body, 4)));
                let (ids, rest) = match kind {
                    8 | 13 | 15 | 17 => ([id, None], word(body, 6).to_string()),
                    0 | 14 | 16 | 18 => ([None, id], word(body, 6).to_string()),
                    _ => ([None, None], hex(&body[4..8])),
                };
                let text = format!("icmp {kind}/{code} {rest}");
                // Of an error the checksum covers the quote: it is judged as a whole.
                Self { text, ids, checksum: ids.iter().any(Option::is_some).then_some(2) }
            }
            (6, 0) if body.len() >= 20 => {
                let names = ["F", "S", "R", "P", "A", "U", "E", "C"];
                let flags = (0..8).filter(|bit| body[13] >> bit & 1 != 0);
                let flags: String = flags.map(|bit| names[bit]).collect();
                let header = (usize::from(body[12] >> 4) * 4).clamp(20, body.len());
                let text = format!(
                    "tcp {flags} seq {} ack {} window {} urgent {} options {}",
                    hex(&body[4..8]),
                    hex(&body[8..12]),
                    word(body, 14),
                    word(body, 18),
                    hex(&body[20..header])
                );
                Self { text, ids: ports(body), checksum: Some(16) }
            }
            (6, 0) if body.len() >= 8 => {
                let text = format!("tcp cut off seq {}", hex(&body[4..8]));
                Self { text, ids: ports(body), checksum: None }
            }
            (17, 0) if body.len() >= 8 => {
                let text = format!("udp {}", word(body, 4));
                Self { text, ids: ports(body), checksum: Some(6) }
            }
            _ => {
                let text = format!("protocol {protocol} offset {offset}");
                Self { text, ids: [None, None], checksum: None }
            }
        }
    }
}

/// An end of a packet: a name for the address, and for an external port whose it is.
fn endpoint_name(
    protocol: u8,
    (address, id): (Ipv4Addr, Option<u16>),
    remote: Endpoint,
    known: &Known,
) -> String {
    let host = address_name(address);
    let Some(id) = id else { return host };
    let owner = known.owner(protocol, id, remote).filter(|_| address == ROUTER_WAN);
    match owner {
        Some((inside, earlier)) => {
            let primes = "'".repeat(earlier);
            format!("{host}:<{}:{}{primes}>", address_name(inside.0), inside.1)
        }
        None => format!("{host}:{id}"),
    }
}

fn address_name(address: Ipv4Addr) -> String {
    let names = [
        (A, "a"),
        (B, "b"),
        (NARROW, "narrow"),
        (R1, "r1"),
        (R2, "r2"),
        (FAR, "far"),
        (NEIGHBOUR, "neighbour"),
        (HOP, "hop"),
        (ISP, "isp"),
        (ROUTER_LAN, "lan"),
        (ROUTER_WAN, "wan"),
    ];
    let name = names.iter().find(|(known, _)| *known == address);
    name.map_or_else(|| address.to_string(), |(_, name)| (*name).to_owned())
}

/// The packet that an ICMP error quotes, if enough of it to be named.
fn quote(packet: &[u8]) -> Option<&[u8]> {
    let error = Sent::of(packet).is_error() && word(packet, 6) & 0x1fff == 0;
    body(packet).get(8..).filter(|quote| error && quote.len() >= 20 && quote[0] >> 4 == 4)
}

fn is_fragment(packet: &[u8]) -> bool {
    word(packet, 6) & 0x3fff != 0
}

fn body(packet: &[u8]) -> &[u8] {
    packet.get(header_length(packet)..).unwrap_or_default()
}

/// What follows the transport header as far as it is known; all of it in later fragments.
fn data(packet: &[u8]) -> &[u8] {
    let body = body(packet);
    let header = match (packet[9], word(packet, 6) & 0x1fff) {
        (6, 0) if body.len() > 12 => usize::from(body[12] >> 4) * 4,
        // Of these a checksum in the header is named by itself.
        (1 | 17 | DCCP | UDP_LITE, 0) => 8,
        _ => 0,
    };
    body.get(header..).unwrap_or_default()
}

fn header_length(packet: &[u8]) -> usize {
    (usize::from(packet[0] & 0xf) * 4).max(20)
}

/// The one's-complement sum of some words and of the addresses of an IP header.
fn sum_with_addresses(packet: &[u8], words: &[u16]) -> u16 {
    let addresses = [12, 14, 16, 18].map(|at| word(packet, at));
    sum(&[&addresses, words].concat())
}

/// A one's-complement sum. There are two zeros; this is always the same one.
fn sum(words: &[u16]) -> u16 {
    let total: u32 = words.iter().map(|word| u32::from(*word)).sum();
    let folded = (total & 0xffff) + (total >> 16);
    match (folded & 0xffff) + (folded >> 16) {
        0xffff => 0,
        sum => sum as u16,
    }
}

/// Tells data apart (FNV-1a).
fn fingerprint(data: &[u8]) -> u32 {
    data.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn address(packet: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3])
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

#[cfg(test)]
mod tests {
    use masq_tests::{
        checksum::{self, Transport},
        packet::{Packet, reseal},
    };

    use super::*;
    use crate::case::Flow;

    fn captured(bytes: Vec<u8>) -> Captured {
        let bad = checksum::check(&bytes, Transport::Whole).err();
        Captured { received: true, length: bytes.len(), bytes, bad }
    }

    fn line(bytes: Vec<u8>, known: &Known) -> String {
        let sent = Sent::of(&bytes);
        describe(&captured(bytes), sent, known)
    }

    /// A flow from port 2001 of host A, with this external port.
    fn known(external: u16) -> Known {
        let mut known = Known::default();
        let (inside, remote) = ((A, 2001), (R1, 53));
        known.note(Flow { protocol: 17, inside, remote, external });
        known
    }

    #[test]
    fn every_bit_counts() {
        let packet = Packet::udp((ROUTER_WAN, 2001), (R1, 53), b"question").options(&[7, 4, 4, 0]);
        let packet = packet.bytes();
        let good = line(packet.clone(), &known(2001));
        // Version and header length decide how all the rest is read.
        for bit in 8..packet.len() * 8 {
            let mut other = packet.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(line(other, &known(2001)), good, "bit {bit}");
        }
    }

    #[test]
    fn the_choice_of_port_does_not_count() {
        let quoted = |port| Packet::udp((ROUTER_WAN, port), (R1, 53), b"question").bytes();
        let error = |port| Packet::icmp(ROUTER_WAN, R2, (3, 1), 0, &quoted(port)).bytes();
        let fragment = |port| Packet::udp((ROUTER_WAN, port), (R1, 53), &[7; 40]).fragment(0, 24);
        assert_eq!(line(quoted(2001), &known(2001)), line(quoted(40_077), &known(40_077)));
        assert_eq!(line(error(2001), &known(2001)), line(error(40_077), &known(40_077)));
        let fragments = [2001, 40_077].map(|port| line(fragment(port).bytes(), &known(port)));
        assert_eq!(fragments[0], fragments[1]);
        assert_ne!(line(quoted(2001), &known(40_077)), line(quoted(40_077), &known(40_077)));
    }

    #[test]
    fn a_quoted_checksum_that_was_not_translated_is_seen() {
        let mut quote = Packet::udp((A, 2001), (R1, 53), b"question").bytes();
        let good = Packet::icmp(HOP, A, (3, 1), 0, &quote).bytes();
        quote[27] ^= 1;
        let bad = Packet::icmp(HOP, A, (3, 1), 0, &quote).bytes();
        let known = Known::default();
        assert_ne!(line(good, &known), line(bad, &known));
    }

    #[test]
    fn a_second_external_port_of_an_endpoint_is_seen() {
        let mut known = known(2001);
        known.note(Flow { protocol: 17, inside: (A, 2001), remote: (R2, 53), external: 40_077 });
        let to_second = Packet::udp((ROUTER_WAN, 40_077), (R2, 53), b"").bytes();
        assert!(line(to_second, &known).starts_with("wan:<a:2001'> > r2:53 "));
    }

    #[test]
    fn a_packet_of_the_router_may_have_any_identification() {
        let sent = Sent::of(&Packet::udp((A, 2001), (R1, 53), b"").bytes());
        let error = |id| {
            let mut bytes = Packet::icmp(ROUTER_LAN, A, (11, 0), 0, &[0x45; 28]).id(id).bytes();
            reseal(&mut bytes);
            describe(&captured(bytes), sent, &Known::default())
        };
        assert_eq!(error(1), error(2));
    }
}
