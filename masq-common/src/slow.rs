//! The slow path: packets that the kernel programs cannot decide go to the daemon, whole, through a
//! ring buffer of its own. A full ring loses them, as a full queue does, and the loss is counted.

use bytemuck::{Pod, Zeroable};

/// Longest packet, from the IP header on, that is handed over whole. Longer ones are cut; a
/// fragment that is longer is not handed over.
pub const CAPTURE: usize = 2048;

/// Why the daemon gets a packet.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// A fragment from the inside that has overtaken the first one of its datagram, at WAN egress.
    /// It was dropped there; its TTL is counted down already.
    EarlyOut = 0,
    /// The same from outside, at WAN ingress. The router's own stack has got it as well, since it
    /// may be the router's.
    EarlyIn = 1,
    /// The same from a LAN to an external address, at LAN ingress. The router's own stack has got
    /// it as well.
    EarlyHairpin = 2,
    /// No packet: the first fragment of a datagram has passed, of which the daemon was given early
    /// ones. The data is the [`Datagram`](crate::fragment::Datagram).
    FirstSeen = 3,
    /// A first packet from the inside that had to be dropped, for the reason in
    /// [`Head::reason`]; at WAN egress, so its TTL is counted down already.
    Refused = 4,
}

impl Cause {
    /// From its number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::EarlyOut),
            1 => Some(Self::EarlyIn),
            2 => Some(Self::EarlyHairpin),
            3 => Some(Self::FirstSeen),
            4 => Some(Self::Refused),
            _ => None,
        }
    }
}

/// Begins each record.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Pod, Zeroable)]
pub struct Head {
    /// When, in ns of CLOCK_MONOTONIC (plus the test offset).
    pub nanos: u64,
    /// The interface whose hook this was.
    pub ifindex: u32,
    /// The interface that the packet came in by; 0 if the router has made it.
    pub ingress: u32,
    /// Length of the packet from the IP header on.
    pub length: u32,
    /// How many bytes of it follow, at most [`CAPTURE`].
    pub captured: u32,
    /// A [`Cause`] as a number.
    pub cause: u8,
    /// A [`Reason`](crate::reason::Reason) as a number, of [`Cause::Refused`].
    pub reason: u8,
    /// Index of the WAN.
    pub wan: u8,
    /// Padding, zero.
    pub zero: [u8; 5],
}

/// One record of the ring buffer.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Record {
    /// What is known of the packet.
    pub head: Head,
    /// The packet from the IP header on; only [`Head::captured`] bytes mean anything.
    pub data: [u8; CAPTURE],
}

impl Head {
    /// Splits the bytes of a ring buffer record into head and captured data; `None` if they are no
    /// record of this version.
    pub fn split(record: &[u8]) -> Option<(Self, &[u8])> {
        let (head, data) = record.split_at_checked(size_of::<Self>())?;
        let head: Self = bytemuck::try_pod_read_unaligned(head).ok()?;
        Some((head, data.get(..head.captured as usize)?))
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    #[test]
    fn a_record_is_split_and_a_damaged_one_refused() {
        let mut record = vec![0; size_of::<Record>()];
        record[20..24].copy_from_slice(&3_u32.to_ne_bytes());
        record[size_of::<Head>()..][..3].copy_from_slice(b"abc");
        let (head, data) = Head::split(&record).unwrap();
        assert_eq!((head.captured, data), (3, &b"abc"[..]));
        record[20..24].copy_from_slice(&(CAPTURE as u32 + 1).to_ne_bytes());
        assert_eq!(Head::split(&record), None);
        assert_eq!(Head::split(&record[..10]), None);
    }
}
