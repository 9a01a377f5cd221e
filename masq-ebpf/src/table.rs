//! The session table's memory: find a half, insert a pair of them, remove a pair (see
//! [`masq_common::table`]).
//!
//! What halves mean is not known here, but in [`crate::sessions`]. The two of a session come and go
//! together: whoever inserts or removes them has locked both their homes, for some hundred nanoseconds, and
//! only against those who do the same. Whoever is kept from a home for longer, by one that was interrupted,
//! preempted, or whose CPU the hypervisor has given to somebody else, gives up after [`PATIENCE`] attempts.
//!
//! Plain reads and writes rely on the order in which x86-64 makes them visible.

use core::{ffi::c_void, ptr};

use aya_ebpf::{btf_maps::Array, helpers::bpf_loop, macros::btf_map};
use masq_common::{
    flow::{FlowKey, NONE},
    session::{SessionHalf, SessionPair},
    table::{Count, Header, MOST, NEAR, REACH, RESERVED, Slot, State, distance},
};

use crate::atomic;

/// Not in `linux/bpf.h` of every version that bindings are made of.
const BPF_F_MMAPABLE: usize = 1 << 10;

/// The loader gives it its size, and the daemon its header. The daemon maps it into its memory to read it,
/// for which the kernel lets it begin where a page does: a place is one line of the caches.
#[btf_map]
static SESSIONS: Array<Slot, { (RESERVED + REACH) as usize }, BPF_F_MMAPABLE> = Array::new();

/// How often somebody tries to lock a home that is not free: some ten times as long as it is held.
const PATIENCE: u32 = 256;

/// Why a pair was not inserted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is a half with the inbound key.
    InboundTaken,
    /// There is none, but one with the outbound key.
    OutboundTaken,
    /// The table is full, or all places that a half might lie at.
    Full,
    /// A home is locked for too long.
    Busy,
}

/// Where the half of a key is.
#[inline(always)]
pub fn get(key: &FlowKey) -> Option<*mut SessionHalf> {
    let [addresses, rest] = key.words();
    let slot = find(addresses, rest);
    // SAFETY: an element of an array.
    (!slot.is_null()).then(|| unsafe { &raw mut (*slot).half })
}

/// Which of the halves that may come one after the other at a place lies there: the part of its state that
/// changes whenever the place is taken.
#[inline(always)]
pub fn generation(half: *const SessionHalf) -> u64 {
    // SAFETY: every half that is pointed to is the first part of a place.
    state(half.cast()).generation()
}

/// The place of the half of the key with these words; null if there is none. A function of its own: its
/// callers have no room on their stacks for what it needs.
#[inline(never)]
fn find(addresses: u64, rest: u64) -> *mut Slot {
    let words = [addresses, rest];
    if rest >> 32 == u64::from(NONE) {
        // What lies at a place that is free has the rest of its last key.
        return ptr::null_mut();
    }
    let Some(home) = home(words) else { return ptr::null_mut() };
    let Some(slot) = SESSIONS.get_ptr_mut(home) else { return ptr::null_mut() };
    if holds(slot, words) {
        return slot;
    }
    let mut near = state(slot).near() & !1;
    for _ in 0..MOST {
        if near == 0 {
            break;
        }
        let Some(slot) = SESSIONS.get_ptr_mut(home + distance(near.trailing_zeros())) else {
            break;
        };
        if holds(slot, words) {
            return slot;
        }
        near &= near - 1;
    }
    ptr::null_mut()
}

/// At which of the places of its home a half lies; [`NEAR`] if at none. For whoever has locked the home.
#[inline(never)]
fn step_of(home: u32, addresses: u64, rest: u64) -> u32 {
    let Some(slot) = SESSIONS.get_ptr(home) else { return NEAR };
    let mut near = state(slot).near();
    for _ in 0..MOST {
        if near == 0 {
            break;
        }
        let step = near.trailing_zeros();
        let Some(slot) = SESSIONS.get_ptr(home + distance(step)) else { break };
        if holds(slot, [addresses, rest]) {
            return step;
        }
        near &= near - 1;
    }
    NEAR
}

/// Where in the array the home of a key is; 0 if the table has not been made. A function of its own, like all
/// that needs many registers.
#[inline(never)]
fn home_of(addresses: u64, rest: u64) -> u32 {
    home([addresses, rest]).unwrap_or(0)
}

/// The same, for those who have the registers.
#[inline(always)]
fn home(words: [u64; 2]) -> Option<u32> {
    let header = SESSIONS.get_ptr(Header::PLACE)?.cast::<Header>();
    // SAFETY: an element of an array, where the header is, which never changes.
    let header = unsafe { &*header };
    (header.homes != 0).then(|| header.home(words))
}

