//! RFC 6888: what it asks of a carrier's NAT and an edge router does as well.

use masq_common::{flow::UDP, ports::Pool, reason::Reason, settings::switches};
use masq_tests::{
    packet::{Endpoint, Packet},
    program::TABLE_SIZE,
};

use crate::nat::{A, Nat, S1, S2};

/// A pool of so many ports, none of them shared.
fn nat_with_ports(count: u16) -> Nat {
    Nat::with(|settings| {
        settings.ports = Pool { low: 2000, high: 1999 + count };
        settings.switches = switches::NO_OVERLAP;
    })
}

mod req_11a {
    use super::*;

    #[test]
    fn without_a_port_nothing_leaves() {
        let mut nat = nat_with_ports(1);
        nat.udp(A, S1);
        let b = ([192, 168, 1, 11].into(), 5000);
        let end = nat.out(&Packet::udp(b, S2, b"too late"));
        assert_eq!(end, Err(Reason::PortsExhausted));
    }
}

mod req_11d {
    use super::*;

    #[test]
    fn a_full_session_table_costs_nobody_a_session() {
        let mut nat = Nat::new();
        let flows = |from| (from..).map(|port| (A.0, port));
        let full = |nat: &mut Nat, inside: Endpoint| {
            nat.out(&Packet::udp(inside, S1, b"")) == Err(Reason::SessionTableFull)
        };
        let opened: Vec<_> = flows(10_000).take_while(|flow| !full(&mut nat, *flow)).collect();
        assert!(opened.len() > TABLE_SIZE as usize / 3, "only {} sessions", opened.len());
        for inside in &opened {
            assert!(nat.answers(S1, inside.1, *inside), "the session of {inside:?}");
        }
    }
}

mod req_12 {
    use masq_tests::{lab::SERVER_1, traffic::echo};
    use std::net::SocketAddrV4;

    use crate::{in_both_modes, scene::Setup};

    in_both_modes!(the_log_names_no_destination);

    fn the_log_names_no_destination(setup: Setup) {
        setup.masq_only().run(|scene| {
            let lab = scene.lab;
            let _server = echo::Server::start(&lab.server1, 53);
            let server = SocketAddrV4::new(SERVER_1, 53);
            echo::ask(&lab.a.udp_bind(0), server, b"question").expect("an answer");
            let log = scene.gateway.daemon().log();
            assert!(log.contains("wan0") && !log.contains(&SERVER_1.to_string()), "{log}");
        });
    }
}

mod req_13 {
    use super::*;

    #[test]
    fn every_port_of_the_pool_is_given_away() {
        let mut nat = nat_with_ports(400);
        // All from ports outside of the pool, so that none is had for the asking.
        let flows = (0..400).map(|number| (A.0, 10_000 + number));
        let mut ports: Vec<_> = flows.map(|inside| nat.udp(inside, S1)).collect();
        assert_eq!(nat.ports_held(UDP), 400);
        ports.sort();
        assert_eq!(ports, (2000..2400).collect::<Vec<_>>());
    }
}
