//! Where an established packet goes: the kernel's own routing, neighbours and MTU are asked with
//! the addresses that its full path would use, *before* anything is written.
//!
//! That path routes a packet from the inside before it is translated, and one from outside after:
//! so the source is the one received and the destination the one that leaves.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{
        BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_SUCCESS,
        bpf_fib_lookup as Query,
    },
    helpers::{bpf_fib_lookup, bpf_redirect, bpf_redirect_neigh},
};
use masq_common::{
    be::Addr,
    flow::{TCP, Tuple, UDP},
    reason::Reason,
    session::SessionHalf,
    settings::{Device, caps, role},
};
use network_types::ip::Ipv4Hdr;

use crate::{
    config,
    packet::{Packet, RAW, fast::Fast, full::Full, skb::Skb},
    verdict::{Outcome, Step},
};

/// Address family of IPv4.
const AF_INET: u8 = 2;

/// The next hop of a packet.
pub struct Hop {
    /// The interface to leave by.
    pub ifindex: u32,
    /// Its link-layer address.
    pub source: [u8; 6],
    /// The link-layer address of the next hop.
    pub destination: [u8; 6],
    /// Whether that interface has an Ethernet header.
    pub ethernet: bool,
}

/// Asks for the next hop of a packet that `half` will rewrite.
#[inline(always)]
pub fn resolve<P: Packet>(packet: &P, parsed: &Fast, half: &SessionHalf) -> Step<Hop> {
    // SAFETY: all fields are integers.
    let mut query: Query = unsafe { core::mem::zeroed() };
    query.family = AF_INET;
    query.l4_protocol = parsed.key.protocol;
    query.sport = half.from.source_id.raw();
    query.dport = half.to.destination_id.raw();
    query.__bindgen_anon_1.tot_len = largest(packet, parsed)?;
    query.__bindgen_anon_2.tos = parsed.tos;
    query.__bindgen_anon_3.ipv4_src = half.from.source.raw();
    query.__bindgen_anon_4.ipv4_dst = half.to.destination.raw();
    query.ifindex = packet.ifindex();
    match look_up(packet.context(), &mut query) {
        BPF_FIB_LKUP_RET_SUCCESS => {}
        BPF_FIB_LKUP_RET_FRAG_NEEDED => return Err(Reason::TooBig),
        BPF_FIB_LKUP_RET_NO_NEIGH => return Err(Reason::NoNeighbour),
        _ => return Err(Reason::NoRoute),
    }
    let device = config::device(query.ifindex).ok_or(Reason::OtherDevice)?;
    if !leads_on(&device, half) || (P::XDP && device.caps & caps::XDP_TRANSMIT == 0) {
        return Err(Reason::OtherDevice);
    }
    Ok(Hop {
        ifindex: query.ifindex,
        source: query.smac,
        destination: query.dmac,
        ethernet: device.caps & caps::ETHERNET != 0,
    })
}

#[inline(always)]
fn look_up(context: *mut c_void, query: &mut Query) -> u32 {
    // SAFETY: `query` is of the size given and outlives the call.
    unsafe { bpf_fib_lookup(context, query, size_of::<Query>() as i32, 0) as u32 }
}

/// Whether the kernel's way of a packet leads to a device that packets from a LAN may leave by: that
/// has the hook which translates them, or needs none. What is not forwarded may go on.
#[inline(always)]
pub fn is_ready<const LINK: usize>(skb: &Skb<LINK>, source: Addr, destination: Addr) -> bool {
    // SAFETY: all fields are integers.
    let mut query: Query = unsafe { core::mem::zeroed() };
    let [tos, protocol]: [u8; 2] =
        [skb.load(LINK + 1).unwrap_or_default(), skb.load(LINK + 9).unwrap_or_default()];
    // Policy rules may look at the ports. They stand elsewhere behind IP options: then the rules
    // of the kernel see something else than this, as they do for fragments.
    let [sport, dport]: [u16; 2] = match protocol {
        TCP | UDP => skb.load(LINK + Ipv4Hdr::LEN).unwrap_or_default(),
        _ => [0; 2],
    };
    query.family = AF_INET;
    query.l4_protocol = protocol;
    (query.sport, query.dport) = (sport, dport);
    query.__bindgen_anon_2.tos = tos;
    query.__bindgen_anon_3.ipv4_src = source.raw();
    query.__bindgen_anon_4.ipv4_dst = destination.raw();
    query.ifindex = skb.device();
    match look_up(skb.context(), &mut query) {
        BPF_FIB_LKUP_RET_SUCCESS | BPF_FIB_LKUP_RET_NO_NEIGH | BPF_FIB_LKUP_RET_FRAG_NEEDED => {}
        _ => return true,
    }
    config::device(query.ifindex).is_some_and(|device| device.caps & caps::READY != 0)
}

