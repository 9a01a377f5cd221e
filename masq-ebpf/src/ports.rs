//! Who owns an external port: the compare-and-swap on the slots of [`masq_common::mapping`].

use core::ptr;

use aya_ebpf::{
    btf_maps::{Array, PerCpuArray},
    helpers::bpf_loop,
    macros::btf_map,
};
use masq_common::{
    be::Id,
    flow::UDP,
    mapping::{
        Owner, PROTOCOLS, PortSlot, Rest, SLOTS_PER_WAN, SlotState, protocol_index, slot_index,
    },
    ports::{PROBES, Pool},
    settings::MAX_WANS,
    time::{Span, Tick},
};

use crate::{
    atomic, clock, config,
    create::{
        Request,
        mapping::{pools, random},
        own_sockets,
    },
};

/// An array: slots never move and are never reused for another port, so a pointer stays right.
/// The daemon sizes it by the number of WANs.
#[btf_map]
static PORTS: Array<PortSlot, { SLOTS_PER_WAN as usize }> = Array::new();

/// Held ports by WAN and protocol, for the daemon.
#[btf_map]
static PORTS_HELD: Array<u64, { MAX_WANS as usize * PROTOCOLS }> = Array::new();

/// The tick in which a whole pool was searched in vain, by WAN and protocol.
#[btf_map]
static SEARCHED: Array<u32, { MAX_WANS as usize * PROTOCOLS }> = Array::new();

/// Ports that are tried where all of them were taken a moment ago: that of the inside, and some more.
const FEW: u32 = 4;

/// How often a swap that another CPU got in the way of is tried again.
const SWAPS: u32 = 8;

/// One external port of one WAN and protocol.
#[derive(Clone, Copy)]
pub struct Port {
    /// Index of the WAN.
    pub wan: u8,
    /// IP protocol number.
    pub protocol: u8,
    /// The port or identifier.
    pub id: Id,
}

/// Who holds a port.
#[derive(Clone, Copy)]
pub struct Holder {
    /// Generation of the mapping.
    pub generation: u32,
    /// Its inside endpoint.
    pub owner: Owner,
    /// Whether the slot is all there is of it ([`Owner::PRESERVED`]).
    pub preserved: bool,
}

impl Holder {
    #[inline(always)]
    fn of(state: SlotState, slot: *mut PortSlot) -> Self {
        let word = owner_of(slot);
        let (owner, preserved) = (Owner::unpack(word), word & Owner::PRESERVED != 0);
        Self { generation: state.generation(), owner, preserved }
    }
}

impl Port {
    #[inline(always)]
    fn slot(self) -> Option<*mut PortSlot> {
        PORTS.get_ptr_mut(slot_index(self.wan, self.protocol, self.id)?)
    }

    /// Whether anybody may claim the port at this moment.
    #[inline(always)]
    pub fn is_free(self) -> bool {
        self.slot().is_some_and(|slot| SlotState(state_of(slot)).is_free())
    }

    /// Whether nobody may have the port at this moment, not even by sharing it: it is reserved, or
    /// its mapping is just being made or removed.
    #[inline(always)]
    pub fn is_closed(self) -> bool {
        self.slot().is_none_or(|slot| SlotState(state_of(slot)).is_retiring())
    }

    /// Whether the port, which is free, was given back only a while ago.
    #[inline(always)]
    pub fn rests(self, quarantine: Span, now: Tick) -> bool {
        let Some(slot) = self.slot() else { return false };
        // SAFETY: as in `owner_of`.
        let rest = Rest(unsafe { ptr::read_volatile(&raw const (*slot).owner) });
        rest.goes_on(quarantine, now)
    }

    /// Takes the port for the inside endpoint in the word ([`Owner::pack`]), if it is free; the generation
    /// of the new mapping.
    #[inline(always)]
    pub fn claim(self, owner: u64) -> Option<u32> {
        let slot = self.slot()?;
        let state = SlotState(state_of(slot));
        if !state.is_free() || !swap(slot, state, state.reserved()) {
            return None;
        }
        // SAFETY: the slot is ours since the swap, and nobody reads its owner before it is held.
        unsafe { ptr::write_volatile(&raw mut (*slot).owner, owner) }
        swap(slot, state.reserved(), state.claimed());
        self.count(1);
        Some(state.claimed().generation())
    }

