//! The IP header: hop limits, options, lengths, checksums, and packets that are too big.

use masq_tests::{
    lab::ROUTER_WAN,
    packet::{Endpoint, Packet, reseal},
};

use crate::{
    case::{A, Case, Change, Known, R1, changed},
    generate::Generator,
};

/// The cases of this group.
pub fn cases(generator: &mut Generator) -> Vec<Case> {
    let mut cases = Vec::new();
    for established in [false, true] {
        cases.push(hop_limits(generator, established));
        cases.push(options(generator, established));
        cases.push(damaged(generator, established));
        cases.push(sizes(generator, established));
    }
    cases
}

/// A flow of datagrams.
#[derive(Clone, Copy)]
struct Flow {
    inside: Endpoint,
    remote: Endpoint,
}

impl Flow {
    fn new(generator: &mut Generator) -> Self {
        Self { inside: (A, generator.port()), remote: (R1, generator.port()) }
    }

    /// A case, in which it has already sent and received if `established`.
    fn case(self, name: &str, established: bool) -> Case {
        if !established {
            return Case::new(format!("{name}, first"));
        }
        Case::new(format!("{name}, established"))
            .a("question", self.question(b"question"))
            .wan("answer", move |k| self.answer(k, b"answer"))
    }

    fn question(self, data: &[u8]) -> Packet {
        Packet::udp(self.inside, self.remote, data)
    }

    fn answer(self, known: &Known, data: &[u8]) -> Packet {
        Packet::udp(self.remote, (ROUTER_WAN, known.external(17, self.inside, self.remote)), data)
    }
}

fn hop_limits(generator: &mut Generator, established: bool) -> Case {
    let flow = Flow::new(generator);
    let mut case = flow.case("hop limits", established);
    for ttl in [0, 1, 2, 3, 255] {
        case = case
            .a(format!("{ttl} out"), flow.question(b"question").ttl(ttl))
            .wan(format!("{ttl} in"), move |k| flow.answer(k, b"answer").ttl(ttl));
    }
    case
}

fn options(generator: &mut Generator, established: bool) -> Case {
    let flow = Flow::new(generator);
    let mut case = flow.case("options", established);
    let addresses = [0; 12];
    let all: [(&str, Vec<u8>); 10] = [
        ("no operation", vec![1; 4]),
        ("end", vec![0; 4]),
        ("router alert", vec![0x94, 4, 0, 0]),
        ("record route", [&[7, 15, 4][..], &addresses].concat()),
        ("record route, full", [&[7, 15, 16][..], &addresses].concat()),
        ("timestamp", [&[0x44, 12, 5, 0][..], &[0; 8]].concat()),
        ("loose source route", vec![0x83, 7, 4, 198, 51, 100, 201]),
        ("strict source route", vec![0x89, 7, 4, 198, 51, 100, 201]),
        ("as many as fit", vec![1; 40]),
        ("a length beyond the header", vec![7, 60, 4, 0]),
    ];
    for (name, options) in all {
        let answer = options.clone();
        case = case
            .a(format!("{name} out"), flow.question(b"question").options(&options))
            .wan(format!("{name} in"), move |k| flow.answer(k, b"answer").options(&answer));
    }
    case
}

fn damaged(generator: &mut Generator, established: bool) -> Case {
    let flow = Flow::new(generator);
    let mut case = flow.case("damaged", established);
    let changes: [(&str, Change); 7] = [
        ("wrong ip checksum", |packet| packet[11] ^= 1),
        ("version 5", |packet| {
            packet[0] = 0x55;
            reseal(packet);
        }),
        ("short header length", |packet| {
            packet[0] = 0x44;
            reseal(packet);
        }),
        ("longer than it is", |packet| {
            packet[3] += 100;
            reseal(packet);
        }),
        ("shorter than a header", |packet| {
            packet[3] = 19;
            reseal(packet);
        }),
        ("more bytes than it says", |packet| packet.extend([0xee; 60])),
        ("reserved flag", |packet| {
            packet[6] |= 0x80;
            reseal(packet);
        }),
    ];
    for (name, change) in changes {
        let changed = move |packet| changed(packet, change);
        // Long enough that no frame is padded.
        let data = [7; 40];
        case = case
            .a(format!("{name} out"), changed(flow.question(&data)))
            .wan(format!("{name} in"), move |k| changed(flow.answer(k, &data)));
    }
    case
}

/// Up to what a line takes; whatever is too big for a line is another group's subject.
fn sizes(generator: &mut Generator, established: bool) -> Case {
    let flow = Flow::new(generator);
    let mut case = flow.case("sizes", established);
    for length in [0, 1, 17, 18, 1471, 1472] {
        let data = vec![length as u8; length];
        case = case
            .a(format!("{length} bytes out"), flow.question(&data))
            .wan(format!("{length} bytes in"), move |k| flow.answer(k, &data));
    }
    case
}