#[inline(always)]
fn state(slot: *const Slot) -> State {
    // SAFETY: an aligned word of an element of an array.
    State(unsafe { ptr::read_volatile(&raw const (*slot).state) })
}

/// Whether the half of a key lies at a place. Without a branch for each part of the key: the verifier would
/// follow every one, wherever this is.
#[inline(always)]
fn holds(slot: *const Slot, [addresses, rest]: [u64; 2]) -> bool {
    // SAFETY: an element of an array.
    let there = unsafe { words_of(&raw const (*slot).half) };
    (there[0] ^ addresses) | (there[1] ^ rest) == 0
}

/// The words of the key of a half ([`FlowKey::words`]), read anew each time: there is no room on the stack to
/// keep them.
///
/// # Safety
/// The half has to be valid.
#[inline(always)]
unsafe fn words_of(half: *const SessionHalf) -> [u64; 2] {
    // SAFETY: as the caller promises; a tuple is a word and a half, and its parts lie in it as in the words of a
    // key (on a little-endian machine, as all that this is built for).
    unsafe {
        let from = (&raw const (*half).from).cast::<u32>();
        let ids = ptr::read_volatile(from.add(2));
        let protocol = ptr::read_volatile(&raw const (*half).protocol);
        [ptr::read_volatile(from.cast::<u64>()), u64::from(ids) | u64::from(protocol) << 32]
    }
}

/// The words of a key, read anew each time, as above.
#[inline(always)]
fn words(key: &FlowKey) -> [u64; 2] {
    let words = ptr::from_ref(key).cast::<u64>();
    // SAFETY: a key is two words, and all that are given to this file lie at a multiple of eight bytes.
    unsafe { [ptr::read_volatile(words), ptr::read_volatile(words.add(1))] }
}

/// What the loops of [`lock`] and [`put`] carry.
struct Search {
    home: u32,
    /// One more than the number of the place that was found; 0 while there is none.
    found: u32,
}

/// Locks a home; whether it was possible.
#[inline(always)]
fn lock(home: u32) -> bool {
    let mut search = Search { home, found: 0 };
    // SAFETY: the callback has the signature that the helper calls, and `search` outlives the call.
    unsafe { bpf_loop(PATIENCE, try_to_lock as *mut c_void, (&raw mut search).cast(), 0) };
    search.found != 0
}

/// One step of [`lock`].
#[inline(never)]
unsafe extern "C" fn try_to_lock(_: u32, search: *mut Search) -> i64 {
    // SAFETY: called by `bpf_loop` with the pointer that `lock` has passed.
    let search = unsafe { &mut *search };
    let Some(slot) = SESSIONS.get_ptr_mut(search.home) else { return 1 };
    let state = state(slot);
    let Some(locked) = state.locked() else { return 0 };
    // SAFETY: an aligned word of an element of an array, which is only changed atomically.
    let done = unsafe { atomic::swap(&raw mut (*slot).state, state.0, locked.0) };
    if done {
        search.found = 1;
    }
    done.into()
}

/// Locks both homes of a pair, which may be the same; whether it was possible. The lower one first, so that
/// nobody waits for somebody who waits.
#[inline(always)]
fn lock_both(one: u32, other: u32) -> bool {
    let (one, other) = if one < other { (one, other) } else { (other, one) };
    if !lock(one) {
        return false;
    }
    if other != one && !lock(other) {
        unlock(one);
        return false;
    }
    true
}

#[inline(always)]
fn unlock_both(one: u32, other: u32) {
    unlock(one);
    if other != one {
        unlock(other);
    }
}

#[inline(never)]
fn unlock(home: u32) {
    change(home, State::LOCKED.wrapping_neg());
}

/// Changes the state of a place by adding: bits that are known to be set or not, by those who may change
/// them. A full barrier.
#[inline(always)]
fn change(place: u32, by: u64) {
    if let Some(slot) = SESSIONS.get_ptr_mut(place) {
        // SAFETY: an aligned word of an element of an array, which is only changed atomically.
        unsafe { atomic::fetch_add(&raw mut (*slot).state, by) };
    }
}

/// Counts the halves that lie in the table; how many there were before.
#[inline(always)]
fn count(by: u64) -> Option<u64> {
    let count = SESSIONS.get_ptr_mut(Count::PLACE)?.cast::<Count>();
    // SAFETY: an element of an array, where the count is; the word is only changed atomically.
    unsafe { Some(atomic::fetch_add(&raw mut (*count).used, by)) }
}

