//! RFC 6056: which port is chosen when the inside one is taken.

use std::collections::BTreeSet;

use masq_common::ports::Pool;
use masq_tests::packet::Endpoint;

use crate::nat::{A, B, Nat, S1};

/// The ports that so many hosts get which all want the same one, in the order in which they came.
fn ports_of(nat: &mut Nat, hosts: u8) -> Vec<u16> {
    let hosts = (0..hosts).map(|last| ([192, 168, 1, 30 + last].into(), A.1));
    hosts.map(|host: Endpoint| nat.udp(host, S1)).collect()
}

mod s3_1 {
    use super::*;

    #[test]
    fn ports_of_the_routers_sockets_are_left_out() {
        let mut nat = Nat::with(|settings| settings.ports = Pool { low: 2000, high: 2009 });
        let _services: Vec<_> = (2000..2009).map(|port| nat.namespace().udp_bind(port)).collect();
        assert_eq!(nat.udp(A, S1), 2009, "the only one that no service has");
    }
}

mod s3_2_a {
    use super::*;

    #[test]
    fn ports_come_from_the_whole_range() {
        let mut nat = Nat::new();
        let ports = ports_of(&mut nat, 200);
        // Of 199 random ports, all in half of the range: once in 2^199.
        let low = ports.iter().filter(|port| **port < 33_280).count();
        assert!((1..199).contains(&low), "{low} of them in the lower half");
        assert!(ports.iter().all(|port| *port >= 1024));
    }
}

mod s3_3 {
    use super::*;

    #[test]
    fn no_port_follows_from_the_one_before() {
        let mut nat = Nat::new();
        let ports = ports_of(&mut nat, 100);
        let steps = ports.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]));
        let steps: BTreeSet<_> = steps.collect();
        assert!(steps.len() > 90, "only {} different steps", steps.len());
        // Nor from anything else that is the same the next time.
        let again = ports_of(&mut Nat::new(), 100);
        assert_ne!(ports, again);
    }
}

mod s4_b {
    use super::*;

    #[test]
    fn a_free_port_is_kept_and_a_taken_one_is_replaced_at_random() {
        let mut nat = Nat::new();
        assert_eq!(nat.udp(A, S1), A.1);
        let port = nat.udp(B, S1);
        assert_ne!(port, A.1);
    }
}

mod s4_c {
    use super::*;

    #[test]
    fn ports_of_one_parity_are_spread_as_well() {
        let mut nat = Nat::new();
        let ports: BTreeSet<_> = ports_of(&mut nat, 100).into_iter().collect();
        assert!(ports.iter().all(|port| port & 1 == A.1 & 1));
        assert!(ports.last().expect("ports") - ports.first().expect("ports") > 10_000);
    }
}

mod s5 {
    use super::*;

    #[test]
    fn the_port_behind_a_block_of_taken_ones_is_not_favoured() {
        // The lower half is taken by services: a search one by one from a random start would end
        // at the first port behind them every second time.
        let mut nat = Nat::with(|settings| settings.ports = Pool { low: 2000, high: 2399 });
        let _services: Vec<_> = (2000..2200).map(|port| nat.namespace().udp_bind(port)).collect();
        let first = (0..20).filter(|round| {
            nat.at(round * 1000);
            nat.sweep();
            nat.udp((A.0, 50_000), S1) == 2200
        });
        let first = first.count();
        assert!(first < 8, "{first} of 20");
    }
}
