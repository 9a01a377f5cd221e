//! Packets before and after, for `masq trace`. While nobody traces, nothing of this is in the kernel:
//! [`TRACED`] is a constant to the verifier, which removes what depends on it. Whoever traces has the
//! daemon load the same programs with another constant, in place of those that are attached.
//!
//! The entry points call [`before`], and [`crate::verdict`] calls [`after`]. In between the packet lies
//! in a work area of this CPU, since the stack has no room for it.

use core::ffi::c_void;

use aya_ebpf::{
    Global,
    btf_maps::{Array, PerCpuArray, RingBuf},
    helpers::{bpf_ktime_get_ns, bpf_skb_load_bytes, bpf_xdp_load_bytes},
    macros::btf_map,
};
use masq_common::{
    flow::{ICMP, TCP, UDP},
    icmp::{Kind, kind},
    link::{Header, ether_type},
    reason::Reason,
    trace::{CAPTURE, ENDS, End, Extent, Filter, Hook, Record, Verdict},
};

use crate::{
    counters,
    packet::{
        ETHERNET, Packet, RAW,
        link::{PPPOE, TAGGED, TAGGED_PPPOE},
        skb::Skb,
        verified_length,
        xdp::Frame,
    },
};

/// Whether these are traced programs.
#[unsafe(no_mangle)]
static TRACED: Global<u8> = Global::new(0);

/// What is to be recorded; one value.
#[btf_map]
static TRACE_FILTER: Array<Filter, 1> = Array::new();

/// 256 KiB: some 850 packets. A full one loses records, never packets, and the loss is counted.
#[btf_map]
static TRACE: RingBuf<Record, { 1 << 18 }> = RingBuf::new();

/// The packet that this CPU's hook is at work on.
#[btf_map]
static TRACE_WORK: PerCpuArray<Record, 1> = PerCpuArray::new();

/// A packet that can be recorded.
pub trait Traced {
    /// Whether it begins with an Ethernet header when it comes; if not, with its IP header.
    const ETHERNET: bool;
    /// Length, link-layer header included.
    fn whole(&self) -> u32;
    /// The interface whose hook this is, and the one that it has come in by.
    fn interfaces(&self) -> (u32, u32);
    /// Copies the first `length` bytes to `to`; whether that could be done.
    ///
    /// # Safety
    /// There has to be room.
    unsafe fn copy(&self, to: *mut c_void, length: u32) -> bool;
}

/// Of whatever kind the frame is: that is read from its bytes, before and after.
impl Traced for Frame<ETHERNET> {
    const ETHERNET: bool = true;

    #[inline(always)]
    fn whole(&self) -> u32 {
        // Of a frame of several buffers, what the first one has.
        self.length() as u32
    }

    #[inline(always)]
    fn interfaces(&self) -> (u32, u32) {
        (self.ifindex(), self.ifindex())
    }

    #[inline(always)]
    unsafe fn copy(&self, to: *mut c_void, length: u32) -> bool {
        // SAFETY: the helper writes no more than `length`, for which there is room.
        unsafe { bpf_xdp_load_bytes(self.context().cast(), 0, to, length) == 0 }
    }
}

impl<const LINK: usize> Traced for Skb<LINK> {
    const ETHERNET: bool = LINK != RAW;

    #[inline(always)]
    fn whole(&self) -> u32 {
        self.len()
    }

    #[inline(always)]
    fn interfaces(&self) -> (u32, u32) {
        (self.device(), self.ingress_ifindex())
    }

    #[inline(always)]
    unsafe fn copy(&self, to: *mut c_void, length: u32) -> bool {
        // SAFETY: as above.
        unsafe { bpf_skb_load_bytes(self.raw().cast(), 0, to, length) == 0 }
    }
}

/// Notes a packet as it has come.
#[inline(always)]
pub fn before<P: Traced>(packet: &P, hook: Hook) {
    if TRACED.load() != 0 {
        note(packet, hook as u8);
    }
}

/// Records what has become of the packet of [`before`].
#[inline(always)]
pub fn after<P: Traced>(packet: &P, reason: Reason, verdict: Verdict) {
    if TRACED.load() != 0 {
        record(packet, reason as u8, verdict as u8);
    }
}

#[inline(never)]
fn note<P: Traced>(packet: &P, hook: u8) {
    let Some(work) = TRACE_WORK.get_ptr_mut(0) else { return };
    // SAFETY: this CPU's own element: its hooks do not interrupt each other.
    let work = unsafe { &mut *work };
    work.head.before.captured = 0;
    match TRACE_FILTER.get(0) {
        Some(filter) if filter.on != 0 => {}
        _ => return,
    }
    (work.head.ifindex, work.head.ingress) = packet.interfaces();
    work.head.hook = hook;
    work.head.before = capture(packet, &mut work.before, P::ETHERNET);
}

