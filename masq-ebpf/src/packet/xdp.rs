//! XDP: direct access to the frame, incremental checksums written in place.
//!
//! A frame with a partial checksum (from a virtual device whose sender left it to the hardware)
//! cannot be told apart here; the daemon uses TC on such devices by itself.

use core::{ffi::c_void, mem::offset_of};

use aya_ebpf::{EbpfContext as _, bindings::xdp_md, helpers::bpf_redirect, programs::XdpContext};
use masq_common::{
    checksum::Delta,
    flow::{ICMP, TCP, UDP},
    hop::Way,
    reason::Reason,
    session::SessionHalf,
    settings::Settings,
};
use network_types::{eth::EthHdr, icmp::Icmpv4Hdr, ip::Ipv4Hdr, tcp::TcpHdr, udp::UdpHdr};

use crate::{
    config,
    packet::{
        ETHERNET, Packet,
        fast::{Fast, at, field},
    },
    verdict::{Outcome, Step},
};

/// A frame at XDP. Always with an Ethernet header.
pub struct Frame {
    ctx: *mut xdp_md,
}

impl Frame {
    /// The frame of a program's context.
    #[inline(always)]
    pub fn new(ctx: &XdpContext) -> Self {
        Self { ctx: ctx.as_ptr().cast() }
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

/// Rewrites IP addresses, TTL and IP checksum.
///
/// # Safety
/// The header has to be accessible.
#[inline(always)]
pub unsafe fn rewrite_ip(ip: *mut Ipv4Hdr, parsed: &Fast, half: &SessionHalf) {
    let ttl_and_protocol = offset_of!(Ipv4Hdr, ttl);
    // SAFETY: accessible, as the caller promises.
    unsafe {
        let old: u16 = field(ip, ttl_and_protocol);
        let new = u16::from_ne_bytes([parsed.ttl - 1, parsed.protocol]);
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
    // SAFETY: accessible, as the caller promises.
    unsafe {
        // Word by word: the compiler would call a function that copies byte by byte.
        let [a, b, c, d, e, f] = way.destination;
        set(eth, 0, u32::from_ne_bytes([a, b, c, d]));
        set(eth, 4, u16::from_ne_bytes([e, f]));
        let [a, b, c, d, e, f] = way.source;
        set(eth, 6, u16::from_ne_bytes([a, b]));
        set(eth, 8, u32::from_ne_bytes([c, d, e, f]));
    }
}

impl Frame {
    /// Ports or identifier, and the transport checksum.
    #[inline(always)]
    fn rewrite_transport(&self, half: &SessionHalf, protocol: u8) -> Step<()> {
        let window = self.window();
        let offset = ETHERNET + Ipv4Hdr::LEN;
        // SAFETY: in each arm `at` has checked that the whole header is accessible.
        unsafe {
            match protocol {
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
}

impl Packet for Frame {
    const LINK: usize = ETHERNET;
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
    fn length(&self) -> usize {
        let (start, end) = self.window();
        end - start
    }

    #[inline(always)]
    fn obstacle(&self) -> Step<()> {
        Ok(())
    }

    #[inline(always)]
    fn addressee(&self) -> Step<u8> {
        let device = config::device(self.ifindex()).ok_or(Reason::NoRole)?;
        if self.is_addressed_to(device.mac) { Ok(device.role) } else { Err(Reason::NotForUs) }
    }

    #[inline(always)]
    fn is_addressed_to(&self, station: [u8; 6]) -> bool {
        let Some(eth) = at::<EthHdr>(self.window(), 0) else { return false };
        let [a, b, c, d, e, f] = station;
        let station = (u32::from_ne_bytes([a, b, c, d]), u16::from_ne_bytes([e, f]));
        // SAFETY: `at` has checked that the whole header is accessible.
        station == unsafe { (field(eth, 0), field(eth, 4)) }
    }

    #[inline(always)]
    fn segments(&self) -> Option<(u32, u32)> {
        None
    }

    #[inline(always)]
    fn give_pass(&self, _settings: &Settings) {}

    #[inline(always)]
    fn send(&self, parsed: &Fast, half: &SessionHalf, way: &Way) -> Outcome {
        let window = self.window();
        let (Some(eth), Some(ip)) = (at::<EthHdr>(window, 0), at::<Ipv4Hdr>(window, ETHERNET))
        else {
            return Outcome::Ends(Reason::Unusual);
        };
        if let Err(reason) = self.rewrite_transport(half, parsed.protocol) {
            return Outcome::Ends(reason);
        }
        // SAFETY: `at` has checked that both headers are accessible.
        unsafe {
            rewrite_ip(ip, parsed, half);
            rewrite_link(eth, way);
        }
        let reason = if half.is_outbound() { Reason::OutboundFast } else { Reason::InboundFast };
        // SAFETY: the helper takes any interface index.
        Outcome::Redirected(reason, unsafe { bpf_redirect(way.port, 0) })
    }
}
