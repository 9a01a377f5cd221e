//! TCP connections that begin or end in unusual ways, and damaged packets.

use masq_common::{
    reason::Reason,
    settings::Filtering,
    tcp::{ACK, FIN, RST, SYN},
};
use masq_tests::{lab::ROUTER_WAN, packet::Packet};

use crate::nat::{A, B, Nat, S1, S2};

mod b_01 {
    use super::*;

    #[test]
    fn a_syn_that_comes_first_changes_nothing_and_the_next_ones_cross() {
        let mut nat = Nat::new();
        let early = nat.back(&Packet::tcp(S1, (ROUTER_WAN, A.1), SYN, b""));
        assert_eq!((early, nat.sessions().len()), (Err(Reason::NoSession), 0));
        assert_eq!(nat.segment_out(A, S1, SYN), Some(A.1));
        assert!(nat.segment_back(S1, A.1, SYN), "the same again");
        assert_eq!(nat.segment_out(A, S1, SYN | ACK), Some(A.1));
        assert!(nat.segment_back(S1, A.1, ACK));
        nat.at(3600);
        nat.sweep();
        assert!(nat.segment_back(S1, A.1, ACK), "established");
    }
}

mod b_02 {
    use super::*;

    #[test]
    fn a_syn_opens_a_closing_connection_anew() {
        let mut nat = Nat::new();
        // B's port is not its own, and stays what it is.
        nat.connect(A, S1);
        let port = nat.connect(B, S1);
        let ends: [&[(bool, u8)]; 3] = [
            &[(true, FIN | ACK), (false, FIN | ACK), (true, ACK)],
            &[(true, RST)],
            &[(false, RST)],
        ];
        for (start, end) in (1..).map(|round| round * 5000).zip(ends) {
            for (out, flags) in end {
                match out {
                    true => assert_eq!(nat.segment_out(B, S1, *flags), Some(port)),
                    false => assert!(nat.segment_back(S1, port, *flags)),
                }
            }
            assert_eq!(nat.connect(B, S1), port);
            nat.at(start);
            nat.sweep();
            assert!(nat.segment_back(S1, port, ACK), "established again after {end:?}");
            assert_eq!(nat.segment_out(B, S1, ACK), Some(port));
        }
    }

    #[test]
    fn also_a_syn_from_outside() {
        let mut nat = Nat::filtering(Filtering::EndpointIndependent);
        let port = nat.connect(A, S1);
        for start in [0, 5000] {
            assert!(nat.segment_back(S2, port, SYN));
            assert_eq!(nat.segment_out(A, S2, SYN | ACK), Some(port));
            assert!(nat.segment_back(S2, port, ACK));
            assert_eq!(nat.segment_out(A, S2, ACK), Some(port));
            nat.at(start + 5000);
            nat.sweep();
            assert!(nat.segment_back(S2, port, ACK), "established");
            assert_eq!(nat.segment_out(A, S2, FIN | ACK), Some(port));
            assert!(nat.segment_back(S2, port, FIN | ACK));
            assert_eq!(nat.segment_out(A, S1, ACK), Some(port));
        }
    }
}

mod b_04 {
    use super::*;

    #[test]
    fn a_half_closed_connection_is_no_closed_one() {
        let mut nat = Nat::new();
        let port = nat.connect(A, S1);
        assert!(nat.segment_back(S1, port, FIN | ACK));
        for hour in 1..=5 {
            nat.at(hour * 3600);
            nat.sweep();
            assert_eq!(nat.segment_out(A, S1, ACK), Some(port), "after {hour} hours");
        }
    }
}

mod b_17 {
    use super::*;

    #[test]
    fn a_damaged_datagram_stays_damaged() {
        let mut nat = Nat::new();
        nat.udp(A, S1);
        let port = nat.udp(B, S1);
        let expected = Packet::udp((ROUTER_WAN, port), S1, b"question").bytes();
        for at in [26, 27, 28, 35] {
            let mut damaged = Packet::udp(B, S1, b"question").bytes();
            damaged[at] ^= 0x10;
            let sent = nat.out_bytes(&damaged).expect("translated");
            let mut expected = expected.clone();
            expected[at] ^= 0x10;
            // The checksum's own bytes come out differently when a carry is in them.
            let from = if at < 28 { 28 } else { 26 };
            assert_eq!(sent[from..], expected[from..], "byte {at}");
            let good = masq_tests::checksum::check(&sent, masq_tests::checksum::Transport::Whole);
            assert!(good.is_err(), "byte {at}");
        }
    }
}