#[inline(never)]
fn record<P: Traced>(packet: &P, reason: u8, verdict: u8) {
    let Some(work) = TRACE_WORK.get_ptr_mut(0) else { return };
    // SAFETY: as in `note`.
    let work = unsafe { &mut *work };
    if work.head.before.captured == 0 {
        return;
    }
    let Some(filter) = TRACE_FILTER.get(0) else { return };
    let Some(reasons) = filter.reasons.get(usize::from(reason >> 6)) else { return };
    if reasons >> (reason & 63) & 1 == 0 {
        return;
    }
    // A packet without link-layer header gets one if it is sent out by a device that has them.
    let grown = packet.whole() == work.head.before.length + ETHERNET as u32;
    work.head.after = capture(packet, &mut work.after, P::ETHERNET || grown);
    if !is_wanted(filter, work) {
        return;
    }
    work.head.reason = reason;
    work.head.verdict = verdict;
    // SAFETY: the helper has no arguments. Not the coarse clock: it is the order that is looked for.
    work.head.nanos = unsafe { bpf_ktime_get_ns() };
    let done: &Record = work;
    if TRACE.output(done, 0).is_err() {
        counters::bump(Reason::TraceLost);
    }
}

/// Copies the beginning of a packet, with an Ethernet header or without one.
#[inline(always)]
fn capture<P: Traced>(packet: &P, to: &mut [u8; CAPTURE], ethernet: bool) -> Extent {
    let length = packet.whole();
    if length == 0 {
        return Extent::default();
    }
    let wanted = verified_length::<{ CAPTURE as u32 }>(length.min(CAPTURE as u32));
    // SAFETY: `wanted` is at most the size of `to`.
    let done = unsafe { packet.copy(to.as_mut_ptr().cast(), wanted) };
    let captured = if done { wanted as u16 } else { 0 };
    let link = if ethernet { Header::read(to, captured).length } else { 0 };
    Extent { length, captured, link }
}

/// Whether the filter wants a packet, as far as it is looked at here.
#[inline(never)]
fn is_wanted(filter: &Filter, work: &Record) -> bool {
    if filter.ipv4 == 0 {
        return true;
    }
    let (Some(before), Some(after)) = (
        Ends::read(&work.before, &work.head.before),
        // What could not be read again has at least come.
        Ends::read(&work.after, &work.head.after).or(Ends::read(&work.before, &work.head.before)),
    ) else {
        return false;
    };
    if filter.by_protocol != 0 && filter.protocol != before.protocol {
        return false;
    }
    let mut wanted = true;
    for index in 0..ENDS {
        let end = &filter.ends[index];
        wanted &= before.meet(end) | after.meet(end);
    }
    // What an error is about stands in it, behind options of any length: the daemon looks.
    wanted | before.is_error
}

/// What a condition is about.
#[derive(Clone, Copy)]
struct Ends {
    source: u32,
    destination: u32,
    /// In network byte order.
    ports: [u16; 2],
    /// Whether the ports are known.
    has_ports: bool,
    /// Whether it is an ICMP error, which may be about anybody.
    is_error: bool,
    protocol: u8,
}

impl Ends {
    /// Of an IPv4 packet; `None` if it is none.
    #[inline(always)]
    fn read(bytes: &[u8; CAPTURE], extent: &Extent) -> Option<Self> {
        // Constant offsets in either case: they need no proof.
        match usize::from(extent.link) {
            RAW => Self::read_at::<RAW>(bytes, extent),
            TAGGED => Self::read_at::<TAGGED>(bytes, extent),
            PPPOE => Self::read_at::<PPPOE>(bytes, extent),
            TAGGED_PPPOE => Self::read_at::<TAGGED_PPPOE>(bytes, extent),
            _ => Self::read_at::<ETHERNET>(bytes, extent),
        }
    }

    #[inline(always)]
    fn read_at<const LINK: usize>(bytes: &[u8; CAPTURE], extent: &Extent) -> Option<Self> {
        let captured = usize::from(extent.captured);
        if captured < LINK + 20 || bytes[LINK] >> 4 != 4 {
            return None;
        }
        if LINK != RAW && Header::read(bytes, extent.captured).ether_type != ether_type::IPV4 {
            return None;
        }
        let word = |at: usize| {
            u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let protocol = bytes[LINK + 9];
        let later = (bytes[LINK + 6] & 0x1f) | bytes[LINK + 7] != 0;
        let header = verified_length::<64>(u32::from(bytes[LINK] & 0xf) * 4);
        let transport = LINK + header as usize;
        let mut ends = Self {
            source: word(LINK + 12),
            destination: word(LINK + 16),
            ports: [0; 2],
            has_ports: false,
            is_error: false,
            protocol,
        };
        if protocol == ICMP && !later && captured > transport {
            ends.is_error = kind(bytes[transport & (CAPTURE - 1)]) == Kind::Error;
        }
        if matches!(protocol, TCP | UDP) && !later && captured >= transport + 4 {
            // At most 26 + 64, which the compiler does not know, and the verifier does.
            let port = |at: usize| {
                u16::from_ne_bytes([bytes[at & (CAPTURE - 1)], bytes[(at + 1) & (CAPTURE - 1)]])
            };
            ends.ports = [port(transport), port(transport + 2)];
            ends.has_ports = true;
        }
        Some(ends)
    }

    /// Whether source or destination meets a condition.
    #[inline(always)]
    fn meet(&self, end: &End) -> bool {
        let meets = |address: u32, port: u16| {
            address & end.mask == end.address.raw()
                && (!self.has_ports || port & end.port_mask == end.port.raw())
        };
        meets(self.source, self.ports[0]) | meets(self.destination, self.ports[1])
    }
}
