//! Forwarding and nothing else: the least that a router in XDP can do.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext as _,
    bindings::{BPF_FIB_LKUP_RET_SUCCESS, bpf_fib_lookup as Query, xdp_action::XDP_PASS},
    helpers::{bpf_fib_lookup, bpf_redirect},
    macros::xdp,
    programs::XdpContext,
};
use masq_common::checksum::Delta;

use crate::{
    IPV4, NO_OPTIONS, address, at,
    plan::{WORDS, word},
    window, words,
};

/// Forwards IPv4 as a router does; anything that is not plain is for the host.
#[xdp]
fn forward(ctx: XdpContext) -> u32 {
    route(&ctx).unwrap_or(XDP_PASS)
}

#[inline(always)]
fn route(ctx: &XdpContext) -> Option<u32> {
    let frame: &mut [u16; WORDS] = words(window(ctx), 0)?;
    let [version, tos] = frame[at::VERSION].to_ne_bytes();
    let [ttl, protocol] = frame[at::TTL].to_ne_bytes();
    if frame[at::ETHER_TYPE] != IPV4 || version != NO_OPTIONS || ttl <= 1 {
        return None;
    }
    // SAFETY: all fields are integers.
    let mut query: Query = unsafe { core::mem::zeroed() };
    query.family = 2;
    query.l4_protocol = protocol;
    query.__bindgen_anon_1.tot_len = u16::from_be(frame[at::LENGTH]);
    query.__bindgen_anon_2.tos = tos;
    query.__bindgen_anon_3.ipv4_src = address(frame, word::ADDRESSES);
    query.__bindgen_anon_4.ipv4_dst = address(frame, word::ADDRESSES + 2);
    query.ifindex = ctx.ingress_ifindex() as u32;
    let context: *mut c_void = ctx.as_ptr();
    // SAFETY: `query` is of the size given and outlives the call.
    let answer =
        unsafe { bpf_fib_lookup(context.cast(), &mut query, size_of::<Query>() as i32, 0) };
    if answer != BPF_FIB_LKUP_RET_SUCCESS as i64 {
        return None;
    }
    let counted_down = u16::from_ne_bytes([ttl - 1, protocol]);
    frame[at::IP_CHECKSUM] =
        Delta::word(frame[at::TTL], counted_down).apply(frame[at::IP_CHECKSUM]);
    frame[at::TTL] = counted_down;
    for (at, mac) in [(0, query.dmac), (3, query.smac)] {
        for (n, pair) in [[mac[0], mac[1]], [mac[2], mac[3]], [mac[4], mac[5]]].iter().enumerate() {
            frame[at + n] = u16::from_ne_bytes(*pair);
        }
    }
    // SAFETY: the helper takes any interface index.
    Some(unsafe { bpf_redirect(query.ifindex, 0) } as u32)
}
