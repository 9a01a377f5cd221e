//! What stands in a frame at XDP before its IP header: an Ethernet header, perhaps an 802.1Q tag, perhaps
//! the headers of a PPPoE session (RFC 2516) and of PPP. How that is read, and how it is replaced by
//! what another port wants.
//!
//! Anything else between Ethernet and IP is the kernel's: two tags, tags without an id, other
//! protocols of PPP, the shorter form of their numbers.

use core::mem::offset_of;

use aya_ebpf::{
    bindings::xdp_md,
    helpers::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail},
};
use masq_common::{
    be::{Addr, Id},
    flow::Tuple,
    hop::Way,
    link::{Arrival, DISCOVERY as NO_SESSION},
    reason::Reason,
    session::SessionHalf,
    time::Tick,
};
use network_types::{eth::EthHdr, ip::Ipv4Hdr};

use crate::{
    packet::{
        ETHERNET,
        fast::{Fast, at, field},
        xdp::{rewrite_ip, rewrite_link, rewrite_transport, set},
    },
    verdict::Step,
};

/// Bytes of an 802.1Q tag.
const TAG: usize = 4;
/// Bytes of the header of a PPPoE session and of the number of the protocol in PPP.
const SESSION: usize = 8;
/// Bytes before the IP header of a frame with a tag.
pub const TAGGED: usize = ETHERNET + TAG;
/// Bytes before the IP header of a PPPoE frame.
pub const PPPOE: usize = ETHERNET + SESSION;
/// Bytes before the IP header of a PPPoE frame with a tag.
pub const TAGGED_PPPOE: usize = ETHERNET + TAG + SESSION;

/// EtherTypes, as loaded from a frame.
mod ether_type {
    pub const IPV4: u16 = 0x0800_u16.to_be();
    pub const VLAN: u16 = 0x8100_u16.to_be();
    pub const SERVICE_VLAN: u16 = 0x88a8_u16.to_be();
    pub const PPPOE_DISCOVERY: u16 = 0x8863_u16.to_be();
    pub const PPPOE_SESSION: u16 = 0x8864_u16.to_be();
}

/// Version 1, type 1, code 0: what all frames of a session begin with, as loaded.
const IN_SESSION: u16 = 0x1100_u16.to_be();
/// IPv4 in PPP, as loaded.
const PPP_IPV4: u16 = 0x0021_u16.to_be();
/// Code of PPPoE discovery that tells of the end of a session.
const PADT: u8 = 0xa7;

/// The shortest frame of Ethernet, its check sequence not counted (IEEE 802.3 section 4A.4.2).
const SHORTEST: i32 = 60;

/// The largest id of a VLAN.
const LAST_VLAN: u16 = 4094;

/// What stands before the IP header.
#[derive(Clone, Copy)]
pub struct Link {
    /// How long it is.
    pub length: usize,
    /// As in [`Arrival`].
    pub vlan: u16,
    /// As in [`Arrival`].
    pub session: u16,
    /// Bytes that PPPoE says follow its own header.
    pub payload: u16,
}

impl Link {
    /// A frame without anything but an Ethernet header.
    pub const PLAIN: Self = Self { length: ETHERNET, vlan: 0, session: 0, payload: 0 };

    /// As the maps have it, of a frame that has come in by this port.
    #[inline(always)]
    pub const fn arrival(self, port: u32) -> Arrival {
        Arrival { port, vlan: self.vlan, session: self.session }
    }
}

/// What a frame is.
pub enum Kind {
    /// An IPv4 packet after an Ethernet header.
    Plain,
    /// An IPv4 packet after more.
    Below(Link),
    /// It tells of the end of a PPPoE session.
    Terminated(Link),
    /// Nothing for us.
    Other(Reason),
}

