//! A fragment made to leave like the first one of its datagram. Pure.

use masq_common::{checksum::Delta, fragment::Translation};

/// Whether the hop limit of a fragment has been counted down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hop {
    /// By the kernel, which has routed it.
    Counted,
    /// Not yet: it was taken before the kernel could.
    Due,
}

/// Why a fragment cannot be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unsendable {
    /// Its hop limit ends here. No ICMP error is sent about a later fragment (RFC 1812 section
    /// 4.3.2.7).
    TtlExpired,
    /// The kernel would replace an identification of 0 by one of its own, and the fragments would
    /// not be one datagram any more.
    NoIdentification,
    /// It is shorter than an IP header.
    Malformed,
}

const IDENTIFICATION: usize = 4;
const TTL: usize = 8;
const CHECKSUM: usize = 10;
const SOURCE: usize = 12;
const DESTINATION: usize = 16;

/// Rewrites the header in `packet`: addresses, identification, hop limit, checksum.
pub fn rewrite(packet: &mut [u8], translation: &Translation, hop: Hop) -> Result<(), Unsendable> {
    let Some(header) = packet.first_chunk_mut::<20>() else {
        return Err(Unsendable::Malformed);
    };
    if translation.identification == 0 {
        return Err(Unsendable::NoIdentification);
    }
    let mut delta = Delta::from_raw(translation.delta);
    if hop == Hop::Due {
        let ttl = header[TTL];
        if ttl <= 1 {
            return Err(Unsendable::TtlExpired);
        }
        // The word that the hop limit shares with the protocol.
        let word = |ttl| u16::from_ne_bytes([ttl, header[TTL + 1]]);
        delta = delta.and(Delta::word(word(ttl), word(ttl - 1)));
        header[TTL] = ttl - 1;
    }
    let sum = u16::from_ne_bytes([header[CHECKSUM], header[CHECKSUM + 1]]);
    let Translation { source, destination, identification, .. } = translation;
    header[IDENTIFICATION..][..2].copy_from_slice(&identification.to_ne_bytes());
    header[CHECKSUM..][..2].copy_from_slice(&delta.apply(sum).to_ne_bytes());
    header[SOURCE..][..4].copy_from_slice(&source.octets());
    header[DESTINATION..][..4].copy_from_slice(&destination.octets());
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use masq_common::{be::Addr, fragment::Datagram, time::Tick};
    use proptest::prelude::*;

    use super::*;
    use crate::slow::ip::{Packet, tests::fragment};

    /// What is done to a datagram that leaves with other addresses and another identification.
    pub fn translation(
        datagram: Datagram,
        source: [u8; 4],
        destination: [u8; 4],
        identification: [u8; 2],
    ) -> Translation {
        let (source, destination) = (Addr::from_octets(source), Addr::from_octets(destination));
        let identification = u16::from_ne_bytes(identification);
        let delta = Delta::addr(datagram.source, source)
            .and(Delta::addr(datagram.destination, destination))
            .and(Delta::word(datagram.identification, identification))
            .raw();
        Translation {
            datagram,
            source,
            destination,
            delta,
            identification,
            ..Translation::own(datagram, Tick(0))
        }
    }

    fn outbound(bytes: &[u8], identification: [u8; 2]) -> Translation {
        let datagram = Packet::parse(bytes, bytes.len()).unwrap().datagram();
        translation(datagram, [203, 0, 113, 5], [198, 51, 100, 1], identification)
    }

    #[test]
    fn a_fragment_is_rewritten_byte_for_byte() {
        let mut packet = fragment(0x0f01, 185, b"12345678");
        let translation = outbound(&packet, [0xab, 0xcd]);
        rewrite(&mut packet, &translation, Hop::Counted).unwrap();
        // Summed by hand: 4500+001c+abcd+00b9+4011+cb00+7105+c633+6401 = 0x397ec, folded 0x97ef.
        let expected = [
            0x45, 0x00, 0x00, 0x1c, 0xab, 0xcd, 0x00, 0xb9, 0x40, 0x11, 0x68, 0x10, 203, 0, 113, 5,
            198, 51, 100, 1,
        ];
        assert_eq!(packet[..20], expected);
        assert_eq!(&packet[20..], b"12345678");
    }

    #[test]
    fn a_due_hop_is_counted() {
        let mut packet = fragment(7, 185, b"12345678");
        let translation = outbound(&packet, [1, 2]);
        rewrite(&mut packet, &translation, Hop::Due).unwrap();
        assert_eq!(packet[8], 63);
        assert!(Packet::parse(&packet, packet.len()).is_some(), "the checksum fits");
        for ttl in [0, 1] {
            let mut packet = packet.clone();
            packet[8] = ttl;
            let before = packet.clone();
            let result = rewrite(&mut packet, &translation, Hop::Due);
            assert_eq!((result, packet), (Err(Unsendable::TtlExpired), before));
        }
    }

    #[test]
    fn an_identification_of_zero_is_not_sent() {
        let mut packet = fragment(7, 185, b"12345678");
        let translation = outbound(&packet, [0, 0]);
        let result = rewrite(&mut packet, &translation, Hop::Counted);
        assert_eq!(result, Err(Unsendable::NoIdentification));
    }

    proptest! {
        #[test]
        fn the_checksum_fits_whatever_changes(
            source: [u8; 4], destination: [u8; 4], identification in 1_u16..,
            from in 1_u16.., offset in 1_u16..8192, due: bool,
        ) {
            let mut packet = fragment(from, offset, b"12345678");
            let datagram = Packet::parse(&packet, packet.len()).unwrap().datagram();
            let identification = identification.to_be_bytes();
            let translation = translation(datagram, source, destination, identification);
            let hop = if due { Hop::Due } else { Hop::Counted };
            rewrite(&mut packet, &translation, hop).unwrap();
            let sent = Packet::parse(&packet, packet.len());
            let sent = sent.expect("a sound header").datagram();
            prop_assert_eq!(sent.source.octets(), source);
            prop_assert_eq!(sent.destination.octets(), destination);
            prop_assert_eq!(sent.identification.to_ne_bytes(), identification);
        }

        #[test]
        fn no_bytes_do_harm(mut bytes: Vec<u8>) {
            let translation = outbound(&fragment(7, 185, b"12345678"), [1, 2]);
            let length = bytes.len();
            let _ = rewrite(&mut bytes, &translation, Hop::Due);
            prop_assert_eq!(bytes.len(), length);
        }
    }
}
