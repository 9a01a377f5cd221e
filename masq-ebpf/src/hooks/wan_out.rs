//! TC on WAN egress: everything that leaves. The kernel has routed and filtered it and counted
//! down its TTL.
//!
//! From a LAN: translated, or dropped. Nothing from a LAN leaves as it came. From the router
//! itself: untouched, unless a LAN host has been given its port towards the same remote endpoint.
//! From anywhere else: not ours.

use masq_common::{
    be::Addr,
    event::CloseCause,
    flow::has_ids,
    reason::Reason,
    session::flags,
    settings::{Device, Settings, prefix, role},
    slow::Cause,
    time::Tick,
};

use crate::{
    clock, config,
    create::{self, Request},
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
    let Ok(settings) = config::settings() else { return Outcome::Ends(Reason::NoRole) };
    if skb.take_pass(settings) {
        // The fast path's own work comes by here again: no more than this for it.
        return Outcome::Ends(Reason::AlreadyTranslated);
    }
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
    if source == device.address && config::is_lan(ingress) {
        // Likewise, of one that was under way while the number on the pass changed.
        return Outcome::Ends(Reason::AlreadyTranslated);
    }
    let inside = source != device.address && is_inside(source, ingress);
    work(skb, &device, inside).into()
}

/// Whether a packet comes from the inside: by a LAN interface, or with an inside source. The kernel
/// may name another interface than the LAN's (a VRF, one that has just been made anew), and a
/// socket of the router may be bound to its address there.
#[inline(always)]
fn is_inside(source: Addr, ingress: u32) -> bool {
    config::is_lan(ingress) || config::prefix(source) & (prefix::INSIDE | prefix::ROUTER) != 0
}

/// A packet from the inside, or one of the router itself. One function for both, although they have
/// little in common: the verifier goes through the creation of a session for every call of it.
#[inline(never)]
fn work<const LINK: usize>(skb: &Skb<LINK>, device: &Device, inside: bool) -> Step<Outcome> {
    let full = match full::parse(skb) {
        Ok(full) => full,
        Err(reason) => return Err(if inside { reason } else { Reason::Own }),
    };
    let flags = if inside { from_inside(skb, full, device)? } else { own(skb, full, device)? };
    let ensured = ensure(skb, full, device, flags);
    if !inside {
        return finish_own(skb, full, ensured);
    }
    if let Err(reason) = ensured {
        if reason.is_refusal() {
            // The daemon makes room, and tells the sender if there is none.
            slow::offer(skb, full.key.tuple.source, Cause::Refused, reason, device.wan);
        }
        return Err(reason);
    }
    super::apply(skb, full, &full.key)?;
    Ok(Outcome::Ends(Reason::OutboundSlow))
}

/// A packet from the inside: it is translated, or dropped. The flags that a session for it is to
/// have, or how the packet has ended without one.
#[inline(always)]
fn from_inside<const LINK: usize>(skb: &Skb<LINK>, full: &Full, device: &Device) -> Step<u8> {
    if device.address.is_none() {
        return Err(Reason::NoWanAddress);
    }
    match full.kind {
        Kind::IcmpError => {
            icmp_error::outbound(skb, full, device.address)?;
            Err(Reason::IcmpErrorOutbound)
        }
        Kind::LaterFragment => {
            later_fragment(skb, full, device)?;
            Err(Reason::Fragment)
        }
        Kind::Flow | Kind::IcmpReply => Ok(0),
        // Without a key of its own, it must not be taken for another flow's.
        Kind::IcmpOther | Kind::Untranslatable => {
            full.opens()?;
            Err(Reason::UnsupportedProtocol)
        }
    }
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
            let ended = retire::session(&full.key, cause, settings, now, retire::Run::Hook);
            if !ended && matches!(state(full, device, settings, now), State::Gone(_)) {
                // It is there still, and must not be taken for a new one.
                return Err(Reason::MappingRetiring);
            }
        }
        State::None => {}
        State::Forged => return Err(Reason::SpoofedSource),
    }
    full.opens()?;
    if is_martian(full.key.tuple.source) {
        return Err(Reason::MartianSource);
    }
    if flags == 0 && config::prefix(full.key.tuple.source) & prefix::SOURCE == 0 {
        return Err(Reason::SourceExcluded);
    }
    let outside = (device.address, device.wan);
    let progress = create::progress()?;
    Request::new(skb.raw(), settings, &full.key, outside, now, flags, progress).create()
}