/// Reads what a frame is.
#[inline(always)]
pub fn kind(window: (usize, usize)) -> Kind {
    let Some(eth) = at::<EthHdr>(window, 0) else { return Kind::Other(Reason::Unusual) };
    // SAFETY: `at` has checked that the whole header is accessible.
    let ether_type: u16 = unsafe { field(eth, offset_of!(EthHdr, ether_type)) };
    match ether_type {
        ether_type::IPV4 => Kind::Plain,
        ether_type::VLAN => tagged(window).unwrap_or_else(Kind::Other),
        ether_type::PPPOE_SESSION => session::<ETHERNET>(window, 0).unwrap_or_else(Kind::Other),
        ether_type::PPPOE_DISCOVERY => discovery::<ETHERNET>(window, 0),
        ether_type::SERVICE_VLAN => Kind::Other(Reason::Tagged),
        _ => Kind::Other(Reason::NotIpv4),
    }
}

/// Reads what follows the Ethernet header of a frame with a tag.
#[inline(always)]
fn tagged(window: (usize, usize)) -> Step<Kind> {
    let tag: *const [u8; TAG] = at(window, ETHERNET).ok_or(Reason::Unusual)?;
    // SAFETY: `at` has checked that the whole tag is accessible.
    let (control, ether_type): (u16, u16) = unsafe { (field(tag, 0), field(tag, 2)) };
    let vlan = u16::from_be(control) & 0xfff;
    if ether_type == ether_type::PPPOE_DISCOVERY {
        // Without an id, it is to the kernel what it would be without a tag.
        return Ok(discovery::<TAGGED>(window, vlan));
    }
    if !matches!(vlan, 1..=LAST_VLAN) {
        return Err(Reason::Tagged);
    }
    match ether_type {
        ether_type::IPV4 => Ok(Kind::Below(Link { length: TAGGED, vlan, session: 0, payload: 0 })),
        ether_type::PPPOE_SESSION => session::<TAGGED>(window, vlan),
        ether_type::VLAN | ether_type::SERVICE_VLAN => Err(Reason::Tagged),
        _ => Err(Reason::NotIpv4),
    }
}

/// Reads the headers of a PPPoE session.
#[inline(always)]
fn session<const AT: usize>(window: (usize, usize), vlan: u16) -> Step<Kind> {
    let header: *const [u8; SESSION] = at(window, AT).ok_or(Reason::Unusual)?;
    // SAFETY: `at` has checked that both headers are accessible.
    let (begin, session, payload, protocol): (u16, u16, u16, u16) =
        unsafe { (field(header, 0), field(header, 2), field(header, 4), field(header, 6)) };
    if begin != IN_SESSION || matches!(session, 0 | NO_SESSION) || protocol != PPP_IPV4 {
        return Err(Reason::NotIpv4);
    }
    let payload = u16::from_be(payload);
    Ok(Kind::Below(Link { length: AT + SESSION, vlan, session, payload }))
}

/// Reads a frame of PPPoE discovery. Of any version, as the kernel does.
#[inline(always)]
fn discovery<const AT: usize>(window: (usize, usize), vlan: u16) -> Kind {
    let Some(header) = at::<[u8; 4]>(window, AT) else { return Kind::Other(Reason::Unusual) };
    // SAFETY: `at` has checked that all four bytes are accessible.
    let (code, session): (u8, u16) = unsafe { (field(header, 1), field(header, 2)) };
    if code != PADT || matches!(session, 0 | NO_SESSION) {
        return Kind::Other(Reason::NotIpv4);
    }
    Kind::Terminated(Link { length: AT, vlan, session, payload: 0 })
}

/// How [`reframe`] has ended: it has.
pub const DONE: u32 = 0;
/// How [`reframe`] has ended: there is no room; nothing has been changed.
pub const NO_ROOM: u32 = 1;

/// What [`reframe`] has to know of a packet and its session: as little as possible, since it goes by the
/// stack.
#[repr(C)]
pub struct Job {
    from: Tuple,
    address: Addr,
    id: Id,
    length: u16,
    ttl: u8,
    protocol: u8,
    flags: u8,
    /// Bytes before the IP header, still.
    link: u8,
}

