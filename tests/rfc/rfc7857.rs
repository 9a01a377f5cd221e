//! RFC 7857: updates to RFC 4787, 5382 and 5508.

use masq_common::{
    flow::{ICMP, TCP, UDP},
    settings::Filtering::{AddressDependent, EndpointIndependent},
    tcp::{ACK, FIN, RST, SYN},
    time::Span,
};
use masq_tests::{
    lab::{ROUTER_WAN, SERVER_1},
    packet::{Endpoint, Packet},
};

use crate::nat::{A, Nat, S1, S2, error};

mod s2_a {
    use super::*;

    /// An event of the state machine: whether it goes out, and the flags.
    type Event = (bool, u8);
    const OPEN: [Event; 3] = [(true, SYN), (false, SYN | ACK), (true, ACK)];
    const FIN_OUT: Event = (true, FIN | ACK);
    const FIN_IN: Event = (false, FIN | ACK);

    /// After these events a segment from outside gets in if it comes within so many seconds, and
    /// not after one more.
    const LIFETIMES: [(&str, &[Event], u64); 10] = [
        ("INIT", &[OPEN[0]], 240),
        ("INIT, answered", &[OPEN[0], OPEN[1]], 240),
        ("ESTABLISHED", &OPEN, 7440),
        ("C FIN RCV", &[OPEN[0], OPEN[1], OPEN[2], FIN_OUT], 7440),
        ("S FIN RCV", &[OPEN[0], OPEN[1], OPEN[2], FIN_IN], 7440),
        ("both FIN RCV", &[OPEN[0], OPEN[1], OPEN[2], FIN_OUT, FIN_IN], 240),
        ("both FIN RCV, the other way", &[OPEN[0], OPEN[1], OPEN[2], FIN_IN, FIN_OUT], 240),
        ("TRANS by the client", &[OPEN[0], OPEN[1], OPEN[2], (true, RST)], 240),
        ("TRANS by the server", &[OPEN[0], OPEN[1], OPEN[2], (false, RST)], 240),
        ("INIT again", &[OPEN[0], OPEN[1], OPEN[2], FIN_OUT, FIN_IN, OPEN[0]], 240),
    ];

    fn replay(nat: &mut Nat, remote: Endpoint, events: &[Event]) {
        for (out, flags) in events {
            match out {
                true => assert_eq!(nat.segment_out(A, remote, *flags), Some(A.1)),
                false => assert!(nat.segment_back(remote, A.1, *flags)),
            }
        }
    }

    #[test]
    fn each_state_has_its_timer() {
        let mut nat = Nat::new();
        for (round, (state, events, seconds)) in (1..).zip(LIFETIMES) {
            let start = round * 30_000;
            for (idle, alive) in [(seconds - 1, true), (seconds + 2, false)] {
                nat.at(start - if alive { 15_000 } else { 0 });
                nat.sweep();
                replay(&mut nat, S1, events);
                nat.at(start - if alive { 15_000 } else { 0 } + idle);
                let answer = nat.segment_back(S1, A.1, ACK);
                assert_eq!(answer, alive, "{state} after {idle} s");
            }
        }
    }
}

mod s2_1_a {
    use super::*;

    #[test]
    fn opening_and_closing_have_timers_of_their_own() {
        let mut nat = Nat::with(|settings| {
            settings.timeouts.tcp_opening = Span::from_secs(300);
            settings.timeouts.tcp_closing = Span::from_secs(500);
        });
        let mut lives = |start, flags: &[(bool, u8)], idle| {
            nat.at(start);
            nat.sweep();
            for (out, flags) in flags {
                match out {
                    true => assert_eq!(nat.segment_out(A, S1, *flags), Some(A.1)),
                    false => assert!(nat.segment_back(S1, A.1, *flags)),
                }
            }
            nat.at(start + idle);
            nat.segment_back(S1, A.1, SYN | ACK)
        };
        let fins = [(true, SYN), (false, SYN | ACK), (true, FIN | ACK), (false, FIN | ACK)];
        assert!(lives(0, &fins[..1], 299));
        assert!(!lives(10_000, &fins[..1], 302));
        assert!(lives(20_000, &fins, 499));
        assert!(!lives(30_000, &fins, 502));
    }
}

mod s2_2_a {
    use super::*;

    #[test]
    fn a_reset_passes_in_every_state_and_both_ways() {
        let mut nat = Nat::new();
        let all = [
            (true, SYN),
            (false, SYN | ACK),
            (true, ACK),
            (true, FIN | ACK),
            (false, FIN | ACK),
            (true, RST),
            (false, RST),
        ];
        let mut port = 1000;
        for length in 1..=all.len() {
            for out in [true, false] {
                port += 1;
                let remote = (S1.0, port);
                for (out, flags) in all[..length].iter().copied().chain([(out, RST)]) {
                    let passed = match out {
                        true => nat.segment_out(A, remote, flags) == Some(A.1),
                        false => nat.segment_back(remote, A.1, flags),
                    };
                    assert!(passed, "after {length} segments");
                }
            }
        }
    }
}

