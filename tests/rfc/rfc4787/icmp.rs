//! What ICMP does to mappings, and what becomes of packets that are too big.

use masq_common::flow::UDP;
use masq_tests::{
    lab::{ISP, ROUTER_WAN, SERVER_1, SERVER_2},
    packet::Packet,
};

use crate::nat::{A, Nat, S1, destination, error, quoted, source};

/// Every error that quotes a packet: type and code.
pub fn all_errors() -> impl Iterator<Item = (u8, u8)> {
    let codes = [(3, 0..=15), (4, 0..=0), (5, 0..=3), (11, 0..=1), (12, 0..=2)];
    codes.into_iter().flat_map(|(kind, codes)| codes.map(move |code| (kind, code)))
}

mod req_12 {
    use super::*;

    #[test]
    fn no_error_ends_or_refreshes_a_mapping() {
        let mut nat = Nat::new();
        let port = nat.udp(A, S1);
        assert!(nat.answers(S1, port, A));
        let before = nat.sessions();
        let sent = Packet::udp((ROUTER_WAN, port), S1, b"question").bytes();
        let received = Packet::udp(S1, A, b"answer").bytes();
        nat.at(100);
        for kind in all_errors() {
            let _ = nat.back(&error(SERVER_1, ROUTER_WAN, kind, &sent));
            let _ = nat.out(&error(A.0, SERVER_1, kind, &received));
            assert_eq!(nat.sessions(), before, "{kind:?}");
            assert_eq!(nat.holders(UDP, port), 1, "{kind:?}");
        }
        assert_eq!(nat.udp(A, S1), port);
        assert!(nat.answers(S1, port, A));
    }
}

mod req_12a {
    use super::*;

    #[test]
    fn an_error_may_come_from_anybody() {
        let mut nat = Nat::new();
        let port = nat.udp(A, S1);
        let sent = Packet::udp((ROUTER_WAN, port), S1, b"question").bytes();
        for from in [ISP, SERVER_1, SERVER_2, [10, 9, 9, 9].into(), [192, 0, 2, 1].into()] {
            let error = nat.back(&error(from, ROUTER_WAN, (11, 0), &sent)).expect("translated");
            assert_eq!((source(&error).0, destination(&error).0), (from, A.0));
            assert_eq!(source(quoted(&error)), A);
        }
    }
}

mod req_13a {
    use masq_tests::{
        capture::Capture,
        lab::{HOST_IF, Layout, SERVER_1},
        sockets::eventually,
        traffic::echo,
    };
    use std::net::SocketAddrV4;

    use crate::{in_both_modes, scene::Setup};

    in_both_modes!(a_datagram_that_may_be_fragmented_leaves_a_narrow_wan_in_order);

    fn a_datagram_that_may_be_fragmented_leaves_a_narrow_wan_in_order(setup: Setup) {
        setup.layout(Layout::default().wan_mtu(1400)).run(|scene| {
            let lab = scene.lab;
            for host in [&lab.a, &lab.server1] {
                host.set_sysctl("net.ipv4.ip_no_pmtu_disc", "1");
            }
            let _server = echo::Server::start(&lab.server1, 53);
            let socket = lab.a.udp_bind(0);
            let capture = Capture::start(&lab.server1, HOST_IF);
            // Established by the first one: the second meets the fast path.
            for length in [100, 1472] {
                let server = SocketAddrV4::new(SERVER_1, 53);
                echo::ask(&socket, server, &vec![7; length]).expect("an answer");
            }
            let fragments = eventually("the datagram in two fragments", || {
                let mut packets = capture.packets();
                packets.retain(|p| p.received && p.protocol() == 17 && p.bytes[6..8] != [0; 2]);
                (packets.len() >= 2).then_some(packets)
            });
            let offset = |bytes: &[u8]| u16::from_be_bytes([bytes[6] & 0x1f, bytes[7]]) * 8;
            let [first, second] = [&fragments[0].bytes, &fragments[1].bytes];
            assert_eq!(first[4..6], second[4..6], "one datagram");
            assert_eq!((offset(first), offset(second)), (0, 1376), "in order");
        });
    }
}