/// Inserts both halves of a session, if there is none with the key of either, or neither.
#[inline(always)]
pub fn insert(pair: &SessionPair) -> Result<(), Refusal> {
    match insert_or(&pair.inbound, &pair.outbound) {
        answer::DONE => Ok(()),
        answer::INBOUND_TAKEN => Err(Refusal::InboundTaken),
        answer::OUTBOUND_TAKEN => Err(Refusal::OutboundTaken),
        answer::BUSY => Err(Refusal::Busy),
        _ => Err(Refusal::Full),
    }
}

/// What [`insert_or`] says: a number, since larger answers of functions are more than the verifier follows.
mod answer {
    pub const DONE: u32 = 0;
    pub const INBOUND_TAKEN: u32 = 1;
    pub const OUTBOUND_TAKEN: u32 = 2;
    pub const FULL: u32 = 3;
    pub const BUSY: u32 = 4;
}

/// The same, with a number for the answer.
#[inline(never)]
fn insert_or(inbound: &SessionHalf, outbound: &SessionHalf) -> u32 {
    // SAFETY: of a valid pair.
    let [inside, outside] = unsafe { [words_of(outbound), words_of(inbound)] };
    let (in_home, out_home) = (home_of(outside[0], outside[1]), home_of(inside[0], inside[1]));
    if in_home == 0 || out_home == 0 {
        return answer::FULL;
    }
    if !lock_both(in_home, out_home) {
        return answer::BUSY;
    }
    let answer = insert_locked(inbound, in_home, outbound, out_home);
    unlock_both(in_home, out_home);
    answer
}

/// Counts two more halves, if the table may have them.
#[inline(never)]
fn count_pair() -> bool {
    let Some(header) = SESSIONS.get_ptr(Header::PLACE) else { return false };
    // SAFETY: as in `home`.
    let limit = u64::from(unsafe { (*header.cast::<Header>()).limit });
    let fits = count(2).is_some_and(|used| used + 2 <= limit);
    if !fits {
        count(2_u64.wrapping_neg());
    }
    fits
}

#[inline(always)]
fn insert_locked(
    inbound: &SessionHalf,
    in_home: u32,
    outbound: &SessionHalf,
    out_home: u32,
) -> u32 {
    // SAFETY: of a valid pair.
    let [addresses, rest] = unsafe { words_of(inbound) };
    if step_of(in_home, addresses, rest) < NEAR {
        return answer::INBOUND_TAKEN;
    }
    // What is in the way is told first: it may have expired, and make room.
    if !count_pair() {
        return answer::FULL;
    }
    // The inbound half first: the outbound one is what a second packet of the flow finds, and its answer
    // has to be let in.
    let step = put(inbound, in_home);
    if step >= NEAR {
        count(2_u64.wrapping_neg());
        return answer::FULL;
    }
    // Only now: who sends to himself, from where he would be seen to, has the same key for both.
    // SAFETY: as above.
    let [addresses, rest] = unsafe { words_of(outbound) };
    let taken = step_of(out_home, addresses, rest) < NEAR;
    if taken || put(outbound, out_home) >= NEAR {
        clear(in_home, step);
        count(2_u64.wrapping_neg());
        return if taken { answer::OUTBOUND_TAKEN } else { answer::FULL };
    }
    answer::DONE
}

/// Lays a half down at the first place of its home, which is locked, that is free; which one that is, or [`NEAR`] if
/// there is none.
#[inline(never)]
fn put(half: &SessionHalf, home: u32) -> u32 {
    let Some(first) = SESSIONS.get_ptr(home) else { return NEAR };
    if state(first).near().count_ones() >= MOST {
        return NEAR;
    }
    let mut search = Search { home, found: 0 };
    // SAFETY: the callback has the signature that the helper calls, and `search` outlives the call.
    unsafe { bpf_loop(NEAR, try_to_take as *mut c_void, (&raw mut search).cast(), 0) };
    let step = search.found.wrapping_sub(1);
    if step >= NEAR {
        return NEAR;
    }
    let Some(slot) = SESSIONS.get_ptr_mut(home + distance(step)) else { return NEAR };
    // SAFETY: an element of an array; whoever has taken a place is the only one who writes a half there.
    unsafe { write(&raw mut (*slot).half, half) };
    change(home, 1 << step);
    step
}

