//! ICMP queries and their answers, and every other ICMP message that is no error.

use std::net::Ipv4Addr;

use masq_tests::{
    lab::{ROUTER_LAN, ROUTER_WAN},
    packet::{Packet, reseal},
};

use crate::{
    case::{A, B, Case, Change, Known, R1, R2, changed},
    generate::Generator,
};

/// The queries that have an identifier, and the types of their answers (RFC 792, RFC 950).
const QUERIES: [(&str, u8, u8); 4] =
    [("echo", 8, 0), ("timestamp", 13, 14), ("information", 15, 16), ("address mask", 17, 18)];
/// The types of errors: they are another group's subject.
const ERRORS: [u8; 5] = [3, 4, 5, 11, 12];

/// The cases of this group.
pub fn cases(generator: &mut Generator) -> Vec<Case> {
    let mut cases: Vec<_> = (0..4).map(|_| pings(generator)).collect();
    cases.extend(queries(generator));
    cases.push(two_hosts(generator));
    cases.push(others(generator));
    cases.push(unasked(generator));
    cases.extend(damaged(generator));
    cases.extend(to_the_router(generator));
    cases.push(all_types());
    cases
}

/// A message of a query with this identifier.
fn message(ends: (Ipv4Addr, Ipv4Addr), kind: u8, id: u16, sequence: u16, data: &[u8]) -> Packet {
    Packet::icmp(ends.0, ends.1, (kind, 0), u32::from(id) << 16 | u32::from(sequence), data)
}

fn external(known: &Known, inside: (Ipv4Addr, u16)) -> u16 {
    known.external(1, inside, (R1, 0))
}

fn pings(generator: &mut Generator) -> Case {
    let inside = (A, generator.port());
    let mut case = Case::new("ping");
    for sequence in 0..3 {
        let (look, data) = (generator.look(), generator.data(1400));
        let request = message((A, R1), 8, inside.1, sequence, &data);
        let answer = generator.look();
        case = case.a("request", look.on(request)).wan("reply", move |k| {
            let ends = (R1, ROUTER_WAN);
            answer.on(message(ends, 0, external(k, inside), sequence, &data))
        });
    }
    case
}

fn queries(generator: &mut Generator) -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, request, reply) in QUERIES {
        let inside = (A, generator.port());
        let case = Case::new(name)
            .a("request", message((A, R1), request, inside.1, 1, &[0; 12]))
            .wan("reply", move |k| {
                message((R1, ROUTER_WAN), reply, external(k, inside), 1, &[0; 12])
            })
            .wan("reply again", move |k| {
                message((R1, ROUTER_WAN), reply, external(k, inside), 1, &[0; 12])
            });
        cases.push(case);
    }
    cases
}

fn two_hosts(generator: &mut Generator) -> Case {
    let id = generator.port();
    let mut case = Case::new("two hosts with the same identifier");
    for remote in [R1, R2] {
        case = case
            .a("first", message((A, remote), 8, id, 1, b"first"))
            .b("second", message((B, remote), 8, id, 1, b"second"));
    }
    for (name, host) in [("reply to the first", A), ("reply to the second", B)] {
        case = case
            .wan(name, move |k| message((R1, ROUTER_WAN), 0, external(k, (host, id)), 1, b"reply"));
    }
    case
}

/// A reply of a host that was not asked, and one of another kind than the request.
fn others(generator: &mut Generator) -> Case {
    let inside = (A, generator.port());
    Case::new("others")
        .a("request", message((A, R1), 8, inside.1, 1, b"ping"))
        .wan("reply of another host", move |k| {
            message((R2, ROUTER_WAN), 0, external(k, inside), 1, b"ping")
        })
        .wan("reply of another kind", move |k| {
            message((R1, ROUTER_WAN), 14, external(k, inside), 1, &[0; 12])
        })
        .wan("request to the identifier", move |k| {
            message((R1, ROUTER_WAN), 8, external(k, inside), 1, b"ping")
        })
        .wan("reply", move |k| message((R1, ROUTER_WAN), 0, external(k, inside), 1, b"ping"))
}

/// Replies to what nobody has asked.
fn unasked(generator: &mut Generator) -> Case {
    let mut case = Case::new("unasked");
    for (name, _, reply) in QUERIES {
        let id = generator.port();
        case =
            case.a(format!("{name} reply out"), message((A, R1), reply, id, 1, &[0; 12])).stranger(
                format!("{name} reply in"),
                message((R1, ROUTER_WAN), reply, id, 1, &[0; 12]),
            );
    }
    case
}

/// Wrong checksums and codes, and messages that are too short.
fn damaged(generator: &mut Generator) -> Vec<Case> {
    let changes: [(&str, Change); 3] = [
        ("wrong checksum", |packet| packet[23] ^= 1),
        ("changed data", |packet| packet[30] ^= 1),
        ("strange code", |packet| {
            packet[21] = 7;
            reseal(packet);
        }),
    ];
    let mut cases = Vec::new();
    for (name, change) in changes {
        let inside = (A, generator.port());
        let changed = move |packet| changed(packet, change);
        let case = Case::new(name)
            .a("damaged request", changed(message((A, R1), 8, inside.1, 1, b"damaged")))
            .a("request", message((A, R1), 8, inside.1, 2, b"good"))
            .wan("damaged reply", move |k| {
                changed(message((R1, ROUTER_WAN), 0, external(k, inside), 1, b"damaged"))
            })
            .wan("reply", move |k| message((R1, ROUTER_WAN), 0, external(k, inside), 2, b"good"));
        cases.push(case);
    }
    cases.push(Case::new("too short").a("request", Packet::new(A, R1, 1, &[8, 0, 0xf7, 0xff])));
    cases
}

/// The router answers for itself on both sides.
fn to_the_router(generator: &mut Generator) -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, request, _) in QUERIES {
        let id = generator.port();
        let ask = |from, to| message((from, to), request, id, 1, &[0; 12]);
        let case = Case::new(format!("{name} to the router"))
            .a("from the inside to its address there", ask(A, ROUTER_LAN))
            .a("from the inside to the external address", ask(A, ROUTER_WAN))
            .stranger("from outside", ask(R1, ROUTER_WAN));
        cases.push(case);
    }
    cases
}

/// Every type that is no query, no reply and no error, in both directions.
fn all_types() -> Case {
    let known = QUERIES.iter().flat_map(|(_, request, reply)| [*request, *reply]);
    let known: Vec<_> = known.chain(ERRORS).collect();
    let mut case = Case::new("other types");
    for kind in (0..=255).filter(|kind| !known.contains(kind)) {
        let packet = |from, to| Packet::icmp(from, to, (kind, 0), 0x0102_0304, &[0; 12]);
        case = case
            .a(format!("{kind} out"), packet(A, R1))
            .stranger(format!("{kind} in"), packet(R1, ROUTER_WAN));
    }
    case
}
