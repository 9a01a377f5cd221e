//! One's-complement arithmetic for Internet checksums: differences only, never a whole sum.
//!
//! A checksum that was wrong before a translation is wrong by the same amount after it, because
//! only the difference of the words that change is applied (RFC 1624, equation 3).
//!
//! Byte order: the one's-complement sum of 16-bit words does not care in which order the two
//! bytes of every word are read, as long as it is the same for all (RFC 1071 section 2 B). All
//! words here, checksum fields included, are taken as they were loaded from the packet.

use crate::be::{Addr, Id};

/// A one's-complement difference: the sum of what is new minus what was old, of at most 32,768 words.
/// Its carries are folded back only where it is used, which saves half of the work.
#[derive(Clone, Copy, Default, Debug)]
pub struct Delta(u32);

impl PartialEq for Delta {
    fn eq(&self, other: &Self) -> bool {
        self.raw() == other.raw()
    }
}

impl Eq for Delta {}

/// Folds the carries of a sum of at most 65,537 words back into 16 bits.
#[inline(always)]
const fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

impl Delta {
    /// Nothing changed.
    pub const ZERO: Self = Self(0);

    /// One 16-bit word changed from `old` to `new`.
    #[inline(always)]
    pub const fn word(old: u16, new: u16) -> Self {
        Self(!old as u32 + new as u32)
    }

    /// An address changed.
    #[inline(always)]
    pub const fn addr(old: Addr, new: Addr) -> Self {
        let (old, new) = (!old.raw(), new.raw());
        Self((old & 0xffff) + (old >> 16) + (new & 0xffff) + (new >> 16))
    }

    /// A port or ICMP identifier changed.
    #[inline(always)]
    pub const fn id(old: Id, new: Id) -> Self {
        Self::word(old.raw(), new.raw())
    }

    /// Both changes.
    #[inline(always)]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// The difference in 16 bits: as the kernel's `bpf_l4_csum_replace` takes it (`from` = 0, size
    /// 0), and as it is kept in tables.
    #[inline(always)]
    pub const fn raw(self) -> u16 {
        fold(self.0)
    }

    /// From what [`raw`](Self::raw) has returned.
    #[inline(always)]
    pub const fn from_raw(raw: u16) -> Self {
        Self(raw as u32)
    }

    /// The checksum field after the change. For IP, TCP and ICMP, where zero is an ordinary value.
    #[inline(always)]
    pub const fn apply(self, field: u16) -> u16 {
        !fold(!field as u32 + self.0)
    }

    /// The checksum field of UDP after the change: 0 means "none" and stays (RFC 3022 section
    /// 4.1), and a result of 0 is written as 0xffff (RFC 768).
    #[inline(always)]
    pub const fn apply_udp(self, field: u16) -> u16 {
        if field == 0 {
            return 0;
        }
        match self.apply(field) {
            0 => 0xffff,
            sum => sum,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1624_section_4() {
        // HC = 0xdd2f, m = 0x5555, m' = 0x3285; equation 3 gives 0x0000, not 0xffff.
        let delta = Delta::word(0x5555, 0x3285);
        assert_eq!(delta.apply(0xdd2f), 0x0000);
    }

    #[test]
    fn udp_without_checksum_stays_without() {
        assert_eq!(Delta::word(1, 2).apply_udp(0), 0);
    }

    #[test]
    fn udp_checksum_that_becomes_zero_is_all_ones() {
        assert_eq!(Delta::word(0x5555, 0x3285).apply_udp(0xdd2f), 0xffff);
    }

    #[test]
    fn a_change_and_its_reverse_cancel() {
        let (a, b) = (Addr::from_octets([192, 168, 1, 10]), Addr::from_octets([203, 0, 113, 5]));
        let there = Delta::addr(a, b).and(Delta::id(Id::new(40000), Id::new(61001)));
        let back = Delta::addr(b, a).and(Delta::id(Id::new(61001), Id::new(40000)));
        assert_eq!(back.apply(there.apply(0x1234)), 0x1234);
    }
}