/// One step of [`put`]: takes a place if it is free.
#[inline(never)]
unsafe extern "C" fn try_to_take(step: u32, search: *mut Search) -> i64 {
    // SAFETY: called by `bpf_loop` with the pointer that `put` has passed.
    let search = unsafe { &mut *search };
    let Some(slot) = SESSIONS.get_ptr_mut(search.home + distance(step)) else { return 1 };
    let state = state(slot);
    let Some(taken) = state.taken() else { return 0 };
    // SAFETY: an aligned word of an element of an array, which is only changed atomically.
    let done = unsafe { atomic::swap(&raw mut (*slot).state, state.0, taken.0) };
    if done {
        search.found = step + 1;
    }
    done.into()
}

/// Writes a half to a place that has none: its protocol last, before which it is none.
///
/// # Safety
/// Both have to be valid, and nobody else may write to `to` but those who note what passes a half that has
/// just gone.
#[inline(always)]
unsafe fn write(to: *mut SessionHalf, half: *const SessionHalf) {
    let (to, from) = (to.cast::<u64>(), half.cast::<u64>());
    for word in 0..size_of::<SessionHalf>() / 8 {
        // SAFETY: both are as long, and aligned to words.
        unsafe { ptr::write_volatile(to.add(word), ptr::read_volatile(from.add(word))) };
    }
}

/// Takes a half away from one of the places of its home, which is locked.
#[inline(never)]
fn clear(home: u32, step: u32) {
    let step = step & 63;
    let place = home + distance(step);
    let Some(slot) = SESSIONS.get_ptr_mut(place) else { return };
    // SAFETY: an element of an array, which holds the half for as long as its home is locked.
    unsafe { ptr::write_volatile(&raw mut (*slot).half.protocol, NONE) };
    // No more of this home's before it may be another's.
    change(home, (1_u64 << step).wrapping_neg());
    change(place, State::TAKEN.wrapping_neg());
}

/// Removes both halves of a session, if the outbound one is still the one of this [`identity`] and the other
/// one belongs to it; or neither. Of those that try at the same time, at most one does: another one is told `false`, and so is
/// whoever finds a home locked for too long.
#[inline(never)]
pub fn remove(outbound: &FlowKey, inbound: &FlowKey, identity: u64) -> bool {
    let ([inside, outside], [remote, external]) = (words(outbound), words(inbound));
    let (out_home, in_home) = (home_of(inside, outside), home_of(remote, external));
    if out_home == 0 || in_home == 0 || !lock_both(out_home, in_home) {
        return false;
    }
    let removed = remove_locked(outbound, out_home, inbound, in_home, identity);
    unlock_both(out_home, in_home);
    if removed {
        count(2_u64.wrapping_neg());
    }
    removed
}

#[inline(always)]
fn remove_locked(
    outbound: &FlowKey,
    out_home: u32,
    inbound: &FlowKey,
    in_home: u32,
    identity: u64,
) -> bool {
    let [addresses, rest] = words(outbound);
    let out_step = step_of(out_home, addresses, rest);
    let [addresses, rest] = words(inbound);
    let in_step = step_of(in_home, addresses, rest);
    if out_step >= NEAR || in_step >= NEAR {
        return false;
    }
    let Some(slot) = SESSIONS.get_ptr(out_home + distance(out_step)) else { return false };
    // SAFETY: an element of an array, which holds the half for as long as its home is locked.
    let half = unsafe { &(*slot).half };
    // SAFETY: a half of the table.
    if unsafe { self::identity(half) } != identity || half.partner() != *inbound {
        return false;
    }
    clear(out_home, out_step);
    clear(in_home, in_step);
    true
}

/// What tells a session from another one between the same endpoints: when it was created, its flags, and the
/// generation of the place that its half lies at.
///
/// # Safety
/// The half has to be one of the table.
#[inline(always)]
pub unsafe fn identity(half: *const SessionHalf) -> u64 {
    // SAFETY: as the caller promises.
    unsafe {
        let created = ptr::read_volatile(&raw const (*half).created).0;
        let flags = ptr::read_volatile(&raw const (*half).flags);
        u64::from(created) | u64::from(flags) << 32 | generation(half)
    }
}

const _: () = assert!(State::LOWEST_GENERATION >= 1 << 40, "apart from created and flags");

/// The same half, of which the compiler forgets what it has read.
#[inline(always)]
pub fn read_anew(half: &SessionHalf) -> &SessionHalf {
    let mut half: *const SessionHalf = half;
    // Not without any instruction: the kernel refuses two lines of source at one place.
    // SAFETY: does nothing, but the compiler does not know.
    #[cfg(target_arch = "bpf")]
    unsafe {
        core::arch::asm!("{half} = {half}", half = inout(reg) half, options(nostack));
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        half = core::hint::black_box(half);
    }
    // SAFETY: it was a reference just now.
    unsafe { &*half }
}
