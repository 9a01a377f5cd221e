//! How long connections are remembered.

use masq_common::{
    reason::Reason,
    settings::Filtering,
    tcp::{ACK, FIN, SYN},
};
use masq_tests::packet::Packet;

use crate::nat::{A, Nat, S1, S2};

mod req_5_established {
    use super::*;

    #[test]
    fn an_idle_connection_lives_for_two_hours_and_four_minutes() {
        let mut nat = Nat::new();
        let mut idle = |start, seconds| {
            nat.at(start);
            let port = nat.connect(A, S1);
            nat.at(start + seconds);
            let back = nat.segment_back(S1, port, ACK);
            let out = nat.out(&Packet::tcp(A, S1, ACK, b"data")).map(|_| ());
            (back, out)
        };
        assert_eq!(idle(0, 7439), (true, Ok(())));
        assert_eq!(idle(20_000, 7442), (false, Err(Reason::NoTcpSession)));
    }

    #[test]
    fn keepalives_of_two_hours_keep_it_for_ever() {
        let mut nat = Nat::new();
        let port = nat.connect(A, S1);
        for round in 1..10 {
            nat.at(round * 7200);
            nat.sweep();
            assert_eq!(nat.segment_out(A, S1, ACK), Some(port));
        }
    }
}

mod req_5_transitory {
    use super::*;

    #[test]
    fn a_syn_waits_for_its_answer_for_four_minutes() {
        let mut nat = Nat::new();
        let mut answered = |start, seconds| {
            nat.at(start);
            let port = nat.segment_out(A, S1, SYN).expect("the SYN leaves");
            nat.at(start + seconds);
            nat.segment_back(S1, port, SYN | ACK)
        };
        assert!(answered(0, 239));
        assert!(!answered(1000, 242));
    }

    #[test]
    fn a_closed_connection_is_remembered_for_four_minutes() {
        let mut nat = Nat::new();
        let mut repeated = |start, seconds| {
            nat.at(start);
            let port = nat.connect(A, S1);
            nat.segment_out(A, S1, FIN | ACK);
            nat.segment_back(S1, port, FIN | ACK);
            nat.segment_out(A, S1, ACK);
            nat.at(start + seconds);
            nat.segment_back(S1, port, FIN | ACK)
        };
        assert!(repeated(0, 239));
        assert!(!repeated(1000, 242));
    }
}

mod s5_a {
    use super::*;

    #[test]
    fn a_fin_that_is_repeated_after_a_minute_arrives() {
        let mut nat = Nat::new();
        let port = nat.connect(A, S1);
        nat.segment_out(A, S1, FIN | ACK);
        nat.segment_back(S1, port, FIN | ACK);
        nat.segment_out(A, S1, ACK);
        nat.at(60);
        assert!(nat.segment_back(S1, port, FIN | ACK));
        assert_eq!(nat.segment_out(A, S1, ACK), Some(port));
    }
}

mod s5_b {
    use super::*;

    #[test]
    fn a_segment_of_no_connection_is_dropped() {
        let mut nat = Nat::filtering(Filtering::EndpointIndependent);
        for flags in [ACK, ACK | FIN, SYN | ACK] {
            let end = nat.out(&Packet::tcp(A, S1, flags, b""));
            assert_eq!(end, Err(Reason::NoTcpSession), "{flags:#x}");
        }
        // A mapping does not help, on either side.
        let port = nat.connect(A, S1);
        assert_eq!(nat.segment_out(A, S2, ACK), None);
        assert!(!nat.segment_back(S2, port, ACK));
    }
}
