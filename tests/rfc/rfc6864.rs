//! RFC 6864: the IP identification.

use masq_tests::packet::Packet;

use crate::nat::{A, Nat, S1};

mod a {
    use super::*;

    #[test]
    fn the_identification_of_a_whole_datagram_stays() {
        let mut nat = Nat::new();
        for id in [0, 1, 0xffff] {
            let sent = nat.out(&Packet::udp(A, S1, b"question").id(id)).expect("translated");
            assert_eq!(sent[4..6], id.to_be_bytes());
        }
    }
}

mod b {
    use super::*;

    #[test]
    fn whole_datagrams_with_the_same_identification_have_nothing_to_do_with_each_other() {
        let mut nat = Nat::new();
        for round in 0..4 {
            for remote in [S1, (S1.0, 54)] {
                let packet = Packet::udp(A, remote, b"question").id(0);
                let sent = nat.out(&packet).expect("translated");
                assert_eq!(sent[22..24], remote.1.to_be_bytes(), "round {round}");
            }
        }
        assert_eq!(nat.sessions().len(), 4);
    }
}

mod f {
    use super::*;

    #[test]
    fn dont_fragment_is_neither_cleared_nor_set() {
        let mut nat = Nat::new();
        let kept = Packet::udp(A, S1, b"question");
        for packet in [kept.clone(), kept.may_be_fragmented()] {
            // By the full path, by the fast one, and back.
            for _ in 0..2 {
                let sent = nat.out(&packet).expect("translated");
                assert_eq!(sent[6..8], packet.bytes()[6..8]);
            }
        }
        let port = nat.udp(A, S1);
        let outside = (masq_tests::lab::ROUTER_WAN, port);
        let answer = Packet::udp(S1, outside, b"answer");
        for packet in [answer.clone(), answer.may_be_fragmented()] {
            let received = nat.back(&packet).expect("translated");
            assert_eq!(received[6..8], packet.bytes()[6..8]);
        }
    }
}
