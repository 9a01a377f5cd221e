//! Inserting the two halves of a new session, whatever else happens at the same moment.

use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use masq_common::{
    event::{CloseCause, Event},
    reason::Reason,
    session::{SessionHalf, SessionPair, flags},
    settings::Filtering,
};

use crate::{
    clock, counters,
    create::{Held, Request, is_shared, own_sockets, permits},
    events, retire,
    sessions::{self, Refusal},
};

/// The pair that is being built: too large for the stack. Sessions are created at TC hooks only,
/// which the kernel runs with soft interrupts off, so one for each CPU is enough.
#[btf_map]
static PAIR: PerCpuArray<SessionPair, 1> = PerCpuArray::new();

/// How an insertion has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Insertion {
    /// The session exists and holds its port.
    Done,
    /// Another CPU has created the same session; the port is not needed.
    Adopted,
    /// A session that had expired was in the way, and is not any more: try again.
    RoomMade,
    /// The port is in use towards this remote endpoint.
    Taken,
    /// The table is full.
    Full,
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
    let pair = unsafe { &mut *pair };
    build(request, held, pair);
    let permit = permits::filtering(request.settings, request.key.protocol)
        == Filtering::AddressDependent
        && !is_shared(held)
        && permits::grant(held.port, request.key.tuple.destination);
    if permit {
        pair.outbound.flags |= flags::PERMIT;
        pair.inbound.flags |= flags::PERMIT;
    }
    let inserted = sessions::insert(pair);
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
        Err(Refusal::OutboundTaken) => Insertion::Adopted,
        Err(Refusal::InboundTaken) => {
            let key = pair.inbound.key();
            make_room(request, &key)
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

/// Something answers to the inbound key already: a session that has expired but was not swept yet,
/// or one that lives.
#[inline(always)]
fn make_room(request: &Request<'_>, inbound: &masq_common::flow::FlowKey) -> Insertion {
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
        // The very session, created by another CPU for another packet of the flow.
        Some(half) if half.partner() == *inbound => Insertion::Adopted,
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
