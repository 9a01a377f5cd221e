//! ICMP errors in both directions, about flows that live, about others and about nothing.

use std::net::Ipv4Addr;

use masq_tests::{
    checksum,
    lab::ROUTER_WAN,
    packet::{Endpoint, Packet, tcp},
};

use crate::{
    case::{A, B, Case, Change, HOP, Known, R1, R2, changed},
    generate::Generator,
    segment::Segment,
};

/// The cases of this group.
pub fn cases(generator: &mut Generator) -> Vec<Case> {
    let mut cases = Vec::new();
    for protocol in [17, 6, 1] {
        cases.push(kinds(generator, protocol));
        cases.push(shapes(generator, protocol));
        cases.push(not_about_it(generator, protocol));
    }
    cases.push(closing(generator));
    cases
}

/// How a TCP connection opens.
const SYN: Segment = Segment::new(tcp::SYN, 1000, 0);
/// The answer.
const SYN_ACK: Segment = Segment::new(tcp::SYN | tcp::ACK, 2000, 1001);

/// A flow between host A and R1.
#[derive(Clone, Copy)]
struct Flow {
    protocol: u8,
    inside: Endpoint,
    remote: Endpoint,
}

impl Flow {
    fn new(generator: &mut Generator, protocol: u8) -> Self {
        let remote = if protocol == 1 { 0 } else { generator.port() };
        Self { protocol, inside: (A, generator.port()), remote: (R1, remote) }
    }

    /// A case in which the flow has sent and received.
    fn established(self, name: &str) -> Case {
        let name = format!("{name}, {}", self.name());
        Case::new(name)
            .a("first", self.outbound(self.inside))
            .wan("answer", move |k| self.inbound(self.external(k)))
    }

    fn name(self) -> &'static str {
        match self.protocol {
            1 => "ping",
            6 => "tcp",
            _ => "udp",
        }
    }

    fn external(self, known: &Known) -> Endpoint {
        (ROUTER_WAN, known.external(self.protocol, self.inside, self.remote))
    }

    /// A packet of the flow from its inside end, as seen with this endpoint.
    fn outbound(self, inside: Endpoint) -> Packet {
        match self.protocol {
            1 => Packet::echo(inside, self.remote.0, b"echo request data"),
            6 => SYN.packet(inside, self.remote),
            _ => Packet::udp(inside, self.remote, b"question of some length"),
        }
    }

    /// A packet of the flow from its remote end.
    fn inbound(self, inside: Endpoint) -> Packet {
        match self.protocol {
            1 => Packet::echo_reply(self.remote.0, inside, b"echo request data"),
            6 => SYN_ACK.packet(self.remote, inside),
            _ => Packet::udp(self.remote, inside, b"answer of some length"),
        }
    }
}

/// Error types and codes, and the second word of the header.
fn all_kinds() -> Vec<(u8, u8, u32)> {
    let unreachable = (0..16).map(|code| (3, code, if code == 4 { 1400 } else { 0 }));
    let others = [(4, 0, 0), (5, 0, 0x0a00_0001), (5, 1, 0x0a00_0001), (11, 0, 0), (11, 1, 0)];
    unreachable.chain(others).chain([(12, 0, 0x1400_0000), (12, 1, 0), (3, 99, 0)]).collect()
}

/// Every kind in both directions, quoting as much as a router quotes at least, then all.
fn kinds(generator: &mut Generator, protocol: u8) -> Case {
    let flow = Flow::new(generator, protocol);
    let mut case = flow.established("kinds");
    for (kind, code, rest) in all_kinds() {
        for (length, name) in [(28, ""), (usize::MAX, ", long quote")] {
            let error = move |from, to, quoted: Packet| {
                let quoted = quoted.bytes();
                Packet::icmp(from, to, (kind, code), rest, &quoted[..length.min(quoted.len())])
            };
            case = case
                .wan(format!("{kind}/{code} in{name}"), move |k| {
                    error(HOP, ROUTER_WAN, flow.outbound(flow.external(k)).ttl(61))
                })
                .a(format!("{kind}/{code} out{name}"), error(A, R1, flow.inbound(flow.inside)));
        }
    }
    case.a("the flow lives", flow.outbound(flow.inside))
        .wan("and answers", move |k| flow.inbound(flow.external(k)))
}

