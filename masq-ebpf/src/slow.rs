//! The slow path ([`masq_common::slow`]): what cannot be decided here goes to the daemon, whole. A
//! full ring, or a sender who has had its share, loses packets, and the loss is counted.

use core::ptr;

use aya_ebpf::{
    btf_maps::{Array, RingBuf},
    helpers::bpf_skb_load_bytes,
    macros::btf_map,
};
use masq_common::{
    be::Addr,
    fragment::Datagram,
    reason::Reason,
    slow::{CAPTURE, Cause, Head, Record},
};

use crate::{
    clock, config, counters,
    packet::{skb::Skb, verified_length},
};

/// 1 MiB: some 500 packets.
#[btf_map]
static SLOW: RingBuf<Record, { 1 << 20 }> = RingBuf::new();

/// Records in the current tick, by the hash of the source; the last element counts them all.
#[btf_map]
static SHARES: Array<u64, { SOURCES as usize + 1 }> = Array::new();

/// Buckets that sources are hashed into.
const SOURCES: u32 = 1024;
/// Records of one bucket in a tick (about 134 ms).
const PER_SOURCE: u32 = 32;
/// Records of all in a tick.
const IN_ALL: u32 = 256;

/// Counts one more record of a bucket; whether it still has its share.
#[inline(always)]
fn has_share(bucket: u32, tick: u32, limit: u32) -> bool {
    let Some(share) = SHARES.get_ptr_mut(bucket) else { return false };
    // SAFETY: an element of an array; a single aligned word. Two CPUs may count one record as one,
    // which makes the share a little larger.
    unsafe {
        let word = ptr::read_volatile(share);
        let count = if (word >> 32) as u32 == tick { word as u32 } else { 0 };
        if count >= limit {
            return false;
        }
        ptr::write_volatile(share, u64::from(tick) << 32 | u64::from(count + 1));
    }
    true
}

/// Gives a packet from `source` to the daemon; whether that gets it.
#[inline(never)]
pub fn offer<const LINK: usize>(
    skb: &Skb<LINK>,
    source: Addr,
    cause: Cause,
    reason: Reason,
    wan: u8,
) -> bool {
    let Ok(settings) = config::settings() else { return false };
    let tick = clock::now(settings).0;
    let bucket = source.raw().wrapping_mul(0x9e37_79b9) >> 22;
    let length = skb.len().saturating_sub(LINK as u32);
    if length == 0 {
        return false;
    }
    if !has_share(bucket, tick, PER_SOURCE) || !has_share(SOURCES, tick, IN_ALL) {
        counters::bump(Reason::SlowPathFull);
        return false;
    }
    let Some(mut entry) = SLOW.reserve(0) else {
        counters::bump(Reason::SlowPathFull);
        return false;
    };
    let record: *mut Record = entry.as_mut_ptr();
    let captured = verified_length::<{ CAPTURE as u32 }>(length.min(CAPTURE as u32));
    // SAFETY: the record was just reserved; the helper writes at most the bytes that it has.
    let code = unsafe {
        (*record).head = Head {
            nanos: clock::nanos(settings),
            ifindex: skb.device(),
            ingress: skb.ingress_ifindex(),
            length,
            captured,
            cause: cause as u8,
            reason: reason as u8,
            wan,
            zero: [0; 5],
        };
        let data = (&raw mut (*record).data).cast();
        bpf_skb_load_bytes(skb.raw().cast(), LINK as u32, data, captured)
    };
    if code != 0 {
        entry.discard(0);
        return false;
    }
    entry.submit(0);
    true
}

/// Tells the daemon that the first fragment of a datagram has passed.
#[inline(never)]
pub fn first_seen(datagram: &Datagram) {
    let Ok(settings) = config::settings() else { return };
    let Some(mut entry) = SLOW.reserve(0) else {
        counters::bump(Reason::SlowPathFull);
        return;
    };
    let record: *mut Record = entry.as_mut_ptr();
    // SAFETY: the record was just reserved, and a datagram fits.
    unsafe {
        (*record).head = Head {
            nanos: clock::nanos(settings),
            length: size_of::<Datagram>() as u32,
            captured: size_of::<Datagram>() as u32,
            cause: Cause::FirstSeen as u8,
            ..Head::default()
        };
        ptr::write_unaligned((&raw mut (*record).data).cast(), *datagram);
    }
    entry.submit(0);
}
