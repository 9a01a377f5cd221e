//! How long a mapping lives.

use masq_common::settings::Filtering;

use crate::nat::{A, Nat, S1, S2};

mod req_5 {
    use super::*;

    #[test]
    fn a_mapping_lives_for_two_minutes_and_ends_at_some_time() {
        // The only packet, and the answer so many seconds later.
        let mut nat = Nat::new();
        for (start, idle, lives) in [(0, 119, true), (1000, 121, true), (2000, 302, false)] {
            nat.at(start);
            nat.sweep();
            let port = nat.udp(A, S1);
            nat.at(start + idle);
            assert_eq!(nat.answers(S1, port, A), lives, "after {idle} s");
        }
    }
}

mod req_5c {
    use super::*;

    #[test]
    fn a_mapping_that_was_never_answered_lives_for_five_minutes() {
        let mut nat = Nat::new();
        let port = nat.udp(A, S1);
        nat.at(299);
        assert!(nat.answers(S1, port, A));
    }
}

mod req_6 {
    use super::*;

    #[test]
    fn packets_from_inside_keep_a_mapping_alive() {
        let mut nat = Nat::new();
        let port = nat.udp(A, S1);
        for seconds in (200..2000).step_by(200) {
            nat.at(seconds);
            nat.sweep();
            assert_eq!(nat.udp(A, S1), port);
            assert_eq!(nat.mappings().len(), 1);
        }
        nat.at(2050);
        assert!(nat.answers(S1, port, A));
    }
}

mod req_6a {
    use super::*;

    #[test]
    fn answers_keep_it_alive() {
        let mut nat = Nat::new();
        let port = nat.udp(A, S1);
        for seconds in (200..2000).step_by(200) {
            nat.at(seconds);
            nat.sweep();
            assert!(nat.answers(S1, port, A), "after {seconds} s");
        }
    }

    #[test]
    fn strangers_do_not() {
        let mut nat = Nat::filtering(Filtering::EndpointIndependent);
        let port = nat.udp(A, S1);
        for seconds in [1, 29, 200, 250] {
            nat.at(seconds);
            assert!(nat.answers(S2, port, A), "let in after {seconds} s");
        }
        nat.at(302);
        nat.sweep();
        assert!(!nat.answers(S2, port, A));
        assert_eq!(nat.sessions().len(), 0);
    }
}
