//! TC on WAN ingress: everything that arrives. Established flows as in [`super::fast`]; then what
//! that leaves: the first answer of a flow, ICMP errors, fragments, idle sessions, and what the
//! filtering lets in (RFC 4787 section 5). What matches nothing is the router's own: untouched.

use masq_common::{
    be::Addr,
    flow::{FlowKey, Tuple},
    mapping::Owner,
    reason::Reason,
    session::flags,
    settings::{Device, Filtering, Settings, prefix, role},
    time::Tick,
};

use crate::{
    clock, config,
    create::{Held, Request, own_sockets, pair, permits},
    fragments,
    hooks::fast,
    icmp_error,
    packet::{
        full::{self, Full, Kind},
        skb::Skb,
    },
    ports::Port,
    retire, sessions,
    verdict::{Outcome, Step},
};

/// Runs the hook.
#[inline(always)]
pub fn run<const LINK: usize>(skb: &Skb<LINK>) -> Outcome {
    match established(skb) {
        Outcome::Ends(
            Reason::NoSession
            | Reason::Unusual
            | Reason::Stale
            | Reason::TtlExpired
            | Reason::TooBig
            | Reason::NoNeighbour
            | Reason::NoRoute
            | Reason::OtherDevice
            | Reason::Own,
        ) => full(skb).into(),
        outcome => outcome,
    }
}

/// The fast path, as a function of its own: its stack is free again for the full path.
#[inline(never)]
fn established<const LINK: usize>(skb: &Skb<LINK>) -> Outcome {
    fast::run(skb)
}

/// The full path: translate, and let the kernel route.
#[inline(never)]
fn full<const LINK: usize>(skb: &Skb<LINK>) -> Step<Outcome> {
    let device = config::device(skb.device()).ok_or(Reason::NoRole)?;
    if device.role != role::WAN {
        return Err(Reason::NoRole);
    }
    // What is damaged, the kernel drops.
    let full = full::parse(skb).map_err(|_| Reason::NoSession)?;
    if device.address.is_none() || full.key.tuple.destination != device.address {
        return elsewhere(full);
    }
    match full.kind {
        Kind::IcmpError => return icmp_error::inbound(skb, full),
        Kind::LaterFragment => return later_fragment(skb, full),
        Kind::Flow | Kind::IcmpReply => {}
        Kind::IcmpOther | Kind::OtherProtocol => return unasked(full),
    }
    ensure(skb, full, &device)?;
    deliver(skb, full)?;
    Ok(Outcome::Ends(Reason::InboundSlow))
}

/// Sees to it that there is a session that is alive.
#[inline(never)]
fn ensure<const LINK: usize>(skb: &Skb<LINK>, full: &Full, device: &Device) -> Step<()> {
    let settings = config::settings()?;
    let now = clock::now(settings);
    if is_alive(full, settings, now) {
        return Ok(());
    }
    admit(skb, full, device, settings, now)
}

#[inline(never)]
fn is_alive(full: &Full, settings: &Settings, now: Tick) -> bool {
    sessions::entry(&full.key).is_some_and(|half| sessions::is_alive(half, settings, now))
}

/// Translates a packet by its session.
#[inline(never)]
fn deliver<const LINK: usize>(skb: &Skb<LINK>, full: &Full) -> Step<()> {
    let found = sessions::find(&full.key).ok_or(Reason::NoSession)?;
    let now = clock::now(config::settings()?);
    found.touch(now, full.tcp_flags, full.packets, full.bytes);
    if full.first_fragment {
        fragments::remember(full, &found.half);
    }
    skb.rewrite(&found.half, full.transport)
}

/// A packet to another address: to the inside it does not get this way.
#[inline(always)]
fn elsewhere(full: &Full) -> Step<Outcome> {
    let flags = config::prefix(full.key.tuple.destination);
    if flags & prefix::INSIDE != 0 && flags & prefix::ROUTER == 0 {
        return Err(Reason::UnsolicitedToLan);
    }
    unasked(full)
}

/// A packet that nobody on the inside has asked for: the router's own, unless its source claims to
/// be on the inside.
#[inline(always)]
fn unasked<T>(full: &Full) -> Step<T> {
    if config::prefix(full.key.tuple.source) & prefix::INSIDE != 0 {
        return Err(Reason::SpoofedSource);
    }
    Err(Reason::NoSession)
}

#[inline(always)]
fn later_fragment<const LINK: usize>(skb: &Skb<LINK>, full: &Full) -> Step<Outcome> {
    // One that is not known may be the router's own: its stack knows what to do with it.
    let translation = fragments::recall(full).ok_or(Reason::NoSession)?;
    skb.rewrite_addresses(translation.source, translation.destination, translation.delta)?;
    Ok(Outcome::Ends(Reason::Fragment))
}

/// Creates the session of a packet from outside, if a mapping holds its port and the filtering lets
/// anybody in. The router's own services come first.
#[inline(always)]
fn admit<const LINK: usize>(
    skb: &Skb<LINK>,
    full: &Full,
    device: &Device,
    settings: &'static Settings,
    now: Tick,
) -> Step<()> {
    let outside = full.key.tuple;
    let port = Port { wan: device.wan, protocol: full.key.protocol, id: outside.destination_id };
    let wanted = matches!(full.kind, Kind::Flow) && full.opens().is_ok();
    if !wanted || !lets_in(settings, port, outside.source) {
        return unasked(full);
    }
    let Some(holder) = port.holder() else { return unasked(full) };
    if config::prefix(outside.source) & prefix::INSIDE != 0 {
        return Err(Reason::SpoofedSource);
    }
    let outside = (device.address, device.wan);
    let key = inside_key(full, &holder.owner);
    let request = Request::new(skb.raw(), settings, &key, outside, now, flags::FROM_OUTSIDE);
    if own_sockets::own(&request, port.id) || !port.join(holder.generation) {
        return Err(Reason::NoSession);
    }
    let held = Held { port, flags: 0 };
    match pair::insert(&request, held) {
        pair::Insertion::Done => Ok(()),
        pair::Insertion::Adopted => {
            retire::let_go(held);
            Ok(())
        }
        pair::Insertion::RoomMade | pair::Insertion::Taken | pair::Insertion::Full => {
            retire::let_go(held);
            Err(Reason::NoSession)
        }
    }
}

/// The tuple of the packets that the inside endpoint will answer with.
#[inline(always)]
fn inside_key(full: &Full, owner: &Owner) -> FlowKey {
    let outside = full.key.tuple;
    Tuple {
        source: owner.address,
        destination: outside.source,
        source_id: owner.id,
        destination_id: outside.source_id,
    }
    .key(full.key.protocol)
}

/// Whether the filtering lets a packet from outside open a session with the mapping at `port`.
#[inline(always)]
fn lets_in(settings: &Settings, port: Port, remote: Addr) -> bool {
    match permits::filtering(settings, port.protocol) {
        Filtering::EndpointIndependent => true,
        Filtering::AddressDependent => permits::allows(port, remote),
        Filtering::AddressAndPortDependent => false,
    }
}