impl Job {
    /// That of a packet after so many bytes.
    #[inline(always)]
    pub fn new(link: usize, parsed: &Fast, half: &SessionHalf) -> Self {
        Self {
            from: half.from,
            address: half.address,
            id: half.id,
            length: parsed.length,
            ttl: parsed.ttl,
            protocol: half.protocol,
            flags: half.flags,
            link: link as u8,
        }
    }

    /// As much of the half as a rewrite looks at.
    #[inline(always)]
    const fn half(&self) -> SessionHalf {
        let key = self.from.key(self.protocol);
        SessionHalf::new(key, (self.address, self.id), self.flags, 0, Tick(0))
    }
}

/// Rewrites a frame as its session says, and replaces what stands before its IP header by what its `way`
/// wants. A function of its own, shared by all kinds of frames: those without anything to replace do
/// not come by here.
#[inline(never)]
pub fn reframe(ctx: *mut xdp_md, job: &Job, way: &Way) -> u32 {
    let tag = if way.tag != 0 { TAG } else { 0 };
    let session = if way.session != 0 { SESSION } else { 0 };
    let more = (ETHERNET + tag + session) as i32 - i32::from(job.link);
    // SAFETY: the context is valid while the program runs.
    let length = unsafe { (*ctx).data_end - (*ctx).data } as i32;
    let short = SHORTEST - (length + more);
    // Many a driver sends what it is given, short as it is. First, since zeros behind the packet are no
    // change to whoever gets the frame if there is no room in front.
    // SAFETY: the helper adds zeros to the end of the frame or fails, and changes nothing else.
    if short > 0 && unsafe { bpf_xdp_adjust_tail(ctx, short) } != 0 {
        return NO_ROOM;
    }
    // SAFETY: the helper moves the beginning of the frame or fails, and changes nothing else.
    if more != 0 && unsafe { bpf_xdp_adjust_head(ctx, -more) } != 0 {
        return NO_ROOM;
    }
    // SAFETY: the context is valid while the program runs.
    let window = unsafe { ((*ctx).data as usize, (*ctx).data_end as usize) };
    let written = match (way.tag != 0, way.session != 0) {
        (false, false) => write::<ETHERNET>(window, job, way),
        (true, false) => write::<TAGGED>(window, job, way),
        (false, true) => write::<PPPOE>(window, job, way),
        (true, true) => write::<TAGGED_PPPOE>(window, job, way),
    };
    if written.is_ok() { DONE } else { NO_ROOM + 1 }
}

/// Rewrites a frame with room for `LINK` bytes before the IP header. Fails only if the kernel has not
/// made the room that it says it has.
#[inline(always)]
fn write<const LINK: usize>(window: (usize, usize), job: &Job, way: &Way) -> Step<()> {
    let eth: *mut [u8; LINK] = at(window, 0).ok_or(Reason::LinkFailed)?;
    let ip: *mut Ipv4Hdr = at(window, LINK).ok_or(Reason::LinkFailed)?;
    let half = &job.half();
    rewrite_transport::<LINK>(window, half)?;
    // SAFETY: `at` has checked that all before the transport header is accessible.
    unsafe {
        rewrite_ip(ip, half, job.ttl);
        rewrite_link(eth.cast(), way);
        let mut type_at = offset_of!(EthHdr, ether_type);
        if LINK == TAGGED || LINK == TAGGED_PPPOE {
            set(eth, type_at, ether_type::VLAN);
            set(eth, type_at + 2, way.tag.to_be());
            type_at += TAG;
        }
        if LINK < PPPOE {
            set(eth, type_at, ether_type::IPV4);
            return Ok(());
        }
        set(eth, type_at, ether_type::PPPOE_SESSION);
        set(eth, type_at + 2, IN_SESSION);
        set(eth, type_at + 4, way.session);
        // Of what follows: the number of the protocol, and the IP packet.
        set(eth, type_at + 6, (job.length + 2).to_be());
        set(eth, type_at + 8, PPP_IPV4);
    }
    Ok(())
}
