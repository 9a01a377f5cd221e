//! Remote endpoints towards which every port that was tried is taken. Who asks for one more in the same
//! tick is told at once: being out of ports must not cost each packet a search, or the packets of
//! established sessions would wait behind those of hosts that get nothing anyway.

use core::ptr;

use aya_ebpf::{btf_maps::Array, macros::btf_map};
use masq_common::{
    mapping::{PROTOCOLS, protocol_index},
    settings::MAX_WANS,
};

use crate::create::Request;

/// Remote endpoints that are remembered for each WAN and protocol. A power of two.
const REMOTES: u32 = 256;

/// A remote endpoint and the tick in which nothing was found, in one word: 32 bits of address, 16 of
/// port, the lower 16 of the tick. By WAN, protocol, and a hash of the endpoint; the last one stays.
#[btf_map]
static EXHAUSTED: Array<u64, { MAX_WANS as usize * PROTOCOLS * REMOTES as usize }> = Array::new();

/// Where the remote endpoint of a request is remembered, and as what.
#[inline(always)]
fn place(request: &Request<'_>) -> Option<(*mut u64, u64)> {
    let remote = &request.key.tuple;
    // Of the few privileged ports, which must not keep anybody from the others.
    if remote.source_id.get() < 1024 {
        return None;
    }
    let (address, port) = (remote.destination.raw(), remote.destination_id.raw());
    let hash = (address ^ u32::from(port)).wrapping_mul(0x9e37_79b1) >> 24;
    let table = u32::from(request.wan) * PROTOCOLS as u32 + protocol_index(request.key.protocol)?;
    let word = u64::from(address) << 32 | u64::from(port) << 16 | u64::from(request.now.0 as u16);
    Some((EXHAUSTED.get_ptr_mut(table * REMOTES + hash % REMOTES)?, word))
}

/// Whether all was in vain a moment ago.
#[inline(always)]
pub fn is_known(request: &Request<'_>) -> bool {
    let Some((entry, word)) = place(request) else { return false };
    // SAFETY: an element of an array; a single aligned word, so it is never torn.
    unsafe { ptr::read_volatile(entry) == word }
}

/// Remembers that all was in vain.
#[inline(always)]
pub fn note(request: &Request<'_>) {
    if let Some((entry, word)) = place(request) {
        // SAFETY: as above.
        unsafe { ptr::write_volatile(entry, word) }
    }
}
