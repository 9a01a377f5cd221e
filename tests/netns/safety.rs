//! What must not pass, and what must not leak.

use masq_tests::{
    capture::{Capture, Captured},
    lab::{HOST_A, HOST_B, HOST_IF, ISP_IF, Lab, ROUTER_WAN, SERVER_1},
    packet::{Packet, tcp},
    sockets::v4,
    traffic::{echo, probe},
};
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::{in_both_modes, scene::Setup};

in_both_modes!(
    an_excluded_source_never_leaves,
    packets_for_lan_addresses_do_not_enter,
    packets_from_outside_with_a_lan_source_do_not_enter,
    unsolicited_packets_reach_no_host,
    protocols_without_ports_leave_with_the_external_address,
    protocols_that_cannot_be_translated_do_not_leak,
    stray_segments_do_not_leak,
    broken_packets_do_not_leak,
);

/// An address of the LAN's range that nobody has.
const NOBODY: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 99);

fn an_excluded_source_never_leaves(setup: Setup) {
    setup.sources(&["192.168.1.10/32"]).run(|scene| {
        let lab = scene.lab;
        let _server = echo::Server::start(&lab.server1, 53);
        let server = SocketAddrV4::new(SERVER_1, 53);
        let excluded = lab.b.udp_bind(40_001);
        excluded.send_to(b"excluded", server).expect("send");
        let echo = Packet::echo((HOST_B, 1), SERVER_1, b"excluded");
        probe::Icmp::open(&lab.b).send(&echo, SERVER_1).expect("send");
        // The other host's packets, sent later, arrive.
        echo::ask(&lab.a.udp_bind(0), server, b"included").expect("an answer");
        probe::ping(&lab.a, SERVER_1, 2).expect("a reply");
        let leaked = scene.capture.packets().into_iter().find(|packet| {
            packet.received && packet.bytes.windows(8).any(|bytes| bytes == b"excluded")
        });
        assert_eq!(leaked, None);
    });
}

fn packets_for_lan_addresses_do_not_enter(setup: Setup) {
    setup.run(|scene| {
        let lab = scene.lab;
        route_to_the_lan(lab);
        let before = open_session(lab);
        let arrived = at_host_a(lab, || {
            lab.server1.send_packet(&Packet::udp((SERVER_1, 53), (HOST_A, 7), b"in").bytes());
            // Even within a session, if it is not to the external address.
            lab.server1.send_packet(&Packet::udp((SERVER_1, 53), (HOST_A, PORT), b"in").bytes());
            let syn = Packet::tcp((SERVER_1, 53), (HOST_A, 22), tcp::SYN, b"");
            lab.server1.send_packet(&syn.bytes());
            lab.server1.send_packet(&Packet::echo((SERVER_1, 1), HOST_A, b"in").bytes());
        });
        assert_eq!(arrived, []);
        assert_eq!(before, v4((ROUTER_WAN, PORT).into()));
    });
}

fn packets_from_outside_with_a_lan_source_do_not_enter(setup: Setup) {
    // The kernel's masquerade does not care; masq replaces the ingress filter too.
    setup.masq_only().run(|scene| {
        let lab = scene.lab;
        route_to_the_lan(lab);
        open_session(lab);
        let own_service = lab.router.udp_bind(4000);
        let arrived = at_host_a(lab, || {
            for source in [HOST_B, NOBODY] {
                for to in [(HOST_A, 7), (ROUTER_WAN, PORT), (ROUTER_WAN, 4000)] {
                    lab.isp.send_packet(&Packet::udp((source, 53), to, b"forged").bytes());
                }
            }
        });
        assert_eq!(arrived, []);
        own_service.set_nonblocking(true).expect("set O_NONBLOCK");
        own_service.recv(&mut [0; 10]).expect_err("a forged packet must not reach the router");
    });
}

fn unsolicited_packets_reach_no_host(setup: Setup) {
    setup.run(|scene| {
        let lab = scene.lab;
        open_session(lab);
        let arrived = at_host_a(lab, || {
            for port in [PORT + 1, 1, 1024, 65_535] {
                let syn = Packet::tcp((SERVER_1, 53), (ROUTER_WAN, port), tcp::SYN, b"");
                lab.server1.send_packet(&syn.bytes());
                let ack = Packet::tcp((SERVER_1, 53), (ROUTER_WAN, port), tcp::ACK, b"data");
                lab.server1.send_packet(&ack.bytes());
                let udp = Packet::udp((SERVER_1, 53), (ROUTER_WAN, port), b"in");
                lab.server1.send_packet(&udp.bytes());
            }
            let reply = Packet::echo_reply(SERVER_1, (ROUTER_WAN, 99), b"in");
            lab.server1.send_packet(&reply.bytes());
        });
        assert_eq!(arrived, []);
        // The router itself has answered, as without any gateway.
        scene.capture.wait_for("reset by the router", |p| {
            p.received && p.protocol() == 6 && p.ports() == Some((PORT + 1, 53))
        });
    });
}

