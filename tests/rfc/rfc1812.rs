//! RFC 1812: rules of a router that are masq's own where its fast path forwards.

use std::io::ErrorKind;

use masq_common::reason::Reason;
use masq_tests::{
    capture::Capture,
    lab::{HOST_IF, ROUTER_WAN, SERVER_1},
    packet::{Packet, reseal},
    program::{Hook, Verdict},
    traffic::{echo, probe},
};

use crate::{
    in_both_modes,
    nat::{A, Nat, S1},
    scene::Setup,
};

/// Demands that a packet with a changed byte is left alone by the fast hooks, for the kernel to
/// drop, and dropped by the full path.
#[track_caller]
fn is_refused(at: usize, value: u8) {
    let mut nat = Nat::new();
    nat.udp(A, S1);
    let mut packet = Packet::udp(A, S1, b"of a session").bytes();
    packet[at] = value;
    reseal(&mut packet);
    for hook in [Hook::LanXdp, Hook::LanIn] {
        let output = nat.run(hook, &packet);
        assert_eq!((output.verdict, output.reason()), (Verdict::Pass, Reason::Unusual));
        assert_eq!(output.packet(), packet, "{hook:?}");
    }
    assert_eq!(nat.run(Hook::WanOut, &packet).reason(), Reason::Malformed);
}

mod s5_2_2_2 {
    use super::*;

    #[test]
    fn a_wrong_header_checksum_is_not_forwarded() {
        let mut nat = Nat::new();
        let port = nat.udp(A, S1);
        let there = Packet::udp(A, S1, b"of a session").bytes();
        let back = Packet::udp(S1, (ROUTER_WAN, port), b"of a session").bytes();
        for bit in 0..16 {
            for (packet, hooks) in
                [(&there, [Hook::LanXdp, Hook::LanIn]), (&back, [Hook::WanXdp, Hook::WanIn])]
            {
                let mut packet = packet.clone();
                packet[10 + bit / 8] ^= 1 << (bit % 8);
                for hook in hooks {
                    let output = nat.run(hook, &packet);
                    let forwarded = output.verdict == Verdict::Redirect;
                    assert!(!forwarded, "bit {bit} at {hook:?}: {:?}", output.counted);
                }
            }
        }
    }
}

mod s5_2_2_3 {
    #[test]
    fn another_version_is_refused() {
        super::is_refused(0, 0x55);
    }
}

mod s5_2_2_4 {
    #[test]
    fn too_short_a_header_is_refused() {
        super::is_refused(0, 0x44);
    }
}

mod s5_2_2_5 {
    #[test]
    fn a_total_length_below_the_headers_is_refused() {
        super::is_refused(3, 19);
    }
}

mod s5_2_2_6 {
    #[test]
    fn a_total_length_beyond_the_frame_is_refused() {
        super::is_refused(3, 100);
    }
}

mod s5_3_1_b {
    use super::*;

    #[test]
    fn a_ttl_that_ends_is_left_to_the_kernel_untouched() {
        let mut nat = Nat::new();
        let port = nat.udp(A, S1);
        for ttl in [0, 1] {
            let packet = Packet::udp(A, S1, b"too far").ttl(ttl).bytes();
            for hook in [Hook::LanXdp, Hook::LanIn] {
                let output = nat.run(hook, &packet);
                assert_eq!((output.verdict, output.reason()), (Verdict::Pass, Reason::TtlExpired));
                assert_eq!(output.packet(), packet);
            }
            let answer = Packet::udp(S1, (ROUTER_WAN, port), b"too far").ttl(ttl).bytes();
            let output = nat.run(Hook::WanXdp, &answer);
            assert_eq!((output.verdict, output.reason()), (Verdict::Pass, Reason::TtlExpired));
        }
    }
}

mod s4_2_2_9 {
    use super::*;

    in_both_modes!(a_packet_for_the_router_may_have_the_last_ttl);

    fn a_packet_for_the_router_may_have_the_last_ttl(setup: Setup) {
        setup.run(|scene| {
            let service = scene.lab.router.udp_bind(4000);
            let packet = Packet::udp((SERVER_1, 53), (ROUTER_WAN, 4000), b"last");
            // The ISP takes one.
            scene.lab.server1.send_packet(&packet.ttl(2).bytes());
            let mut buffer = [0; 10];
            let (length, _) = service.recv_from(&mut buffer).expect("the packet");
            assert_eq!(&buffer[..length], b"last");
        });
    }
}

mod s5_2_7_1 {
    use super::*;

    in_both_modes!(a_host_learns_that_there_is_no_way);

    fn a_host_learns_that_there_is_no_way(setup: Setup) {
        setup.run(|scene| {
            let lab = scene.lab;
            lab.router.ip("route add unreachable 192.0.2.0/25\nroute add prohibit 192.0.2.128/25");
            for last in [1, 129] {
                let error = lab.a.tcp_connect(([192, 0, 2, last], 80)).expect_err("no way");
                assert_eq!(error.kind(), ErrorKind::HostUnreachable, "{last}");
            }
        });
    }
}

mod s5_2_7_2 {
    use super::*;
    use masq_tests::lab::{HOST_A, HOST_B};
    use std::net::SocketAddrV4;

    in_both_modes!(a_hairpinned_packet_causes_no_redirect);

    fn a_hairpinned_packet_causes_no_redirect(setup: Setup) {
        setup.arguments(&["--filtering", "endpoint-independent"]).run(|scene| {
            let lab = scene.lab;
            let capture = Capture::start(&lab.a, HOST_IF);
            let _server = echo::Server::start(&lab.server1, 53);
            let [a, b] = [(&lab.a, HOST_A), (&lab.b, HOST_B)].map(|(host, address)| {
                let socket = host.udp_bind_to((address, 0));
                let server = SocketAddrV4::new(SERVER_1, 53);
                let seen = echo::ask(&socket, server, b"who am I?").expect("an answer");
                (socket, seen)
            });
            for _ in 0..3 {
                a.0.send_to(b"to b", b.1).expect("send");
                b.0.recv(&mut [0; 10]).expect("the datagram");
            }
            // What was sent before a ping's reply has arrived before it.
            probe::ping(&lab.a, SERVER_1, 1).expect("a reply");
            let redirect = |p: &masq_tests::capture::Captured| {
                p.received && p.protocol() == 1 && p.payload()[0] == 5
            };
            assert_eq!(capture.finish().packets.into_iter().find(redirect), None);
        });
    }
}
