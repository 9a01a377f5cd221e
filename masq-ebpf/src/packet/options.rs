//! Options of an IP header, as far as a NAT must know them: source routes (RFC 5508 REQ-10b).

use core::ffi::c_void;

use aya_ebpf::helpers::{bpf_loop, bpf_skb_load_bytes};

use crate::packet::skb::Skb;

/// End of the list.
const END: u8 = 0;
/// No operation: the only other option without a length.
const NOP: u8 = 1;
/// Loose and strict source route.
const SOURCE_ROUTES: [u8; 2] = [131, 137];
/// A header has room for at most that many.
const MOST: u32 = 40;

struct Walk {
    skb: *mut c_void,
    at: u32,
    end: u32,
    found: bool,
}

/// Whether the IP header from `start` to `end` has a source route. A damaged list counts as one:
/// nobody can tell what it holds.
#[inline(never)]
pub fn has_source_route<const LINK: usize>(skb: &Skb<LINK>, start: usize, end: usize) -> bool {
    let (at, end) = (start as u32 + 20, end as u32);
    if at >= end {
        return false;
    }
    let mut walk = Walk { skb: skb.raw().cast(), at, end, found: false };
    // SAFETY: the callback has the signature that the helper calls; `walk` outlives the call.
    unsafe {
        bpf_loop(MOST, next as *mut c_void, (&raw mut walk).cast(), 0);
    }
    walk.found
}

/// One step of [`has_source_route`]: 1 ends the loop.
#[inline(never)]
unsafe extern "C" fn next(_step: u32, walk: *mut Walk) -> i64 {
    // SAFETY: called by `bpf_loop` with the pointer that `has_source_route` has passed.
    let walk = unsafe { &mut *walk };
    if walk.at >= walk.end {
        return 1;
    }
    // Type and length; of the last option the length may be missing.
    let mut option = [0_u8; 2];
    // SAFETY: the helper writes two bytes or fails.
    let code =
        unsafe { bpf_skb_load_bytes(walk.skb.cast(), walk.at, option.as_mut_ptr().cast(), 2) };
    let [kind, length] = option;
    if code == 0 && kind == END {
        return 1;
    }
    if code == 0 && kind == NOP {
        walk.at += 1;
        return 0;
    }
    if code != 0 || length < 2 || SOURCE_ROUTES[0] == kind || SOURCE_ROUTES[1] == kind {
        walk.found = true;
        return 1;
    }
    walk.at += u32::from(length);
    0
}
