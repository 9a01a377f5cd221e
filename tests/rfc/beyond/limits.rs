//! What runs out: ports, room for sessions, the numbers of the clock.

use masq_common::{
    flow::UDP,
    ports::Pool,
    reason::Reason,
    settings::switches,
    tcp::{ACK, SYN},
};
use masq_tests::packet::Packet;

use crate::nat::{A, Nat, S1};

mod b_36 {
    use super::*;

    #[test]
    fn ports_that_ran_out_come_back_all_of_them() {
        let mut nat = Nat::with(|settings| {
            settings.ports = Pool { low: 2000, high: 2009 };
            settings.switches = switches::NO_OVERLAP;
        });
        for round in 0..50 {
            nat.at(round * 1000);
            let mut ports: Vec<_> =
                (0..10).map(|number| nat.udp((A.0, 10_000 + number), S1)).collect();
            ports.sort();
            assert_eq!(ports, (2000..2010).collect::<Vec<_>>(), "round {round}");
            let end = nat.out(&Packet::udp((A.0, 10_010), S1, b"too late"));
            assert_eq!(end, Err(Reason::PortsExhausted), "round {round}");
            nat.at(round * 1000 + 302);
            assert_eq!(nat.sweep(), 10);
            assert_eq!(nat.ports_held(UDP), 0, "round {round}");
        }
    }
}

mod b_38 {
    use super::*;

    #[test]
    fn a_flood_of_syns_passes_by_and_leaves_nothing() {
        let mut nat = Nat::new();
        let port = nat.connect(A, S1);
        let mut refused = 0;
        for number in 0..2000_u16 {
            let source = [192, 168, 1, 20 + (number % 200) as u8].into();
            let syn = Packet::tcp((source, 1024 + number), S1, SYN, b"");
            refused += u32::from(nat.out(&syn) == Err(Reason::SessionTableFull));
        }
        assert!(refused > 0, "the table of the test is smaller than the flood");
        assert_eq!(nat.segment_out(A, S1, ACK), Some(port));
        assert!(nat.segment_back(S1, port, ACK));
        nat.at(242);
        nat.sweep();
        assert_eq!(nat.sessions().len(), 2, "only the connection is left");
        assert_eq!(nat.mappings().len(), 1);
    }
}

mod b_46 {
    use super::*;

    #[test]
    fn the_wrap_of_the_clock_ends_nothing_early_and_nothing_late() {
        for (idle, lives) in [(299, true), (302, false)] {
            let mut nat = Nat::new();
            let before = nat.until_wrap() - 150;
            nat.at(before);
            let port = nat.udp(A, S1);
            nat.at(before + idle);
            assert_eq!(nat.answers(S1, port, A), lives, "after {idle} s");
            assert_eq!(nat.sweep(), u32::from(!lives));
        }
    }
}
