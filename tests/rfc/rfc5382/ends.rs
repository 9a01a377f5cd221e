//! What does not end a connection.

use masq_common::tcp::{ACK, FIN, RST, SYN};
use masq_tests::{
    lab::{ROUTER_WAN, SERVER_1},
    packet::Packet,
};

use crate::{
    nat::{A, Nat, S1, error, segment},
    rfc4787::all_errors,
};

mod req_6 {
    use super::*;

    #[test]
    fn addresses_in_a_payload_stay_as_they_are() {
        let mut nat = Nat::new();
        let ftp = (S1.0, 21);
        nat.connect(A, ftp);
        let command = b"PORT 192,168,1,10,156,64\r\n";
        let sent = nat.out(&Packet::tcp(A, ftp, ACK, command)).expect("translated");
        assert_eq!(sent[40..], command[..]);
        let expected = Packet::tcp((ROUTER_WAN, A.1), ftp, ACK, command).bytes();
        assert_eq!(sent[24..32], expected[24..32], "sequence numbers");
    }
}

mod req_10 {
    use super::*;

    /// Segments that bring a connection into a phase; `true` goes out.
    const PHASES: [&[(bool, u8)]; 4] = [
        &[(true, SYN)],
        &[(true, SYN), (false, SYN | ACK), (true, ACK)],
        &[(true, SYN), (false, SYN | ACK), (true, ACK), (true, FIN | ACK), (false, FIN | ACK)],
        &[(true, SYN), (false, SYN | ACK), (true, ACK), (false, RST)],
    ];

    #[test]
    fn no_error_changes_a_connection_in_any_phase() {
        let mut nat = Nat::new();
        for (remote, segments) in (80..).map(|port| (S1.0, port)).zip(PHASES) {
            for (out, flags) in segments {
                match out {
                    true => assert_eq!(nat.segment_out(A, remote, *flags), Some(A.1)),
                    false => assert!(nat.segment_back(remote, A.1, *flags)),
                }
            }
            let before = nat.sessions();
            nat.at(100);
            let sent = Packet::tcp((ROUTER_WAN, A.1), remote, ACK, b"").bytes();
            let received = Packet::tcp(remote, A, ACK, b"").bytes();
            for kind in all_errors() {
                let _ = nat.back(&error(SERVER_1, ROUTER_WAN, kind, &sent));
                let _ = nat.out(&error(A.0, SERVER_1, kind, &received));
                assert_eq!(nat.sessions(), before, "{kind:?} after {segments:?}");
            }
            assert!(nat.segment_back(remote, A.1, SYN | ACK), "after {segments:?}");
        }
    }
}

mod s9 {
    use super::*;

    #[test]
    fn segments_out_of_the_window_do_not_shorten_a_connection() {
        let mut nat = Nat::new();
        for (remote, flags) in (80..).map(|port| (S1.0, port)).zip([RST, RST | ACK, FIN | ACK]) {
            let port = nat.connect(A, remote);
            // Of both sides: one FIN alone shortens nothing.
            let _ = nat.back_bytes(&segment(remote, (ROUTER_WAN, port), flags, 1 << 30));
            let _ = nat.out_bytes(&segment(A, remote, flags, 1 << 30));
        }
        nat.at(3600);
        nat.sweep();
        for port in 80..83 {
            assert!(nat.segment_back((S1.0, port), A.1, ACK), "{port}");
        }
    }

    #[test]
    fn what_follows_such_a_reset_restores_the_connection() {
        let mut nat = Nat::new();
        let port = nat.connect(A, S1);
        let _ = nat.back_bytes(&segment(S1, (ROUTER_WAN, port), RST, 1 << 30));
        nat.at(200);
        assert_eq!(nat.segment_out(A, S1, ACK), Some(port));
        assert!(nat.segment_back(S1, port, ACK));
        nat.at(3600);
        nat.sweep();
        assert!(nat.segment_back(S1, port, ACK));
    }
}
