//! TC on WAN egress: everything that leaves. The kernel has routed and filtered it and counted
//! down its TTL.
//!
//! From a LAN: translated, or dropped. Nothing from a LAN leaves as it came. From the router
//! itself: untouched, unless a LAN host has been given its port towards the same remote endpoint.
//! From anywhere else: not ours.

use masq_common::{
    be::Addr,
    event::CloseCause,
    reason::Reason,
    session::flags,
    settings::{Device, Settings, prefix, role},
    slow::Cause,
    time::Tick,
};

use crate::{
    clock, config,
    create::Request,
    fragments, icmp_error,
    packet::{
        full::{self, Full, Kind},
        skb::Skb,
    },
    retire, sessions, slow,
    verdict::{Outcome, Step},
};

/// Runs the hook.
#[inline(always)]
pub fn run<const LINK: usize>(skb: &Skb<LINK>) -> Outcome {
    if !skb.is_ipv4() {
        return Outcome::Ends(Reason::NotIpv4);
    }
    if skb.vlan_present() != 0 {
        // Of a VLAN device on top of this one.
        return Outcome::Ends(Reason::Tagged);
    }
    let Some(device) = config::device(skb.device()) else {
        return Outcome::Ends(Reason::NoRole);
    };
    if device.role != role::WAN {
        return Outcome::Ends(Reason::NoRole);
    }
    let Some((source, _)) = full::addresses(skb) else {
        return Outcome::Ends(Reason::Own);
    };
    let ingress = skb.ingress_ifindex();
    if source == device.address {
        // The fast path's own work comes by here again: no more than this for it.
        if config::is_lan(ingress) {
            return Outcome::Ends(Reason::AlreadyTranslated);
        }
        return own(skb, &device).into();
    }
    if is_inside(source, ingress) { inside(skb, &device).into() } else { own(skb, &device).into() }
}

/// Whether a packet comes from the inside: by a LAN interface, or with an inside source. The kernel
/// may name another interface than the LAN's (a VRF, one that has just been made anew), and a
/// socket of the router may be bound to its address there.
#[inline(always)]
fn is_inside(source: Addr, ingress: u32) -> bool {
    config::is_lan(ingress) || config::prefix(source) & (prefix::INSIDE | prefix::ROUTER) != 0
}

/// A packet from the inside.
#[inline(never)]
fn inside<const LINK: usize>(skb: &Skb<LINK>, device: &Device) -> Step<Outcome> {
    let full = full::parse(skb)?;
    if device.address.is_none() {
        return Err(Reason::NoWanAddress);
    }
    match full.kind {
        Kind::IcmpError => return icmp_error::outbound(skb, full, device.address),
        Kind::LaterFragment => return later_fragment(skb, full, device),
        _ => {}
    }
    match translate(skb, full, device, 0) {
        Ok(()) => Ok(Outcome::Ends(Reason::OutboundSlow)),
        Err(reason) => {
            if reason.is_refusal() {
                // The daemon makes room, and tells the sender if there is none.
                slow::offer(skb, full.key.tuple.source, Cause::Refused, reason, device.wan);
            }
            Err(reason)
        }
    }
}

/// Translates a packet by its session, which is created if need be.
#[inline(always)]
fn translate<const LINK: usize>(
    skb: &Skb<LINK>,
    full: &Full,
    device: &Device,
    flags: u8,
) -> Step<()> {
    ensure(skb, full, device, flags)?;
    super::apply(skb, full, &full.key)
}

/// Sees to it that there is a session that is alive, of this WAN and its current address.
#[inline(never)]
pub fn ensure<const LINK: usize>(
    skb: &Skb<LINK>,
    full: &Full,
    device: &Device,
    flags: u8,
) -> Step<()> {
    let settings = config::settings()?;
    let now = clock::now(settings);
    match state(full, device, settings, now) {
        State::Usable => return Ok(()),
        State::Gone(cause) => {
            retire::session(&full.key, cause, settings, now, retire::Run::Hook);
        }
        State::None => {}
        State::Forged => return Err(Reason::SpoofedSource),
    }
    full.opens()?;
    if flags == 0 && config::prefix(full.key.tuple.source) & prefix::SOURCE == 0 {
        return Err(Reason::SourceExcluded);
    }
    let outside = (device.address, device.wan);
    Request::new(skb.raw(), settings, &full.key, outside, now, flags).create()
}

/// What a packet's session is worth.
enum State {
    /// Alive, of this WAN and its current address.
    Usable,
    /// To be removed: it makes room for a new one.
    Gone(CloseCause),
    /// There is none.
    None,
    /// Of packets from outside: whoever sends this on the inside forges its source.
    Forged,
}

#[inline(never)]
fn state(full: &Full, device: &Device, settings: &Settings, now: Tick) -> State {
    let Some(half) = sessions::entry(&full.key) else { return State::None };
    if !half.is_outbound() {
        return State::Forged;
    }
    if half.wan != device.wan || half.to.source != device.address {
        return State::Gone(CloseCause::AddressLost);
    }
    if !sessions::is_alive(half, settings, now) {
        return State::Gone(CloseCause::Expired);
    }
    if full.is_syn() {
        sessions::reopen(&full.key);
    }
    State::Usable
}

/// A fragment without ports leaves like the first one of its datagram; one that has overtaken it
/// waits at the daemon.
#[inline(always)]
fn later_fragment<const LINK: usize>(
    skb: &Skb<LINK>,
    full: &Full,
    device: &Device,
) -> Step<Outcome> {
    let Some(translation) = fragments::recall(full) else {
        let taken = fragments::early(skb, full, device.wan, Cause::EarlyOut);
        return Err(if taken { Reason::FragmentEarly } else { Reason::FragmentUnknown });
    };
    if translation.source != device.address {
        return Err(Reason::FragmentUnknown);
    }
    fragments::rewrite(skb, &translation)?;
    Ok(Outcome::Ends(Reason::Fragment))
}

/// A packet of the router itself, or one that other rules have translated.
#[inline(never)]
fn own<const LINK: usize>(skb: &Skb<LINK>, device: &Device) -> Step<Outcome> {
    let full = full::parse(skb).map_err(|_| Reason::Own)?;
    match full.kind {
        // From whichever address of the router.
        Kind::IcmpError => return icmp_error::own(skb, full),
        Kind::Flow if full.key.tuple.source == device.address => {}
        _ => return Err(Reason::Own),
    }
    if !collides(full) {
        return Err(Reason::Own);
    }
    // A LAN host talks to the same remote endpoint from the same port: the router's flow gets
    // another one. If that fails it leaves as it is: the router's traffic is never dropped here.
    translate(skb, full, device, flags::OWN).map_err(|reason| match reason {
        Reason::RewriteFailed => reason,
        _ => Reason::Own,
    })?;
    Ok(Outcome::Ends(Reason::OwnTranslated))
}

/// Whether a packet of the router is translated already, or its answers would be taken for a LAN
/// host's.
#[inline(never)]
fn collides(full: &Full) -> bool {
    sessions::entry(&full.key).is_some() || sessions::entry(&full.key.reversed()).is_some()
}