/// The way of a hairpin packet, which the kernel resolves to the last step: it may have no
/// neighbour entry yet, and cannot be left to the kernel to find one.
///
/// Without a field that has invalid values: rustc would put the discriminant of a `Result` there,
/// and describe that in a way of BTF that the kernel refuses.
pub struct Way {
    ifindex: u32,
    /// As in [`Device::caps`].
    caps: u32,
}

/// Asks for the way of a packet that will be delivered to the inside with the tuple `to`.
#[inline(never)]
pub fn hairpin<const LINK: usize>(skb: &Skb<LINK>, full: &Full, to: &Tuple) -> Step<Way> {
    let [ttl, protocol]: [u8; 2] = skb.load(LINK + 8).ok_or(Reason::HairpinFailed)?;
    if ttl <= 1 {
        return Err(Reason::HairpinFailed);
    }
    // SAFETY: all fields are integers.
    let mut query: Query = unsafe { core::mem::zeroed() };
    query.family = AF_INET;
    query.l4_protocol = protocol;
    query.sport = to.source_id.raw();
    query.dport = to.destination_id.raw();
    query.__bindgen_anon_1.tot_len =
        u16::try_from(full.largest).map_err(|_| Reason::HairpinFailed)?;
    query.__bindgen_anon_3.ipv4_src = to.source.raw();
    query.__bindgen_anon_4.ipv4_dst = to.destination.raw();
    query.ifindex = skb.device();
    match look_up(skb.context(), &mut query) {
        BPF_FIB_LKUP_RET_SUCCESS | BPF_FIB_LKUP_RET_NO_NEIGH => {}
        _ => return Err(Reason::HairpinFailed),
    }
    let device = config::device(query.ifindex).ok_or(Reason::HairpinFailed)?;
    if device.role != role::LAN {
        return Err(Reason::HairpinFailed);
    }
    Ok(Way { ifindex: query.ifindex, caps: device.caps })
}

impl Way {
    /// Sends the packet on its way.
    #[inline(always)]
    pub fn send<const LINK: usize>(&self, skb: &Skb<LINK>) -> Step<Outcome> {
        let ethernet = self.caps & caps::ETHERNET != 0;
        if ethernet && LINK == RAW {
            // The helper takes a link-layer header off before it puts on the right one.
            skb.add_link_header()?;
        }
        // SAFETY: the helpers take any interface index; without parameters the next hop is the
        // one that the route has.
        let code = unsafe {
            if ethernet {
                bpf_redirect_neigh(self.ifindex, core::ptr::null_mut(), 0, 0)
            } else {
                bpf_redirect(self.ifindex, 0)
            }
        };
        Ok(Outcome::Redirected(Reason::Hairpin, code))
    }
}

/// Length of the largest IP packet that this one will be on the wire. A packet that the kernel
/// would fragment is too big for the fast path as well: it must not be sent as it is.
#[inline(always)]
fn largest<P: Packet>(packet: &P, parsed: &Fast) -> Step<u16> {
    match packet.segments() {
        None => Ok(parsed.length),
        Some((size, _)) => {
            let length = Ipv4Hdr::LEN as u32 + u32::from(parsed.header) + size;
            u16::try_from(length).map_err(|_| Reason::TooBig)
        }
    }
}

/// Whether the route leads where the session leads: out of the WAN whose address it has, which
/// may have changed since, or into a LAN.
#[inline(always)]
fn leads_on(device: &Device, half: &SessionHalf) -> bool {
    if half.is_outbound() {
        device.role == role::WAN && device.wan == half.wan && device.address == half.to.source
    } else {
        device.role == role::LAN
    }
}
