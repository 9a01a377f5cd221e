//! TC on WAN ingress: everything that arrives. Established flows as in [`super::fast`]; then what
//! that leaves: the first answer of a flow, ICMP errors, fragments, idle sessions, and what the
//! filtering lets in (RFC 4787 section 5). What matches nothing is the router's own: untouched.

use masq_common::{
    be::Addr,
    flow::{FlowKey, has_ids},
    reason::Reason,
    session::flags,
    settings::{Device, Settings, prefix, role},
    slow::Cause,
    time::Tick,
};

use crate::{
    clock, config, create, fragments,
    hooks::fast,
    icmp_error,
    packet::{
        full::{self, Full, Kind},
        skb::Skb,
    },
    sessions,
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
            | Reason::WrongSide
            | Reason::Own
            | Reason::FastPathOff,
        ) => full(skb).into(),
        outcome => outcome,
    }
}

/// The fast path, as a function of its own: its stack is free again for the full path.
#[inline(never)]
fn established<const LINK: usize>(skb: &Skb<LINK>) -> Outcome {
    fast::run(skb, role::WAN)
}

/// The full path: translate, and let the kernel route.
#[inline(never)]
fn full<const LINK: usize>(skb: &Skb<LINK>) -> Step<Outcome> {
    let device = config::device(skb.device()).ok_or(Reason::NoRole)?;
    if device.role != role::WAN {
        return Err(Reason::NoRole);
    }
    skb.addressee()?;
    let (source, destination) = full::addresses(skb).ok_or(Reason::NoSession)?;
    if device.address.is_none() || destination != device.address {
        return elsewhere(skb, &device, source, destination);
    }
    let inside = config::prefix(source) & prefix::INSIDE != 0 && !skb.was_encrypted();
    if inside || source == destination {
        return Err(Reason::SpoofedSource);
    }
    // To the router itself: what is damaged, its own stack drops.
    let full = full::parse(skb).map_err(|_| Reason::NoSession)?;
    match full.kind {
        Kind::IcmpError => {
            icmp_error::inbound(skb, full)?;
            return Ok(Outcome::Ends(Reason::IcmpErrorInbound));
        }
        Kind::LaterFragment => return later_fragment(skb, full, device.wan),
        Kind::Flow | Kind::IcmpReply => {}
        Kind::IcmpOther | Kind::Untranslatable => return Err(Reason::NoSession),
    }
    let translated = translate(skb, full, &device);
    if full.first_fragment && matches!(translated, Err(Reason::NoSession)) {
        fragments::own(full);
    }
    translated?;
    Ok(Outcome::Ends(Reason::InboundSlow))
}

/// Translates a packet by its session, which is created if the filtering lets it in.
#[inline(always)]
fn translate<const LINK: usize>(skb: &Skb<LINK>, full: &Full, device: &Device) -> Step<()> {
    ensure(skb, full, device)?;
    finish(skb, full)
}

/// Translates a packet that has a session, unless that is the router's own.
#[inline(never)]
fn finish<const LINK: usize>(skb: &Skb<LINK>, full: &Full) -> Step<()> {
    if !has_ids(full.key.protocol) && is_own(&full.key) {
        let _ = super::note(full, &full.key);
        return Err(Reason::NoSession);
    }
    super::apply(skb, full, &full.key)
}

/// Whether a session is the router's own.
#[inline(always)]
fn is_own(key: &FlowKey) -> bool {
    sessions::entry(key).is_some_and(|half| half.flags & flags::OWN != 0)
}

/// Sees to it that there is a session that is alive.
#[inline(never)]
fn ensure<const LINK: usize>(skb: &Skb<LINK>, full: &Full, device: &Device) -> Step<()> {
    let settings = config::settings()?;
    let now = clock::now(settings);
    if is_alive(&full.key, settings, now) {
        if full.is_syn() {
            sessions::reopen(&full.key);
        }
        return Ok(());
    }
    admit(skb, full, device, settings, now)
}

/// Whether a packet from outside has a session that is alive.
#[inline(never)]
pub fn is_alive(key: &FlowKey, settings: &Settings, now: Tick) -> bool {
    sessions::entry(key)
        .is_some_and(|half| !half.is_outbound() && sessions::is_alive(half, settings, now))
}

/// A packet to another address: to the inside it does not get this way.
#[inline(never)]
fn elsewhere<const LINK: usize>(
    skb: &Skb<LINK>,
    device: &Device,
    source: Addr,
    destination: Addr,
) -> Step<Outcome> {
    if skb.was_encrypted() {
        // Out of an IPsec tunnel: comes by this interface, but not from whoever is behind it.
        return Err(Reason::NoSession);
    }
    let flags = config::prefix(destination);
    if flags & prefix::INSIDE != 0 && flags & prefix::ROUTER == 0 {
        return Err(Reason::UnsolicitedToLan);
    }
    if device.address.is_none() {
        // Before there is an address, a DHCP server may have one that the LAN uses too.
        return Err(Reason::NoSession);
    }
    if config::prefix(source) & prefix::INSIDE != 0 {
        return Err(Reason::SpoofedSource);
    }
    Err(Reason::NoSession)
}

/// A fragment without ports goes where the first one of its datagram has gone. One that is not known
/// may be the router's own, so its stack gets it; the daemon has a copy, in case it is not.
#[inline(always)]
fn later_fragment<const LINK: usize>(skb: &Skb<LINK>, full: &Full, wan: u8) -> Step<Outcome> {
    let Some(translation) = fragments::recall(full) else {
        fragments::early(skb, full, wan, Cause::EarlyIn);
        return Err(Reason::NoSession);
    };
    if translation.is_own() {
        return Err(Reason::NoSession);
    }
    fragments::rewrite(skb, full, &translation)?;
    Ok(Outcome::Ends(Reason::Fragment))
}

/// Whether no host can have this address (RFC 1812 section 5.3.7).
#[inline(always)]
const fn is_nobody(address: Addr) -> bool {
    matches!(address.octets()[0], 0 | 127 | 224..)
}

/// Creates the session of a packet from outside, if the filtering lets it in.
#[inline(always)]
fn admit<const LINK: usize>(
    skb: &Skb<LINK>,
    full: &Full,
    device: &Device,
    settings: &'static Settings,
    now: Tick,
) -> Step<()> {
    full.opens().map_err(|_| Reason::NoSession)?;
    let wanted = create::admission::Arrival { key: &full.key, wan: device.wan };
    let holder = wanted.holder(settings).ok_or(Reason::NoSession)?;
    if is_nobody(full.key.tuple.source) {
        // The kernel, which knows the same, is not asked any more once there is a session.
        return Err(Reason::SpoofedSource);
    }
    wanted.admit(skb.raw(), holder, settings, now)
}
