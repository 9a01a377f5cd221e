//! Later fragments: they carry no ports, so what was done to the first one of their datagram is
//! remembered and done to them. A later fragment that overtakes the first is not known yet.

use aya_ebpf::{bindings::BPF_ANY, btf_maps::LruHashMap, macros::btf_map};
use masq_common::{
    be::Addr,
    checksum::Delta,
    session::SessionHalf,
    time::{Span, Tick},
};

use crate::{clock, config, packet::full::Full};

/// A fragmented datagram (RFC 791: these four tell its fragments from all others).
#[repr(C)]
#[derive(Clone, Copy)]
struct Datagram {
    source: Addr,
    destination: Addr,
    identification: u16,
    protocol: u8,
    zero: u8,
}

/// What is done to its fragments.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Translation {
    datagram: Datagram,
    /// Source address to leave with.
    pub source: Addr,
    /// Destination address to leave with.
    pub destination: Addr,
    /// Difference for the IP checksum.
    pub delta: Delta,
    zero: u16,
    seen: Tick,
}

/// How long a first fragment is remembered: identifications come round again.
const MEMORY: Span = Span::from_secs(5);

/// LRU is right here: an entry lives for milliseconds, and a datagram whose entry is evicted is
/// lost like one of its fragments on the way.
#[btf_map]
static FRAGMENTS: LruHashMap<Datagram, Translation, 4096> = LruHashMap::new();

#[inline(always)]
fn datagram(full: &Full) -> Datagram {
    Datagram {
        source: full.key.tuple.source,
        destination: full.key.tuple.destination,
        identification: full.identification,
        protocol: full.key.protocol,
        zero: 0,
    }
}

/// Remembers what is done to a first fragment.
#[inline(always)]
pub fn remember(full: &Full, half: &SessionHalf, now: Tick) {
    let datagram = datagram(full);
    let translation = Translation {
        datagram,
        source: half.to.source,
        destination: half.to.destination,
        delta: half.addr_delta,
        zero: 0,
        seen: now,
    };
    // Failing to remember loses this datagram's later fragments, which are then counted.
    let _ = FRAGMENTS.insert(datagram, translation, u64::from(BPF_ANY));
}

/// What was done to the first fragment of this one's datagram.
#[inline(always)]
pub fn recall(full: &Full) -> Option<Translation> {
    let wanted = datagram(full);
    // SAFETY: copied at once, and checked below to be of this datagram: the entry may have been
    // given to another one.
    let found = unsafe { FRAGMENTS.get(wanted).copied() }?;
    let same = found.datagram.source == wanted.source
        && found.datagram.destination == wanted.destination
        && found.datagram.identification == wanted.identification
        && found.datagram.protocol == wanted.protocol;
    let now = clock::now(config::settings().ok()?);
    (same && now.since(found.seen) <= MEMORY).then_some(found)
}
