//! Protocols without ports: only their address is translated, for one host towards each remote one.

use masq_common::reason::Reason;
use masq_tests::{
    lab::{HOST_A, HOST_B, ROUTER_WAN, SERVER_1, SERVER_2},
    packet::Packet,
};

use crate::nat::Nat;

const GRE: u8 = 47;
const ESP: u8 = 50;
const AH: u8 = 51;
const SCTP: u8 = 132;
const PAYLOAD: &[u8] = b"what is in it stays as it is";

/// A has one host at the other end for itself, in both directions, until it has been idle for long.
#[track_caller]
fn belongs_to_one_host(protocol: u8) {
    let mut nat = Nat::new();
    let from = |host, remote| Packet::new(host, remote, protocol, PAYLOAD);
    let back = Packet::new(SERVER_1, ROUTER_WAN, protocol, PAYLOAD);
    assert!(nat.back(&back).is_err(), "nobody has asked for it");
    let expected = Packet::new(ROUTER_WAN, SERVER_1, protocol, PAYLOAD).bytes();
    for _ in 0..2 {
        assert_eq!(nat.out(&from(HOST_A, SERVER_1)), Ok(expected.clone()));
    }
    let expected = Packet::new(SERVER_1, HOST_A, protocol, PAYLOAD).bytes();
    let arrived = nat.back(&back).expect("translated");
    assert_eq!(arrived[12..], expected[12..], "addresses and payload");
    assert!(nat.out(&from(HOST_B, SERVER_1)).is_err(), "it is A's");
    nat.out(&from(HOST_B, SERVER_2)).expect("another remote host is free");
    nat.at(3600);
    nat.sweep();
    nat.out(&from(HOST_B, SERVER_1)).expect("A has gone");
}

mod b_28 {
    #[test]
    fn sctp_belongs_to_one_host() {
        super::belongs_to_one_host(super::SCTP);
    }
}

mod b_29 {
    #[test]
    fn gre_belongs_to_one_host() {
        super::belongs_to_one_host(super::GRE);
    }
}

mod b_30 {
    use super::*;

    #[test]
    fn esp_belongs_to_one_host() {
        belongs_to_one_host(ESP);
    }

    #[test]
    fn ah_does_not_leave() {
        let mut nat = Nat::new();
        let end = nat.out(&Packet::new(HOST_A, SERVER_1, AH, PAYLOAD));
        assert_eq!(end, Err(Reason::UnsupportedProtocol));
    }

    #[test]
    fn key_exchange_and_its_detection_of_nats_work() {
        let mut nat = Nat::new();
        for port in [500, 4500] {
            let (inside, remote) = ((HOST_A, port), (SERVER_1, port));
            let external = nat.udp(inside, remote);
            assert!(nat.answers(remote, external, inside));
        }
    }
}
