//! Packets that are too big for what comes next: on the way out, and on the inside.

use masq_tests::{lab::ROUTER_WAN, packet::Packet};

use crate::{
    case::{A, Case, FAR, FAR_MTU, NARROW, NARROW_MTU},
    generate::Generator,
};

/// The cases of this group.
pub fn cases(generator: &mut Generator) -> Vec<Case> {
    let mut cases = Vec::new();
    for first in [true, false] {
        for whole in [true, false] {
            cases.push(datagrams(generator, first, whole));
            cases.push(pings(generator, first, whole));
        }
    }
    cases
}

/// How a case is called.
fn name(kind: &str, first: bool, whole: bool) -> String {
    let whole = if whole { "not to be fragmented" } else { "may be fragmented" };
    format!("{kind}, {whole}, {}", if first { "first" } else { "established" })
}

/// A packet that may be fragmented or not.
fn with_flag(packet: Packet, whole: bool) -> Packet {
    if whole { packet } else { packet.may_be_fragmented() }
}

fn datagrams(generator: &mut Generator, first: bool, whole: bool) -> Case {
    let (inside, remote) = ((NARROW, generator.port()), (FAR, generator.port()));
    let question = move |length| with_flag(Packet::udp(inside, remote, &vec![1; length]), whole);
    let mut case = Case::new(name("datagrams", first, whole));
    if !first {
        case = case.a("small question", question(40)).wan("small answer", move |k| {
            Packet::udp(remote, (ROUTER_WAN, k.external(17, inside, remote)), b"small")
        });
    }
    for length in [FAR_MTU - 28, FAR_MTU - 27, 1472] {
        case = case.a(format!("{length} bytes out"), question(length));
    }
    for length in [NARROW_MTU - 28, NARROW_MTU - 27, FAR_MTU - 28] {
        case = case.wan(format!("{length} bytes in"), move |k| {
            let to = (ROUTER_WAN, k.external(17, inside, remote));
            with_flag(Packet::udp(remote, to, &vec![2; length]), whole)
        });
    }
    case
}

fn pings(generator: &mut Generator, first: bool, whole: bool) -> Case {
    let inside = (A, generator.port());
    let request = move |length| with_flag(Packet::echo(inside, FAR, &vec![1; length]), whole);
    let mut case = Case::new(name("pings", first, whole));
    if !first {
        case = case.a("small request", request(40)).wan("small reply", move |k| {
            Packet::echo_reply(FAR, (ROUTER_WAN, k.external(1, inside, (FAR, 0))), b"small")
        });
    }
    for length in [FAR_MTU - 28, FAR_MTU - 27, 1472] {
        case = case.a(format!("{length} bytes out"), request(length));
    }
    case
}
