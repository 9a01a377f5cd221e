//! Kernel programs of the benchmark: a generator, a sink, and forwarding with nothing else, the
//! yardstick. No part of masq.
//!
//! * [`generate`] is run by `BPF_PROG_TEST_RUN` with live frames; each run of the program sends one
//!   frame out of the interface that the test run names.
//! * [`sink`] is attached to the interface at the far end: it counts what arrives as expected,
//!   and drops it.
//! * [`forward`] asks for the next hop, writes the link-layer addresses, counts the TTL down and
//!   redirects: what any router in XDP has to do.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

mod plan;

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext as _,
    bindings::{
        BPF_FIB_LKUP_RET_SUCCESS, bpf_fib_lookup as Query, xdp_action::XDP_ABORTED,
        xdp_action::XDP_DROP, xdp_action::XDP_PASS, xdp_action::XDP_TX,
    },
    btf_maps::{Array, PerCpuArray},
    helpers::{bpf_fib_lookup, bpf_redirect, bpf_xdp_adjust_tail},
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use masq_common::{checksum::Delta, flow::UDP};
use plan::{
    ETHERNET, Expectation, LENGTHS, LOOK_EVERY, Plan, Position, SMALLEST, Tally, WORDS, word,
};

/// What to send; one element, written before a run.
#[btf_map]
static PLAN: Array<Plan, 1> = Array::new();
/// What to count; one element, written before a run.
#[btf_map]
static EXPECTATION: Array<Expectation, 1> = Array::new();
/// What [`generate`] has sent.
#[btf_map]
static SENT: PerCpuArray<Tally, 1> = PerCpuArray::new();
/// What [`sink`] has counted.
#[btf_map]
static ARRIVED: PerCpuArray<Tally, 1> = PerCpuArray::new();
/// Where the generator is. One element: only one CPU generates at a time.
#[btf_map]
static POSITION: Array<Position, 1> = Array::new();

/// Positions of words in the headers: EtherType, version and header length with the type of
/// service, total length, TTL with the protocol, checksum; length and checksum of UDP.
const ETHER_TYPE: usize = 6;
const VERSION: usize = 7;
const LENGTH: usize = 8;
const TTL: usize = 11;
const IP_CHECKSUM: usize = 12;
const UDP_LENGTH: usize = 19;
const UDP_CHECKSUM: usize = 20;

/// EtherType of IPv4 as on the wire; version 4 and a header of five words.
const IPV4: u16 = 0x0800_u16.to_be();
const NO_OPTIONS: u8 = 0x45;

/// A frame's bytes: first and one past the last address.
type Window = (usize, usize);

#[inline(always)]
fn window(ctx: &XdpContext) -> Window {
    (ctx.data(), ctx.data_end())
}

/// The first `N` words of a frame from byte `offset` on.
#[inline(always)]
fn words<'a, const N: usize>((start, end): Window, offset: usize) -> Option<&'a mut [u16; N]> {
    if start + offset + N * 2 > end {
        return None;
    }
    // SAFETY: the bytes are inside the frame, as just checked, and belong to this run of the
    // program alone; frames begin at even addresses.
    Some(unsafe { &mut *((start + offset) as *mut [u16; N]) })
}

/// Folds a sum of less than 2^32 and inverts it: a checksum field.
#[inline(always)]
fn checksum(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    !(((sum & 0xffff) + (sum >> 16)) as u16)
}

/// Sends one frame. Frames are recycled with the bytes that the last receiver has left in them, so
/// every header is written anew.
#[xdp]
fn generate(ctx: XdpContext) -> u32 {
    send_next(&ctx).unwrap_or(XDP_ABORTED)
}

