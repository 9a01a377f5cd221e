//! An IPv4 packet out of a record, with a header that can be trusted. What follows the header may
//! be anything.

use etherparse::{Ipv4HeaderSlice, checksum::Sum16BitWords};
use masq_common::{be::Addr, fragment::Datagram};

/// An IPv4 packet with a sound header: version, lengths and checksum are right.
#[derive(Clone, Debug)]
pub struct Packet<'a> {
    header: Ipv4HeaderSlice<'a>,
    bytes: &'a [u8],
}

impl<'a> Packet<'a> {
    /// From what was captured of a packet of `length` bytes, which may be followed by the padding
    /// of its frame. `None` if a router would have dropped it (RFC 1812 section 5.2.2).
    pub fn parse(captured: &'a [u8], length: usize) -> Option<Self> {
        let header = Ipv4HeaderSlice::from_slice(captured).ok()?;
        let total = usize::from(header.total_len());
        if total < header.slice().len() || total > length {
            return None;
        }
        let sum = Sum16BitWords::new().add_slice(header.slice()).ones_complement();
        let bytes = &captured[..total.min(captured.len())];
        (sum == 0).then_some(Self { header, bytes })
    }

    /// Its header.
    pub const fn header(&self) -> &Ipv4HeaderSlice<'a> {
        &self.header
    }

    /// What there is of the packet, without padding.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What there is of the packet behind its header.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.header.slice().len()..]
    }

    /// Whether the capture has all of it.
    pub fn is_whole(&self) -> bool {
        self.bytes.len() == usize::from(self.header.total_len())
    }

    /// Whether it is a fragment other than the first.
    pub fn is_later_fragment(&self) -> bool {
        self.header.fragments_offset().value() != 0
    }

    /// The source address.
    pub fn source(&self) -> Addr {
        Addr::from_octets(self.header.source())
    }

    /// What tells its fragments from those of others.
    pub fn datagram(&self) -> Datagram {
        Datagram {
            source: self.source(),
            destination: Addr::from_octets(self.header.destination()),
            identification: self.header.identification().to_be(),
            protocol: self.header.protocol().0,
            zero: 0,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use etherparse::{IpFragOffset, IpNumber, Ipv4Header};
    use proptest::prelude::*;

    use super::*;

    /// A UDP fragment from 192.168.1.10 to 198.51.100.1 at `offset` (in 8 bytes), TTL 64.
    pub fn fragment(identification: u16, offset: u16, payload: &[u8]) -> Vec<u8> {
        let (source, destination) = ([192, 168, 1, 10], [198, 51, 100, 1]);
        let length = payload.len() as u16;
        let mut header =
            Ipv4Header::new(length, 64, IpNumber::UDP, source, destination).expect("it fits");
        header.identification = identification;
        header.dont_fragment = false;
        header.fragment_offset = IpFragOffset::try_new(offset).expect("13 bits");
        seal(header, payload)
    }

    /// Header and payload, with the checksum of the header.
    pub fn seal(mut header: Ipv4Header, payload: &[u8]) -> Vec<u8> {
        header.header_checksum = header.calc_header_checksum();
        [&header.to_bytes(), payload].concat()
    }

    #[test]
    fn a_sound_packet_is_taken_without_its_padding() {
        let mut bytes = fragment(0x0f01, 185, b"12345678");
        bytes.extend([0; 18]);
        let packet = Packet::parse(&bytes, bytes.len()).unwrap();
        assert_eq!((packet.bytes().len(), packet.payload()), (28, &b"12345678"[..]));
        assert!(packet.is_whole() && packet.is_later_fragment());
        let expected = Datagram {
            source: Addr::from_octets([192, 168, 1, 10]),
            destination: Addr::from_octets([198, 51, 100, 1]),
            // As loaded from the packet: the bytes 0f 01.
            identification: u16::from_ne_bytes([0x0f, 0x01]),
            protocol: 17,
            zero: 0,
        };
        assert_eq!(packet.datagram(), expected);
    }

    #[test]
    fn a_packet_that_was_cut_is_taken_and_known() {
        let bytes = fragment(1, 0, &[7; 100]);
        let packet = Packet::parse(&bytes[..50], bytes.len()).unwrap();
        assert!(!packet.is_whole() && !packet.is_later_fragment());
        assert_eq!(packet.payload(), [7; 30]);
    }

    #[test]
    fn damaged_headers_are_refused() {
        let good = fragment(1, 3, b"12345678");
        assert!(Packet::parse(&good, good.len()).is_some());
        // Longer than the frame that it came in.
        assert!(Packet::parse(&good, good.len() - 1).is_none());
        for at in 0..20 {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert!(Packet::parse(&bad, bad.len()).is_none(), "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(bytes: Vec<u8>, length in 0_usize..70_000) {
            if let Some(packet) = Packet::parse(&bytes, length) {
                prop_assert!(packet.bytes().len() <= length);
                prop_assert_eq!(packet.header().slice().len() + packet.payload().len(),
                    packet.bytes().len());
            }
        }
    }
}