/// Whether an address cannot be a host's on the far side of a router (RFC 1812 section 5.3.7, RFC 3927
/// section 2.7). The kernel itself drops the others of this kind.
#[inline(always)]
const fn is_martian(source: Addr) -> bool {
    let [a, b, ..] = source.octets();
    a >= 240 || (a == 169 && b == 254)
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
    if half.wan != device.wan || half.address != device.address {
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
fn later_fragment<const LINK: usize>(skb: &Skb<LINK>, full: &Full, device: &Device) -> Step<()> {
    let Some(translation) = fragments::recall(full) else {
        let taken = fragments::early(skb, full, device.wan, Cause::EarlyOut);
        return Err(if taken { Reason::FragmentEarly } else { Reason::FragmentUnknown });
    };
    if translation.source != device.address {
        return Err(Reason::FragmentUnknown);
    }
    fragments::rewrite(skb, full, &translation)
}

/// A packet of the router itself, or one that other rules have translated: as [`from_inside`].
#[inline(always)]
fn own<const LINK: usize>(skb: &Skb<LINK>, full: &Full, device: &Device) -> Step<u8> {
    match full.kind {
        // From whichever address of the router.
        Kind::IcmpError => {
            icmp_error::own(skb, full)?;
            return Err(Reason::IcmpErrorOwn);
        }
        // The first one of its datagram may have got another identification.
        Kind::LaterFragment if full.key.tuple.source == device.address => {
            let translation = fragments::recall(full).ok_or(Reason::Own)?;
            if translation.identification == full.identification {
                return Err(Reason::Own);
            }
            fragments::rewrite(skb, full, &translation)?;
            return Err(Reason::Fragment);
        }
        Kind::Flow if full.key.tuple.source == device.address => {}
        _ => return Err(Reason::Own),
    }
    // A LAN host talks to the same remote endpoint from the same port: the router's flow gets
    // another one. Without ports, the router's flow gets a session that changes nothing but keeps
    // LAN hosts from talking to the same remote host with this protocol; if one does already, the
    // answers are that one's.
    let needs_session = if has_ids(full.key.protocol) {
        collides(full)
    } else {
        is_unicast(full.key.tuple.destination)
    };
    if needs_session { Ok(flags::OWN) } else { Err(Reason::Own) }
}

/// The end of a packet of the router itself that needs a session. If there is none it leaves as it
/// is: the router's traffic is never dropped here.
#[inline(always)]
fn finish_own<const LINK: usize>(skb: &Skb<LINK>, full: &Full, ensured: Step<()>) -> Step<Outcome> {
    ensured.map_err(|_| Reason::Own)?;
    if !has_ids(full.key.protocol) {
        super::note(full, &full.key).map_err(|_| Reason::Own)?;
        return Err(Reason::Own);
    }
    super::apply(skb, full, &full.key).map_err(|reason| match reason {
        Reason::RewriteFailed => reason,
        _ => Reason::Own,
    })?;
    Ok(Outcome::Ends(Reason::OwnTranslated))
}

/// Whether an address is one host's.
#[inline(always)]
const fn is_unicast(address: Addr) -> bool {
    address.octets()[0] < 224
}

/// Whether a packet of the router is translated already, or its answers would be taken for a LAN
/// host's.
#[inline(never)]
fn collides(full: &Full) -> bool {
    sessions::entry(&full.key).is_some() || sessions::entry(&full.key.reversed()).is_some()
}
