//! The next hops that sessions remember, and how the kernel itself says that they may have changed
//! (see [`masq_common::hop`]).
//!
//! A packet that asks the routing reads the counts of changes first, and remembers the answer in the
//! generation of before. Of the neighbourhood, which it does not know before, it makes sure that
//! nothing has changed since: a change counts in `changes` before it counts in its neighbourhood, so
//! an answer from before a change is either not remembered, or in a generation that ends.

use core::{ffi::c_void, ptr};

use aya_ebpf::{
    EbpfContext as _,
    btf_maps::Array,
    helpers::{bpf_xdp_load_bytes, generated::bpf_probe_read_kernel},
    macros::btf_map,
    programs::{RawTracePointContext, XdpContext},
};
use masq_common::{
    hop::{
        Epoch, Generations, HOPS as LENGTH, Hop, NEIGHBOURHOODS, PROBES, Ticket, Way, neighbourhood,
    },
    settings::{Settings, switches},
    time::Tick,
};

use crate::{atomic, clock, config};

/// Shared by all sessions; number 0 is never used. Full means that packets of further next hops ask
/// the routing each time, until the daemon begins a new epoch.
#[btf_map]
static HOPS: Array<Hop, { LENGTH as usize }> = Array::new();

/// One value, for all packets.
#[btf_map]
static GENERATIONS: Array<Generations, 1> = Array::new();

/// Where in the kernel's structures what we need begins. The daemon knows it from the kernel's own
/// description of its types.
mod offset {
    use aya_ebpf::Global;

    /// The address in `struct neighbour`.
    #[unsafe(no_mangle)]
    pub static NEIGHBOUR_ADDRESS: Global<u32> = Global::new(0);
    /// The queue in `struct xdp_buff`.
    #[unsafe(no_mangle)]
    pub static XDP_QUEUE: Global<u32> = Global::new(0);
    /// The device in `struct xdp_rxq_info`.
    #[unsafe(no_mangle)]
    pub static QUEUE_DEVICE: Global<u32> = Global::new(0);
    /// The network namespace in `struct net_device`.
    #[unsafe(no_mangle)]
    pub static DEVICE_NET: Global<u32> = Global::new(0);
    /// The count of changes of IPv4 routes in `struct net`; 0 if the kernel does not describe it.
    #[unsafe(no_mangle)]
    pub static NET_ROUTES: Global<u32> = Global::new(0);
}

/// Reads from the memory of the kernel; `None` where there is none.
#[inline(always)]
fn read<T: Copy + Default>(address: u64) -> Option<T> {
    let mut value = T::default();
    // SAFETY: the helper writes the whole of `value` or fails; any address will do.
    let code = unsafe {
        let from = address as *const c_void;
        bpf_probe_read_kernel((&raw mut value).cast(), size_of::<T>() as u32, from)
    };
    (code == 0).then_some(value)
}

/// A [`Way`] in words: for these the compiler calls no function that goes byte by byte.
type Words = [u64; size_of::<Way>() / 8];

#[inline(always)]
fn generations() -> Option<*mut Generations> {
    GENERATIONS.get_ptr_mut(0)
}

/// How often the routes have changed.
#[inline(always)]
fn routes(generations: *const Generations) -> Option<u32> {
    if offset::NET_ROUTES.load() == 0 {
        // Known when the program is loaded: where the kernel's memory must not be read, the verifier
        // does not see the helper that would.
        return None;
    }
    // SAFETY: an aligned word of an array.
    read(unsafe { ptr::read_volatile(&raw const (*generations).routes) })
}

/// How often a neighbourhood has changed.
#[inline(always)]
fn changes_of(generations: *const Generations, neighbourhood: u16) -> u32 {
    let at = usize::from(neighbourhood) & (NEIGHBOURHOODS - 1);
    // SAFETY: an element of an array, the index is within its bounds; a single aligned word.
    unsafe { ptr::read_volatile((&raw const (*generations).of).cast::<u64>().add(at)) as u32 }
}

/// The way that a ticket stands for, if it still holds for a packet with this type-of-service byte.
#[inline(always)]
pub fn recall(ticket: Ticket, tos: u8) -> Option<&'static Way> {
    if ticket.hop() == 0 {
        return None;
    }
    let generations = generations()?;
    // SAFETY: an entry that a valid ticket stands for is complete and does not change as long as
    // somebody may be reading it (`Hop::is_free`).
    let way = unsafe { &(*HOPS.get_ptr(ticket.hop())?).way };
    let generation = routes(generations)?.wrapping_add(changes_of(generations, way.neighbourhood));
    ticket.holds(tos, generation).then_some(way)
}

/// What has to be noted before the routing is asked, for its answer to be remembered.
#[derive(Clone, Copy)]
pub struct Before {
    changes: u64,
    routes: u32,
}

/// Before the routing is asked; `None` if nobody would say that its answer does not hold any more.
#[inline(always)]
pub fn before(settings: &Settings) -> Option<Before> {
    if settings.switches & switches::NEXT_HOPS == 0 {
        return None;
    }
    let generations = generations()?;
    let routes = routes(generations)?;
    // SAFETY: an aligned word of an array. Adding nothing is a full barrier, before the routing is
    // asked.
    let changes = unsafe { atomic::fetch_add(&raw mut (*generations).changes, 0) };
    Some(Before { changes, routes })
}

