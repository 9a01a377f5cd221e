//! Messages that are neither queries nor errors of those that cross a NAT; and tables that are full.

use masq_common::{ports::Pool, reason::Reason, settings::switches};
use masq_tests::{
    lab::{ISP, ROUTER_WAN, SERVER_1},
    packet::Packet,
    program::INNER_ROUTER,
};

use crate::nat::{A, B, Nat, S1, S2, error};

/// A message of this type with an identifier, as from A.
fn from_inside(kind: u8) -> Packet {
    Packet::icmp(A.0, SERVER_1, (kind, 0), 7 << 16 | 1, &[0; 32])
}

/// Demands that messages of these types do not leave, and reach no host.
#[track_caller]
fn do_not_cross(kinds: impl IntoIterator<Item = u8>) {
    let mut nat = Nat::new();
    nat.out(&Packet::echo((A.0, 7), SERVER_1, b"ping")).expect("a session of the identifier");
    for kind in kinds {
        let end = nat.out(&from_inside(kind));
        assert_eq!(end, Err(Reason::IcmpOther), "type {kind} from inside");
        let inbound = Packet::icmp(SERVER_1, ROUTER_WAN, (kind, 0), 7 << 16 | 1, &[0; 32]);
        assert_eq!(nat.back(&inbound), Err(Reason::NoSession), "type {kind} from outside");
    }
}

mod s6 {
    use super::*;

    #[test]
    fn a_host_that_gets_no_port_costs_no_other_its_session() {
        let mut nat = Nat::with(|settings| {
            settings.ports = Pool { low: 2000, high: 2000 };
            settings.switches = switches::NO_OVERLAP;
        });
        let port = nat.udp(B, S1);
        let before = nat.sessions();
        for remote in [S1, S2] {
            let end = nat.out(&Packet::udp(A, remote, b"too late"));
            assert_eq!(end, Err(Reason::PortsExhausted));
        }
        assert_eq!(nat.sessions(), before);
        assert!(nat.answers(S1, port, B));
    }
}

mod req_10b1 {
    use super::*;

    #[test]
    fn redirects_about_a_session_stay_on_their_side() {
        let mut nat = Nat::new();
        let port = nat.udp(A, S1);
        let sent = Packet::udp((ROUTER_WAN, port), S1, b"question").bytes();
        let received = Packet::udp(S1, A, b"answer").bytes();
        for code in 0..4 {
            let inbound = nat.back(&error(ISP, ROUTER_WAN, (5, code), &sent));
            assert_eq!(inbound, Err(Reason::NoSession), "code {code}");
            let outbound = nat.out(&error(INNER_ROUTER, S1.0, (5, code), &received));
            assert_eq!(outbound, Err(Reason::IcmpOther), "code {code}");
        }
    }
}

mod req_10b3_s7_3 {
    use super::*;

    #[test]
    fn an_error_about_a_source_routed_packet_does_not_leave() {
        let mut nat = Nat::new();
        nat.udp(A, S1);
        for kind in [131, 137] {
            let route = [kind, 7, 8, 198, 51, 100, 2, 0];
            let received = Packet::udp(S1, A, b"answer").options(&route).bytes();
            assert!(nat.out(&error(A.0, S1.0, (3, 3), &received)).is_err());
        }
    }
}

mod req_10b4 {
    #[test]
    fn address_masks_do_not_cross() {
        super::do_not_cross([17, 18]);
    }
}

mod req_10b6 {
    #[test]
    fn router_discovery_does_not_cross() {
        super::do_not_cross([9, 10]);
    }
}

mod req_10c1 {
    use super::*;

    #[test]
    fn source_quench_about_a_session_does_not_cross() {
        let mut nat = Nat::new();
        let port = nat.udp(A, S1);
        let sent = Packet::udp((ROUTER_WAN, port), S1, b"question").bytes();
        let received = Packet::udp(S1, A, b"answer").bytes();
        assert!(nat.back(&error(ISP, ROUTER_WAN, (4, 0), &sent)).is_err());
        assert!(nat.out(&error(A.0, S1.0, (4, 0), &received)).is_err());
    }
}

mod req_10c2 {
    #[test]
    fn information_requests_do_not_cross() {
        super::do_not_cross([15, 16]);
    }
}

mod req_11 {
    #[test]
    fn no_other_type_crosses() {
        super::do_not_cross([1, 2, 6, 7].into_iter().chain(19..=255));
    }
}
