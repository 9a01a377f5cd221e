//! IP protocols without ports that a gateway knows.

use masq_tests::{checksum, lab::ROUTER_WAN, packet::Packet};

use crate::{
    case::{A, B, Case, Change, HOP, R1, R2, changed},
    generate::Generator,
};

/// Names, numbers, and the beginning of a packet.
const PROTOCOLS: [(&str, u8, &[u8]); 9] = [
    ("igmp", 2, &[0x16, 0, 0x09, 0xff, 0xe0, 0, 0, 0x05]),
    ("ipip", 4, &[0x45, 0, 0, 20, 0, 1, 0, 0, 64, 59, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]),
    ("6in4", 41, &[0x60, 0, 0, 0, 0, 0, 59, 64]),
    ("gre", 47, &[0x20, 0, 0x08, 0, 0, 0, 0, 7]),
    ("pptp gre", 47, &[0x30, 1, 0x88, 0x0b, 0, 4, 0, 7, 0, 0, 0, 1]),
    ("esp", 50, &[0, 0, 0x12, 0x34, 0, 0, 0, 1]),
    ("ah", 51, &[59, 4, 0, 0, 0, 0, 0x12, 0x34, 0, 0, 0, 1]),
    ("ospf", 89, &[2, 1, 0, 24]),
    ("unassigned", 253, b"any"),
];

/// The same of protocols whose checksum covers the addresses: for both it stands at byte 6.
const WITH_CHECKSUM: [(&str, u8, &[u8]); 2] = [
    ("dccp", 33, &[0x13, 0x88, 0x13, 0x89, 4, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]),
    ("udp-lite", 136, &[0x13, 0x88, 0x13, 0x89, 0, 0, 0, 0]),
];

/// The cases of this group.
pub fn cases(generator: &mut Generator) -> Vec<Case> {
    let mut cases: Vec<_> =
        PROTOCOLS.iter().map(|protocol| exchange(generator, *protocol, |_| ())).collect();
    let more =
        WITH_CHECKSUM.iter().map(|protocol| exchange(generator, *protocol, |packet| seal(packet)));
    cases.extend(more);
    cases.push(sctp(generator));
    cases
}

/// Makes the checksum fit.
fn seal(packet: &mut [u8]) {
    let (header, body) = packet.split_at_mut(20);
    let sum = checksum::with_pseudo_header(header, body);
    body[6..8].copy_from_slice(&sum.to_be_bytes());
}

/// The four-way handshake of an association, of two hosts with the same ports.
fn sctp(generator: &mut Generator) -> Case {
    let ports = [generator.port(), generator.port()];
    // Chunk types INIT, INIT ACK, COOKIE ECHO and COOKIE ACK (RFC 9260 section 3.3).
    let chunk =
        |kind: u8, length: u16, body: &[u8]| [&[kind, 0][..], &length.to_be_bytes(), body].concat();
    let open = [[0, 0, 0, 1], [0, 1, 0, 0], [0, 10, 0, 10], [0, 0, 0, 1]].concat();
    let (init, init_ack) = (chunk(1, 20, &open), chunk(2, 20, &open));
    let (cookie, cookie_ack) = (chunk(10, 8, b"cook"), chunk(11, 4, &[]));
    let out =
        move |from, tag, chunk: &[u8]| Packet::new(from, R1, 132, &sctp_packet(ports, tag, chunk));
    let back = |tag, chunk: &[u8]| {
        Packet::new(R1, ROUTER_WAN, 132, &sctp_packet([ports[1], ports[0]], tag, chunk))
    };
    Case::new("sctp")
        .a("init", out(A, 0, &init))
        .stranger("init ack", back(1, &init_ack))
        .a("cookie echo", out(A, 1, &cookie))
        .stranger("cookie ack", back(1, &cookie_ack))
        .b("init of another host", out(B, 0, &init))
        .stranger("init ack again", back(1, &init_ack))
}

/// An SCTP packet with its checksum, which does not cover addresses (RFC 9260 section 6.8).
fn sctp_packet(ports: [u16; 2], tag: u32, chunk: &[u8]) -> Vec<u8> {
    let ports = ports.map(u16::to_be_bytes).concat();
    let mut packet = [&ports[..], &tag.to_be_bytes(), &[0; 4], chunk].concat();
    let sum = crc32c(&packet);
    packet[8..12].copy_from_slice(&sum.to_le_bytes());
    packet
}

/// CRC-32C (Castagnoli).
fn crc32c(bytes: &[u8]) -> u32 {
    let divide = |rest: u32, _| rest >> 1 ^ if rest & 1 != 0 { 0x82f6_3b78 } else { 0 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), divide))
}

#[test]
fn the_checksum_of_nine_digits() {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}

/// Two hosts send to the same remote host, which answers; then to another.
fn exchange(
    generator: &mut Generator,
    (name, number, head): (&str, u8, &[u8]),
    seal: Change,
) -> Case {
    let body = [head, &[0x5a; 24]].concat();
    let look = generator.look();
    let packet = move |from, to| changed(look.on(Packet::new(from, to, number, &body)), seal);
    Case::new(name)
        .a("first", packet(A, R1))
        .stranger("answer", packet(R1, ROUTER_WAN))
        .a("first again", packet(A, R1))
        .stranger("answer again", packet(R1, ROUTER_WAN))
        .b("second", packet(B, R1))
        .stranger("answer to one of them", packet(R1, ROUTER_WAN))
        .b("second to another host", packet(B, R2))
        .stranger("answer of the other host", packet(R2, ROUTER_WAN))
        .stranger("unasked", packet(HOP, ROUTER_WAN))
}
