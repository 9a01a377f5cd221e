//! Queries and their answers.

use masq_common::flow::ICMP;
use masq_tests::{
    lab::{ROUTER_WAN, SERVER_1, SERVER_2},
    packet::{Endpoint, Packet},
};

use crate::nat::{A, B, Nat, destination, error, source};

/// Sends an echo request; returns the external identifier.
#[track_caller]
fn ping(nat: &mut Nat, from: Endpoint, to: std::net::Ipv4Addr) -> u16 {
    let request = nat.out(&Packet::echo(from, to, b"ping")).expect("translated");
    assert_eq!(source(&request).0, ROUTER_WAN);
    source(&request).1
}

/// Whether an echo reply gets in.
fn replies(nat: &mut Nat, from: std::net::Ipv4Addr, identifier: u16) -> bool {
    nat.back(&Packet::echo_reply(from, (ROUTER_WAN, identifier), b"ping")).is_ok()
}

mod req_1 {
    use super::*;

    #[test]
    fn a_query_leaves_and_its_answer_comes_back() {
        let mut nat = Nat::new();
        // Echo, timestamp.
        for (kind, answer) in [(8, 0), (13, 14)] {
            let remote = if kind == 8 { SERVER_1 } else { SERVER_2 };
            let rest = 0x1234 << 16 | 1;
            let query = Packet::icmp(A.0, remote, (kind, 0), rest, &[1; 12]);
            let query = nat.out(&query).expect("translated");
            let identifier = source(&query).1;
            let rest = u32::from(identifier) << 16 | 1;
            let answer = Packet::icmp(remote, ROUTER_WAN, (answer, 0), rest, &[1; 12]);
            let answer = nat.back(&answer).expect("translated");
            assert_eq!(destination(&answer), (A.0, 0x1234), "{kind}");
        }
    }
}

mod req_1a {
    use super::*;

    #[test]
    fn the_identifier_does_not_depend_on_the_remote_host() {
        let mut nat = Nat::new();
        ping(&mut nat, A, SERVER_1);
        let identifier = ping(&mut nat, B, SERVER_1);
        assert_ne!(identifier, B.1, "A has it");
        assert_eq!(ping(&mut nat, B, SERVER_2), identifier);
    }
}

mod req_2 {
    use super::*;

    #[test]
    fn a_query_waits_for_its_answer_for_a_minute() {
        let mut nat = Nat::new();
        let mut answered = |start, seconds| {
            nat.at(start);
            let identifier = ping(&mut nat, A, SERVER_1);
            nat.at(start + seconds);
            replies(&mut nat, SERVER_1, identifier)
        };
        assert!(answered(0, 59));
        assert!(!answered(1000, 62));
    }
}

mod req_6 {
    use super::*;

    #[test]
    fn an_error_neither_ends_nor_refreshes_a_query() {
        let mut nat = Nat::new();
        let identifier = ping(&mut nat, A, SERVER_1);
        let sent = Packet::echo((ROUTER_WAN, identifier), SERVER_1, b"ping").bytes();
        nat.at(10);
        nat.back(&error(SERVER_2, ROUTER_WAN, (11, 0), &sent)).expect("translated");
        assert!(replies(&mut nat, SERVER_1, identifier), "not ended");
        nat.at(60);
        nat.back(&error(SERVER_2, ROUTER_WAN, (11, 0), &sent)).expect("translated");
        nat.at(72);
        assert!(!replies(&mut nat, SERVER_1, identifier), "not refreshed");
    }
}

mod req_10b2 {
    use super::*;

    #[test]
    fn a_timestamp_reply_needs_a_request() {
        let mut nat = Nat::new();
        let reply = |id: u32| Packet::icmp(SERVER_1, ROUTER_WAN, (14, 0), id << 16, &[0; 12]);
        assert!(nat.back(&reply(7)).is_err());
        nat.out(&Packet::icmp(A.0, SERVER_1, (13, 0), 7 << 16, &[0; 12])).expect("translated");
        nat.back(&reply(7)).expect("translated");
        assert_eq!(nat.holders(ICMP, 7), 1);
    }
}