    /// The state of the slot, if its port was preserved for `owner`. Only while that is held there is a mapping
    /// to [join](Self::join): else it just ends, or the port is just being given to somebody.
    #[inline(always)]
    pub fn preserved_by(self, owner: Owner) -> Option<SlotState> {
        let slot = self.slot()?;
        // Before the owner: whoever joins this generation has read its owner.
        let state = SlotState(state_of(slot));
        let there = !state.is_free() && owner_of(slot) == owner.pack() | Owner::PRESERVED;
        there.then_some(state)
    }

    /// One more session for the mapping of this generation; false if that no longer holds the
    /// port.
    #[inline(always)]
    pub fn join(self, generation: u32) -> bool {
        let Some(slot) = self.slot() else { return false };
        for _ in 0..SWAPS {
            let state = SlotState(state_of(slot));
            let Some(joined) = state.joined(generation) else { return false };
            if swap(slot, state, joined) {
                return true;
            }
        }
        false
    }

    /// One session less, of those that the caller has joined or claimed. If it was the last one,
    /// the holder is returned: its mapping has to be removed, and then the port
    /// [`free`](Self::free)d.
    #[inline(always)]
    pub fn leave(self) -> Option<Holder> {
        let slot = self.slot()?;
        // SAFETY: an element of an array, aligned, changed atomically only.
        let before = SlotState(unsafe { atomic::decrement(&raw mut (*slot).state) });
        before.left().is_some_and(SlotState::is_retiring).then(|| Holder::of(before, slot))
    }

    /// Gives the port back, after [`leave`](Self::leave) has returned its holder.
    #[inline(always)]
    pub fn free(self) {
        let Some(slot) = self.slot() else { return };
        let state = SlotState(state_of(slot));
        if !state.is_retiring() {
            return;
        }
        if let Ok(settings) = config::settings()
            && settings.quarantine.0 != 0
        {
            let rest = Rest::since(clock::now(settings));
            // SAFETY: nobody reads the owner of a slot that is not held, and it is ours until the
            // swap.
            unsafe { ptr::write_volatile(&raw mut (*slot).owner, rest.0) }
        }
        if swap(slot, state, state.freed()) {
            self.count(-1);
        }
    }

    /// Who holds the port, if anybody.
    #[inline(always)]
    pub fn holder(self) -> Option<Holder> {
        let slot = self.slot()?;
        let state = SlotState(state_of(slot));
        state.is_held().then(|| Holder::of(state, slot))
    }

    #[inline(always)]
    fn table_index(self) -> Option<u32> {
        Some(u32::from(self.wan) * PROTOCOLS as u32 + protocol_index(self.protocol)?)
    }

    #[inline(always)]
    fn count(self, difference: i64) {
        if let Some(held) = self.table_index().and_then(|i| PORTS_HELD.get_ptr_mut(i)) {
            // SAFETY: an element of an array, aligned, changed atomically only.
            unsafe { atomic::add(held, difference as u64) };
        }
    }
}

#[inline(always)]
fn state_of(slot: *mut PortSlot) -> u64 {
    // SAFETY: an element of an array; a single aligned word, so it is never torn.
    unsafe { ptr::read_volatile(&raw const (*slot).state) }
}

#[inline(always)]
fn owner_of(slot: *mut PortSlot) -> u64 {
    // SAFETY: an element of an array; a single aligned word, so it is never torn.
    unsafe { ptr::read_volatile(&raw const (*slot).owner) }
}

#[inline(always)]
fn swap(slot: *mut PortSlot, from: SlotState, to: SlotState) -> bool {
    // SAFETY: an element of an array, aligned, changed atomically only.
    unsafe { atomic::swap(&raw mut (*slot).state, from.0, to.0) }
}

/// A search for a free port: random ones first, then all of them in turn. In a map, of whose values the
/// verifier knows nothing: otherwise it would go through a step for every way that the earlier ones may
/// have ended.
#[repr(C)]
pub struct Search {
    /// Where to search: the pool of the inside port's class, and one to fall back to.
    pools: [Pool; 2],
    /// Where the search in turn begins.
    start: u32,
    /// How long ports rest that were given back; zero in a second walk, where any free one will do.
    quarantine: Span,
    /// Generation of the mapping, once a port was found.
    pub generation: u32,
    /// The port that was tried last.
    pub id: Id,
    /// Whether that one was free, and is ours.
    found: u16,
}

