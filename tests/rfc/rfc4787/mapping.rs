//! Which external endpoint an inside endpoint gets.

use masq_common::{flow::UDP, ports::Pool, settings::switches};
use masq_tests::packet::Endpoint;

use crate::nat::{A, B, Nat, S1, S2};

mod req_1 {
    use super::*;

    #[test]
    fn the_external_port_does_not_depend_on_the_remote_endpoint() {
        let mut nat = Nat::new();
        // B gets a port that is not its own, which all its flows have to get as well.
        nat.udp(A, S1);
        let port = nat.udp(B, S1);
        assert_ne!(port, B.1);
        for remote in [S2, (S1.0, 9999), (S2.0, S1.1)] {
            assert_eq!(nat.udp(B, remote), port, "{remote:?}");
        }
        assert_eq!(nat.mappings().len(), 2);
        assert_eq!(nat.holders(UDP, port), 4, "a session for each remote endpoint");
    }
}

mod req_3 {
    use super::*;

    #[test]
    fn two_hosts_have_different_ports_also_towards_different_servers() {
        let mut nat = Nat::new();
        assert_ne!(nat.udp(A, S1), nat.udp(B, S2));
    }

    #[test]
    fn as_many_hosts_as_ports_have_one_each() {
        let mut nat = Nat::with(|settings| {
            settings.ports = Pool { low: 2000, high: 2099 };
            settings.switches = switches::NO_OVERLAP;
        });
        let mut ports: Vec<_> = hosts(100).map(|host| nat.udp(host, S1)).collect();
        ports.sort();
        assert_eq!(ports, (2000..2100).collect::<Vec<_>>());
    }
}

mod req_3a {
    use super::*;

    #[test]
    fn ports_stay_on_their_side_of_1024() {
        let mut nat = Nat::new();
        for inside in [1, 123, 599, 600, 1023] {
            let port = nat.udp((A.0, inside), S1);
            assert!((600..1024).contains(&port), "{inside} became {port}");
        }
        // Taken by A, so that B gets others.
        for inside in [1024, 65_535] {
            nat.udp((A.0, inside), S1);
            let port = nat.udp((B.0, inside), S1);
            assert!(port >= 1024, "{inside} became {port}");
        }
    }

    #[test]
    fn better_a_port_of_the_other_side_than_none() {
        let mut nat = Nat::with(|settings| settings.privileged = Pool { low: 600, high: 600 });
        assert_eq!(nat.udp((A.0, 600), S1), 600);
        assert!(nat.udp((B.0, 600), S1) >= 1024);
    }
}

mod req_4 {
    use super::*;

    #[test]
    fn an_even_port_becomes_an_even_one_and_an_odd_one_an_odd_one() {
        let mut nat = Nat::new();
        for inside in [40_000, 40_001] {
            for host in hosts(30) {
                let port = nat.udp((host.0, inside), S1);
                assert_eq!(port & 1, inside & 1, "{inside} became {port}");
            }
        }
    }

    #[test]
    fn better_a_port_of_the_other_parity_than_none() {
        let mut nat = Nat::with(|settings| {
            settings.ports = Pool { low: 2000, high: 2001 };
            settings.switches = switches::NO_OVERLAP;
        });
        let mut ports = [A, B].map(|host| nat.udp(host, S1));
        ports.sort();
        assert_eq!(ports, [2000, 2001]);
    }
}

mod req_11 {
    use super::*;

    #[test]
    fn the_mapping_is_of_the_same_kind_however_many_ports_are_taken() {
        let mut nat = Nat::with(|settings| {
            settings.ports = Pool { low: 2000, high: 2099 };
            settings.switches = switches::NO_OVERLAP;
        });
        for host in hosts(99) {
            let port = nat.udp(host, S1);
            assert_eq!([nat.udp(host, S2), nat.udp(host, (S1.0, 1))], [port; 2]);
            assert!(!nat.answers((S2.0, 1), port, host), "nor does the filtering change");
        }
        let last = nat.udp(A, S1);
        // With no port left, those that have one keep it, and nobody gets a lesser one.
        let refused = nat.out(&masq_tests::packet::Packet::udp(B, S2, b"too late"));
        assert_eq!(refused, Err(masq_common::reason::Reason::PortsExhausted));
        assert_eq!(nat.udp(A, S2), last);
        assert!(nat.answers(S2, last, A));
    }

    #[test]
    fn the_mapping_is_of_the_same_kind_after_many_sessions() {
        let mut nat = Nat::new();
        nat.udp(A, S1);
        for round in 0..20 {
            nat.at(round * 400);
            for host in hosts(20) {
                assert_eq!(nat.udp(host, S1), nat.udp(host, S2));
            }
            nat.at(round * 400 + 302);
            nat.sweep();
            assert_eq!((nat.sessions().len(), nat.ports_held(UDP)), (0, 0), "round {round}");
        }
    }
}

/// Endpoints of other hosts, all with the same port.
fn hosts(count: u8) -> impl Iterator<Item = Endpoint> {
    (0..count).map(|number| ([192, 168, 1, 100 + number].into(), 50_000))
}
