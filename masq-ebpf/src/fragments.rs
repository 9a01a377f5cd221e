//! Fragments: the later ones carry no ports, so what was done to the first one of their datagram is
//! remembered and done to them. One that overtakes the first goes to the daemon ([`slow`]), which
//! sends it on when the first one has passed. All are counted in the session of the first.

use core::ptr;

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_NOEXIST},
    btf_maps::LruHashMap,
    macros::btf_map,
};
use masq_common::{
    be::Addr,
    checksum::Delta,
    fragment::{Datagram, MEMORY, Translation},
    reason::Reason,
    slow::Cause,
    time::{Span, Tick},
};

use crate::{
    atomic, clock, config,
    create::mapping::random,
    packet::{full::Full, skb::Skb},
    sessions, slow,
    verdict::Step,
};

/// How long an identification must not be used for another host's datagram (RFC 6864 section 4.3:
/// the maximum lifetime of a datagram, two minutes).
const LIFETIME: Span = Span::from_secs(120);

/// LRU is right here: an entry lives for milliseconds, and a datagram whose entry is evicted is
/// lost like one of its fragments on the way.
#[btf_map]
static FRAGMENTS: LruHashMap<Datagram, Translation, 4096> = LruHashMap::new();

/// Datagrams of which the daemon has fragments. Evicted: those fragments are lost.
#[btf_map]
static EARLY: LruHashMap<Datagram, Early, 1024> = LruHashMap::new();

/// The fragments that the daemon has of a datagram. An entry can be given to another datagram while
/// they are added up: that has some too many then. The first two, on two CPUs at once, may count as one.
#[repr(C)]
#[derive(Clone, Copy)]
struct Early {
    packets: u64,
    /// From the IP headers on.
    bytes: u64,
    /// When the first of them came.
    seen: Tick,
    zero: u32,
}

/// Who uses an identification on the outside, by the datagram as it is there. Evicted: another host
/// may use the identification too soon, as every host could without this map.
#[btf_map]
static IDENTITIES: LruHashMap<Datagram, Identity, 4096> = LruHashMap::new();

/// The host that a datagram on the outside comes from.
#[repr(C)]
#[derive(Clone, Copy)]
struct Identity {
    inside: Addr,
    seen: Tick,
}

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

/// Remembers that a first fragment leaves with these addresses, and gives it the identification that
/// its datagram has from here on. `outbound` if another host's may be the same there.
#[inline(never)]
pub fn first<const LINK: usize>(
    skb: &Skb<LINK>,
    full: &Full,
    (source, destination): (Addr, Addr),
    outbound: bool,
) -> Step<()> {
    let now = clock::now(config::settings()?);
    let datagram = datagram(full);
    let mut identification = full.identification;
    match known(&datagram, now) {
        // The same again.
        Some(found) if found.source == source && found.destination == destination => {
            identification = found.identification;
        }
        // Two first fragments that differ: nobody can tell what the later ones belong to.
        Some(_) => {
            let _ = FRAGMENTS.remove(datagram);
            return Err(Reason::FragmentOverlap);
        }
        None if outbound => identification = unused(&datagram, source, destination, now),
        None => {}
    }
    let of_addresses =
        Delta::addr(datagram.source, source).and(Delta::addr(datagram.destination, destination));
    let of_identification = Delta::word(datagram.identification, identification);
    let delta = of_addresses.and(of_identification).raw();
    let (source_id, destination_id) = (full.key.tuple.source_id, full.key.tuple.destination_id);
    let translation = Translation {
        datagram,
        source,
        destination,
        delta,
        identification,
        seen: now,
        source_id,
        destination_id,
    };
    // Failing to remember loses this datagram's later fragments, which are then counted.
    let _ = FRAGMENTS.insert(datagram, translation, u64::from(BPF_ANY));
    if identification != datagram.identification {
        skb.fix_ip_checksum(LINK + 10, of_identification)?;
        skb.store(LINK + 4, identification)?;
    }
    Ok(())
}

/// Has the daemon send the fragments that have overtaken the first one, and counts them. A function of its
/// own, like all that needs much of the stack.
#[inline(never)]
pub fn follow(full: &Full) {
    let Ok(settings) = config::settings() else { return };
    let now = clock::now(settings);
    let datagram = datagram(full);
    let Some(early) = early_of(&datagram, now) else { return };
    // SAFETY: aligned words of a map value.
    let (packets, bytes) = unsafe {
        (
            ptr::read_volatile(&raw const (*early).packets),
            ptr::read_volatile(&raw const (*early).bytes),
        )
    };
    if EARLY.remove(datagram).is_ok() {
        slow::first_seen(&datagram);
        count(&datagram, packets, bytes);
    }
}

