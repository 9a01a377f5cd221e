//! Inside hosts that reach each other through their external endpoints.

use masq_common::settings::Filtering;
use masq_tests::{
    lab::ROUTER_WAN,
    packet::Packet,
    program::{Hook, Verdict},
};

use crate::nat::{A, B, Nat, S1, destination, source};

mod req_9 {
    use super::*;

    #[test]
    fn a_datagram_to_an_external_endpoint_arrives_and_is_answered() {
        let mut nat = Nat::filtering(Filtering::EndpointIndependent);
        let (a, b) = ((ROUTER_WAN, nat.udp(A, S1)), (ROUTER_WAN, nat.udp(B, S1)));
        for _ in 0..2 {
            let there = nat.out(&Packet::udp(A, b, b"to b")).expect("hairpinned");
            assert_eq!(destination(&there), B);
            let back = nat.out(&Packet::udp(B, a, b"to a")).expect("hairpinned");
            assert_eq!(destination(&back), A);
        }
    }
}

mod req_9a {
    use super::*;

    #[test]
    fn the_sender_is_shown_by_its_external_endpoint() {
        let mut nat = Nat::filtering(Filtering::EndpointIndependent);
        // A has no mapping yet: the hairpinned packet makes it.
        let b = (ROUTER_WAN, nat.udp(B, S1));
        let output = nat.run(Hook::LanIn, &Packet::udp(A, b, b"to b").bytes());
        assert_eq!(output.verdict, Verdict::Redirect, "{:?}", output.counted);
        let (address, port) = source(output.packet());
        assert_eq!(address, ROUTER_WAN);
        let expected = Packet::udp((ROUTER_WAN, port), B, b"to b").ttl(63).bytes();
        assert_eq!(output.packet(), expected);
        assert_eq!(nat.udp(A, S1), port, "the port that everybody sees");
    }
}
