//! Lowers the segment size that a TCP SYN announces, where a WAN takes smaller packets than the LAN
//! ([`masq_common::mss`]). SYNs never take the fast path, so this costs established flows nothing.

use core::ffi::c_void;

use aya_ebpf::helpers::{bpf_loop, bpf_skb_load_bytes};
use masq_common::{
    mss::{self, Place},
    reason::Reason,
    tcp,
};

use crate::{
    config, counters,
    packet::{full::Full, skb::Skb},
    verdict::Step,
};

/// Bytes of a TCP header without options.
const TCP_HEADER: u32 = 20;
/// A header has room for at most that many options.
const MOST: u32 = 40;

struct Walk {
    skb: *mut c_void,
    at: u32,
    end: u32,
    found: bool,
}

/// Lowers the size that a packet announces to what the WAN whose hook this is has room for. With options
/// that are damaged before that one it goes on as it is: its receiver judges it.
///
/// Looks the device up by itself although its callers have done so: they would have to keep more on
/// the stack.
#[inline(always)]
pub fn clamp<const LINK: usize>(skb: &Skb<LINK>, full: &Full) -> Step<()> {
    if full.tcp_flags & tcp::SYN == 0 { Ok(()) } else { clamp_syn(skb, full) }
}

#[inline(never)]
fn clamp_syn<const LINK: usize>(skb: &Skb<LINK>, full: &Full) -> Step<()> {
    let most = config::device(skb.device()).map_or(0, |device| device.mss);
    if most == 0 {
        return Ok(());
    }
    let Some(offset) = skb.load::<u8>(full.transport + 12) else { return Ok(()) };
    let start = full.transport as u32;
    let end = start + u32::from(offset >> 4) * 4;
    let mut walk = Walk { skb: skb.raw().cast(), at: start + TCP_HEADER, end, found: false };
    // SAFETY: the callback has the signature that the helper calls; `walk` outlives the call.
    unsafe {
        bpf_loop(MOST, next as *mut c_void, (&raw mut walk).cast(), 0);
    }
    let at = walk.at + 2;
    if !walk.found || at + 2 > end {
        return Ok(());
    }
    let Some(old) = skb.load::<u16>(at as usize).map(u16::from_be) else { return Ok(()) };
    let Some(new) = mss::lowered(old, most) else { return Ok(()) };
    skb.fix_tcp_checksum(full.transport, mss::difference(old, new, at - start))?;
    skb.store(at as usize, new.to_be())?;
    counters::bump(Reason::MssLowered);
    Ok(())
}

/// One step of [`clamp`]: 1 ends the loop.
#[inline(never)]
unsafe extern "C" fn next(_step: u32, walk: *mut Walk) -> i64 {
    // SAFETY: called by `bpf_loop` with the pointer that `clamp` has passed.
    let walk = unsafe { &mut *walk };
    if walk.at >= walk.end {
        return 1;
    }
    // Number and length. Of a last option without length, it is the data after the header.
    let mut option = [0_u8; 2];
    // SAFETY: the helper writes two bytes or fails.
    let code =
        unsafe { bpf_skb_load_bytes(walk.skb.cast(), walk.at, option.as_mut_ptr().cast(), 2) };
    if code != 0 {
        return 1;
    }
    match mss::place(option[0], option[1]) {
        Place::Size => {
            walk.found = true;
            1
        }
        Place::Other(length) => {
            walk.at += u32::from(length);
            0
        }
        Place::End => 1,
    }
}
