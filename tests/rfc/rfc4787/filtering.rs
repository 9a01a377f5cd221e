//! Who is let in to a mapping.

use masq_common::settings::Filtering::{
    AddressAndPortDependent, AddressDependent, EndpointIndependent,
};

use crate::nat::{A, Nat, S1, S2};

mod req_8 {
    use super::*;

    #[test]
    fn each_policy_lets_in_whom_it_names() {
        let mut nat = Nat::new();
        for (policy, other_port, other_address) in [
            (EndpointIndependent, true, true),
            (AddressDependent, true, false),
            (AddressAndPortDependent, false, false),
        ] {
            nat.change(|settings| settings.filtering_udp = policy as u8);
            let a = (A.0, A.1 + policy as u16);
            let port = nat.udp(a, S1);
            assert!(nat.answers(S1, port, a), "{policy:?}");
            assert_eq!(nat.answers((S1.0, 9), port, a), other_port, "{policy:?}");
            assert_eq!(nat.answers(S2, port, a), other_address, "{policy:?}");
            // Once A has sent there, the address is known, and the port if it is the same.
            nat.udp(a, (S2.0, 9));
            assert!(nat.answers((S2.0, 9), port, a), "{policy:?}");
            assert_eq!(nat.answers(S2, port, a), other_port, "{policy:?}");
        }
    }
}

mod req_8a {
    use super::*;

    #[test]
    fn another_policy_holds_from_the_next_packet_on() {
        let mut nat = Nat::new();
        let port = nat.udp(A, S1);
        assert!(!nat.answers(S2, port, A));
        nat.change(|settings| settings.filtering_udp = EndpointIndependent as u8);
        assert!(nat.answers(S2, port, A));
        nat.change(|settings| settings.filtering_udp = AddressAndPortDependent as u8);
        assert!(!nat.answers((S2.0, 9), port, A));
        assert!(nat.answers(S1, port, A), "sessions go on");
    }
}

mod req_10 {
    use super::*;
    use masq_tests::packet::Packet;

    #[test]
    fn addresses_in_a_payload_stay_as_they_are() {
        let register = b"REGISTER sip:198.51.100.1 SIP/2.0\r\n\
            Via: SIP/2.0/UDP 192.168.1.10:5060\r\nContact: <sip:a@192.168.1.10:5060>\r\n\r\n";
        let mut nat = Nat::new();
        let sip = ((A.0, 5060), (S1.0, 5060));
        // The first packet by the full path, the second by the fast one.
        for _ in 0..2 {
            let sent = nat.out(&Packet::udp(sip.0, sip.1, register)).expect("translated");
            assert_eq!(sent[28..], register[..]);
        }
    }
}
