//! Inserting the two halves of a new session, whatever else happens at the same moment.

use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use masq_common::{
    event::{CloseCause, Event},
    flow::FlowKey,
    reason::Reason,
    session::{SessionHalf, SessionPair, flags},
    settings::Filtering,
};

use crate::{
    clock, counters,
    create::{Held, Request, is_shared, own_sockets, permits},
    events, retire, sessions,
    table::{self, Refusal},
};

/// The pair that is being built: too large for the stack. Sessions are created at TC hooks only,
/// which the kernel runs with soft interrupts off, so one for each CPU is enough.
#[btf_map]
static PAIR: PerCpuArray<Work, 1> = PerCpuArray::new();

/// What is in it.
#[repr(C)]
struct Work {
    pair: SessionPair,
    /// What answers to it is in the way.
    inbound: FlowKey,
}

/// How an insertion has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Insertion {
    /// The session exists and holds its port.
    Done,
    /// Another CPU has created the same session; the port is not needed.
    Adopted,
    /// Something answers to the inbound key already: see [`make_room`].
    InTheWay,
    /// A session that had expired was in the way, and is not any more: try again.
    RoomMade,
    /// The port is in use towards this remote endpoint.
    Taken,
    /// The table is full.
    Full,
    /// Another CPU is at work on the same part of the table.
    Busy,
}

/// Inserts the session of `request` with the port that is held for it.
#[inline(never)]
pub fn insert(request: &Request<'_>, held: Held) -> Insertion {
    // A mapping lives on while the router opens sockets of its own; a port that was found just now is
    // known to be nobody's.
    if !held.is_new() && own_sockets::own_port(request, held.port.id) {
        return Insertion::Taken;
    }
    let Some(pair) = PAIR.get_ptr_mut(0) else { return Insertion::Full };
    // SAFETY: this CPU's own element, see above.
    let Work { pair, inbound } = unsafe { &mut *pair };
    build(request, held, pair);
    let permit = permits::filtering(request.settings, request.key.protocol)
        == Filtering::AddressDependent
        && !is_shared(held)
        && permits::grant(held.port, request.key.tuple.destination);
    if permit {
        pair.outbound.flags |= flags::PERMIT;
        pair.inbound.flags |= flags::PERMIT;
    }
    let inserted = table::insert(pair);
    if permit && inserted.is_err() {
        permits::revoke(held.port, request.key.tuple.destination);
    }
    match inserted {
        Ok(()) => {
            opened(request, &pair.outbound);
            if is_shared(held) {
                counters::bump(Reason::PortShared);
            }
            Insertion::Done
        }
        Err(Refusal::Full) => Insertion::Full,
        Err(Refusal::Busy) => Insertion::Busy,
        Err(Refusal::OutboundTaken) => Insertion::Adopted,
        Err(Refusal::InboundTaken) => {
            retire::put(inbound, pair.inbound.key());
            Insertion::InTheWay
        }
    }
}

/// A function of its own, like all that needs much of the stack for a short time.
#[inline(never)]
fn build(request: &Request<'_>, held: Held, pair: &mut SessionPair) {
    let flags = request.flags | held.flags & !Held::NEW;
    let (key, id) = (*request.key, held.port.id);
    *pair = SessionPair::masquerade(key, request.external, id, flags, request.wan, request.now);
}

/// How far from now a session was created that another CPU has just created, in ticks: about a second.
const NEW: u32 = 8;

/// What is in the way of the pair that was just built: a session that has expired but was not swept yet, or
/// one that lives. For the caller of [`insert`], whose part of the stack is free again then.
#[inline(never)]
pub fn make_room(request: &Request<'_>) -> Insertion {
    let Some(work) = PAIR.get_ptr(0) else { return Insertion::Full };
    // SAFETY: this CPU's own element, see above.
    let inbound = unsafe { &(*work).inbound };
    if retire::session(
        inbound,
        CloseCause::Expired,
        request.settings,
        request.now,
        retire::Run::Hook,
    ) {
        return Insertion::RoomMade;
    }
    match sessions::entry(request.key) {
        // The very session, created by another CPU for another packet of the flow; or one that has expired, and
        // could not be removed.
        Some(half) if half.partner() == *inbound => {
            // Made after we have found none, a tick before or after our time.
            let age = request.now.0.wrapping_sub(half.created.0);
            let new = age.wrapping_add(NEW) <= 2 * NEW;
            if new { Insertion::Adopted } else { Insertion::Busy }
        }
        _ => Insertion::Taken,
    }
}

#[inline(never)]
fn opened(request: &Request<'_>, half: &SessionHalf) {
    counters::bump(Reason::SessionOpened);
    if !events::wanted(request.settings) {
        return;
    }
    events::send(|event| {
        *event = Event {
            nanos: clock::nanos(request.settings),
            inside: half.from,
            outside: half.to(),
            reason: Reason::SessionOpened as u8,
            protocol: half.protocol,
            wan: half.wan,
            ..Event::default()
        };
    });
}
