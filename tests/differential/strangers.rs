//! What nobody has asked for, and what claims to come from or to go to where it cannot.

use std::net::Ipv4Addr;

use masq_tests::{
    lab::{ROUTER_LAN, ROUTER_WAN},
    packet::{Endpoint, Packet, tcp},
};

use crate::{
    case::{A, B, Case, Known, NEIGHBOUR, Place, R1, R2},
    generate::Generator,
};

/// The cases of this group.
pub fn cases(generator: &mut Generator) -> Vec<Case> {
    vec![
        unsolicited(generator),
        strange_sources_inside(generator),
        strange_destinations(generator),
        forged_sources_outside(generator),
        past_the_gateway(generator),
        hairpin(generator),
    ]
}

const fn ip(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

/// Packets to the external address that belong to nothing.
fn unsolicited(generator: &mut Generator) -> Case {
    let (from, to) = ((R1, generator.port()), (ROUTER_WAN, generator.port()));
    let mut case = Case::new("unsolicited").stranger("udp", Packet::udp(from, to, b"unasked"));
    let flags = [
        ("syn", tcp::SYN),
        ("ack", tcp::ACK),
        ("syn/ack", tcp::SYN | tcp::ACK),
        ("rst", tcp::RST),
        ("fin", tcp::FIN | tcp::ACK),
        ("no flags", 0),
    ];
    for (name, flags) in flags {
        case = case.stranger(name, Packet::tcp(from, to, flags, b""));
    }
    case.stranger("to a neighbour's address", Packet::udp(from, (NEIGHBOUR, 53), b"lost"))
        .stranger(
            "to the network's broadcast",
            Packet::udp(from, (ip(203, 0, 113, 255), 53), b"all"),
        )
        .stranger("to everybody", Packet::udp(from, (ip(255, 255, 255, 255), 67), b"all"))
        .stranger("to a group", Packet::udp(from, (ip(224, 0, 0, 251), 5353), b"group"))
}

/// Sources that no host behind the LAN interface has.
fn strange_sources_inside(generator: &mut Generator) -> Case {
    let sources = [
        ("nobody", ip(0, 0, 0, 0)),
        ("loopback", ip(127, 0, 0, 1)),
        ("link-local", ip(169, 254, 7, 7)),
        ("group", ip(224, 0, 0, 5)),
        ("reserved", ip(240, 0, 0, 1)),
        ("everybody", ip(255, 255, 255, 255)),
        ("another network", ip(10, 9, 9, 9)),
        ("a public address", ip(198, 18, 0, 1)),
        ("the router", ROUTER_LAN),
        ("the external address", ROUTER_WAN),
        ("the remote host", R1),
        ("a neighbour of the WAN", NEIGHBOUR),
        ("the broadcast of the LAN", ip(192, 168, 1, 255)),
        ("an unknown host of the LAN", ip(192, 168, 1, 200)),
        ("another LAN", ip(192, 168, 77, 7)),
    ];
    let mut case = Case::new("from the inside, source");
    for (name, source) in sources {
        let (port, remote) = (generator.port(), (R1, generator.port()));
        case = case
            .a(format!("{name} udp"), Packet::udp((source, port), remote, b"who am I?"))
            .a(format!("{name} tcp"), Packet::tcp((source, port), remote, tcp::SYN, b""))
            .a(format!("{name} ping"), Packet::echo((source, port), R1, b"who am I?"));
    }
    case
}

/// Destinations that are no host of the Internet.
fn strange_destinations(generator: &mut Generator) -> Case {
    let destinations = [
        ("nobody", ip(0, 0, 0, 0)),
        ("loopback", ip(127, 0, 0, 1)),
        ("link-local", ip(169, 254, 7, 7)),
        ("a local group", ip(224, 0, 0, 251)),
        ("a group", ip(239, 1, 2, 3)),
        ("reserved", ip(240, 0, 0, 1)),
        ("everybody", ip(255, 255, 255, 255)),
        ("the broadcast of the LAN", ip(192, 168, 1, 255)),
        ("the router", ROUTER_LAN),
        ("another LAN", ip(192, 168, 77, 7)),
        ("another private network", ip(10, 9, 9, 9)),
        ("a neighbour of the WAN, its broadcast", ip(203, 0, 113, 255)),
    ];
    let mut case = Case::new("from the inside, destination");
    for (name, destination) in destinations {
        let (from, to) = ((A, generator.port()), (destination, generator.port()));
        case = case
            .a(format!("{name} udp"), Packet::udp(from, to, b"anybody?"))
            .a(format!("{name} tcp"), Packet::tcp(from, to, tcp::SYN, b""));
    }
    case
}

/// From outside to a mapping, with a source that cannot be there.
fn forged_sources_outside(generator: &mut Generator) -> Case {
    let (inside, remote) = ((A, generator.port()), (R1, generator.port()));
    let external = move |k: &Known| (ROUTER_WAN, k.external(17, inside, remote));
    let sources = [
        ("a host of the LAN", B),
        ("the host itself", A),
        ("the router", ROUTER_LAN),
        ("the external address", ROUTER_WAN),
        ("loopback", ip(127, 0, 0, 1)),
        ("nobody", ip(0, 0, 0, 0)),
        ("a group", ip(224, 0, 0, 1)),
        ("everybody", ip(255, 255, 255, 255)),
    ];
    let mut case = Case::new("from outside, source")
        .a("question", Packet::udp(inside, remote, b"question"))
        .wan("answer", move |k| Packet::udp(remote, external(k), b"answer"));
    for (name, source) in sources {
        case = case
            .wan(format!("{name} to the mapping"), move |k| {
                Packet::udp((source, remote.1), external(k), b"forged")
            })
            .stranger(
                format!("{name} to the router"),
                Packet::tcp((source, remote.1), (ROUTER_WAN, 80), tcp::SYN, b""),
            );
    }
    case
}

/// From outside straight to addresses of the inside.
fn past_the_gateway(generator: &mut Generator) -> Case {
    let (inside, remote) = ((A, generator.port()), (R1, generator.port()));
    Case::new("past the gateway")
        .a("question", Packet::udp(inside, remote, b"question"))
        .stranger("to the host of a flow", Packet::udp(remote, inside, b"answer"))
        .stranger("to another host", Packet::udp(remote, (B, inside.1), b"unasked"))
        .stranger("to no host", Packet::udp(remote, (ip(192, 168, 1, 200), 53), b"unasked"))
        .stranger("to another LAN", Packet::udp(remote, (ip(192, 168, 77, 7), 53), b"unasked"))
        .stranger("to the router's address there", Packet::udp(remote, (ROUTER_LAN, 53), b"hello"))
        .stranger("ping to a host", Packet::echo((R1, 7), A, b"hello"))
        .stranger("syn to a host", Packet::tcp(remote, (A, 22), tcp::SYN, b""))
}

/// From the inside to the external address: to the mapping of another host, and to the router.
fn hairpin(generator: &mut Generator) -> Case {
    let [a, b]: [Endpoint; 2] = [(A, generator.port()), (B, generator.port())];
    let remote = (R2, generator.port());
    let to = move |k: &Known, host| (ROUTER_WAN, k.external(17, host, remote));
    let closed = (ROUTER_WAN, generator.port());
    Case::new("to the external address")
        .a("a meets a server", Packet::udp(a, remote, b"I am a"))
        .b("b meets a server", Packet::udp(b, remote, b"I am b"))
        .step("a to b", Place::A, move |k| vec![Packet::udp(a, to(k, b), b"hello b").bytes()])
        .step("b to a", Place::B, move |k| vec![Packet::udp(b, to(k, a), b"hello a").bytes()])
        .step("a to b again", Place::A, move |k| vec![Packet::udp(a, to(k, b), b"hello").bytes()])
        .a("to a closed udp port", Packet::udp(a, closed, b"service?"))
        .a("to a closed tcp port", Packet::tcp(a, closed, tcp::SYN, b""))
}
