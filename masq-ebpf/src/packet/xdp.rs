//! XDP: direct access to the frame, incremental checksums written in place.
//!
//! A frame with a partial checksum (from a virtual device whose sender left it to the hardware)
//! cannot be told apart here; the daemon uses TC on such devices by itself.

use core::{ffi::c_void, mem::offset_of, ptr};

use aya_ebpf::{bindings::xdp_md, helpers::bpf_redirect};
use masq_common::{
    checksum::Delta,
    flow::{ICMP, TCP, UDP},
    hop::Way,
    link::Arrival,
    reason::Reason,
    session::SessionHalf,
    settings::Settings,
};
use network_types::{eth::EthHdr, icmp::Icmpv4Hdr, ip::Ipv4Hdr, tcp::TcpHdr, udp::UdpHdr};

use crate::{
    links::{self, Entry, Mac, from_words, words},
    packet::{
        ETHERNET, Packet,
        fast::{Fast, at, field},
        link::{DONE, Job, Link, NO_ROOM, PPPOE, reframe},
    },
    verdict::{Outcome, Step},
};

/// A frame at XDP, whose IP header follows after `LINK` bytes: see [`crate::packet::link`].
pub struct Frame<const LINK: usize> {
    ctx: *mut xdp_md,
    link: Link,
}

impl<const LINK: usize> Frame<LINK> {
    /// The frame of a program's context, which has this before its IP header.
    #[inline(always)]
    pub fn new(ctx: *mut xdp_md, link: Link) -> Self {
        Self { ctx, link }
    }

    /// Length in bytes from the Ethernet header on; of a frame of several buffers, of the first one.
    #[inline(always)]
    pub fn length(&self) -> usize {
        let (start, end) = self.window();
        end - start
    }

    /// Link-layer address of the receiver.
    #[inline(always)]
    pub fn to(&self) -> Option<Mac> {
        self.address(0)
    }

    /// Link-layer address of the sender.
    #[inline(always)]
    pub fn from(&self) -> Option<Mac> {
        self.address(6)
    }

    /// The address at this offset.
    #[inline(always)]
    fn address(&self, offset: usize) -> Option<Mac> {
        let eth = at::<EthHdr>(self.window(), 0)?;
        // SAFETY: `at` has checked that the whole header is accessible.
        Some(from_words(unsafe { (field(eth, offset), field(eth, offset + 4)) }))
    }
}

/// Stores a field of a header.
///
/// # Safety
/// `offset + size_of::<T>()` bytes from `header` on have to be accessible.
#[inline(always)]
pub unsafe fn set<H, T: Copy>(header: *mut H, offset: usize, value: T) {
    // SAFETY: as for `fast::field`.
    unsafe { *header.cast::<u8>().add(offset).cast::<T>() = value }
}

/// Rewrites IP addresses, the TTL, which was `ttl`, and the IP checksum.
///
/// # Safety
/// The header has to be accessible.
#[inline(always)]
pub unsafe fn rewrite_ip(ip: *mut Ipv4Hdr, half: &SessionHalf, ttl: u8) {
    let ttl_and_protocol = offset_of!(Ipv4Hdr, ttl);
    // SAFETY: accessible, as the caller promises.
    unsafe {
        let old: u16 = field(ip, ttl_and_protocol);
        let new = u16::from_ne_bytes([ttl - 1, half.protocol]);
        let delta = half.addr_delta().and(Delta::word(old, new));
        let check: u16 = field(ip, offset_of!(Ipv4Hdr, check));
        set(ip, ttl_and_protocol, new);
        set(ip, offset_of!(Ipv4Hdr, check), delta.apply(check));
        if half.is_outbound() {
            set(ip, offset_of!(Ipv4Hdr, src_addr), half.address.raw());
        } else {
            set(ip, offset_of!(Ipv4Hdr, dst_addr), half.address.raw());
        }
    }
}

/// Rewrites the port that changes, in a header that begins with the two ports.
///
/// # Safety
/// Four bytes from `header` on have to be accessible.
#[inline(always)]
pub unsafe fn rewrite_ports<H>(header: *mut H, half: &SessionHalf) {
    // SAFETY: accessible, as the caller promises.
    unsafe {
        if half.is_outbound() {
            set(header, 0, half.id.raw());
        } else {
            set(header, 2, half.id.raw());
        }
    }
}

/// Rewrites the link-layer addresses.
///
/// # Safety
/// The header has to be accessible.
#[inline(always)]
pub unsafe fn rewrite_link(eth: *mut EthHdr, way: &Way) {
    // SAFETY: accessible, as the caller promises; both addresses are six bytes of the way.
    unsafe {
        // Word by word, as they are aligned in a way: the compiler would go byte by byte.
        let (to, from) = (offset_of!(Way, destination), offset_of!(Way, source));
        let way = ptr::from_ref(way);
        set(eth, 0, field::<_, u16>(way, to));
        set(eth, 2, field::<_, u32>(way, to + 2));
        set(eth, 6, field::<_, u32>(way, from));
        set(eth, 10, field::<_, u16>(way, from + 4));
    }
}

