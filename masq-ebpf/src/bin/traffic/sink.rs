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
    IPV4, NEW_TOS, NO_OPTIONS, Window, address, at, checksum,
    plan::{ECHO_PORT, ETHERNET, Expectation, Gap, LOOK_EVERY, SMALLEST, Tally, WORDS, word},
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
    count(&ctx).unwrap_or(XDP_PASS)
}

#[inline(always)]
fn count(ctx: &XdpContext) -> Option<u32> {
    let window = window(ctx);
    let frame: &mut [u16; WORDS] = words(window, 0)?;
    let [_, protocol] = frame[at::TTL].to_ne_bytes();
    let [version, tos] = frame[at::VERSION].to_ne_bytes();
    if frame[at::ETHER_TYPE] != IPV4 || version != NO_OPTIONS || protocol != UDP {
        return None;
    }
    const ECHO: u16 = ECHO_PORT.to_be();
    if frame[word::PORTS] == ECHO || frame[word::PORTS + 1] == ECHO {
        return None;
    }
    let arrived = ARRIVED.get_ptr_mut(0)?;
    // SAFETY: an element of this CPU; the program is not interrupted by itself.
    let arrived = unsafe { &mut *arrived };
    let expected = EXPECTATION.get(0)?;
    if !is_expected(frame, expected) {
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
    if look && !is_intact(window)? {
        arrived.damaged += 1;
    }
    if expected.gaps != 0 {
        time()?;
    }
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
fn is_intact(window: Window) -> Option<bool> {
    let ip: &mut [u16; SMALLEST as usize / 2] = words(window, ETHERNET)?;
    let sum = |words: &[u16]| words.iter().fold(0, |sum, &word| sum + u32::from(word));
    let header = sum(&ip[..10]);
    let pseudo = sum(&ip[6..10]) + u32::from(u16::from(UDP).to_be()) + u32::from(ip[12]);
    Some(checksum(header) == 0 && checksum(pseudo + sum(&ip[10..])) == 0)
}
