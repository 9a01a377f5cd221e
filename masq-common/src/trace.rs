//! Packets as a hook has found them and as it has left them, for `masq trace`: what the programs are
//! told to record, and what they record. Untraced programs know nothing of it.

use bytemuck::{Pod, Zeroable};

use crate::{
    be::{Addr, Id},
    reason::{COUNTERS, Reason},
};

/// Bytes of a packet that are recorded at most, link-layer header included.
pub const CAPTURE: usize = 128;

/// Conditions on endpoints at most.
pub const ENDS: usize = 2;

/// A program that records.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hook {
    /// XDP on ingress, LAN or WAN.
    FastXdp = 0,
    /// TC on LAN ingress.
    LanIn = 1,
    /// TC on WAN ingress.
    WanIn = 2,
    /// TC on WAN egress.
    WanOut = 3,
}

impl Hook {
    /// From its number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::FastXdp),
            1 => Some(Self::LanIn),
            2 => Some(Self::WanIn),
            3 => Some(Self::WanOut),
            _ => None,
        }
    }

    /// The hook in one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FastXdp => "fast_xdp",
            Self::LanIn => "lan_in",
            Self::WanIn => "wan_in",
            Self::WanOut => "wan_out",
        }
    }
}

/// What a program has told the kernel to do with a packet.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It goes on.
    Pass = 0,
    /// It ends here.
    Drop = 1,
    /// It is sent out by another interface.
    Redirect = 2,
}

impl Verdict {
    /// From its number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Pass),
            1 => Some(Self::Drop),
            2 => Some(Self::Redirect),
            _ => None,
        }
    }

    /// The verdict in one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Drop => "drop",
            Self::Redirect => "redirect",
        }
    }
}

/// A condition on source or destination. All zero holds for everything.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Pod, Zeroable)]
pub struct End {
    /// The address, with no bits beyond the mask.
    pub address: Addr,
    /// The bits of the address that count, network byte order.
    pub mask: u32,
    /// The port, with no bits beyond its mask.
    pub port: Id,
    /// All bits if the port counts, else none.
    pub port_mask: u16,
}

/// Which packets are recorded. The programs look at addresses, protocol and plain ports only; what
/// they cannot see in a header without effort (the ports of fragments, what an ICMP message is about)
/// they let through, and the daemon looks again.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct Filter {
    /// A bit for each [`Reason`] that is wanted.
    pub reasons: [u64; COUNTERS as usize / 64],
    /// Each has to hold for the packet before, or for the packet after.
    pub ends: [End; ENDS],
    /// IP protocol number, if `by_protocol`.
    pub protocol: u8,
    /// 1 if only that protocol is wanted, else 0.
    pub by_protocol: u8,
    /// 1 if only IPv4 is wanted, as with any condition on protocol or ends.
    pub ipv4: u8,
    /// 1 if anything is recorded at all.
    pub on: u8,
    /// Padding, zero.
    pub zero: [u8; 4],
}

impl Filter {
    /// Records nothing.
    pub const OFF: Self = Self {
        reasons: [0; 2],
        ends: [End { address: Addr::NONE, mask: 0, port: Id::ZERO, port_mask: 0 }; ENDS],
        protocol: 0,
        by_protocol: 0,
        ipv4: 0,
        on: 0,
        zero: [0; 4],
    };

    /// Records every packet.
    pub const ALL: Self = Self { reasons: [u64::MAX; 2], on: 1, ..Self::OFF };

    /// Also those that end for this reason.
    pub const fn add(&mut self, reason: Reason) {
        self.reasons[reason as usize / 64] |= 1 << (reason as usize % 64);
    }
}

/// How much there is of a packet at one moment.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Pod, Zeroable)]
pub struct Extent {
    /// Bytes of the whole packet, link-layer header included.
    pub length: u32,
    /// How many of them are recorded, at most [`CAPTURE`]; 0 if none.
    pub captured: u16,
    /// How many of them stand before the IP header: 0, or as in [`crate::link::Header`].
    pub link: u16,
}

/// Begins each record.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Pod, Zeroable)]
pub struct Head {
    /// When the hook was done with it, in ns of CLOCK_MONOTONIC; without the test offset.
    pub nanos: u64,
    /// The interface whose hook this is.
    pub ifindex: u32,
    /// The interface that the packet has come in by; 0 if the router has made it.
    pub ingress: u32,
    /// The packet as it came.
    pub before: Extent,
    /// The packet as it was left.
    pub after: Extent,
    /// A [`Hook`] as a number.
    pub hook: u8,
    /// A [`Reason`] as a number.
    pub reason: u8,
    /// A [`Verdict`] as a number.
    pub verdict: u8,
    /// Padding, zero.
    pub zero: [u8; 5],
}

/// One record of the ring buffer.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Record {
    /// What is known of the packet.
    pub head: Head,
    /// The packet as it came; only [`Extent::captured`] bytes mean anything.
    pub before: [u8; CAPTURE],
    /// The packet as it was left; the same.
    pub after: [u8; CAPTURE],
}

impl Record {
    /// From the bytes of a ring buffer record; `None` if they are no record of this version.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let record: Self = bytemuck::try_pod_read_unaligned(bytes).ok()?;
        let fits = |extent: &Extent| {
            extent.captured as usize <= CAPTURE && u32::from(extent.captured) <= extent.length
        };
        (fits(&record.head.before) && fits(&record.head.after)).then_some(record)
    }

    /// What is recorded of the packet as it came.
    pub fn bytes_before(&self) -> &[u8] {
        &self.before[..usize::from(self.head.before.captured).min(CAPTURE)]
    }

    /// What is recorded of the packet as it was left.
    pub fn bytes_after(&self) -> &[u8] {
        &self.after[..usize::from(self.head.after.captured).min(CAPTURE)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_record_is_refused() {
        let mut record = Record {
            head: Head { before: Extent { length: 60, captured: 60, link: 14 }, ..Head::default() },
            before: [7; CAPTURE],
            after: [0; CAPTURE],
        };
        let read = Record::from_bytes(bytemuck::bytes_of(&record)).unwrap();
        assert_eq!((read.bytes_before(), read.bytes_after()), (&[7; 60][..], &[][..]));
        assert!(Record::from_bytes(&bytemuck::bytes_of(&record)[1..]).is_none());
        record.head.after = Extent { length: 999, captured: CAPTURE as u16 + 1, link: 0 };
        assert!(Record::from_bytes(bytemuck::bytes_of(&record)).is_none());
    }

    #[test]
    fn every_reason_has_a_bit_of_its_own() {
        for &reason in Reason::ALL {
            let mut filter = Filter::OFF;
            filter.add(reason);
            let ones: u32 = filter.reasons.iter().map(|word| word.count_ones()).sum();
            assert_eq!(ones, 1, "{reason:?}");
            assert_ne!(filter.reasons[reason as usize / 64] >> (reason as u8 % 64) & 1, 0);
        }
    }
}
