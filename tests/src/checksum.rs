//! The oracle of checksums: sums whole packets, knows nothing of what was changed in them.
//!
//! masq itself only ever applies differences (`masq_common::checksum`). This module shares no code
//! with it, so that a mistake cannot hide in both.

use etherparse::checksum::Sum16BitWords;

/// What the kernel says about the transport checksum of a captured packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// The field has to hold the checksum.
    Whole,
    /// The device completes it: the field has to hold the sum of the pseudo-header.
    Partial,
}

/// A checksum that is not what it has to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bad {
    /// Which one.
    pub field: &'static str,
    /// What stands in the packet.
    pub found: u16,
    /// What would be right.
    pub expected: u16,
}

/// The Internet checksum of `bytes` (RFC 1071), to be stored in network order.
pub fn internet(bytes: &[u8]) -> u16 {
    finish(Sum16BitWords::new().add_slice(bytes))
}

/// The checksum of TCP or UDP with the pseudo-header of the IPv4 header `ip`.
pub fn with_pseudo_header(ip: &[u8], segment: &[u8]) -> u16 {
    finish(pseudo_header(ip, segment.len()).add_slice(segment))
}

/// Compares all checksums of an IPv4 packet (from the IP header on, without link-layer padding)
/// with sums of the whole packet. Fragments have only their header checked.
pub fn check(packet: &[u8], transport: Transport) -> Result<(), Bad> {
    let header_len = usize::from(packet[0] & 0xf) * 4;
    let (ip, segment) = packet.split_at(header_len.min(packet.len()));
    compare("ip", word(ip, 10), internet(&without(ip, 10)))?;
    if word(ip, 6) & 0x3fff != 0 {
        return Ok(());
    }
    match (ip[9], transport) {
        (1, _) if segment.len() >= 8 => {
            compare("icmp", word(segment, 2), internet(&without(segment, 2)))
        }
        (6, Transport::Whole) if segment.len() >= 20 => {
            // The kernel writes zero as 0xffff for TCP too when it completes a partial checksum
            // (`skb_checksum_help`); receivers take either.
            compare_zeros("tcp", word(segment, 16), with_pseudo_header(ip, &without(segment, 16)))
        }
        (6, Transport::Partial) if segment.len() >= 20 => {
            compare_zeros("tcp", word(segment, 16), !finish(pseudo_header(ip, segment.len())))
        }
        (17, _) if segment.len() >= 8 && word(segment, 6) == 0 => Ok(()),
        (17, Transport::Whole) if segment.len() >= 8 => {
            let expected = match with_pseudo_header(ip, &without(segment, 6)) {
                0 => 0xffff,
                sum => sum,
            };
            compare("udp", word(segment, 6), expected)
        }
        (17, Transport::Partial) if segment.len() >= 8 => {
            compare_zeros("udp", word(segment, 6), !finish(pseudo_header(ip, segment.len())))
        }
        _ => Ok(()),
    }
}

fn pseudo_header(ip: &[u8], segment_len: usize) -> Sum16BitWords {
    let length = u16::try_from(segment_len).expect("an IPv4 packet has at most 65,535 bytes");
    Sum16BitWords::new()
        .add_slice(&ip[12..20])
        .add_2bytes([0, ip[9]])
        .add_2bytes(length.to_be_bytes())
}

fn finish(sum: Sum16BitWords) -> u16 {
    u16::from_be(sum.ones_complement())
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// A copy with the checksum field at `at` cleared.
fn without(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut copy = bytes.to_vec();
    copy[at..at + 2].fill(0);
    copy
}

fn compare(field: &'static str, found: u16, expected: u16) -> Result<(), Bad> {
    if found == expected { Ok(()) } else { Err(Bad { field, found, expected }) }
}

/// Takes both forms of zero for the same number. A partial checksum is not complemented.
fn compare_zeros(field: &'static str, found: u16, expected: u16) -> Result<(), Bad> {
    let zero = |sum| if sum == 0xffff { 0 } else { sum };
    if zero(found) == zero(expected) { Ok(()) } else { Err(Bad { field, found, expected }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector V01: a UDP packet with an even payload.
    const UDP: [u8; 36] = [
        0x45, 0x00, 0x00, 0x24, 0x10, 0x01, 0x40, 0x00, 0x40, 0x11, 0x3e, 0xe1, 0xc0, 0xa8, 0x01,
        0x0a, 0xc6, 0x33, 0x64, 0x01, 0x9c, 0x40, 0x00, 0x35, 0x00, 0x10, 0x64, 0x3c, 0x12, 0x34,
        0x01, 0x00, 0x00, 0x01, 0x00, 0x00,
    ];

    #[test]
    fn a_good_packet_is_good() {
        assert_eq!(check(&UDP, Transport::Whole), Ok(()));
    }

    #[test]
    fn both_zeros_of_tcp_are_good_and_nothing_else_is() {
        let mut packet = vec![0; 40];
        packet[..20].copy_from_slice(&UDP[..20]);
        (packet[3], packet[9]) = (40, 6);
        packet[10..12].fill(0);
        let header = internet(&packet[..20]);
        packet[10..12].copy_from_slice(&header.to_be_bytes());
        // The urgent pointer makes the sum come out as zero.
        let rest = with_pseudo_header(&packet[..20], &packet[20..]);
        packet[38..40].copy_from_slice(&rest.to_be_bytes());
        for (sum, good) in [(0x0000_u16, true), (0xffff, true), (0x0001, false), (0xfffe, false)] {
            packet[36..38].copy_from_slice(&sum.to_be_bytes());
            assert_eq!(check(&packet, Transport::Whole).is_ok(), good, "{sum:#06x}");
        }
    }

    #[test]
    fn any_damaged_bit_is_found() {
        for bit in 0..UDP.len() * 8 {
            let (byte, mask) = (bit / 8, 1 << (bit % 8));
            // Version and header length decide how to read the rest; protocol and flags make
            // something of it that has no checksum.
            if matches!(byte, 0 | 6 | 7 | 9) {
                continue;
            }
            let mut packet = UDP;
            packet[byte] ^= mask;
            assert!(check(&packet, Transport::Whole).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn the_example_of_rfc_1071() {
        assert_eq!(internet(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    }

    #[test]
    fn a_partial_checksum_is_the_sum_of_the_pseudo_header() {
        let mut packet = UDP;
        // c0a8 + 010a + c633 + 6401 + 0011 + 0010 = 1ec07, folded ec08.
        packet[26..28].copy_from_slice(&[0xec, 0x08]);
        assert_eq!(check(&packet, Transport::Partial), Ok(()));
        assert!(check(&packet, Transport::Whole).is_err());
        packet[13] ^= 1;
        packet[10..12].copy_from_slice(&[0x3e, 0xe0]);
        assert!(check(&packet, Transport::Partial).is_err());
    }
}
