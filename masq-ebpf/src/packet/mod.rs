//! Reading and rewriting packets.
//!
//! [`Packet`] is what the fast hooks need: fixed offsets, direct access, both for XDP
//! ([`xdp::Frame`]) and TC ([`skb::Skb`]). The full path runs in TC only and reads packets of any
//! shape through helpers ([`full::Full`]).

pub mod fast;
pub mod full;
pub mod link;
pub mod mss;
pub mod options;
pub mod skb;
pub mod sum;
pub mod xdp;

use core::ffi::c_void;

use masq_common::{hop::Way, link::Arrival, session::SessionHalf, settings::Settings};
use network_types::eth::EthHdr;

use crate::{
    links::Entry,
    packet::fast::Fast,
    verdict::{Outcome, Step},
};

/// Bytes before the IP header of a device with an Ethernet header.
pub const ETHERNET: usize = 14;
/// Bytes before the IP header of a device without link-layer header.
pub const RAW: usize = 0;

/// A length from 1 to `MAX`, a power of two, in a way that the compiler cannot reason about: it would
/// compare one register and use another, of which the verifier knows nothing.
#[inline(always)]
pub fn verified_length<const MAX: u32>(length: u32) -> u32 {
    const { assert!(MAX.is_power_of_two()) };
    #[cfg(target_arch = "bpf")]
    {
        let mut less = u64::from(length.wrapping_sub(1));
        // SAFETY: one instruction on a register.
        unsafe {
            core::arch::asm!(
                "{less} &= {mask}",
                less = inlateout(reg) less,
                mask = const MAX - 1,
                options(nostack),
            );
        }
        less as u32 + 1
    }
    #[cfg(not(target_arch = "bpf"))]
    ((length.wrapping_sub(1) & (MAX - 1)) + 1)
}

/// A packet that a fast hook can translate.
pub trait Packet {
    /// Bytes before the IP header: [`ETHERNET`] or [`RAW`], at XDP also those of [`link`].
    const LINK: usize;
    /// Whether packets leave through `bpf_redirect` of XDP.
    const XDP: bool;

    /// What the helpers take as context.
    fn context(&self) -> *mut c_void;

    /// The interface whose hook this is: at XDP the port.
    fn ifindex(&self) -> u32;

    /// First and end address of the bytes that can be accessed directly. [`fast::parse`] asks
    /// once; an implementation may make more of the packet accessible first.
    fn window(&self) -> (usize, usize);

    /// Whether it has room for an IP packet of this length, data that is not accessible included.
    fn holds(&self, length: u16) -> bool;

    /// What keeps this packet from being looked at, if anything: not IPv4, tagged.
    fn obstacle(&self) -> Step<()>;

    /// That its link-layer header, if it has one, announces an IPv4 packet for a single station.
    ///
    /// # Safety
    /// The header has to be accessible there, if it has one.
    unsafe fn announces(&self, header: *const EthHdr) -> Step<()>;

    /// What it has come in as.
    fn arrival(&self) -> Arrival;

    /// That it was sent to this station, and not merely seen by it. Tells of the interface that it is
    /// for, whose role only XDP does not know before; `entry` has the arrival already.
    fn enter(&self, entry: &mut Entry) -> Step<()>;

    /// Whether it has the link-layer addresses that packets of this way come in with, as far as
    /// [`enter`](Self::enter) would look at them.
    fn is_addressed(&self, way: &Way) -> bool;

    /// Size of the segments that a super-packet will be cut into, without headers, and their
    /// number; `None` for an ordinary packet.
    fn segments(&self) -> Option<(u32, u32)>;

    /// Lets WAN egress, which a packet may come by again after [`send`](Self::send), know that there
    /// is nothing left to do.
    fn give_pass(&self, settings: &Settings);

    /// Rewrites the packet as `half` says, takes one off its TTL and sends it on its `way`. Nothing
    /// has been changed if the outcome is an untouched one.
    fn send(&self, parsed: &Fast, half: &SessionHalf, way: &Way) -> Outcome;
}
