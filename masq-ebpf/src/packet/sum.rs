//! The Internet checksum of a part of a packet, wherever the socket buffer has it: for what has to
//! be verified whole, which is only ICMP errors (RFC 5508 REQ-3). Everything else is corrected by
//! differences.

use core::{ffi::c_void, ptr};

use aya_ebpf::helpers::{bpf_csum_diff, bpf_loop, bpf_skb_load_bytes};

use crate::packet::skb::Skb;

/// Bytes that are added at once.
const CHUNK: u32 = 64;

struct Sum {
    skb: *mut c_void,
    offset: u32,
    left: u32,
    sum: u32,
    failed: bool,
}

/// Whether the `length` bytes from `offset` on, checksum included, add up to nothing (RFC 1071).
#[inline(never)]
pub fn is_right<const LINK: usize>(skb: &Skb<LINK>, offset: usize, length: usize) -> bool {
    let (offset, left) = (offset as u32, length as u32);
    let mut sum = Sum { skb: skb.raw().cast(), offset, left, sum: 0, failed: false };
    let steps = left.div_ceil(CHUNK);
    // SAFETY: the callback has the signature that the helper calls; `sum` outlives the call.
    unsafe {
        bpf_loop(steps, add_chunk as *mut c_void, (&raw mut sum).cast(), 0);
    }
    let folded = (sum.sum & 0xffff) + (sum.sum >> 16);
    !sum.failed && (folded & 0xffff) + (folded >> 16) == 0xffff
}

/// One step of [`is_right`]: 1 ends the loop.
#[inline(never)]
unsafe extern "C" fn add_chunk(_step: u32, sum: *mut Sum) -> i64 {
    // SAFETY: called by `bpf_loop` with the pointer that `is_right` has passed.
    let sum = unsafe { &mut *sum };
    // The rest of the last chunk stays zero, which adds nothing.
    let mut chunk = [0_u32; CHUNK as usize / 4];
    let length = super::verified_length::<CHUNK>(sum.left.min(CHUNK));
    // SAFETY: the helpers write and read at most the bytes that `chunk` has.
    let code = unsafe {
        let to = chunk.as_mut_ptr().cast();
        let code = bpf_skb_load_bytes(sum.skb.cast(), sum.offset, to, length);
        let from = chunk.as_mut_ptr();
        let added = bpf_csum_diff(ptr::null_mut(), 0, from, CHUNK, sum.sum);
        sum.sum = added as u32;
        code
    };
    if code != 0 {
        sum.failed = true;
        return 1;
    }
    sum.offset += length;
    sum.left -= length;
    i64::from(sum.left == 0)
}
