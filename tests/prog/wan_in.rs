//! TC on WAN ingress: what is let in, what is the router's own, what is dropped.

use masq_common::{
    be::Addr,
    flow::{TCP, UDP},
    reason::Reason::*,
    session::flags,
    settings::{Filtering, Settings},
    tcp::{ACK, SYN},
};
use masq_tests::{
    lab::{HOST_A, HOST_B, ISP, ROUTER_LAN, ROUTER_WAN, SERVER_1, SERVER_2},
    packet::{Endpoint, Packet, tcp::RST},
    program::{Bench, Hook, Verdict, pair},
};

use crate::{OBJECT, table::ends};

const INSIDE: Endpoint = (HOST_A, 40_000);
const OUTSIDE: Endpoint = (ROUTER_WAN, 61_001);
const REMOTE: Endpoint = (SERVER_1, 53);

fn bench() -> Bench {
    let mut bench = Bench::new(&OBJECT);
    bench.install(UDP, INSIDE, OUTSIDE.1, REMOTE);
    bench.install(TCP, INSIDE, OUTSIDE.1, REMOTE);
    bench
}

#[test]
fn what_matches_nothing_is_the_routers_own() {
    let mut bench = bench();
    let quoted = Packet::udp((ROUTER_WAN, 1), REMOTE, b"own").bytes();
    let other = Packet::udp((SERVER_2, 1), REMOTE, b"strange").bytes();
    let error = |quoted: &[u8]| Packet::icmp(SERVER_1, ROUTER_WAN, (3, 3), 0, quoted).bytes();
    let cases = [
        ("another port", Packet::udp(REMOTE, (ROUTER_WAN, 53), b"").bytes(), NoSession),
        ("another remote port", Packet::udp((SERVER_1, 54), OUTSIDE, b"").bytes(), NoSession),
        ("another remote", Packet::udp((SERVER_2, 53), OUTSIDE, b"").bytes(), NoSession),
        ("SYN", Packet::tcp((SERVER_2, 80), OUTSIDE, SYN, b"").bytes(), NoSession),
        ("ACK", Packet::tcp((SERVER_2, 80), OUTSIDE, ACK, b"").bytes(), NoSession),
        ("echo", Packet::echo((SERVER_1, 7), ROUTER_WAN, b"").bytes(), NoSession),
        ("echo reply", Packet::echo_reply(SERVER_1, OUTSIDE, b"").bytes(), NoSession),
        ("error about the router's packet", error(&quoted), NoSession),
        ("error about nobody's packet", error(&other), NoSession),
        ("another protocol", Packet::new(SERVER_1, ROUTER_WAN, 47, &[0; 8]).bytes(), NoSession),
        (
            "for the router's LAN address",
            Packet::udp(REMOTE, (ROUTER_LAN, 53), b"").bytes(),
            NoSession,
        ),
        (
            "for another network",
            Packet::udp(REMOTE, ([10, 0, 0, 1].into(), 53), b"").bytes(),
            NoSession,
        ),
    ];
    ends(&mut bench, Hook::WanIn, &cases);
    assert_eq!(bench.sessions().len(), 4);
}

