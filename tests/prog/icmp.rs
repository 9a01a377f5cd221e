//! ICMP errors that are not what they should be, and those between two hosts of the LAN.

use masq_common::{flow::UDP, reason::Reason::*};
use masq_tests::{
    checksum::{Transport, check},
    lab::{HOST_A, HOST_B, ISP, ROUTER_WAN, SERVER_1, SERVER_2},
    packet::{Endpoint, Packet, reseal},
    program::{Bench, Hook, Verdict},
};

use crate::{OBJECT, table::ends};

const INSIDE: Endpoint = (HOST_A, 40_000);
const OUTSIDE: Endpoint = (ROUTER_WAN, 61_001);
const REMOTE: Endpoint = (SERVER_1, 53);

fn bench() -> Bench {
    let mut bench = Bench::new(&OBJECT);
    bench.install(UDP, INSIDE, OUTSIDE.1, REMOTE);
    bench
}

/// An error from the ISP about a packet that has left with the external endpoint.
fn from_outside(quote: &[u8]) -> Vec<u8> {
    Packet::icmp(ISP, ROUTER_WAN, (3, 1), 0, quote).bytes()
}

/// An error from A about a packet that has come to it.
fn from_inside(quote: &[u8]) -> Vec<u8> {
    Packet::icmp(HOST_A, SERVER_1, (3, 3), 0, quote).bytes()
}

fn question() -> Packet {
    Packet::udp(OUTSIDE, REMOTE, &[7; 600])
}

fn answer() -> Packet {
    Packet::udp(REMOTE, INSIDE, &[7; 600])
}

#[test]
fn a_wrong_checksum_is_not_made_right() {
    let mut bench = bench();
    for length in [28, 29, 92, 127, 128, 129, 548, 628] {
        let quote = &question().bytes()[..length];
        ends(&mut bench, Hook::WanIn, &[("good", from_outside(quote), IcmpErrorInbound)]);
        let mut damaged = from_outside(quote);
        let last = damaged.len() - 1;
        damaged[last] ^= 1;
        ends(&mut bench, Hook::WanIn, &[("damaged", damaged, IcmpBadChecksum)]);
        let quote = &answer().bytes()[..length];
        ends(&mut bench, Hook::WanOut, &[("good", from_inside(quote), IcmpErrorOutbound)]);
        let mut damaged = from_inside(quote);
        damaged[22] ^= 1;
        ends(&mut bench, Hook::WanOut, &[("damaged", damaged, IcmpBadChecksum)]);
    }
}

#[test]
fn the_quoted_header_is_verified_and_the_quoted_checksum_is_not() {
    let mut bench = bench();
    let mut quote = question().bytes();
    quote[10] ^= 1;
    ends(&mut bench, Hook::WanIn, &[("quoted IP checksum", from_outside(&quote), IcmpBadChecksum)]);
    let mut quote = question().bytes();
    quote[26] ^= 1;
    ends(
        &mut bench,
        Hook::WanIn,
        &[("quoted UDP checksum", from_outside(&quote), IcmpErrorInbound)],
    );
    let options = question().options(&[1, 1, 1, 0]).bytes();
    ends(&mut bench, Hook::WanIn, &[("options", from_outside(&options), IcmpErrorInbound)]);
}

#[test]
fn what_stands_behind_the_packet_is_no_quote() {
    let mut bench = bench();
    let [destination, source] = Hook::WanIn.link_addresses();
    let quote = &question().bytes()[..27];
    let mut frame = masq_tests::packet::frame(destination, source, &from_outside(quote));
    frame.extend([0x5a; 20]);
    let output = bench.run_frame(Hook::WanIn, &frame);
    assert_eq!((output.reason(), output.verdict), (NoSession, Verdict::Pass));
    assert_eq!(output.frame, frame);
}

#[test]
fn there_are_no_errors_about_errors_and_no_source_routes() {
    let mut bench = bench();
    bench.install(1, (HOST_A, 7), 7, (SERVER_1, 0));
    let error = Packet::icmp(SERVER_1, HOST_A, (3, 3), 0x0007_0000, &[0; 28]).bytes();
    let stranger = Packet::icmp(HOST_A, SERVER_2, (3, 3), 0, &answer().bytes()).bytes();
    let routed = |kind: u8| {
        let options = [1, kind, 7, 4, 10, 0, 0, 1];
        from_inside(&answer().options(&options).bytes())
    };
    let cases = [
        ("an error about an error", from_inside(&error), IcmpErrorUnknown),
        ("to somebody else", stranger, IcmpErrorUnknown),
        ("loose source route", routed(131), SourceRoute),
        ("strict source route", routed(137), SourceRoute),
        ("record route", routed(7), IcmpErrorOutbound),
        ("damaged option", from_inside(&answer().options(&[7, 0, 0, 0]).bytes()), SourceRoute),
    ];
    ends(&mut bench, Hook::WanOut, &cases);
}

#[test]
fn what_must_not_cross_does_not() {
    let mut bench = bench();
    // A session with identifier 0, which a message without an identifier must not be taken for.
    let ping = Packet::echo((HOST_A, 0), SERVER_1, b"ping").bytes();
    ends(&mut bench, Hook::WanOut, &[("echo", ping, OutboundSlow)]);
    for kind in [4, 5, 9, 10, 15, 16, 17, 18, 30, 255] {
        let out = Packet::icmp(HOST_A, SERVER_1, (kind, 0), 0, &answer().bytes()).bytes();
        ends(&mut bench, Hook::WanOut, &[("from inside", out, IcmpOther)]);
        let back = Packet::icmp(SERVER_1, ROUTER_WAN, (kind, 0), 0, &question().bytes()).bytes();
        ends(&mut bench, Hook::WanIn, &[("from outside", back, NoSession)]);
    }
}

#[test]
fn an_error_between_two_hosts_goes_through_both_translations() {
    let mut bench = Bench::new(&OBJECT);
    // B talks to A's mapping: A's external port is 61001, B's 50000.
    let (a, b) = (INSIDE, (HOST_B, 5000));
    let (outside_a, outside_b) = (OUTSIDE, (ROUTER_WAN, 50_000));
    bench.install(UDP, a, outside_a.1, outside_b);
    bench.install(UDP, b, outside_b.1, outside_a);
    // A's port is closed: it complains about what it got, which came from B's external endpoint.
    let got = Packet::udp(outside_b, a, b"hello").bytes();
    let error = Packet::icmp(HOST_A, ROUTER_WAN, (3, 3), 0, &got).ttl(64).bytes();
    let output = bench.run(Hook::LanIn, &error);
    assert_eq!((output.reason(), output.verdict), (Hairpin, Verdict::Redirect));
    let after = output.packet();
    assert_eq!(after[12..20], [ROUTER_WAN.octets(), HOST_B.octets()].concat());
    assert_eq!(after[8], 63);
    // B sees its own packet quoted, as it has sent it.
    assert_eq!(after[28..], Packet::udp(b, outside_a, b"hello").bytes());
    assert_eq!(check(after, Transport::Whole), Ok(()));
    // One about no session is the router's.
    let mut unknown = Packet::udp(outside_b, (HOST_A, 1), b"hello").bytes();
    reseal(&mut unknown);
    let error = Packet::icmp(HOST_A, ROUTER_WAN, (3, 3), 0, &unknown).bytes();
    ends(&mut bench, Hook::LanIn, &[("about nothing", error, Unusual)]);
}
