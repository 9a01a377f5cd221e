//! A flood of fragments. That they arrive in every order is a matter of the daemon, and of the suite
//! `netns`.

use masq_tests::{
    lab::ROUTER_WAN,
    packet::{Endpoint, Packet},
};

use crate::nat::{A, B, Nat, S1};

/// A datagram of 3000 bytes in three fragments.
fn fragments(from: Endpoint, to: Endpoint, id: u16) -> [Vec<u8>; 3] {
    let whole = Packet::udp(from, to, &data(id)).id(id);
    [(0, 1000), (1000, 2000), (2000, 3008)]
        .map(|(begin, end)| whole.clone().fragment(begin, end).bytes())
}

fn data(id: u16) -> Vec<u8> {
    (0..3000).map(|at| (at / 8) as u8 ^ id as u8).collect()
}

mod req_14a {
    use super::*;

    #[test]
    fn a_flood_of_fragments_hurts_neither_others_fragments_nor_whole_packets() {
        let mut nat = Nat::new();
        let port = nat.udp(A, S1);
        nat.udp(B, S1);
        let [first, middle, last] = fragments(B, S1, 0x0b0b);
        nat.out_bytes(&first).expect("the first fragment");
        // More than any table here has room for, from hosts and with identifications of all kinds.
        for number in 0..6000_u16 {
            let from = ([192, 168, 1, 20 + (number % 200) as u8].into(), 7);
            let [_, flood, _] = fragments(from, S1, number);
            assert!(nat.out_bytes(&flood).is_err(), "its first one is missing");
            if number % 1000 == 0 {
                assert_eq!(nat.udp(A, S1), port);
                assert!(nat.answers(S1, port, A));
                nat.out_bytes(&middle).expect("a fragment in order");
            }
        }
        nat.out_bytes(&last).expect("the last fragment");
        // A flood from outside.
        for number in 0..6000_u16 {
            let from = ([198, 51, (number % 100) as u8, 9].into(), 7);
            let [_, flood, _] = fragments(from, (ROUTER_WAN, port), number);
            assert!(nat.back_bytes(&flood).is_err(), "its first one is missing");
        }
        assert!(nat.answers(S1, port, A));
        for fragment in fragments(S1, (ROUTER_WAN, port), 0x0a0a) {
            nat.back_bytes(&fragment).expect("a fragment in order");
        }
    }
}