#[test]
fn lan_addresses_are_dropped() {
    let mut bench = bench();
    let nobody = [192, 168, 1, 99].into();
    let short = |source, destination, protocol| {
        Packet::new(source, destination, protocol, &[1, 2, 3, 4]).bytes()
    };
    let quoted = Packet::udp(INSIDE, REMOTE, b"").bytes();
    let cases = [
        ("to A", Packet::udp(REMOTE, INSIDE, b"").bytes(), UnsolicitedToLan),
        ("to nobody", Packet::udp(REMOTE, (nobody, 53), b"").bytes(), UnsolicitedToLan),
        ("SYN to A", Packet::tcp(REMOTE, INSIDE, SYN, b"").bytes(), UnsolicitedToLan),
        ("echo to A", Packet::echo((SERVER_1, 7), HOST_A, b"").bytes(), UnsolicitedToLan),
        (
            "error to A",
            Packet::icmp(SERVER_1, HOST_A, (3, 3), 0, &quoted).bytes(),
            UnsolicitedToLan,
        ),
        (
            "another protocol to A",
            Packet::new(SERVER_1, HOST_A, 47, &[0; 8]).bytes(),
            UnsolicitedToLan,
        ),
        (
            "later fragment to A",
            Packet::udp(REMOTE, INSIDE, &[1; 64]).fragment(32, 72).bytes(),
            UnsolicitedToLan,
        ),
        ("UDP of 4 bytes to A", short(SERVER_1, HOST_A, 17), UnsolicitedToLan),
        ("TCP of 4 bytes to A", short(SERVER_1, HOST_A, 6), UnsolicitedToLan),
        ("ICMP of 4 bytes to A", short(SERVER_1, HOST_A, 1), UnsolicitedToLan),
        ("from A", Packet::udp(INSIDE, OUTSIDE, b"").bytes(), SpoofedSource),
        ("from B", Packet::udp((HOST_B, 53), OUTSIDE, b"").bytes(), SpoofedSource),
        (
            "from the external address",
            Packet::udp((ROUTER_WAN, 53), OUTSIDE, b"").bytes(),
            SpoofedSource,
        ),
        ("from nobody", Packet::tcp((nobody, 53), OUTSIDE, SYN, b"").bytes(), SpoofedSource),
        (
            "from the router's LAN address",
            Packet::udp((ROUTER_LAN, 53), OUTSIDE, b"").bytes(),
            SpoofedSource,
        ),
        ("echo from B", Packet::echo((HOST_B, 7), ROUTER_WAN, b"").bytes(), SpoofedSource),
        (
            "another protocol from B",
            Packet::new(HOST_B, ROUTER_WAN, 47, &[0; 8]).bytes(),
            SpoofedSource,
        ),
        ("UDP of 4 bytes from B", short(HOST_B, ROUTER_WAN, 17), SpoofedSource),
        (
            "later fragment from B",
            Packet::udp((HOST_B, 53), OUTSIDE, &[1; 64]).fragment(32, 72).bytes(),
            SpoofedSource,
        ),
        ("UDP of 4 bytes from B to elsewhere", short(HOST_B, SERVER_2, 17), SpoofedSource),
        (
            "to the router's LAN address from B",
            Packet::udp((HOST_B, 53), (ROUTER_LAN, 53), b"").bytes(),
            SpoofedSource,
        ),
    ];
    ends(&mut bench, Hook::WanIn, &cases);
    assert_eq!(bench.sessions().len(), 4);
}

#[test]
fn the_routers_dhcp_client_works() {
    let mut bench = bench();
    let from_server =
        |to: [u8; 4]| Packet::udp((ISP, 67), (to.into(), 68), b"offer or acknowledgement").bytes();
    let renewal = ("renewal", from_server(ROUTER_WAN.octets()), NoSession);
    let broadcast = ("broadcast", from_server([255; 4]), NoSession);
    ends(&mut bench, Hook::WanIn, &[renewal, broadcast.clone()]);
    // Without an address, the one that is offered is nobody's yet.
    bench.set_wan_address(Addr::NONE);
    let offer = ("offer", from_server([203, 0, 113, 77]), NoSession);
    ends(&mut bench, Hook::WanIn, &[offer, broadcast]);
}

#[test]
fn what_the_fast_hook_leaves_is_translated_for_the_kernel() {
    let mut bench = bench();
    let cases = [
        ("SYN and ACK", Packet::tcp(REMOTE, OUTSIDE, SYN | ACK, b"").bytes(), InboundSlow),
        ("TTL 1", Packet::udp(REMOTE, OUTSIDE, b"").ttl(1).bytes(), InboundSlow),
        (
            "IP option",
            Packet::udp(REMOTE, OUTSIDE, b"").options(&[0x94, 4, 0, 0]).bytes(),
            InboundSlow,
        ),
        ("1501 bytes", Packet::udp(REMOTE, OUTSIDE, &[1; 1473]).bytes(), InboundSlow),
    ];
    ends(&mut bench, Hook::WanIn, &cases);
}

#[test]
fn a_forged_packet_of_the_other_direction_is_not_translated() {
    let mut bench = bench();
    // What A would send, but from outside; what the remote would send, but from inside.
    let from_outside = Packet::udp(INSIDE, REMOTE, b"forged").bytes();
    ends(&mut bench, Hook::WanXdp, &[("from outside", from_outside.clone(), WrongSide)]);
    ends(&mut bench, Hook::WanIn, &[("from outside", from_outside, SpoofedSource)]);
    let from_inside = Packet::udp(REMOTE, OUTSIDE, b"forged").bytes();
    for hook in [Hook::LanXdp, Hook::LanIn] {
        ends(&mut bench, hook, &[("from inside", from_inside.clone(), WrongSide)]);
    }
}

#[test]
fn a_host_without_neighbour_entry_is_the_kernels_to_find() {
    let mut bench = bench();
    bench.install(UDP, ([192, 168, 1, 50].into(), 1), 5000, REMOTE);
    let answer = Packet::udp(REMOTE, (ROUTER_WAN, 5000), b"answer");
    ends(&mut bench, Hook::WanIn, &[("answer", answer.bytes(), InboundSlow)]);
    ends(&mut bench, Hook::WanXdp, &[("answer", answer.bytes(), NoNeighbour)]);
}

