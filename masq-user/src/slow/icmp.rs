//! The answer to a host whose first packet was refused: ICMP destination unreachable (RFC 5508
//! REQ-8, RFC 6888 REQ-11b). Pure.

use std::net::Ipv4Addr;

use etherparse::{
    Icmpv4Header, Icmpv4Type, IpNumber, Ipv4Header,
    icmpv4::DestUnreachableHeader::{FilterProhibited, Host},
};
use masq_common::{
    be::Addr,
    icmp::{Kind, kind},
};

use super::ip::Packet;
use crate::cli::ExhaustionIcmp;

/// Length of the whole answer at most (RFC 1812 section 4.3.2.3).
pub const LENGTH: usize = 576;

/// What of that is left for the packet that is answered.
const QUOTE: usize = LENGTH - Ipv4Header::MIN_LEN - 8;

/// Hop limit of an answer.
const TTL: u8 = 64;

/// The answer to `refused`, from `router` ([`Addr::NONE`] lets the kernel choose). `None` if this
/// is a packet that no ICMP error is sent about (RFC 5508 REQ-10e), or no answer is wanted.
pub fn answer(refused: &Packet<'_>, router: Addr, wanted: ExhaustionIcmp) -> Option<Vec<u8>> {
    let code = match wanted {
        ExhaustionIcmp::Prohibited => FilterProhibited,
        ExhaustionIcmp::HostUnreachable => Host,
        ExhaustionIcmp::None => return None,
    };
    if !may_be_answered(refused) {
        return None;
    }
    let quote = &refused.bytes()[..refused.bytes().len().min(QUOTE)];
    let icmp = Icmpv4Header::with_checksum(Icmpv4Type::DestinationUnreachable(code), quote);
    let length = (icmp.header_len() + quote.len()) as u16;
    let to = refused.header().source();
    let mut ip = Ipv4Header::new(length, TTL, IpNumber::ICMP, router.octets(), to).ok()?;
    // RFC 5508 section 7.7. Congestion is no business of an error.
    ip.dscp = refused.header().dcp();
    ip.dont_fragment = false;
    ip.header_checksum = ip.calc_header_checksum();
    Some([&ip.to_bytes(), &icmp.to_bytes()[..], quote].concat())
}

/// Whether an ICMP error may be sent about a packet.
fn may_be_answered(packet: &Packet<'_>) -> bool {
    let header = packet.header();
    let to = header.destination_addr();
    // A query is answered, an error is not; of what is neither, nothing is known.
    let is_error = header.protocol() == IpNumber::ICMP
        && packet.payload().first().is_none_or(|&message| kind(message) != Kind::Request);
    !packet.is_later_fragment()
        && !is_error
        && !to.is_multicast()
        && !to.is_broadcast()
        && is_unicast(header.source_addr())
}