#[inline(always)]
fn send_next(ctx: &XdpContext) -> Option<u32> {
    let plan = PLAN.get(0)?;
    let sent = SENT.get_ptr_mut(0)?;
    // SAFETY: an element of this CPU, and only one test run is under way at a time.
    let sent = unsafe { &mut *sent };
    let (flow, length) = next(plan)?;
    let (start, end) = window(ctx);
    let shorten = (ETHERNET + usize::from(length)) as i32 - (end as i32 - start as i32);
    // SAFETY: the context is valid; the window is read again below.
    if shorten != 0 && unsafe { bpf_xdp_adjust_tail(ctx.as_ptr().cast(), shorten) } != 0 {
        return None;
    }
    let frame: &mut [u16; WORDS] = words(window(ctx), 0)?;
    write_headers(frame, plan, flow, length);
    sent.packets += 1;
    sent.bytes += ETHERNET as u64 + u64::from(length);
    Some(XDP_TX)
}

/// The flow and the length of the next packet.
#[inline(always)]
fn next(plan: &Plan) -> Option<(u32, u16)> {
    let position = POSITION.get_ptr_mut(0)?;
    // SAFETY: only one CPU generates at a time.
    let position = unsafe { &mut *position };
    let flow = position.flow;
    let after = flow + plan.stride;
    position.flow = if after >= plan.flows { after - plan.flows } else { after };
    let length = position.length as usize;
    position.length = if length + 1 < LENGTHS { length as u32 + 1 } else { 0 };
    Some((flow, *plan.lengths.get(length)?))
}

#[inline(always)]
fn write_headers(frame: &mut [u16; WORDS], plan: &Plan, flow: u32, length: u16) {
    let ports = u32::from(plan.ports).max(1);
    let address = (plan.first_address + flow / ports).to_be();
    let port = (plan.first_port + (flow % ports) as u16).to_be();
    let (high, low) = (address as u16, (address >> 16) as u16);
    let (ip_length, udp_length) = (length.to_be(), (length - 20).to_be());

    *frame = plan.headers;
    if plan.end == 0 {
        (frame[word::ADDRESSES], frame[word::ADDRESSES + 1]) = (high, low);
        frame[word::PORTS] = port;
    } else {
        (frame[word::ADDRESSES + 2], frame[word::ADDRESSES + 3]) = (high, low);
        frame[word::PORTS + 1] = port;
    }
    frame[LENGTH] = ip_length;
    frame[UDP_LENGTH] = udp_length;
    let address_sum = u32::from(high) + u32::from(low);
    frame[IP_CHECKSUM] = checksum(plan.ip_sum + address_sum + u32::from(ip_length));
    // The length counts twice: in the header and in the pseudo-header.
    let udp_sum = plan.udp_sum + address_sum + u32::from(port) + 2 * u32::from(udp_length);
    frame[UDP_CHECKSUM] = match checksum(udp_sum) {
        0 => 0xffff,
        sum => sum,
    };
}

/// Counts and drops what is expected; the rest of UDP over IPv4 is counted apart and dropped as
/// well. Everything else is for the host.
#[xdp]
fn sink(ctx: XdpContext) -> u32 {
    count(&ctx).unwrap_or(XDP_PASS)
}

#[inline(always)]
fn count(ctx: &XdpContext) -> Option<u32> {
    let window = window(ctx);
    let frame: &mut [u16; WORDS] = words(window, 0)?;
    let [_, protocol] = frame[TTL].to_ne_bytes();
    let [version, _] = frame[VERSION].to_ne_bytes();
    if frame[ETHER_TYPE] != IPV4 || version != NO_OPTIONS || protocol != UDP {
        return None;
    }
    let arrived = ARRIVED.get_ptr_mut(0)?;
    // SAFETY: an element of this CPU; the program is not interrupted by itself.
    let arrived = unsafe { &mut *arrived };
    if !is_expected(frame, EXPECTATION.get(0)?) {
        arrived.others += 1;
        return Some(XDP_DROP);
    }
    arrived.packets += 1;
    arrived.bytes += (window.1 - window.0) as u64;
    let look = arrived.packets % LOOK_EVERY == 0 && frame[LENGTH] == SMALLEST.to_be();
    if look && !is_intact(window)? {
        arrived.damaged += 1;
    }
    Some(XDP_DROP)
}