#[test]
fn filtering_decides_who_else_is_let_in() {
    let mut bench = Bench::new(&OBJECT);
    const OUTSIDE: Endpoint = (ROUTER_WAN, INSIDE.1);
    // Opened by a packet: address-dependent filtering remembers whom it was sent to.
    let with =
        |filtering: Filtering| Settings { filtering_udp: filtering as u8, ..Settings::DEFAULT };
    bench.set_settings(&with(Filtering::AddressDependent));
    bench.run(Hook::WanOut, &Packet::udp(INSIDE, REMOTE, b"first").bytes());
    let port = Packet::udp((SERVER_1, 54), OUTSIDE, b"another port").bytes();
    let host = Packet::udp((SERVER_2, 53), OUTSIDE, b"another host").bytes();
    let mut run = |filtering| {
        bench.set_settings(&with(filtering));
        [&port, &host].map(|packet| bench.run(Hook::WanIn, packet))
    };
    let [from_port, from_host] = run(Filtering::AddressAndPortDependent);
    assert_eq!((from_port.reason(), from_host.reason()), (NoSession, NoSession));
    let [from_port, from_host] = run(Filtering::AddressDependent);
    assert_eq!((from_port.reason(), from_host.reason()), (InboundSlow, NoSession));
    assert_eq!(from_port.packet(), Packet::udp((SERVER_1, 54), INSIDE, b"another port").bytes());
    let [_, from_host] = run(Filtering::EndpointIndependent);
    assert_eq!((from_host.reason(), from_host.verdict), (InboundSlow, Verdict::Pass));
    assert_eq!(from_host.packet(), Packet::udp((SERVER_2, 53), INSIDE, b"another host").bytes());
    let half = pair(UDP, INSIDE, OUTSIDE.1, (SERVER_2, 53)).inbound;
    let half = bench.session(&half.key()).expect("a session of the stranger");
    assert_ne!(half.flags & flags::FROM_OUTSIDE, 0);
    // TCP has a policy of its own, and a closed port stays closed.
    let syn = Packet::tcp((SERVER_2, 80), OUTSIDE, SYN, b"").bytes();
    let closed = Packet::udp((SERVER_2, 53), (ROUTER_WAN, 1), b"").bytes();
    ends(&mut bench, Hook::WanIn, &[("SYN", syn, NoSession), ("no mapping", closed, NoSession)]);
}

#[test]
fn with_open_filtering_only_a_syn_opens_tcp() {
    let mut bench = bench();
    let filtering_tcp = Filtering::EndpointIndependent as u8;
    bench.set_settings(&Settings { filtering_tcp, ..Settings::DEFAULT });
    let segment = |flags| Packet::tcp((SERVER_2, 80), OUTSIDE, flags, b"").bytes();
    ends(
        &mut bench,
        Hook::WanIn,
        &[
            ("ACK", segment(ACK), NoSession),
            ("RST", segment(RST), NoSession),
            ("SYN and ACK", segment(SYN | ACK), NoSession),
            ("SYN", segment(SYN), InboundSlow),
        ],
    );
    // A source on the LAN is not let in, whatever the policy.
    let forged = Packet::tcp((HOST_B, 80), OUTSIDE, SYN, b"").bytes();
    ends(&mut bench, Hook::WanIn, &[("forged SYN", forged, SpoofedSource)]);
}

#[test]
fn a_service_of_the_router_comes_before_a_mapping() {
    let mut bench = bench();
    let filtering_udp = Filtering::EndpointIndependent as u8;
    bench.set_settings(&Settings { filtering_udp, ..Settings::DEFAULT });
    let _service = bench.namespace().udp_bind(OUTSIDE.1);
    let stranger = Packet::udp((SERVER_2, 53), OUTSIDE, b"").bytes();
    ends(&mut bench, Hook::WanIn, &[("to the service", stranger, NoSession)]);
    let answer = Packet::udp(REMOTE, OUTSIDE, b"").bytes();
    ends(&mut bench, Hook::WanIn, &[("in the session", answer, InboundFast)]);
}

#[test]
fn an_expired_session_lets_nothing_in() {
    let mut bench = bench();
    bench.set_settings(&Settings { clock_offset: 301_000_000_000, ..Settings::DEFAULT });
    let answer = Packet::udp(REMOTE, OUTSIDE, b"late").bytes();
    ends(&mut bench, Hook::WanIn, &[("answer", answer, NoSession)]);
}