/// One for each CPU: sessions are created at TC hooks only, which do not interrupt each other.
#[btf_map]
static SEARCH: PerCpuArray<Search, 1> = PerCpuArray::new();

#[inline(always)]
fn current() -> Option<&'static mut Search> {
    // SAFETY: this CPU's own element, see above.
    SEARCH.get_ptr_mut(0).map(|search| unsafe { &mut *search })
}

/// Takes a free port: finds one if there is one. A search through the whole pools that was in vain is not
/// repeated within the same tick, so that being out of ports does not cost every packet a walk through
/// all of them.
#[inline(always)]
pub fn claim(request: &Request<'_>) -> Option<&'static Search> {
    let steps = begin(request);
    let mut step = Next { request };
    // SAFETY: the callback has the signature that the helper calls; `step` outlives the call.
    unsafe {
        bpf_loop(steps, claim_next as *mut _, (&raw mut step).cast(), 0);
    }
    let search = current()?;
    if search.found != 0 {
        return Some(search);
    }
    if steps > FEW {
        // SAFETY: an element of an array; a single aligned word, so it is never torn.
        unsafe { ptr::write_volatile(searched(request)?, tick(request)) };
    }
    None
}

/// Where it stands when a whole pool was searched in vain.
#[inline(always)]
fn searched(request: &Request<'_>) -> Option<*mut u32> {
    let port = Port { wan: request.wan, protocol: request.key.protocol, id: Id::ZERO };
    SEARCHED.get_ptr_mut(port.table_index()?)
}

/// The current tick. The array begins with 0; an odd value is never mistaken for it.
#[inline(always)]
const fn tick(request: &Request<'_>) -> u32 {
    request.now.0 | 1
}

/// How long the port of a new mapping has to have rested.
#[inline(always)]
pub const fn quarantine(request: &Request<'_>) -> Span {
    if request.key.protocol == UDP { request.settings.quarantine } else { Span(0) }
}

/// Begins a search; how many steps it may take. A function of its own, whose stack is free again for
/// the steps.
#[inline(never)]
fn begin(request: &Request<'_>) -> u32 {
    let (Some(search), Some(searched)) = (current(), searched(request)) else { return 0 };
    let pools = pools(request);
    let quarantine = quarantine(request);
    let start = random() >> 1;
    *search = Search { pools, start, quarantine, generation: 0, id: Id::ZERO, found: 0 };
    // SAFETY: an element of an array; a single aligned word, so it is never torn.
    if unsafe { ptr::read_volatile(searched) } == tick(request) {
        return FEW;
    }
    let all = search.pools[0].len() + search.pools[1].len();
    // Once for ports that do not rest, and once for any free one.
    PROBES + if search.quarantine.0 == 0 { all } else { 2 * all }
}

/// What the steps of a search carry.
struct Next<'a> {
    request: &'a Request<'a>,
}

/// One step of [`claim`]: 1 ends the loop.
#[inline(never)]
unsafe extern "C" fn claim_next(step: u32, next: *mut Next<'_>) -> i64 {
    // SAFETY: called by `bpf_loop` with the pointer that `claim` has passed.
    let Next { request } = unsafe { &*next };
    let Some(search) = current() else { return 1 };
    let [pool, rest] = search.pools;
    let all = pool.len() + rest.len();
    let mut at = step.wrapping_sub(PROBES);
    if step >= PROBES && at >= all {
        search.quarantine = Span(0);
        at -= all;
    }
    let id = if step < PROBES {
        pool.probe(request.key.tuple.source_id.get(), step, random())
    } else if at < pool.len() {
        pool.at(search.start.wrapping_add(at))
    } else {
        rest.at(search.start.wrapping_add(at))
    };
    let port = Port { wan: request.wan, protocol: request.key.protocol, id: Id::new(id) };
    search.id = port.id;
    // The cheap question first.
    if !port.is_free()
        || port.rests(search.quarantine, request.now)
        || own_sockets::own_port(request, port.id)
    {
        return 0;
    }
    match port.claim(request.owner().pack()) {
        Some(generation) => {
            search.generation = generation;
            search.found = 1;
            1
        }
        None => 0,
    }
}