/// Rewrites ports or identifier, and the transport checksum, of a packet after `LINK` bytes.
#[inline(always)]
pub fn rewrite_transport<const LINK: usize>(
    window: (usize, usize),
    half: &SessionHalf,
) -> Step<()> {
    let offset = LINK + Ipv4Hdr::LEN;
    // SAFETY: in each arm `at` has checked that the whole header is accessible.
    unsafe {
        match half.protocol {
            TCP => {
                let tcp: *mut TcpHdr = at(window, offset).ok_or(Reason::Unusual)?;
                let check = offset_of!(TcpHdr, check);
                set(tcp, check, half.transport_delta().apply(field(tcp, check)));
                rewrite_ports(tcp, half);
            }
            UDP => {
                let udp: *mut UdpHdr = at(window, offset).ok_or(Reason::Unusual)?;
                let check = offset_of!(UdpHdr, check);
                set(udp, check, half.transport_delta().apply_udp(field(udp, check)));
                rewrite_ports(udp, half);
            }
            ICMP => {
                let icmp: *mut Icmpv4Hdr = at(window, offset).ok_or(Reason::Unusual)?;
                let check = offset_of!(Icmpv4Hdr, check);
                set(icmp, check, half.id_delta().apply(field(icmp, check)));
                set(icmp, offset_of!(Icmpv4Hdr, data), half.id.raw());
            }
            _ => return Err(Reason::Unusual),
        }
    }
    Ok(())
}

impl<const LINK: usize> Packet for Frame<LINK> {
    const LINK: usize = LINK;
    const XDP: bool = true;

    #[inline(always)]
    fn context(&self) -> *mut c_void {
        self.ctx.cast()
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the context is valid while the program runs.
        unsafe { (*self.ctx).ingress_ifindex }
    }

    #[inline(always)]
    fn window(&self) -> (usize, usize) {
        // SAFETY: as above.
        unsafe { ((*self.ctx).data as usize, (*self.ctx).data_end as usize) }
    }

    #[inline(always)]
    fn holds(&self, length: u16) -> bool {
        let (start, end) = self.window();
        if LINK >= PPPOE {
            // PPPoE says how long its payload is, of which the number of the protocol is a part. The
            // kernel drops frames that are shorter than that, and cuts off what they have more.
            let payload = usize::from(self.link.payload);
            return usize::from(length) + 2 <= payload && payload + LINK - 2 <= end - start;
        }
        usize::from(length) + LINK <= end - start
    }

    #[inline(always)]
    fn obstacle(&self) -> Step<()> {
        // What it is was seen before.
        Ok(())
    }

    #[inline(always)]
    unsafe fn announces(&self, header: *const EthHdr) -> Step<()> {
        // That it is IPv4 was seen before.
        // SAFETY: as the caller promises.
        let group: u8 = unsafe { field(header, 0) };
        if group & 1 != 0 { Err(Reason::NotForUs) } else { Ok(()) }
    }

    #[inline(always)]
    fn arrival(&self) -> Arrival {
        self.link.arrival(self.ifindex())
    }

    #[inline(always)]
    fn enter(&self, entry: &mut Entry) -> Step<()> {
        let from = self.from().ok_or(Reason::Unusual)?;
        links::enter(entry, &[self.to().ok_or(Reason::Unusual)?, from])
    }

    #[inline(always)]
    fn is_addressed(&self, way: &Way) -> bool {
        let is = |offset, wanted| self.address(offset).map(words) == Some(words(wanted));
        is(0, way.addressee) && (LINK < PPPOE || is(6, way.peer))
    }

    #[inline(always)]
    fn segments(&self) -> Option<(u32, u32)> {
        None
    }

    #[inline(always)]
    fn give_pass(&self, _settings: &Settings) {}

    #[inline(always)]
    fn send(&self, parsed: &Fast, half: &SessionHalf, way: &Way) -> Outcome {
        if LINK != ETHERNET || way.header() != 0 {
            match reframe(self.ctx, &Job::new(LINK, parsed, half), way) {
                DONE => {}
                NO_ROOM => return Outcome::Ends(Reason::NoHeadroom),
                _ => return Outcome::Ends(Reason::LinkFailed),
            }
        } else if let Err(reason) = rewrite(self.window(), parsed, half, way) {
            return Outcome::Ends(reason);
        }
        let reason = if half.is_outbound() { Reason::OutboundFast } else { Reason::InboundFast };
        // SAFETY: the helper takes any interface index.
        Outcome::Redirected(reason, unsafe { bpf_redirect(way.port, 0) })
    }
}

/// Rewrites a packet between two ports with an Ethernet header and nothing else. Nothing has been
/// changed if it fails.
#[inline(always)]
fn rewrite(window: (usize, usize), parsed: &Fast, half: &SessionHalf, way: &Way) -> Step<()> {
    let eth = at::<EthHdr>(window, 0).ok_or(Reason::Unusual)?;
    let ip = at::<Ipv4Hdr>(window, ETHERNET).ok_or(Reason::Unusual)?;
    rewrite_transport::<ETHERNET>(window, half)?;
    // SAFETY: `at` has checked that both headers are accessible.
    unsafe {
        rewrite_ip(ip, half, parsed.ttl);
        rewrite_link(eth, way);
    }
    Ok(())
}
