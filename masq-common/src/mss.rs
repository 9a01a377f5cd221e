//! The option of a TCP SYN that says how large segments its sender takes (RFC 9293 section 3.7.1):
//! lowered where the WAN takes less than the LAN, because many a sender never hears of a packet that
//! was too big. Reads and changes no packet itself.

use crate::checksum::Delta;

/// Number of the option.
const KIND: u8 = 2;
/// Bytes of the option, its number and length included.
const LENGTH: u8 = 4;

/// Bytes of the IP and TCP headers without options: what a segment is smaller by than the packet.
pub const HEADERS: u16 = 40;
/// What a sender without the option takes (RFC 9293 section 3.7.1); less is never asked for.
pub const DEFAULT: u16 = 536;

/// What stands at a place of the list of options.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// The maximum segment size: its value, 16 bits, is two bytes further on.
    Size,
    /// Something else, of so many bytes.
    Other(u8),
    /// The end of the list, or damage that hides what comes after it.
    End,
}

/// Reads number and length of an option; the length counts only where there is one.
#[inline(always)]
pub const fn place(kind: u8, length: u8) -> Place {
    match (kind, length) {
        (0, _) => Place::End,
        (1, _) => Place::Other(1),
        (KIND, LENGTH) => Place::Size,
        (KIND, _) | (_, 0 | 1) => Place::End,
        (_, length) => Place::Other(length),
    }
}

/// The largest segment that fits a link whose packets have at most `mtu` bytes; never less than
/// [`DEFAULT`].
#[inline(always)]
pub const fn fitting(mtu: u32) -> u16 {
    let size = mtu.saturating_sub(HEADERS as u32);
    match size {
        ..=536 => DEFAULT,
        0xffff.. => 0xffff,
        size => size as u16,
    }
}

/// The value that stands in the option instead of `old`, where at most `most` is wanted; both as
/// numbers. `None` if it may stay.
#[inline(always)]
pub const fn lowered(old: u16, most: u16) -> Option<u16> {
    if old > most { Some(most) } else { None }
}

/// What the change does to the checksum; the option's value begins `offset` bytes behind the
/// beginning of the TCP header. An odd value stands in two words of the sum, a byte in each.
#[inline(always)]
pub const fn difference(old: u16, new: u16, offset: u32) -> Delta {
    let (old, new) = (old.to_be(), new.to_be());
    if offset.is_multiple_of(2) {
        Delta::word(old, new)
    } else {
        Delta::word(old.swap_bytes(), new.swap_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_size_fits_the_link() {
        assert_eq!(fitting(1500), 1460);
        assert_eq!(fitting(1492), 1452);
        assert_eq!(fitting(576), 536);
        assert_eq!(fitting(68), 536);
        assert_eq!(fitting(0), 536);
        assert_eq!(fitting(65_575), 65_535);
        assert_eq!(fitting(u32::MAX), 65_535);
    }

    #[test]
    fn only_what_is_larger_is_lowered() {
        assert_eq!(lowered(1460, 1452), Some(1452));
        assert_eq!(lowered(1452, 1452), None);
        assert_eq!(lowered(536, 1452), None);
    }

    #[test]
    fn options_are_told_apart() {
        assert_eq!(place(0, 2), Place::End);
        assert_eq!(place(1, 0), Place::Other(1));
        assert_eq!(place(2, 4), Place::Size);
        assert_eq!(place(2, 3), Place::End);
        assert_eq!(place(8, 10), Place::Other(10));
        assert_eq!(place(8, 1), Place::End);
    }

    /// The Internet checksum of whole bytes, from scratch.
    fn checksum(bytes: &[u8]) -> u16 {
        let words =
            bytes.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(*w.get(1).unwrap_or(&0)));
        let sum: u32 = words.sum();
        let sum = (sum & 0xffff) + (sum >> 16);
        !((sum & 0xffff) + (sum >> 16)) as u16
    }

    proptest! {
        #[test]
        fn the_checksum_follows_wherever_the_option_stands(
            mut bytes in prop::collection::vec(any::<u8>(), 8..60),
            place in any::<prop::sample::Index>(),
            new in 1_u16..,
        ) {
            // A sum of nothing but zeros is no checksum that a packet has.
            prop_assume!(bytes.iter().any(|byte| *byte != 0));
            let at = place.index(bytes.len() - 1);
            let before = checksum(&bytes);
            let old = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
            bytes[at..at + 2].copy_from_slice(&new.to_be_bytes());
            let delta = difference(old, new, at as u32);
            let after = u16::from_be(delta.apply(before.to_be()));
            prop_assert_eq!(after, checksum(&bytes));
        }
    }
}
