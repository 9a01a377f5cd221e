//! Protocols without ports: only the addresses are translated, one inside host for each remote one.

use masq_common::{
    reason::Reason::{self, *},
    settings::Settings,
};
use masq_tests::{
    checksum,
    lab::{HOST_A, HOST_B, ROUTER_WAN, SERVER_1, SERVER_2},
    packet::Packet,
    program::{Bench, Hook, Output},
};
use std::net::Ipv4Addr;

use crate::{OBJECT, table::ends};

const GRE: u8 = 47;
const ESP: u8 = 50;
const SCTP: u8 = 132;
const IPIP: u8 = 4;
const UDP_LITE: u8 = 136;

fn packet(protocol: u8, from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    Packet::new(from, to, protocol, &[0x5a; 40]).bytes()
}

/// The end of a packet that was translated to these addresses, with the payload as it was.
#[track_caller]
fn translated(output: &Output, reason: Reason, before: &[u8], [from, to]: [Ipv4Addr; 2]) {
    assert_eq!(output.reason(), reason);
    let after = output.packet();
    assert_eq!(after[12..16], from.octets());
    assert_eq!(after[16..20], to.octets());
    assert_eq!(after[20..], before[20..], "the payload");
    assert_eq!(checksum::check(after, checksum::Transport::Whole), Ok(()));
}

#[test]
fn the_addresses_are_translated_both_ways_and_nothing_else() {
    let mut bench = Bench::new(&OBJECT);
    for protocol in [GRE, ESP, SCTP, IPIP, 41, 89, 255] {
        let out = packet(protocol, HOST_A, SERVER_1);
        let output = bench.run(Hook::WanOut, &out);
        translated(&output, OutboundSlow, &out, [ROUTER_WAN, SERVER_1]);
        let back = packet(protocol, SERVER_1, ROUTER_WAN);
        let output = bench.run(Hook::WanIn, &back);
        translated(&output, InboundSlow, &back, [SERVER_1, HOST_A]);
        // Another remote host is not let in by that.
        let stranger = packet(protocol, SERVER_2, ROUTER_WAN);
        ends(&mut bench, Hook::WanIn, &[("a stranger", stranger, NoSession)]);
    }
    assert_eq!(bench.mappings().len(), 0, "no ports are held");
}

#[test]
fn a_second_host_waits_until_the_first_has_been_idle() {
    let mut bench = Bench::new(&OBJECT);
    let from = |host, server| packet(GRE, host, server);
    let cases = [
        ("A", from(HOST_A, SERVER_1), OutboundSlow),
        ("B to the same", from(HOST_B, SERVER_1), ProtocolConflict),
        ("B to another", from(HOST_B, SERVER_2), OutboundSlow),
        ("B with another protocol", packet(ESP, HOST_B, SERVER_1), OutboundSlow),
        ("A again", from(HOST_A, SERVER_1), OutboundSlow),
    ];
    ends(&mut bench, Hook::WanOut, &cases);
    let at = |seconds: u64| Settings { clock_offset: seconds * 1_000_000_000, ..Settings::DEFAULT };
    bench.set_settings(&at(599));
    ends(&mut bench, Hook::WanOut, &[("B too soon", from(HOST_B, SERVER_1), ProtocolConflict)]);
    bench.set_settings(&at(601));
    ends(&mut bench, Hook::WanOut, &[("B", from(HOST_B, SERVER_1), OutboundSlow)]);
    let back = packet(GRE, SERVER_1, ROUTER_WAN);
    let output = bench.run(Hook::WanIn, &back);
    translated(&output, InboundSlow, &back, [SERVER_1, HOST_B]);
}

#[test]
fn the_routers_own_tunnel_is_not_taken_over() {
    let mut bench = Bench::new(&OBJECT);
    let own = packet(GRE, ROUTER_WAN, SERVER_1);
    let from_a = packet(GRE, HOST_A, SERVER_1);
    let answer = packet(GRE, SERVER_1, ROUTER_WAN);
    ends(&mut bench, Hook::WanOutOwn, &[("own", own.clone(), Own)]);
    ends(&mut bench, Hook::WanOut, &[("A", from_a.clone(), ProtocolConflict)]);
    ends(&mut bench, Hook::WanIn, &[("the answer", answer.clone(), NoSession)]);
    // It keeps its session alive from both sides, and loses it when it is idle.
    let at = |seconds: u64| Settings { clock_offset: seconds * 1_000_000_000, ..Settings::DEFAULT };
    bench.set_settings(&at(500));
    ends(&mut bench, Hook::WanIn, &[("the answer", answer, NoSession)]);
    bench.set_settings(&at(1000));
    ends(&mut bench, Hook::WanOut, &[("A", from_a.clone(), ProtocolConflict)]);
    ends(&mut bench, Hook::WanOutOwn, &[("own", own, Own)]);
    bench.set_settings(&at(1700));
    ends(&mut bench, Hook::WanOut, &[("A", from_a, OutboundSlow)]);
    // What goes to a group is nobody's session.
    let group = packet(89, ROUTER_WAN, [224, 0, 0, 5].into());
    let sessions = bench.sessions().len();
    ends(&mut bench, Hook::WanOutOwn, &[("OSPF", group, Own)]);
    assert_eq!(bench.sessions().len(), sessions);
}

#[test]
fn a_checksum_that_covers_the_addresses_follows_them() {
    let mut bench = Bench::new(&OBJECT);
    let sum = |packet: &[u8]| {
        let mut segment = packet[20..].to_vec();
        segment[6..8].fill(0);
        checksum::with_pseudo_header(&packet[..20], &segment)
    };
    for protocol in [UDP_LITE, 33] {
        let mut out = packet(protocol, HOST_A, SERVER_1);
        let right = sum(&out);
        out[26..28].copy_from_slice(&right.to_be_bytes());
        let output = bench.run(Hook::WanOut, &out);
        assert_eq!(output.reason(), OutboundSlow);
        let after = output.packet();
        assert_eq!(after[26..28], sum(after).to_be_bytes(), "protocol {protocol}");
        assert_ne!(after[26..28], out[26..28]);
    }
}

#[test]
fn errors_about_it_are_translated() {
    let mut bench = Bench::new(&OBJECT);
    ends(&mut bench, Hook::WanOut, &[("A", packet(GRE, HOST_A, SERVER_1), OutboundSlow)]);
    let sent = packet(GRE, ROUTER_WAN, SERVER_1);
    let error = Packet::icmp(SERVER_2, ROUTER_WAN, (3, 2), 0, &sent[..28]).bytes();
    let output = bench.run(Hook::WanIn, &error);
    assert_eq!(output.reason(), IcmpErrorInbound);
    let after = output.packet();
    assert_eq!(after[16..20], HOST_A.octets());
    assert_eq!(after[28..], packet(GRE, HOST_A, SERVER_1)[..28]);
    assert_eq!(checksum::check(after, checksum::Transport::Whole), Ok(()));
}

#[test]
fn sources_that_no_router_forwards_are_dropped() {
    let mut bench = Bench::new(&OBJECT);
    let from = |source: [u8; 4]| Packet::udp((source.into(), 1), (SERVER_1, 2), b"").bytes();
    let cases = [
        ("link-local", from([169, 254, 7, 7]), MartianSource),
        ("reserved", from([240, 0, 0, 1]), MartianSource),
        ("a network behind the LAN", from([10, 9, 9, 9]), OutboundSlow),
    ];
    ends(&mut bench, Hook::WanOut, &cases);
}
