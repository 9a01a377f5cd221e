//! The table of the next hops that sessions remember (see [`masq_common::hop`]).

use core::ptr;

use aya_ebpf::{btf_maps::Array, macros::btf_map};
use masq_common::{
    hop::{Epoch, HOPS as LENGTH, Hop, PROBES, Ticket, Way},
    link::Arrival,
    time::Tick,
};

use crate::{
    atomic,
    generations::{self, Before, generations},
};

/// Shared by all sessions; number 0 is never used. Full means that packets of further next hops ask
/// the routing each time, until the daemon begins a new epoch.
#[btf_map]
static HOPS: Array<Hop, { LENGTH as usize }> = Array::new();

/// A [`Way`] in words: for these the compiler calls no function that goes byte by byte.
type Words = [u64; size_of::<Way>() / 8];

/// The way that a ticket stands for, if it still holds for a packet with this type-of-service byte that
/// has come in like this.
#[inline(always)]
pub fn recall(ticket: Ticket, tos: u8, arrival: Arrival) -> Option<&'static Way> {
    if ticket.hop() == 0 {
        return None;
    }
    let generations = generations()?;
    let hop = HOPS.get_ptr(ticket.hop())?;
    // SAFETY: an entry that a valid ticket stands for is complete and does not change as long as
    // somebody may be reading it (`Hop::is_free`).
    let way = unsafe { &(*hop).way };
    let routes = generations::routes(generations)?;
    let generation = generations::of(generations, routes, way, arrival);
    // After the way: who writes another one there changes the state before.
    // SAFETY: an aligned word of an array.
    let state = unsafe { ptr::read_volatile(&raw const (*hop).state) };
    let holds = ticket.holds(tos, state, generation);
    (holds && way.arrival.word() == arrival.word()).then_some(way)
}

/// Keeps an answer of the routing; a ticket to it for packets with this type-of-service byte.
/// [`Ticket::NONE`] if something has changed meanwhile, or if there is no room.
#[inline(never)]
pub fn remember(way: &Way, tos: u8, before: Before, now: Tick) -> Ticket {
    let Some(generations) = generations() else { return Ticket::NONE };
    let generation = generations::of(generations, before.routes, way, way.arrival);
    if !before.is_now(generations) {
        return Ticket::NONE;
    }
    let epoch = generations::epoch(generations);
    let place = way.place();
    // SAFETY: as many bytes, without padding, and as well aligned wherever a way is kept.
    let words: &Words = unsafe { &*ptr::from_ref(way).cast() };
    for probe in 0..PROBES {
        let number = (place + probe) & (LENGTH - 1);
        if number != 0 && is_at(number, words, epoch, now) {
            return Ticket::new(number, tos, epoch.number, generation);
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
        if !Hop::is_free(state, epoch, now) || !atomic::swap(word, state, Hop::busy(epoch.number)) {
            return false;
        }
        *entry = *words;
        atomic::swap(word, Hop::busy(epoch.number), Hop::ready(epoch.number));
    }
    generations::used();
    true
}
