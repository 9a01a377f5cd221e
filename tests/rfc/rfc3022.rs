//! RFC 3022: what traditional NAT does to headers.

use masq_tests::{
    checksum::{Transport, check},
    lab::ROUTER_WAN,
    packet::Packet,
};

use crate::nat::{A, B, Nat, S1, source};

mod s4_1_b {
    use super::*;

    #[test]
    fn checksums_fit_for_every_length_and_protocol() {
        let mut nat = Nat::new();
        // Taken by A, so that B's ports change.
        nat.udp(A, S1);
        nat.connect(A, S1);
        nat.connect(B, S1);
        for length in 0..64 {
            let data = vec![length as u8; length];
            let udp = nat.out(&Packet::udp(B, S1, &data)).expect("translated");
            let tcp = nat.out(&Packet::tcp(B, S1, 0x10, &data)).expect("translated");
            for packet in [udp, tcp] {
                assert_ne!(source(&packet), (ROUTER_WAN, B.1));
                assert_eq!(check(&packet, Transport::Whole), Ok(()), "{length} bytes");
            }
        }
    }
}

mod s4_6 {
    use super::*;

    #[test]
    fn recorded_routes_and_time_stamps_stay() {
        let mut nat = Nat::new();
        let record = [7, 11, 8, 192, 168, 1, 1, 0, 0, 0, 0];
        let stamp = [68, 12, 9, 0x20, 0, 1, 2, 3, 0, 0, 0, 0];
        for options in [&record[..], &stamp] {
            let packet = Packet::udp(A, S1, b"question").options(options);
            let sent = nat.out(&packet).expect("translated");
            assert_eq!(sent[20..20 + options.len()], *options);
            assert_eq!(check(&sent, Transport::Whole), Ok(()));
        }
    }
}
