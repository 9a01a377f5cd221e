//! What says that a remembered next hop may not hold any more: the counts of changes, and who counts
//! (see [`masq_common::hop`]).
//!
//! A packet that asks the routing reads the counts of changes first, and remembers the answer in the
//! generation of before. Of what the answer depends on, which it does not know before, it makes sure
//! that nothing has changed since: a change counts in `changes` before it counts for its neighbourhood,
//! its stations or the sessions of PPPoE, so an answer from before a change is either not remembered, or
//! in a generation that ends.

use core::{ffi::c_void, ptr};

use aya_ebpf::{
    EbpfContext as _,
    btf_maps::Array,
    helpers::{bpf_xdp_load_bytes, generated::bpf_probe_read_kernel},
    macros::btf_map,
    programs::{RawTracePointContext, XdpContext},
};
use masq_common::{
    hop::{self, Epoch, Generations, NEIGHBOURHOODS, Way, neighbourhood},
    link::{self, Arrival, NO_STATION, STATION_SETS},
    settings::{Settings, switches},
};

use crate::{atomic, clock, config};

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
    /// The address in `struct net_bridge_fdb_entry`; 0 while the kernel's bridge is not known.
    #[unsafe(no_mangle)]
    pub static STATION_ADDRESS: Global<u32> = Global::new(0);
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

/// The generations; always there.
#[inline(always)]
pub fn generations() -> Option<*mut Generations> {
    GENERATIONS.get_ptr_mut(0)
}

/// How often the routes have changed.
#[inline(always)]
pub fn routes(generations: *const Generations) -> Option<u32> {
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

/// How often a set of stations has changed.
#[inline(always)]
fn stations_of(generations: *const Generations, set: u16) -> u32 {
    let at = usize::from(set) & (STATION_SETS - 1);
    // SAFETY: as above.
    unsafe { ptr::read_volatile((&raw const (*generations).stations).cast::<u64>().add(at)) as u32 }
}

#[inline(always)]
fn discoveries_of(generations: *const Generations) -> u64 {
    // SAFETY: an aligned word of an array.
    unsafe { ptr::read_volatile(&raw const (*generations).discoveries) }
}

/// The generation of a way of packets that come in like `arrival`, after so many changes of `routes`.
#[inline(always)]
pub fn of(generations: *const Generations, routes: u32, way: &Way, arrival: Arrival) -> u32 {
    let mut sum = routes.wrapping_add(changes_of(generations, way.neighbourhood));
    if way.below() == 0 && arrival.session == 0 {
        return sum;
    }
    for set in [way.station, way.other_station] {
        sum = sum.wrapping_add(stations_of(generations, set));
    }
    if way.session | arrival.session != 0 {
        sum = sum.wrapping_add(discoveries_of(generations) as u32);
    }
    sum
}

/// How often a set of stations has changed, to be compared with [`link::Place::changes`].
#[inline(always)]
pub fn stations(set: u16) -> Option<u32> {
    Some(stations_of(generations()?, set))
}

/// How often PPPoE sessions have ended, to be compared with [`link::Leg::discoveries`].
#[inline(always)]
pub fn discoveries() -> Option<u32> {
    Some(hop::discoveries(discoveries_of(generations()?)))
}

/// What has to be noted before the routing is asked, for its answer to be remembered.
#[derive(Clone, Copy)]
pub struct Before {
    changes: u64,
    /// How often the routes had changed.
    pub routes: u32,
}

/// Before the routing is asked; `None` if nobody would say that its answer does not hold any more.
#[inline(always)]
pub fn before(settings: &Settings) -> Option<Before> {
    if settings.switches & switches::NEXT_HOPS == 0 {
        return None;
    }
    let generations = generations()?;
    let routes = routes(generations)?;
    Some(Before { changes: changes(generations), routes })
}

impl Before {
    /// Whether nothing has changed since, but perhaps routes.
    #[inline(always)]
    pub fn is_now(&self, generations: *mut Generations) -> bool {
        self.changes == changes(generations)
    }
}

/// Changes of any kind but of routes. A full barrier.
#[inline(always)]
fn changes(generations: *mut Generations) -> u64 {
    // SAFETY: an aligned word of an array, to which nothing is added.
    unsafe { atomic::fetch_add(&raw mut (*generations).changes, 0) }
}

/// The epoch of the table of hops.
#[inline(always)]
pub fn epoch(generations: *const Generations) -> Epoch {
    // SAFETY: an aligned word of an array.
    Epoch::from_word(unsafe { ptr::read_volatile(&raw const (*generations).epoch) })
}

/// One more hop was written in this epoch.
#[inline(always)]
pub fn used() {
    if let Some(generations) = generations() {
        // SAFETY: an aligned word of an array, changed atomically only.
        unsafe { atomic::fetch_add(&raw mut (*generations).used, 1) };
    }
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

/// One set of stations has changed.
#[inline(always)]
fn end_stations(generations: *mut Generations, set: usize) {
    let at = set & (STATION_SETS - 1);
    // SAFETY: as above.
    unsafe {
        atomic::fetch_add((&raw mut (*generations).stations).cast::<u64>().add(at), 1);
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

/// A station may be behind another port: the third argument of the kernel's tracepoints is its address.
#[inline(always)]
pub fn station_changed(ctx: &RawTracePointContext) {
    station(ctx.arg(2));
}

/// A bridge forgets a station: the second argument of the kernel's tracepoint is its entry.
#[inline(always)]
pub fn station_gone(ctx: &RawTracePointContext) {
    let entry: u64 = ctx.arg(1);
    match offset::STATION_ADDRESS.load() {
        0 => station(0),
        offset => station(entry + u64::from(offset)),
    }
}

/// Something about the station whose address the kernel has there; of all, if it cannot be read.
#[inline(always)]
fn station(address: u64) {
    let Some(generations) = generations() else { return };
    count_change(generations);
    match read::<[u8; 6]>(address) {
        Some(mac) => end_stations(generations, usize::from(link::set(mac))),
        None => {
            for set in usize::from(NO_STATION) + 1..STATION_SETS {
                end_stations(generations, set);
            }
        }
    }
}

/// A PPPoE session ends.
#[inline(always)]
pub fn terminated() {
    let Some(generations) = generations() else { return };
    count_change(generations);
    // SAFETY: an aligned word of an array, changed atomically only.
    unsafe { atomic::fetch_add(&raw mut (*generations).discoveries, 1) };
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