/// Whether a packet can be sent to this address, and reaches one host.
fn is_unicast(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    (1..224).contains(&first) && !address.is_loopback()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::slow::ip::tests::{fragment, seal};

    const ROUTER: Addr = Addr::from_octets([192, 168, 1, 1]);

    fn answer_to(packet: &[u8]) -> Option<Vec<u8>> {
        let packet = Packet::parse(packet, packet.len()).expect("a sound header");
        answer(&packet, ROUTER, ExhaustionIcmp::Prohibited)
    }

    fn packet(protocol: IpNumber, from: [u8; 4], to: [u8; 4], payload: &[u8]) -> Vec<u8> {
        let header = Ipv4Header::new(payload.len() as u16, 63, protocol, from, to).unwrap();
        seal(header, payload)
    }

    #[test]
    fn the_answer_is_right_byte_for_byte() {
        // A UDP datagram with DSCP 46 and ECN 1, port 40000 to 53, without checksum.
        let mut header =
            Ipv4Header::new(8, 63, IpNumber::UDP, [192, 168, 1, 10], [198, 51, 100, 1]).unwrap();
        header.dscp = 46.try_into().unwrap();
        header.ecn = 1.try_into().unwrap();
        let udp = [0x9c, 0x40, 0x00, 0x35, 0x00, 0x08, 0x00, 0x00];
        let refused = seal(header, &udp);
        // IP sum: 45b8+0038+4001+c0a8+0101+c0a8+010a = 0x2094c, folded 0x094e, so 0xf6b1.
        let ip = [
            0x45, 0xb8, 0x00, 0x38, 0x00, 0x00, 0x00, 0x00, 0x40, 0x01, 0xf6, 0xb1, 192, 168, 1, 1,
            192, 168, 1, 10,
        ];
        // ICMP sum: 030d + a quoted header, which sums up to ffff, + 9c40+0035+0008 = 0x9f8a
        // (ffff is nothing to the one's complement), so 0x6075.
        let icmp = [3, 13, 0x60, 0x75, 0, 0, 0, 0];
        let expected = [&ip[..], &icmp, &refused].concat();
        assert_eq!(answer_to(&refused), Some(expected));
    }

    #[test]
    fn the_code_is_the_one_that_is_wanted() {
        let refused = packet(IpNumber::UDP, [192, 168, 1, 10], [198, 51, 100, 1], &[0; 8]);
        let refused = Packet::parse(&refused, refused.len()).unwrap();
        let code = |wanted| Some(answer(&refused, ROUTER, wanted)?[20..22].to_vec());
        assert_eq!(code(ExhaustionIcmp::Prohibited), Some(vec![3, 13]));
        assert_eq!(code(ExhaustionIcmp::HostUnreachable), Some(vec![3, 1]));
        assert_eq!(code(ExhaustionIcmp::None), None);
    }

    #[test]
    fn as_much_is_quoted_as_fits() {
        for (length, expected) in [(0, 48), (500, 548), (528, 576), (529, 576), (1400, 576)] {
            let payload = vec![7; length];
            let refused = packet(IpNumber::UDP, [192, 168, 1, 10], [198, 51, 100, 1], &payload);
            let answer = answer_to(&refused).unwrap();
            assert_eq!(answer.len(), expected, "{length} bytes");
            assert_eq!(answer[28..], refused[..expected - 28]);
        }
    }

    #[test]
    fn no_error_is_sent_about_these() {
        let (host, server) = ([192, 168, 1, 10], [198, 51, 100, 1]);
        let udp = |from, to| packet(IpNumber::UDP, from, to, &[0; 8]);
        let icmp = |kind| packet(IpNumber::ICMP, host, server, &[kind, 0, 0, 0, 0, 0, 0, 0]);
        assert!(answer_to(&udp(host, server)).is_some());
        assert!(answer_to(&icmp(8)).is_some(), "a query");
        assert!(answer_to(&fragment(1, 0, &[0; 8])).is_some(), "a first fragment");
        for kind in [3, 4, 5, 11, 12, 0, 200] {
            assert_eq!(answer_to(&icmp(kind)), None, "ICMP type {kind}");
        }
        assert_eq!(answer_to(&packet(IpNumber::ICMP, host, server, &[])), None);
        assert_eq!(answer_to(&fragment(1, 1, &[0; 8])), None, "a later fragment");
        for to in [[224, 0, 0, 251], [239, 1, 2, 3], [255, 255, 255, 255]] {
            assert_eq!(answer_to(&udp(host, to)), None, "to {to:?}");
        }
        for from in [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 1], [240, 0, 0, 1], [255; 4]] {
            assert_eq!(answer_to(&udp(from, server)), None, "from {from:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(bytes: Vec<u8>, payload: Vec<u8>, protocol: u8) {
            if let Some(packet) = Packet::parse(&bytes, bytes.len()) {
                let _ = answer(&packet, ROUTER, ExhaustionIcmp::Prohibited);
            }
            let refused = packet(protocol.into(), [10, 0, 0, 1], [198, 51, 100, 1], &payload);
            if let Some(answer) = answer_to(&refused) {
                prop_assert!(answer.len() <= LENGTH);
                prop_assert!(Packet::parse(&answer, answer.len()).is_some_and(|a| a.is_whole()));
            }
        }
    }
}
