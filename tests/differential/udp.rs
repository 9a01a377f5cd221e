//! Datagrams of flows: questions and answers, who else may send to a mapping, and datagrams that are
//! not as they should be.

use masq_tests::{
    lab::ROUTER_WAN,
    packet::{Endpoint, Packet},
};

use crate::{
    case::{A, B, Case, Change, Known, R1, R2, changed},
    generate::Generator,
};

/// The cases of this group.
pub fn cases(generator: &mut Generator) -> Vec<Case> {
    let mut cases: Vec<_> = (0..8).map(|_| exchange(generator)).collect();
    cases.push(two_hosts(generator));
    cases.push(others(generator));
    cases.extend(checksums(generator));
    cases.extend(lengths(generator));
    cases.push(port_zero(generator));
    cases
}

/// A host's endpoint and a remote one.
fn ends(generator: &mut Generator) -> (Endpoint, Endpoint) {
    ((A, generator.port()), (R1, generator.port()))
}

fn external(known: &Known, inside: Endpoint, remote: Endpoint) -> Endpoint {
    (ROUTER_WAN, known.external(17, inside, remote))
}

fn exchange(generator: &mut Generator) -> Case {
    let (inside, remote) = ends(generator);
    let mut case = Case::new("exchange");
    for _ in 0..3 {
        let (look, data) = (generator.look(), generator.data(1400));
        case = case.a("question", look.on(Packet::udp(inside, remote, &data)));
        let (look, data) = (generator.look(), generator.data(1400));
        case = case.wan("answer", move |k| {
            look.on(Packet::udp(remote, external(k, inside, remote), &data))
        });
    }
    case
}

/// Two hosts use the same port towards the same remote endpoint, and another.
fn two_hosts(generator: &mut Generator) -> Case {
    let (port, remote) = (generator.port(), generator.port());
    let (a, b) = ((A, port), (B, port));
    Case::new("two hosts with the same port")
        .a("first to r1", Packet::udp(a, (R1, remote), b"a1"))
        .b("second to r1", Packet::udp(b, (R1, remote), b"b1"))
        .b("second to r2", Packet::udp(b, (R2, remote), b"b2"))
        .a("first to r2", Packet::udp(a, (R2, remote), b"a2"))
        .wan("answer to the first", move |k| {
            Packet::udp((R2, remote), external(k, a, (R2, remote)), b"to a")
        })
        .wan("answer to the second", move |k| {
            Packet::udp((R2, remote), external(k, b, (R2, remote)), b"to b")
        })
}

/// Whoever has not been asked.
fn others(generator: &mut Generator) -> Case {
    let (inside, remote) = ends(generator);
    let other_port = (R1, generator.port());
    let to = move |k: &Known| external(k, inside, remote);
    Case::new("others")
        .a("question", Packet::udp(inside, remote, b"question"))
        .wan("another port", move |k| Packet::udp(other_port, to(k), b"unasked"))
        .wan("another host", move |k| Packet::udp((R2, remote.1), to(k), b"unasked"))
        .wan("answer", move |k| Packet::udp(remote, to(k), b"answer"))
}

/// Without a checksum, and with a wrong one: on the first packet of a flow and on later ones.
fn checksums(generator: &mut Generator) -> Vec<Case> {
    let damages: [(&str, Change); 3] = [
        ("no checksum", |packet| packet[26..28].fill(0)),
        ("wrong checksum", |packet| packet[27] ^= 0x10),
        ("changed data", |packet| packet[30] ^= 1),
    ];
    let case = |generator: &mut Generator, name: String, damage: Change, first: bool| {
        let (inside, remote) = ends(generator);
        let damaged = move |packet| changed(packet, damage);
        let mut case = Case::new(name);
        if !first {
            case = case
                .a("question", Packet::udp(inside, remote, b"question"))
                .wan("answer", move |k| {
                    Packet::udp(remote, external(k, inside, remote), b"answer")
                });
        }
        case.a("damaged question", damaged(Packet::udp(inside, remote, b"question")))
            .wan("damaged answer", move |k| {
                damaged(Packet::udp(remote, external(k, inside, remote), b"answer"))
            })
            .a("question again", Packet::udp(inside, remote, b"question"))
            .wan("answer again", move |k| {
                Packet::udp(remote, external(k, inside, remote), b"answer")
            })
    };
    let mut cases = Vec::new();
    for (name, damage) in damages {
        cases.push(case(generator, format!("{name} first"), damage, true));
        cases.push(case(generator, format!("{name} later"), damage, false));
    }
    cases
}

/// The length field says more or less than there is.
fn lengths(generator: &mut Generator) -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, length) in [("too long", 40_u16), ("shorter", 12), ("too short", 7), ("zero", 0)] {
        let (inside, remote) = ends(generator);
        let with_length = move |from: Endpoint, to: Endpoint| {
            let mut body = vec![0; 16];
            body[4..6].copy_from_slice(&length.to_be_bytes());
            let ports = [from.1, to.1];
            body[..4].copy_from_slice(ports.map(u16::to_be_bytes).as_flattened());
            Packet::new(from.0, to.0, 17, &body)
        };
        let case = Case::new(format!("length {name}"))
            .a("question", Packet::udp(inside, remote, b"question"))
            .a("strange question", with_length(inside, remote))
            .wan("strange answer", move |k| with_length(remote, external(k, inside, remote)));
        cases.push(case);
    }
    cases
}

/// Port 0 is a number like others on the wire, but nobody can be asked to use it.
fn port_zero(generator: &mut Generator) -> Case {
    let (inside, remote) = ends(generator);
    let zero = (A, 0);
    Case::new("port zero")
        .a("from it", Packet::udp(zero, remote, b"question"))
        .wan("answer to it", move |k| Packet::udp(remote, external(k, zero, remote), b"answer"))
        .a("to it", Packet::udp(inside, (R1, 0), b"question"))
        .wan("answer from it", move |k| {
            Packet::udp((R1, 0), external(k, inside, (R1, 0)), b"answer")
        })
}
