//! What stays as it is in an IP header, and what a header may say.

use masq_common::{
    reason::Reason,
    settings::Filtering,
    tcp::{ACK, SYN},
};
use masq_tests::{
    checksum::{Transport, check},
    lab::{HOST_B, ROUTER_WAN},
    packet::{Packet, frame},
    program::{Hook, Verdict},
};

use crate::nat::{A, B, Nat, S1, S2};

mod b_19 {
    use super::*;

    #[test]
    fn options_of_every_length_stay() {
        let mut nat = Nat::new();
        nat.udp(A, S1);
        let port = nat.udp(B, S1);
        for words in 1..=10 {
            let options = vec![1; words * 4];
            let sent = nat.out(&Packet::udp(B, S1, b"question").options(&options));
            let sent = sent.expect("translated");
            let expected = Packet::udp((ROUTER_WAN, port), S1, b"question").options(&options);
            assert_eq!(sent, expected.bytes(), "{words} words");
            let answer = Packet::udp(S1, (ROUTER_WAN, port), b"answer").options(&options);
            let received = nat.back(&answer).expect("translated");
            assert_eq!(received, Packet::udp(S1, B, b"answer").options(&options).bytes());
        }
    }
}

mod b_20 {
    use super::*;

    #[test]
    fn every_type_of_service_stays() {
        let mut nat = Nat::new();
        let port = nat.udp(A, S1);
        for tos in 0..=255 {
            let sent = nat.out(&Packet::udp(A, S1, b"question").tos(tos)).expect("translated");
            let answer = Packet::udp(S1, (ROUTER_WAN, port), b"answer").tos(tos);
            let received = nat.back(&answer).expect("translated");
            assert_eq!([sent[1], received[1]], [tos; 2]);
            assert_eq!(check(&sent, Transport::Whole), Ok(()));
        }
    }

    #[test]
    fn the_flags_of_congestion_stay() {
        let mut nat = Nat::new();
        // ECE and CWR, which a SYN carries to ask for it.
        for flags in [SYN | 0xc0, ACK | 0x40, ACK | 0x80, ACK | 0xc0] {
            let sent = nat.out(&Packet::tcp(A, S1, flags, b"")).expect("translated");
            assert_eq!(sent[33], flags);
        }
    }
}

mod b_21 {
    use super::*;

    #[test]
    fn a_first_packet_whose_ttl_ends_makes_no_mapping() {
        let mut nat = Nat::new();
        for ttl in [0, 1] {
            let packet = Packet::udp(A, S1, b"too far").ttl(ttl).bytes();
            // The kernel goes on with it, and drops it there.
            let output = nat.run(Hook::LanIn, &packet);
            assert_eq!((output.verdict, output.packet()), (Verdict::Pass, &packet[..]));
        }
        assert_eq!((nat.sessions().len(), nat.mappings().len()), (0, 0));
    }

    #[test]
    fn the_fast_path_takes_one() {
        let mut nat = Nat::new();
        let port = nat.udp(A, S1);
        for ttl in [2, 3, 64, 255] {
            let sent = nat.run(Hook::LanXdp, &Packet::udp(A, S1, b"").ttl(ttl).bytes());
            let answer = Packet::udp(S1, (ROUTER_WAN, port), b"").ttl(ttl).bytes();
            let received = nat.run(Hook::WanXdp, &answer);
            for output in [sent, received] {
                assert_eq!((output.verdict, output.packet()[8]), (Verdict::Redirect, ttl - 1));
            }
        }
    }
}

mod b_34 {
    use super::*;

    #[test]
    fn an_inside_source_from_outside_is_dropped_also_by_open_filtering() {
        let mut nat = Nat::filtering(Filtering::EndpointIndependent);
        let port = nat.udp(A, S1);
        assert!(nat.answers(S2, port, A), "anybody else is let in");
        for source in [[192, 168, 1, 77].into(), HOST_B, A.0] {
            let end = nat.back(&Packet::udp((source, 7), (ROUTER_WAN, port), b"forged"));
            assert_eq!(end, Err(Reason::SpoofedSource), "{source}");
        }
        assert_eq!(nat.sessions().len(), 4);
    }

    #[test]
    fn so_is_a_source_that_nobody_can_have() {
        let mut nat = Nat::filtering(Filtering::EndpointIndependent);
        let port = nat.udp(A, S1);
        let nobody = [[127, 0, 0, 1], [0, 0, 0, 0], [224, 0, 0, 1], [255, 255, 255, 255]];
        for source in nobody.map(Into::into).into_iter().chain([ROUTER_WAN]) {
            let end = nat.back(&Packet::udp((source, 7), (ROUTER_WAN, port), b"forged"));
            assert!(end.is_err(), "{source}");
        }
        assert_eq!(nat.sessions().len(), 2);
    }
}

mod b_41 {
    use super::*;

    #[test]
    fn groups_pass_untouched() {
        let mut nat = Nat::new();
        let (group, mac) = ([239, 1, 1, 1].into(), [1, 0, 0x5e, 1, 1, 1]);
        for (hook, from) in
            [(Hook::LanXdp, A), (Hook::LanIn, A), (Hook::WanXdp, S1), (Hook::WanIn, S1)]
        {
            let [_, station] = hook.link_addresses();
            let frame = frame(mac, station, &Packet::udp(from, (group, 5000), b"to all").bytes());
            let output = nat.run_frame(hook, &frame);
            assert_eq!((output.verdict, &output.frame), (Verdict::Pass, &frame), "{hook:?}");
        }
        assert_eq!(nat.sessions().len(), 0);
    }
}