/// Counts later fragments in the session of their datagram, or in both if it goes from the inside to the
/// inside.
#[inline(never)]
fn count(datagram: &Datagram, packets: u64, bytes: u64) {
    let Some(translation) = FRAGMENTS.get_ptr(datagram) else { return };
    // SAFETY: readable until the program ends. If the entry has been given to another datagram just now,
    // that one's session has a fragment too many.
    let translation = unsafe { &*translation };
    let mut key = translation.key();
    if sessions::count(&mut key, packets, bytes) && translation.is_hairpin() {
        let _ = sessions::count(&mut key, packets, bytes);
    }
}

/// Remembers that the datagram of a first fragment is the router's own, so that the daemon does not
/// get its later fragments.
#[inline(never)]
pub fn own(full: &Full) {
    let Ok(settings) = config::settings() else { return };
    let translation = Translation::own(datagram(full), clock::now(settings));
    let _ = FRAGMENTS.insert(translation.datagram, translation, u64::from(BPF_ANY));
}

/// An identification that no other host uses with these addresses: the datagram's own, or else a
/// random one (RFC 6864 section 5.3.1; RFC 3022 section 6.3 tells what happens without).
#[inline(never)]
fn unused(datagram: &Datagram, source: Addr, destination: Addr, now: Tick) -> u16 {
    let mut outside = Datagram { source, destination, ..*datagram };
    let identity = Identity { inside: datagram.source, seen: now };
    for _ in 0..4 {
        // SAFETY: copied at once. If the entry was given to another datagram meanwhile, that costs
        // a change of the identification that was not needed, or the rare clash that is there
        // without this map.
        let user = unsafe { IDENTITIES.get(outside).copied() };
        let flags = match user {
            None => BPF_NOEXIST,
            Some(user) if user.inside == datagram.source => BPF_ANY,
            Some(user) if now.since(user.seen) > LIFETIME => BPF_ANY,
            Some(_) => {
                // Not 0, which raw sockets take for "choose one".
                outside.identification = (random() as u16).max(1);
                continue;
            }
        };
        if IDENTITIES.insert(outside, identity, u64::from(flags)).is_ok() {
            break;
        }
    }
    outside.identification
}

/// What was done to the first fragment of this datagram, if it has passed.
#[inline(always)]
fn known(datagram: &Datagram, now: Tick) -> Option<Translation> {
    // SAFETY: copied at once, and checked below to be of this datagram: the entry may have been
    // given to another one.
    let found = unsafe { FRAGMENTS.get(datagram).copied() }?;
    (found.datagram == *datagram && now.since(found.seen) <= MEMORY).then_some(found)
}

/// What was done to the first fragment of a later one's datagram.
#[inline(always)]
pub fn recall(full: &Full) -> Option<Translation> {
    known(&datagram(full), clock::now(config::settings().ok()?))
}

/// Does to a later fragment what was done to the first one.
#[inline(always)]
pub fn rewrite<const LINK: usize>(
    skb: &Skb<LINK>,
    full: &Full,
    translation: &Translation,
) -> Step<()> {
    let delta = Delta::from_raw(translation.delta);
    skb.rewrite_addresses(translation.source, translation.destination, delta)?;
    if translation.identification != translation.datagram.identification {
        skb.store(LINK + 4, translation.identification)?;
    }
    count(&translation.datagram, full.packets, full.bytes);
    Ok(())
}

/// Gives a fragment whose first one has not been seen to the daemon; false if that cannot take it.
#[inline(never)]
pub fn early<const LINK: usize>(skb: &Skb<LINK>, full: &Full, wan: u8, cause: Cause) -> bool {
    let datagram = datagram(full);
    let Ok(settings) = config::settings() else { return false };
    let now = clock::now(settings);
    // First the mark: if the first fragment passes just now, it finds it.
    if early_of(&datagram, now).is_none() {
        let none = Early { packets: 0, bytes: 0, seen: now, zero: 0 };
        if EARLY.insert(datagram, none, u64::from(BPF_ANY)).is_err() {
            return false;
        }
    }
    let taken = slow::offer(skb, datagram.source, cause, Reason::FragmentEarly, wan);
    if taken && let Some(early) = early_of(&datagram, now) {
        // SAFETY: aligned words of a map value, changed atomically only.
        unsafe {
            atomic::add(&raw mut (*early).packets, full.packets);
            atomic::add(&raw mut (*early).bytes, full.bytes);
        }
    }
    taken
}

/// The fragments that the daemon has of this datagram, and not of one long ago that had the same
/// identification.
#[inline(always)]
fn early_of(datagram: &Datagram, now: Tick) -> Option<*mut Early> {
    let early = EARLY.get_ptr_mut(datagram)?;
    // SAFETY: an aligned word of a map value.
    let seen = unsafe { ptr::read_volatile(&raw const (*early).seen) };
    (now.since(seen) <= MEMORY).then_some(early)
}
