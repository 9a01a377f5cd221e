//! What a packet is to a NAT (RFC 3022, RFC 5508 section 2): a packet of a flow, an ICMP error with
//! the packet that it quotes, a fragment without ports, or nothing that can be translated.

use crate::{
    oracle::sessions::Key,
    wire::{AH, ICMP, IGMP, Ip, TCP, UDP, header_is_good, sum, transport_header, word},
};

/// TCP flags.
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// What a packet is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// TCP, UDP, an ICMP query or its answer, or a protocol without ports, of which only the
    /// addresses count (RFC 2663 section 4.1.1).
    Flow(Flow),
    /// An ICMP error; what it quotes, if that can be read.
    Error(Option<Quote>),
    /// An ICMP message that is neither.
    OtherMessage,
    /// A fragment that does not begin its datagram.
    Later,
    /// A protocol that signs its addresses, or that is between neighbours only.
    Foreign,
    /// Its transport header is damaged, or not all there.
    Damaged,
}

/// A packet of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flow {
    /// Source and destination.
    pub key: Key,
    /// Whether it may be the first one of its flow.
    pub opens: bool,
    /// Whether it is a TCP segment with SYN.
    pub syn: bool,
}

/// The packet that an ICMP error quotes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quote {
    /// Where it begins, from the IP header of the message on.
    pub start: usize,
    /// Its header.
    pub ip: Ip,
    /// Its source and destination.
    pub key: Key,
    /// Whether it is quoted as RFC 1812 section 4.3.2.3 and RFC 792 want it: nothing about it is
    /// odd.
    pub clean: bool,
    /// Whether the checksums of the message and of the quoted header are right. (Of a message in
    /// fragments, nobody can tell.)
    pub good: bool,
    /// Whether the quoted packet has a source route (RFC 5508 REQ-10b), or options that cannot be
    /// read.
    pub source_route: bool,
}

/// What the packet with the header `ip` is.
pub fn kind(packet: &[u8], ip: &Ip) -> Kind {
    if ip.is_later_fragment() {
        // One that would overwrite TCP's flags is an attack (RFC 3128).
        let overwrites = ip.protocol == TCP && ip.fragment & 0x1fff == 1;
        return if overwrites { Kind::Damaged } else { Kind::Later };
    }
    let transport = &packet[ip.header..ip.total];
    if transport.len() < transport_header(ip.protocol) {
        return Kind::Damaged;
    }
    match ip.protocol {
        TCP => {
            let header = usize::from(transport[12] >> 4) * 4;
            if header < 20 || header > transport.len() {
                return Kind::Damaged;
            }
            let flags = transport[13];
            let opens = flags & (SYN | ACK | RST) == SYN;
            Kind::Flow(Flow { key: ports(ip, transport), opens, syn: flags & SYN != 0 })
        }
        UDP => Kind::Flow(Flow { key: ports(ip, transport), opens: true, syn: false }),
        ICMP => match query(ip, transport) {
            Some((key, request)) => Kind::Flow(Flow { key, opens: request, syn: false }),
            None if is_error(transport[0]) => Kind::Error(quote(packet, ip)),
            None => Kind::OtherMessage,
        },
        0 | AH | IGMP => Kind::Foreign,
        _ => Kind::Flow(Flow { key: addresses(ip), opens: true, syn: false }),
    }
}

/// Destination unreachable, time exceeded, parameter problem. Source quench (4) is obsolete and does
/// not cross (RFC 6633 section 5).
fn is_error(message: u8) -> bool {
    matches!(message, 3 | 11 | 12)
}

fn addresses(ip: &Ip) -> Key {
    Key { protocol: ip.protocol, source: (ip.source, 0), destination: (ip.destination, 0) }
}

fn ports(ip: &Ip, transport: &[u8]) -> Key {
    Key {
        protocol: ip.protocol,
        source: (ip.source, word(transport, 0)),
        destination: (ip.destination, word(transport, 2)),
    }
}

/// An ICMP query (echo, timestamp) or its answer; whether it is the query.
fn query(ip: &Ip, transport: &[u8]) -> Option<(Key, bool)> {
    let id = word(transport, 4);
    let (source, destination) = match transport[0] {
        8 | 13 => (id, 0),
        0 | 14 => (0, id),
        _ => return None,
    };
    let key = Key {
        protocol: ICMP,
        source: (ip.source, source),
        destination: (ip.destination, destination),
    };
    Some((key, matches!(transport[0], 8 | 13)))
}

/// Reads what an ICMP error quotes: a whole IP header, and where there are ports eight bytes behind
/// it.
fn quote(packet: &[u8], ip: &Ip) -> Option<Quote> {
    let start = ip.header + 8;
    let quoted = &packet[start..ip.total];
    let inner = Ip::read_header(quoted)?;
    let transport = &quoted[inner.header..];
    let has_ports = matches!(inner.protocol, TCP | UDP | ICMP);
    if inner.is_later_fragment() || has_ports && transport.len() < 8 {
        return None;
    }
    let key = match inner.protocol {
        TCP | UDP => ports(&inner, transport),
        // There are no errors about errors (RFC 1122 section 3.2.2).
        ICMP => query(&inner, transport)?.0,
        _ => addresses(&inner),
    };
    let enough = inner.total >= inner.header + transport_header(inner.protocol);
    let message = &packet[ip.header..ip.total];
    let good =
        (sum(message) == 0 || ip.is_first_fragment()) && header_is_good(&quoted[..inner.header]);
    let source_route = has_source_route(&quoted[20..inner.header]);
    Some(Quote { start, ip: inner, key, clean: enough && inner.is_whole(), good, source_route })
}

/// Whether a list of IP options (RFC 791 section 3.1) holds a loose or strict source route, or
/// damage.
fn has_source_route(mut options: &[u8]) -> bool {
    loop {
        match options {
            [] | [0, ..] => return false,
            [1, rest @ ..] => options = rest,
            [131 | 137, ..] | [_] | [_, 0 | 1, ..] => return true,
            [_, length, ..] => {
                options = options.get(usize::from(*length)..).unwrap_or_default();
            }
        }
    }
}