/// Keeps an answer of the routing; a ticket to it for packets with this type-of-service byte.
/// [`Ticket::NONE`] if something has changed meanwhile, or if there is no room.
#[inline(never)]
pub fn remember(way: &Way, tos: u8, before: Before, now: Tick) -> Ticket {
    let Some(generations) = generations() else { return Ticket::NONE };
    let generation = before.routes.wrapping_add(changes_of(generations, way.neighbourhood));
    // SAFETY: aligned words of an array. Adding nothing is a full barrier.
    let (changes, epoch) = unsafe {
        (
            atomic::fetch_add(&raw mut (*generations).changes, 0),
            Epoch::from_word(ptr::read_volatile(&raw const (*generations).epoch)),
        )
    };
    if changes != before.changes {
        return Ticket::NONE;
    }
    let place = way.place();
    // SAFETY: as many bytes, without padding, and as well aligned wherever a way is kept.
    let words: &Words = unsafe { &*ptr::from_ref(way).cast() };
    for probe in 0..PROBES {
        let number = (place + probe) & (LENGTH - 1);
        if number != 0 && is_at(number, words, epoch, now) {
            return Ticket::new(number, tos, generation);
        }
    }
    Ticket::NONE
}

/// Whether the entry has this way, or has it now.
#[inline(always)]
fn is_at(number: u32, words: &Words, epoch: Epoch, now: Tick) -> bool {
    let Some(hop) = HOPS.get_ptr_mut(number) else { return false };
    // SAFETY: an element of an array. Whoever has swapped its state to "busy" is the only one to
    // write it.
    unsafe {
        let state = ptr::read_volatile(&raw const (*hop).state);
        let entry = (&raw mut (*hop).way).cast::<Words>();
        if state == Hop::ready(epoch.number) {
            return (*entry).iter().zip(words).all(|(a, b)| a == b);
        }
        let word = &raw mut (*hop).state;
        if !Hop::is_free(state, epoch, now) || !atomic::swap(word, state, Hop::BUSY) {
            return false;
        }
        *entry = *words;
        atomic::swap(word, Hop::BUSY, Hop::ready(epoch.number));
    }
    if let Some(generations) = generations() {
        // SAFETY: an aligned word of an array, changed atomically only.
        unsafe { atomic::fetch_add(&raw mut (*generations).used, 1) };
    }
    true
}

/// One neighbourhood has changed.
#[inline(always)]
fn end(generations: *mut Generations, neighbourhood: usize) {
    let at = neighbourhood & (NEIGHBOURHOODS - 1);
    // SAFETY: an element of an array, the index is within its bounds, changed atomically only.
    unsafe {
        atomic::fetch_add((&raw mut (*generations).of).cast::<u64>().add(at), 1);
    }
}

#[inline(always)]
fn count_change(generations: *mut Generations) {
    // SAFETY: an aligned word of an array, changed atomically only.
    unsafe { atomic::fetch_add(&raw mut (*generations).changes, 1) };
}

/// Something has changed that concerns them all.
#[inline(always)]
fn everything_changed() {
    let Some(generations) = generations() else { return };
    count_change(generations);
    for neighbourhood in 0..NEIGHBOURHOODS {
        end(generations, neighbourhood);
    }
}

/// A neighbour may have changed: the first argument of the kernel's tracepoints is its entry.
#[inline(always)]
pub fn neighbour_changed(ctx: &RawTracePointContext) {
    let entry: u64 = ctx.arg(0);
    match read::<u32>(entry + u64::from(offset::NEIGHBOUR_ADDRESS.load())) {
        // Neighbours on a point-to-point device all have the address 0.
        None | Some(0) => everything_changed(),
        Some(address) => {
            let Some(generations) = generations() else { return };
            count_change(generations);
            end(generations, usize::from(neighbourhood(address)));
        }
    }
}

/// Where the kernel counts the changes of the routes of the network namespace that `ctx` is in.
#[inline(always)]
fn routes_of(ctx: &XdpContext) -> Option<u64> {
    let to = offset::NET_ROUTES.load();
    if to == 0 {
        return None;
    }
    let queue: u64 = read(ctx.as_ptr() as u64 + u64::from(offset::XDP_QUEUE.load()))?;
    let device: u64 = read(queue + u64::from(offset::QUEUE_DEVICE.load()))?;
    let net: u64 = read(device + u64::from(offset::DEVICE_NET.load()))?;
    Some(net + u64::from(to))
}

/// What the daemon runs when it has changed what it tells us of the devices, and, with one byte of
/// data that is not 0, to begin a new epoch. 1 if sessions can remember next hops.
#[inline(always)]
pub fn forget(ctx: &XdpContext) -> u32 {
    let routes = routes_of(ctx).unwrap_or(0);
    let mut begins = 0_u8;
    // SAFETY: the helper writes the byte or fails.
    unsafe { bpf_xdp_load_bytes(ctx.as_ptr().cast(), 0, (&raw mut begins).cast(), 1) };
    let (Some(generations), Ok(settings)) = (generations(), config::settings()) else { return 0 };
    // SAFETY: aligned words of an array; only the daemon runs this, once at a time.
    unsafe {
        ptr::write_volatile(&raw mut (*generations).routes, routes);
        if begins != 0 {
            let old = Epoch::from_word(ptr::read_volatile(&raw const (*generations).epoch));
            let number = old.number.wrapping_add(1);
            let new = Epoch { number, began: clock::now(settings) };
            ptr::write_volatile(&raw mut (*generations).epoch, new.word());
            ptr::write_volatile(&raw mut (*generations).used, 0);
        }
    }
    // After the new epoch: so no ticket to an entry of the old one is of a generation that goes on.
    everything_changed();
    u32::from(routes != 0 && read::<u32>(routes).is_some())
}
