//! Errors, which are known by the packet that they quote.

use masq_common::reason::Reason;
use masq_tests::{
    checksum::{Transport, check, internet},
    lab::{ISP, ROUTER_WAN, SERVER_1},
    packet::{Packet, reseal},
    program::INNER_ROUTER,
};

use crate::{
    nat::{A, B, Nat, S1, destination, error, quoted, source},
    rfc4787::all_errors,
};

/// Options that fill the longest IP header.
const LONGEST: [u8; 40] = [1; 40];

/// A NAT with a UDP session of A, the packet that it has sent and the one that A has received.
fn scene() -> (Nat, Vec<u8>, Vec<u8>) {
    let mut nat = Nat::new();
    nat.udp(B, S1);
    let port = nat.udp(A, S1);
    assert_ne!(port, A.1, "so that something changes");
    let sent = Packet::udp((ROUTER_WAN, port), S1, b"question").bytes();
    (nat, sent, Packet::udp(S1, A, b"answer").bytes())
}

mod req_3 {
    use super::*;

    #[test]
    fn an_error_with_a_bad_checksum_is_dropped() {
        let (mut nat, sent, received) = scene();
        for bit in 0..16 {
            let mut inbound = error(ISP, ROUTER_WAN, (11, 0), &sent).bytes();
            inbound[22 + bit / 8] ^= 1 << (bit % 8);
            assert!(nat.back_bytes(&inbound).is_err(), "bit {bit} from outside");
            let mut outbound = error(A.0, S1.0, (3, 3), &received).bytes();
            outbound[22 + bit / 8] ^= 1 << (bit % 8);
            assert!(nat.out_bytes(&outbound).is_err(), "bit {bit} from inside");
        }
        // Also in a long one, of odd length.
        let mut long = error(ISP, ROUTER_WAN, (11, 0), &[&sent[..], &[7; 513]].concat()).bytes();
        assert!(nat.back_bytes(&long).is_ok());
        *long.last_mut().expect("a byte") ^= 1;
        assert!(nat.back_bytes(&long).is_err());
    }
}

mod req_3a {
    use super::*;

    #[test]
    fn an_error_whose_quote_has_a_bad_header_checksum_is_dropped() {
        let (mut nat, mut sent, mut received) = scene();
        sent[10] ^= 1;
        received[11] ^= 0x80;
        assert!(nat.back(&error(ISP, ROUTER_WAN, (11, 0), &sent)).is_err());
        assert!(nat.out(&error(A.0, S1.0, (3, 3), &received)).is_err());
    }
}

mod req_3b {
    use super::*;

    #[test]
    fn the_ports_are_found_behind_options() {
        let (mut nat, sent, received) = scene();
        for length in [4, 8, 40] {
            let options = &LONGEST[..length];
            let sent = Packet::udp(source(&sent), S1, b"question").options(options).bytes();
            let inbound = nat.back(&error(ISP, ROUTER_WAN, (3, 1), &sent)).expect("translated");
            let expected = Packet::udp(A, S1, b"question").options(options).bytes();
            assert_eq!(quoted(&inbound), expected);
            let received = Packet::udp(S1, A, b"answer").options(options).bytes();
            let outbound = nat.out(&error(A.0, S1.0, (3, 3), &received)).expect("translated");
            let there = Packet::udp(S1, source(&sent), b"answer").options(options).bytes();
            assert_eq!(quoted(&outbound), there);
        }
        // A header shorter than any, and quotes without ports.
        let mut short = received.clone();
        short[0] = 0x44;
        for about in [&short[..], &received[..20], &received[..27]] {
            let end = nat.out(&error(A.0, S1.0, (3, 3), about));
            assert_eq!(end, Err(Reason::Malformed));
            let end = nat.back(&error(ISP, ROUTER_WAN, (3, 3), about));
            assert_eq!(end, Err(Reason::NoSession), "no host gets it");
        }
    }
}

mod req_3c {
    use super::*;

    /// The checksum of a UDP datagram without options.
    fn sum(packet: &[u8]) -> u16 {
        u16::from_be_bytes([packet[26], packet[27]])
    }

    /// The difference of two sums in one's complement.
    fn difference(a: u16, b: u16) -> u32 {
        (u32::from(a) + 0xffff - u32::from(b)) % 0xffff
    }

    #[test]
    fn a_wrong_checksum_in_the_quote_stays_wrong_by_as_much() {
        let (mut nat, sent, _) = scene();
        let mut wrong = sent.clone();
        wrong[26..28].copy_from_slice(&[0x12, 0x34]);
        let [right_after, wrong_after] = [&sent, &wrong].map(|about| {
            let packet = nat.back(&error(ISP, ROUTER_WAN, (11, 0), about)).expect("translated");
            assert_eq!(check(&packet, Transport::Whole), Ok(()), "the error itself is right");
            sum(quoted(&packet))
        });
        assert_ne!(right_after, sum(&sent));
        assert_eq!(difference(wrong_after, right_after), difference(sum(&wrong), sum(&sent)));
    }
}

mod req_4 {
    use super::*;

    #[test]
    fn an_error_about_no_session_reaches_no_host() {
        let (mut nat, ..) = scene();
        for about in [
            Packet::udp((ROUTER_WAN, 61_999), S1, b"of nobody"),
            Packet::udp((ROUTER_WAN, A.1), (S1.0, 54), b"to another port"),
            Packet::echo((ROUTER_WAN, 7), SERVER_1, b"of the router"),
        ] {
            let end = nat.back(&error(ISP, ROUTER_WAN, (3, 3), &about.bytes()));
            assert_eq!(end, Err(Reason::NoSession));
        }
    }
}