fn protocols_without_ports_leave_with_the_external_address(setup: Setup) {
    setup.run(|scene| {
        let lab = scene.lab;
        for protocol in [4, 41, 47, 50, 89, 132, 254] {
            let packet = Packet::new(HOST_A, SERVER_1, protocol, &[0x5a; 32]);
            lab.a.send_packet(&packet.bytes());
            let left = scene.capture.wait_for("packet of a protocol without ports", |packet| {
                packet.received && packet.protocol() == protocol
            });
            assert_eq!((left.source(), left.destination()), (ROUTER_WAN, SERVER_1));
            assert_eq!(left.payload(), [0x5a; 32]);
        }
    });
}

fn protocols_that_cannot_be_translated_do_not_leak(setup: Setup) {
    // netfilter translates the address of any protocol.
    setup.masq_only().run(|scene| {
        let lab = scene.lab;
        for protocol in [2, 51] {
            let packet = Packet::new(HOST_A, SERVER_1, protocol, &[0x5a; 32]);
            lab.a.send_packet(&packet.bytes());
        }
        assert_nothing_left_before_a_ping(lab, &scene.capture);
    });
}

fn stray_segments_do_not_leak(setup: Setup) {
    setup.masq_only().run(|scene| {
        let lab = scene.lab;
        let (from, to) = ((HOST_A, PORT), (SERVER_1, 80));
        for flags in [tcp::ACK, tcp::ACK | tcp::FIN, tcp::RST, tcp::SYN | tcp::ACK, 0] {
            lab.a.send_packet(&Packet::tcp(from, to, flags, b"").bytes());
        }
        lab.a.send_packet(&Packet::echo_reply(HOST_A, (SERVER_1, 9), b"stray").bytes());
        let quoted = Packet::udp((SERVER_1, 1), (HOST_A, 2), b"never sent").bytes();
        for kind in [(3, 3), (11, 0), (12, 0), (5, 1), (4, 0)] {
            lab.a.send_packet(&Packet::icmp(HOST_A, SERVER_1, kind, 0, &quoted).bytes());
        }
        assert_nothing_left_before_a_ping(lab, &scene.capture);
    });
}

fn broken_packets_do_not_leak(setup: Setup) {
    setup.masq_only().run(|scene| {
        let lab = scene.lab;
        let (from, to) = ((HOST_A, PORT), (SERVER_1, 53));
        let udp = Packet::udp(from, to, b"data").bytes();
        let tcp = Packet::tcp(from, to, tcp::SYN, b"").bytes();
        // The kernel writes the total length: these are whole IP packets with too short a rest.
        for length in [20, 21, 24, 27] {
            lab.a.send_packet(&udp[..length]);
            lab.a.send_packet(&tcp[..length]);
            let icmp = Packet::echo(from, SERVER_1, b"").bytes();
            lab.a.send_packet(&icmp[..length]);
        }
        lab.a.send_packet(&tcp[..39]);
        assert_nothing_left_before_a_ping(lab, &scene.capture);
    });
}

const PORT: u16 = 40_000;

/// A session of host A from [`PORT`]; returns what the server has seen.
fn open_session(lab: &Lab) -> SocketAddrV4 {
    let _server = echo::Server::start(&lab.server1, 53);
    let socket = lab.a.udp_bind(PORT);
    echo::ask(&socket, SocketAddrV4::new(SERVER_1, 53), b"question").expect("an answer")
}

/// Lets the outside send straight to the LAN.
fn route_to_the_lan(lab: &Lab) {
    lab.isp.ip(&format!("route add 192.168.1.0/24 via {ROUTER_WAN} dev {ISP_IF}"));
}

/// The packets that `send` makes arrive at host A.
fn at_host_a(lab: &Lab, send: impl FnOnce()) -> Vec<Captured> {
    let capture = Capture::start(&lab.a, HOST_IF);
    send();
    // What was sent before a ping's reply has arrived before it.
    probe::ping(&lab.a, SERVER_1, 0x7777).expect("a reply");
    let mut packets = capture.finish().packets;
    packets.retain(is_suspicious);
    packets
}

/// Demands that the WAN has seen nothing from the router before this ping of host A.
#[track_caller]
fn assert_nothing_left_before_a_ping(lab: &Lab, capture: &Capture) {
    probe::ping(&lab.a, SERVER_1, 0x7777).expect("a reply");
    let mut packets = capture.packets();
    packets.retain(is_suspicious);
    assert_eq!(packets, []);
}

/// Whether a packet is none that belongs here: this test's ping, and the memberships that the
/// kernel itself announces when an interface comes up.
fn is_suspicious(packet: &Captured) -> bool {
    packet.received && !is_the_ping(packet) && !packet.destination().is_multicast()
}

fn is_the_ping(packet: &Captured) -> bool {
    packet.protocol() == 1
        && matches!(packet.payload()[0], 0 | 8)
        && packet.bytes.windows(4).any(|bytes| bytes == b"echo")
}
