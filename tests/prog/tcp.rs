//! TCP sessions and what is believed of the segments that pass (RFC 5382, RFC 7857 section 2).

use masq_common::{
    flow::TCP,
    reason::Reason::*,
    settings::Settings,
    tcp::{ACK, FIN, Phase, RST, SYN},
};
use masq_tests::{
    lab::{HOST_A, ROUTER_WAN, SERVER_1},
    packet::{Endpoint, Packet},
    program::{Bench, Hook},
};

use crate::OBJECT;

const INSIDE: Endpoint = (HOST_A, 40_000);
const OUTSIDE: Endpoint = (ROUTER_WAN, 40_000);
const REMOTE: Endpoint = (SERVER_1, 443);

/// A connection whose segments are run through the hooks that see them.
struct Connection {
    bench: Bench,
}

impl Connection {
    fn new() -> Self {
        Self { bench: Bench::new(&OBJECT) }
    }

    fn out(&mut self, flags: u8, sequence: u32) {
        let segment = Packet::segment(INSIDE, REMOTE, flags, sequence, b"").bytes();
        let output = self.bench.run(Hook::WanOut, &segment);
        assert_eq!(output.reason(), OutboundSlow, "out, flags {flags:#x}");
    }

    fn back(&mut self, flags: u8, sequence: u32) {
        let segment = Packet::segment(REMOTE, OUTSIDE, flags, sequence, b"").bytes();
        let output = self.bench.run(Hook::WanIn, &segment);
        assert!(matches!(output.reason(), InboundSlow | InboundFast), "back, flags {flags:#x}");
    }

    fn phase(&self) -> Phase {
        let halves = self.bench.sessions();
        let [a, b] = &halves[..] else { panic!("one session, not {halves:?}") };
        masq_common::session::phase_of(a, b)
    }

    fn established() -> Self {
        let mut connection = Self::new();
        connection.out(SYN, 0x1000_0000);
        connection.back(SYN | ACK, 0xfff0_0000);
        connection.out(ACK, 0x1000_0001);
        assert_eq!(connection.phase(), Phase::Established);
        connection
    }

    fn at(&mut self, seconds: u64) {
        let clock_offset = seconds * 1_000_000_000;
        self.bench.set_settings(&Settings { clock_offset, ..Settings::DEFAULT });
    }
}

#[test]
fn a_blind_reset_or_fin_is_forwarded_and_not_believed() {
    let mut connection = Connection::established();
    for sequence in [0x7000_0000, 0x0200_0000, 0xff00_0000] {
        connection.back(RST, sequence);
        connection.back(FIN | ACK, sequence);
        assert_eq!(connection.phase(), Phase::Established);
    }
    // Nor do they keep it alive.
    connection.at(7000);
    connection.back(RST, 0x7000_0000);
    connection.at(7500);
    let late = Packet::segment(INSIDE, REMOTE, ACK, 0x1000_0001, b"").bytes();
    assert_eq!(connection.bench.run(Hook::WanOut, &late).reason(), NoTcpSession);
}

#[test]
fn a_real_reset_is_believed_and_undone_by_data() {
    let mut connection = Connection::established();
    connection.back(RST, 0xfff0_0001);
    assert_eq!(connection.phase(), Phase::Reset);
    connection.at(239);
    connection.back(ACK, 0xfff0_0001);
    assert_eq!(connection.phase(), Phase::Established);
}

#[test]
fn fins_are_believed_after_the_numbers_have_come_round() {
    let mut connection = Connection::established();
    // The server sends on, past the end of the numbers, in steps of 3 MiB.
    let mut sequence = 0xfff0_0000_u32;
    for _ in 0..20 {
        sequence = sequence.wrapping_add(3 << 20);
        connection.back(ACK, sequence);
    }
    connection.back(FIN | ACK, sequence);
    assert_eq!(connection.phase(), Phase::Established, "half closed");
    connection.out(FIN | ACK, 0x1000_0001);
    assert_eq!(connection.phase(), Phase::Closing);
}

#[test]
fn two_syns_that_cross_establish() {
    let mut connection = Connection::new();
    connection.out(SYN, 1);
    connection.back(SYN, 2);
    connection.out(SYN | ACK, 1);
    assert_eq!(connection.phase(), Phase::Opening);
    connection.back(SYN | ACK, 2);
    assert_eq!(connection.phase(), Phase::Established);
}

#[test]
fn a_closed_connection_opens_again_with_any_sequence_number() {
    let mut connection = Connection::established();
    connection.back(FIN | ACK, 0xfff0_0001);
    connection.out(FIN | ACK, 0x1000_0001);
    assert_eq!(connection.phase(), Phase::Closing);
    connection.out(SYN, 0x9000_0000);
    connection.back(SYN | ACK, 0x2000_0000);
    connection.out(ACK, 0x9000_0001);
    assert_eq!(connection.phase(), Phase::Established);
    connection.back(RST, 0x2000_0001);
    assert_eq!(connection.phase(), Phase::Reset, "the numbers are the new ones");
    assert_eq!(connection.bench.holders(TCP, OUTSIDE.1), 1);
}