#[inline(always)]
fn is_expected(frame: &[u16; WORDS], expected: &Expectation) -> bool {
    let address = |at: usize| u32::from(frame[at + 1]) << 16 | u32::from(frame[at]);
    let fits = |expected: u32, found: u32| expected == 0 || expected == found;
    fits(expected.addresses[0], address(word::ADDRESSES))
        && fits(expected.addresses[1], address(word::ADDRESSES + 2))
        && fits(u32::from(expected.ports[0]), u32::from(frame[word::PORTS]))
        && fits(u32::from(expected.ports[1]), u32::from(frame[word::PORTS + 1]))
}

/// Whether both checksums of a packet of the smallest length are right, by full sums.
#[inline(always)]
fn is_intact(window: Window) -> Option<bool> {
    let ip: &mut [u16; SMALLEST as usize / 2] = words(window, ETHERNET)?;
    let sum = |words: &[u16]| words.iter().fold(0, |sum, &word| sum + u32::from(word));
    let header = sum(&ip[..10]);
    let pseudo = sum(&ip[6..10]) + u32::from(u16::from(UDP).to_be()) + u32::from(ip[12]);
    Some(checksum(header) == 0 && checksum(pseudo + sum(&ip[10..])) == 0)
}

/// Gives every frame to the host: an interface with a program polls, and only then does veth take
/// frames that are redirected to it.
#[xdp]
fn pass(_ctx: XdpContext) -> u32 {
    XDP_PASS
}

/// Forwards IPv4 as a router does; anything that is not plain is for the host.
#[xdp]
fn forward(ctx: XdpContext) -> u32 {
    route(&ctx).unwrap_or(XDP_PASS)
}

#[inline(always)]
fn route(ctx: &XdpContext) -> Option<u32> {
    let frame: &mut [u16; WORDS] = words(window(ctx), 0)?;
    let [version, tos] = frame[VERSION].to_ne_bytes();
    let [ttl, protocol] = frame[TTL].to_ne_bytes();
    if frame[ETHER_TYPE] != IPV4 || version != NO_OPTIONS || ttl <= 1 {
        return None;
    }
    let address = |at: usize| u32::from(frame[at + 1]) << 16 | u32::from(frame[at]);
    // SAFETY: all fields are integers.
    let mut query: Query = unsafe { core::mem::zeroed() };
    query.family = 2;
    query.l4_protocol = protocol;
    query.__bindgen_anon_1.tot_len = u16::from_be(frame[LENGTH]);
    query.__bindgen_anon_2.tos = tos;
    query.__bindgen_anon_3.ipv4_src = address(word::ADDRESSES);
    query.__bindgen_anon_4.ipv4_dst = address(word::ADDRESSES + 2);
    query.ifindex = ctx.ingress_ifindex() as u32;
    let context: *mut c_void = ctx.as_ptr();
    // SAFETY: `query` is of the size given and outlives the call.
    let answer =
        unsafe { bpf_fib_lookup(context.cast(), &mut query, size_of::<Query>() as i32, 0) };
    if answer != BPF_FIB_LKUP_RET_SUCCESS as i64 {
        return None;
    }
    let counted_down = u16::from_ne_bytes([ttl - 1, protocol]);
    frame[IP_CHECKSUM] = Delta::word(frame[TTL], counted_down).apply(frame[IP_CHECKSUM]);
    frame[TTL] = counted_down;
    for (at, mac) in [(0, query.dmac), (3, query.smac)] {
        for (n, pair) in [[mac[0], mac[1]], [mac[2], mac[3]], [mac[4], mac[5]]].iter().enumerate() {
            frame[at + n] = u16::from_ne_bytes(*pair);
        }
    }
    // SAFETY: the helper takes any interface index.
    Some(unsafe { bpf_redirect(query.ifindex, 0) } as u32)
}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier proves that it is never reached: a loop without end would not load.
    loop {}
}

/// So that clippy, rust-analyzer and `cargo check` see this program on the machine it is written on.
#[cfg(not(target_arch = "bpf"))]
fn main() {}

/// The helpers for routing are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