mod s2_2_b {
    use super::*;

    #[test]
    fn a_reset_leaves_four_minutes_in_which_data_restores_the_connection() {
        let mut nat = Nat::new();
        let port = nat.connect(A, S1);
        assert!(nat.segment_back(S1, port, RST));
        nat.at(239);
        assert_eq!(nat.segment_out(A, S1, ACK), Some(port));
        assert!(nat.segment_back(S1, port, ACK));
        nat.at(3600);
        nat.sweep();
        assert!(nat.segment_back(S1, port, ACK), "established again");
    }

    #[test]
    fn further_resets_do_not_prolong_it() {
        let mut nat = Nat::new();
        let port = nat.connect(A, S1);
        for seconds in [0, 100, 200] {
            nat.at(seconds);
            assert!(nat.segment_back(S1, port, RST));
        }
        nat.at(242);
        assert_eq!(nat.segment_out(A, S1, ACK), None);
    }
}

mod s5_a {
    use super::*;

    #[test]
    fn a_mapping_of_tcp_is_none_of_udp() {
        let mut nat = Nat::filtering(EndpointIndependent);
        let port = nat.connect(A, S1);
        assert!(!nat.answers(S1, port, A), "nor does it let UDP in");
        assert!(!nat.answers(S2, port, A));
        // B's of UDP may have the same port.
        let b = ([192, 168, 1, 11].into(), port);
        assert_eq!(nat.udp(b, S1), port);
        assert_eq!([TCP, UDP, ICMP].map(|protocol| nat.holders(protocol, port)), [1, 1, 0]);
    }
}

mod s7_a {
    use super::*;

    #[test]
    fn what_is_filtered_out_does_not_refresh_a_mapping() {
        let mut nat = Nat::filtering(AddressDependent);
        let port = nat.udp(A, S1);
        for seconds in (60..300).step_by(60) {
            nat.at(seconds);
            assert!(!nat.answers(S2, port, A));
        }
        nat.at(302);
        assert_eq!(nat.sweep(), 1);
        assert_eq!(nat.ports_held(UDP), 0);
    }
}

mod s7_b {
    use super::*;

    #[test]
    fn nor_do_segments_that_are_filtered_out() {
        let mut nat = Nat::filtering(AddressDependent);
        let port = nat.segment_out(A, S1, SYN).expect("the SYN leaves");
        for seconds in (60..240).step_by(60) {
            nat.at(seconds);
            assert!(!nat.segment_back(S2, port, SYN));
        }
        nat.at(242);
        assert_eq!(nat.sweep(), 1);
        assert_eq!(nat.ports_held(TCP), 0);
    }
}

mod s7_1_a {
    use super::*;

    #[test]
    fn an_icmp_error_in_answer_to_a_stranger_does_not_refresh_a_mapping() {
        let mut nat = Nat::filtering(EndpointIndependent);
        let port = nat.udp(A, S1);
        for seconds in [200, 290] {
            nat.at(seconds);
            assert!(nat.answers(S2, port, A));
            let refused = Packet::udp(S2, A, b"answer").bytes();
            nat.out(&error(A.0, S2.0, (3, 3), &refused)).expect("translated");
        }
        nat.at(330);
        nat.sweep();
        assert_eq!(nat.ports_held(UDP), 0);
    }

    #[test]
    fn nor_does_a_reset() {
        let mut nat = Nat::filtering(EndpointIndependent);
        let port = nat.segment_out(A, S1, SYN).expect("the SYN leaves");
        nat.at(200);
        assert!(nat.segment_back(S2, port, SYN));
        assert_eq!(nat.segment_out(A, S2, RST | ACK), Some(port));
        nat.at(242);
        nat.sweep();
        assert_eq!(nat.ports_held(TCP), 0);
    }
}

mod s11_a {
    use super::*;

    #[test]
    fn a_query_mapping_goes_with_its_last_session() {
        let mut nat = Nat::new();
        nat.out(&Packet::echo(A, SERVER_1, b"ping")).expect("translated");
        assert_eq!(nat.ports_held(ICMP), 1);
        nat.at(62);
        nat.sweep();
        assert_eq!(nat.ports_held(ICMP), 0);
    }
}

mod s12_a {
    use super::*;

    #[test]
    fn a_ping_to_the_external_address_is_for_the_router() {
        let mut nat = Nat::filtering(EndpointIndependent);
        let b = ([192, 168, 1, 11].into(), 77);
        nat.out(&Packet::echo(b, SERVER_1, b"ping")).expect("a session of B's identifier");
        let ping = Packet::echo((A.0, 77), ROUTER_WAN, b"ping").bytes();
        let output = nat.run(masq_tests::program::Hook::LanIn, &ping);
        assert_eq!(output.reason(), masq_common::reason::Reason::NoSession);
        assert_eq!(output.packet(), ping);
    }
}
