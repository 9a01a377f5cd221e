//! The sink: counts what arrives, and drops it.

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    btf_maps::{Array, PerCpuArray},
    helpers::bpf_ktime_get_ns,
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use masq_common::flow::UDP;

use crate::{
    IPV4, NEW_TOS, NO_OPTIONS, Window, address, at, checksum, front,
    plan::{
        ADDRESSES, ECHO_PORT, ETHERNET, Expectation, Gap, LOOK_EVERY, PPPOE, SMALLEST, TAG,
        TAG_AND_PPPOE, Tally, WORDS, word,
    },
    window, words,
};

/// What to count; one element, written before a run.
#[btf_map]
static EXPECTATION: Array<Expectation, 1> = Array::new();
/// What has been counted.
#[btf_map]
static ARRIVED: PerCpuArray<Tally, 1> = PerCpuArray::new();
/// Times between packets. One element for all CPUs: two that write at once spoil one gap.
#[btf_map]
static GAP: Array<Gap, 1> = Array::new();

/// Counts and drops what is expected; the rest of UDP over IPv4 is counted apart and dropped as
/// well. Everything else, and what has to do with the echo service, is for the host.
#[xdp]
fn sink(ctx: XdpContext) -> u32 {
    look(&ctx).unwrap_or(XDP_PASS)
}

#[inline(always)]
fn look(ctx: &XdpContext) -> Option<u32> {
    let expected = EXPECTATION.get(0)?;
    let window = window(ctx);
    match usize::from(expected.front.more) {
        0 => count::<0, ADDRESSES>(window, expected),
        TAG => count::<TAG, { ADDRESSES + TAG }>(window, expected),
        PPPOE => count::<PPPOE, { ADDRESSES + PPPOE }>(window, expected),
        _ => count::<TAG_AND_PPPOE, { ADDRESSES + TAG_AND_PPPOE }>(window, expected),
    }
}

/// Frames with `MORE` words between the addresses and what precedes the IP header; `FRONT` are those
/// and the addresses.
#[inline(always)]
fn count<const MORE: usize, const FRONT: usize>(
    window: Window,
    expected: &Expectation,
) -> Option<u32> {
    let frame: &mut [u16; WORDS] = words(window, 2 * MORE)?;
    let before_ip = if MORE >= PPPOE { front::PPP_IPV4 } else { IPV4 };
    let [_, protocol] = frame[at::TTL].to_ne_bytes();
    let [version, tos] = frame[at::VERSION].to_ne_bytes();
    if frame[at::ETHER_TYPE] != before_ip || version != NO_OPTIONS || protocol != UDP {
        return if MORE == 0 { None } else { count_bare(window) };
    }
    const ECHO: u16 = ECHO_PORT.to_be();
    if frame[word::PORTS] == ECHO || frame[word::PORTS + 1] == ECHO {
        return None;
    }
    let arrived = ARRIVED.get_ptr_mut(0)?;
    // SAFETY: an element of this CPU; the program is not interrupted by itself.
    let arrived = unsafe { &mut *arrived };
    let fits = MORE == 0
        || front::fits::<FRONT>(window, &expected.front, u16::from_be(frame[at::LENGTH]))?;
    if !fits || !is_expected(frame, expected) {
        arrived.others += 1;
        return Some(XDP_DROP);
    }
    if tos == NEW_TOS {
        arrived.new += 1;
        return Some(XDP_DROP);
    }
    arrived.packets += 1;
    arrived.bytes += (window.1 - window.0) as u64;
    let look = arrived.packets % LOOK_EVERY == 0 && frame[at::LENGTH] == SMALLEST.to_be();
    if look && !is_intact::<MORE>(window)? {
        arrived.damaged += 1;
    }
    if expected.gaps != 0 {
        time()?;
    }
    Some(XDP_DROP)
}

/// Counts a packet as one that should not be, if it has come without what was to stand before it.
#[inline(always)]
fn count_bare(window: Window) -> Option<u32> {
    let frame: &mut [u16; WORDS] = words(window, 0)?;
    let [_, protocol] = frame[at::TTL].to_ne_bytes();
    if frame[at::ETHER_TYPE] != IPV4 || protocol != UDP {
        return None;
    }
    let arrived = ARRIVED.get_ptr_mut(0)?;
    // SAFETY: as in `count`.
    unsafe { (*arrived).others += 1 };
    Some(XDP_DROP)
}

/// Keeps the longest time between two packets.
#[inline(always)]
fn time() -> Option<()> {
    let gap = GAP.get_ptr_mut(0)?;
    // SAFETY: an element of the map; a race with another CPU costs one gap.
    let gap = unsafe { &mut *gap };
    // SAFETY: takes nothing, returns a number.
    let now = unsafe { bpf_ktime_get_ns() };
    let since = now - gap.last;
    if gap.last != 0 && since > gap.longest {
        gap.longest = since;
    }
    gap.last = now;
    Some(())
}

#[inline(always)]
fn is_expected(frame: &[u16; WORDS], expected: &Expectation) -> bool {
    let fits = |expected: u32, found: u32| expected == 0 || expected == found;
    fits(expected.addresses[0], address(frame, word::ADDRESSES))
        && fits(expected.addresses[1], address(frame, word::ADDRESSES + 2))
        && fits(u32::from(expected.ports[0]), u32::from(frame[word::PORTS]))
        && fits(u32::from(expected.ports[1]), u32::from(frame[word::PORTS + 1]))
}

/// Whether both checksums of a packet of the smallest length are right, by full sums.
#[inline(always)]
fn is_intact<const MORE: usize>(window: Window) -> Option<bool> {
    let ip: &mut [u16; SMALLEST as usize / 2] = words(window, ETHERNET + 2 * MORE)?;
    let sum = |words: &[u16]| words.iter().fold(0, |sum, &word| sum + u32::from(word));
    let header = sum(&ip[..10]);
    let pseudo = sum(&ip[6..10]) + u32::from(u16::from(UDP).to_be()) + u32::from(ip[12]);
    Some(checksum(header) == 0 && checksum(pseudo + sum(&ip[10..])) == 0)
}