/// Makes the checksum of an IP header fit.
fn seal_header(packet: &mut [u8]) {
    let length = usize::from(packet[0] & 0xf) * 4;
    let header = &mut packet[..length];
    header[10..12].fill(0);
    let sum = checksum::internet(header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// Quotes and errors of other shapes: lengths, options, wrong checksums.
fn shapes(generator: &mut Generator, protocol: u8) -> Case {
    let flow = Flow::new(generator, protocol);
    let mut case = flow.established("shapes");
    let quotes: [(&str, Change); 10] = [
        ("no transport", |quote| quote.truncate(20)),
        ("4 bytes of transport", |quote| quote.truncate(24)),
        ("half an ip header", |quote| quote.truncate(12)),
        ("nothing", Vec::clear),
        ("wrong ip checksum", |quote| quote[10] ^= 1),
        ("wrong transport checksum", |quote| {
            let at = match quote[9] {
                1 => 22,
                6 => 36,
                _ => 26,
            };
            quote[at] ^= 1;
        }),
        ("options", |quote| {
            quote[0] = 0x46;
            quote.splice(20..20, [1, 1, 1, 0]);
            seal_header(quote);
        }),
        ("version 6", |quote| {
            quote[0] = 0x65;
            seal_header(quote);
        }),
        ("short header length", |quote| {
            quote[0] = 0x44;
            seal_header(quote);
        }),
        ("later fragment", |quote| {
            quote[7] = 3;
            seal_header(quote);
        }),
    ];
    for (name, change) in quotes {
        let error = move |from, to, quoted: Packet| {
            Packet::icmp(from, to, (3, 1), 0, &changed(quoted, change))
        };
        case = case
            .wan(format!("{name} in"), move |k| {
                error(HOP, ROUTER_WAN, flow.outbound(flow.external(k)))
            })
            .a(format!("{name} out"), error(A, R1, flow.inbound(flow.inside)));
    }
    let errors: [(&str, Change); 3] = [
        ("wrong checksum", |error| error[23] ^= 1),
        ("wrong ip checksum of the error", |error| error[11] ^= 1),
        ("changed quote", |error| error[38] ^= 1),
    ];
    for (name, change) in errors {
        let error = move |from, to, quoted: Packet| {
            changed(Packet::icmp(from, to, (3, 1), 0, &quoted.bytes()), change)
        };
        case = case
            .wan(format!("{name} in"), move |k| {
                error(HOP, ROUTER_WAN, flow.outbound(flow.external(k)))
            })
            .a(format!("{name} out"), error(A, R1, flow.inbound(flow.inside)));
    }
    case
}

/// Errors about packets that no flow has sent, and of or to hosts that are not part of one.
fn not_about_it(generator: &mut Generator, protocol: u8) -> Case {
    let flow = Flow::new(generator, protocol);
    let other = Flow::new(generator, protocol);
    let error = |from: Ipv4Addr, to: Ipv4Addr, quoted: Packet| {
        Packet::icmp(from, to, (3, 1), 0, &quoted.bytes())
    };
    flow.established("not about it")
        .stranger("no such flow in", error(HOP, ROUTER_WAN, other.outbound((ROUTER_WAN, 65_000))))
        .a("no such flow out", error(A, R1, other.inbound(other.inside)))
        .wan("its own direction in", move |k| {
            error(HOP, ROUTER_WAN, flow.inbound(flow.external(k)))
        })
        .a("its own direction out", error(A, R1, flow.outbound(flow.inside)))
        .wan("with the inside address in", move |_| {
            error(HOP, ROUTER_WAN, flow.outbound(flow.inside))
        })
        .wan("to the inside address in", move |k| error(HOP, A, flow.outbound(flow.external(k))))
        .wan("of the remote host in", move |k| {
            error(R1, ROUTER_WAN, flow.outbound(flow.external(k)))
        })
        .a("to another host out", error(A, R2, flow.inbound(flow.inside)))
        .b("of another host out", error(B, R1, flow.inbound(flow.inside)))
        .wan("about an error in", move |k| {
            let inner = error(A, R1, flow.inbound(flow.external(k)));
            error(HOP, ROUTER_WAN, inner)
        })
        .wan("from an inside source in", move |k| {
            error(B, ROUTER_WAN, flow.outbound(flow.external(k)))
        })
}

/// An error does not end a connection, and one that is over gets none.
fn closing(generator: &mut Generator) -> Case {
    let flow = Flow::new(generator, 6);
    let error = move |k: &Known| {
        let quoted = flow.outbound(flow.external(k)).bytes();
        Packet::icmp(HOP, ROUTER_WAN, (3, 1), 0, &quoted)
    };
    flow.established("closing")
        .wan("rst", move |k| {
            Segment::new(tcp::RST | tcp::ACK, 2001, 1001).packet(flow.remote, flow.external(k))
        })
        .wan("error after the rst", error)
}