mod req_4b {
    use super::*;

    #[test]
    fn type_code_and_the_rest_of_the_header_stay() {
        let (mut nat, sent, received) = scene();
        for kind in all_errors().filter(|(kind, _)| ![4, 5].contains(kind)) {
            let rest = 0x0012_0578;
            let inbound = Packet::icmp(ISP, ROUTER_WAN, kind, rest, &sent);
            let inbound = nat.back(&inbound).expect("translated");
            let outbound = Packet::icmp(A.0, S1.0, kind, rest, &received);
            let outbound = nat.out(&outbound).expect("translated");
            for packet in [inbound, outbound] {
                assert_eq!(packet[20..22], [kind.0, kind.1]);
                assert_eq!(packet[24..28], rest.to_be_bytes(), "{kind:?}");
                assert_eq!(check(&packet, Transport::Whole), Ok(()), "{kind:?}");
            }
        }
    }
}

mod req_4c {
    use super::*;

    #[test]
    fn the_destination_becomes_the_quoted_source() {
        let (mut nat, sent, _) = scene();
        let translated = nat.back(&error(ISP, ROUTER_WAN, (11, 0), &sent)).expect("translated");
        assert_eq!((source(&translated).0, destination(&translated).0), (ISP, A.0));
        assert_eq!(source(quoted(&translated)), A);
    }

    #[test]
    fn a_quote_of_another_senders_packet_is_not_taken_for_ours() {
        let (mut nat, sent, _) = scene();
        let mut other = sent;
        other[12..16].copy_from_slice(&[203, 0, 113, 6]);
        reseal(&mut other);
        let end = nat.back(&error(ISP, ROUTER_WAN, (11, 0), &other));
        assert_eq!(end, Err(Reason::NoSession));
    }
}

mod req_5 {
    use super::*;

    #[test]
    fn an_error_about_no_session_does_not_leave() {
        let (mut nat, ..) = scene();
        for about in [
            Packet::udp(S1, (A.0, 49_999), b"to another port"),
            Packet::udp((S1.0, 54), A, b"from another port"),
            Packet::udp(A, S1, b"of the wrong direction"),
        ] {
            let end = nat.out(&error(A.0, S1.0, (3, 3), &about.bytes()));
            assert_eq!(end, Err(Reason::IcmpErrorUnknown));
        }
    }
}

mod req_5a {
    use super::*;

    #[test]
    fn the_quote_of_an_error_from_inside_is_in_external_terms() {
        let (mut nat, sent, received) = scene();
        let translated = nat.out(&error(A.0, S1.0, (3, 3), &received)).expect("translated");
        let expected = Packet::udp(S1, source(&sent), b"answer").bytes();
        assert_eq!(quoted(&translated), expected, "checksums included");
    }
}

mod req_5c {
    use super::*;

    #[test]
    fn whoever_sends_an_error_from_inside_it_has_the_external_source() {
        let (mut nat, _, received) = scene();
        for from in [A.0, B.0, INNER_ROUTER] {
            let packet = nat.out(&error(from, S1.0, (3, 1), &received)).expect("translated");
            assert_eq!(source(&packet).0, ROUTER_WAN, "{from}");
            assert_eq!(internet(&packet[..20]), 0, "the header with its checksum sums to zero");
        }
    }
}

mod req_10b5 {
    use super::*;

    #[test]
    fn the_pointer_of_a_parameter_problem_stays() {
        let (mut nat, sent, _) = scene();
        let problem = Packet::icmp(ISP, ROUTER_WAN, (12, 0), 0x1400_0000, &sent);
        let problem = nat.back(&problem).expect("translated");
        assert_eq!(problem[24..28], [0x14, 0, 0, 0]);
    }
}

mod req_7 {
    use super::*;
    use masq_common::settings::Filtering;

    /// A hairpinned datagram from A to B, and B's error about it as it arrives at A.
    pub fn refused() -> (Packet, Vec<u8>) {
        let mut nat = Nat::filtering(Filtering::EndpointIndependent);
        nat.udp(A, S1);
        let b = (ROUTER_WAN, nat.udp(B, S1));
        let there = nat.out(&Packet::udp(A, b, b"to b")).expect("hairpinned");
        let back = nat.out(&error(B.0, ROUTER_WAN, (3, 3), &there)).expect("hairpinned");
        (Packet::udp(A, b, b"to b"), back)
    }

    #[test]
    fn an_error_about_a_hairpinned_datagram_comes_back_in_its_senders_terms() {
        let (sent, error) = refused();
        assert_eq!(source(&error).0, ROUTER_WAN, "B is not shown");
        let mut quote = quoted(&error).to_vec();
        // The hop on the way.
        quote[8] = 64;
        reseal(&mut quote);
        assert_eq!(quote, sent.bytes());
        assert_eq!(check(&error, Transport::Whole), Ok(()));
    }
}

mod req_7a {
    use super::*;

    #[test]
    fn its_destination_is_the_inside_source_of_the_quote() {
        let (_, error) = req_7::refused();
        assert_eq!(destination(&error).0, A.0);
    }
}
