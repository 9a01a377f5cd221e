//! Datagrams in fragments, in order and not, whole and not.
//!
//! All fragments of a datagram are one step: the kernel's masquerade puts them together and cuts
//! the datagram again, so when it sends what is its own business.

use std::net::Ipv4Addr;

use masq_tests::{
    lab::ROUTER_WAN,
    packet::{Endpoint, Packet},
};

use crate::{
    case::{A, B, Case, Known, Place, R1},
    generate::Generator,
};

/// The cases of this group.
pub fn cases(generator: &mut Generator) -> Vec<Case> {
    let mut cases = Vec::new();
    for _ in 0..3 {
        cases.push(in_order(generator));
    }
    cases.push(ping(generator));
    cases.push(orders(generator));
    cases.push(incomplete(generator));
    cases.push(same_identification(generator));
    cases
}

/// A flow of datagrams.
#[derive(Clone, Copy)]
struct Flow {
    inside: Endpoint,
    remote: Endpoint,
}

impl Flow {
    fn new(generator: &mut Generator, host: Ipv4Addr) -> Self {
        Self { inside: (host, generator.port()), remote: (R1, generator.port()) }
    }

    fn question(self, data: &[u8]) -> Packet {
        Packet::udp(self.inside, self.remote, data)
    }

    fn answer(self, known: &Known, data: &[u8]) -> Packet {
        Packet::udp(self.remote, (ROUTER_WAN, known.external(17, self.inside, self.remote)), data)
    }
}

/// A packet with so many bytes of payload in fragments of at most `size`.
fn cut(packet: &Packet, payload: usize, size: usize) -> Vec<Vec<u8>> {
    let starts = (0..payload).step_by(size);
    starts.map(|at| packet.clone().fragment(at, (at + size).min(payload)).bytes()).collect()
}

fn in_order(generator: &mut Generator) -> Case {
    let flow = Flow::new(generator, A);
    let mut case = Case::new("in order");
    for _ in 0..3 {
        // A multiple of eight; every datagram is longer than a fragment.
        let size = 8 * (10 + generator.below(170));
        let data = vec![generator.number() as u8; size + 1 + generator.below(3000)];
        let (out, back) = (generator.look(), generator.look());
        let (question, answer) = (data.clone(), data);
        let whole = question.len() + 8;
        case = case
            .burst("question", Place::A, cut(&out.on(flow.question(&question)), whole, size))
            .step("answer", Place::Wan, move |k| {
                cut(&back.on(flow.answer(k, &answer)), whole, size)
            });
    }
    case
}

fn ping(generator: &mut Generator) -> Case {
    let id = generator.port();
    let data = vec![7; 3000];
    Case::new("ping")
        .burst("request", Place::A, cut(&Packet::echo((A, id), R1, &data).id(77), 3008, 1480))
        .step("reply", Place::Wan, move |k| {
            let to = (ROUTER_WAN, k.external(1, (A, id), (R1, 0)));
            cut(&Packet::echo_reply(R1, to, &data).id(77), 3008, 1480)
        })
}

/// Three fragments in each order, one of them twice, and without checksum.
fn orders(generator: &mut Generator) -> Case {
    let flow = Flow::new(generator, A);
    let orders: [(&str, &[usize]); 7] = [
        ("last two swapped", &[0, 2, 1]),
        ("first two swapped", &[1, 0, 2]),
        ("first one last", &[1, 2, 0]),
        ("last one first", &[2, 0, 1]),
        ("backwards", &[2, 1, 0]),
        ("first one twice", &[0, 0, 1, 2]),
        ("second one twice", &[0, 1, 1, 2]),
    ];
    let mut case = Case::new("orders")
        .a("question", flow.question(b"question"))
        .wan("answer", move |k| flow.answer(k, b"answer"));
    for (at, (name, order)) in orders.into_iter().enumerate() {
        let id = 0x2000 + at as u16;
        let ordered = move |packet: Packet| -> Vec<_> {
            let parts = cut(&packet.id(id), 1208, 480);
            order.iter().map(|part| parts[*part].clone()).collect()
        };
        let data = vec![at as u8; 1200];
        case = case
            .burst(format!("{name} out"), Place::A, ordered(flow.question(&data)))
            .leads_to(3)
            .step(format!("{name} in"), Place::Wan, move |k| ordered(flow.answer(k, &data)))
            .leads_to(3);
    }
    case
}

/// A fragment is missing, overlaps another, or is too small for the ports.
fn incomplete(generator: &mut Generator) -> Case {
    let flow = Flow::new(generator, A);
    let part = |packet: &Packet, from, to| packet.clone().fragment(from, to).bytes();
    let sets: [(&str, &[(usize, usize)]); 6] = [
        ("no last one", &[(0, 480), (480, 960)]),
        ("no first one", &[(480, 960), (960, 1208)]),
        ("no second one", &[(0, 480), (960, 1208)]),
        ("overlapping", &[(0, 480), (240, 960), (960, 1208)]),
        ("ports only", &[(0, 8), (8, 1208)]),
        ("one only", &[(0, 8)]),
    ];
    let mut case = Case::new("incomplete")
        .a("question", flow.question(b"question"))
        .wan("answer", move |k| flow.answer(k, b"answer"));
    for (at, (name, parts)) in sets.into_iter().enumerate() {
        let id = 0x3000 + at as u16;
        let some = move |packet: Packet| -> Vec<_> {
            let packet = packet.id(id);
            parts.iter().map(|(from, to)| part(&packet, *from, *to)).collect()
        };
        let data = vec![at as u8; 1200];
        case = case.burst(format!("{name} out"), Place::A, some(flow.question(&data))).step(
            format!("{name} in"),
            Place::Wan,
            move |k| some(flow.answer(k, &data)),
        );
    }
    case
}

/// Two hosts use the same identification towards the same host, one after the other.
fn same_identification(generator: &mut Generator) -> Case {
    let (a, b) = (Flow::new(generator, A), Flow::new(generator, B));
    let parts = |flow: Flow, data: u8| cut(&flow.question(&[data; 1200]).id(0x4000), 1208, 640);
    Case::new("same identification")
        .burst("of a", Place::A, parts(a, 1))
        .burst("of b", Place::B, parts(b, 2))
        .burst("of a again", Place::A, parts(a, 3))
}
