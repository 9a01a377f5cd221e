//! TC on LAN ingress: established flows; then hairpinning (RFC 4787 REQ-9, RFC 5382 REQ-8): a
//! packet from one LAN host to the external endpoint of another.
//!
//! First packets, and all that is unusual, go on to the kernel and meet [`super::wan_out`] when
//! they leave; not, however, if they would leave by an interface that [`super::wan_out`] may be
//! missing from: a WAN that has just been made anew, before the daemon has heard of it.
//!
//! A hairpin packet never leaves: it goes through two translations here, out by the
//! sender's session and in by the receiver's, and so the filtering holds for it as for a packet
//! from outside. The kernel could not route it in between, since it would come from the router's
//! own address.

use masq_common::{
    be::{Addr, Id},
    flow::{FlowKey, ICMP, Tuple, has_ids},
    fragment::Translation,
    reason::{Class, Reason},
    settings::{Device, prefix, role, switches},
    slow::Cause,
};

use crate::{
    clock, config,
    create::{admission::Arrival, own_sockets},
    forward, fragments,
    hooks::{fast, wan_in, wan_out},
    icmp_error,
    packet::{
        full::{self, Full, Kind},
        skb::Skb,
    },
    ports::Port,
    sessions,
    verdict::{Outcome, Step},
};

/// Runs the hook.
#[inline(always)]
pub fn run<const LINK: usize>(skb: &Skb<LINK>) -> Outcome {
    let outcome = established(skb);
    let Outcome::Ends(reason) = outcome else { return outcome };
    if !is_for_the_kernel(reason) {
        return outcome;
    }
    let Some((source, destination)) = full::addresses(skb) else { return outcome };
    let flags = config::prefix(destination);
    if flags & prefix::EXTERNAL == 0 {
        if leads_nowhere_yet(skb, source, destination) {
            return Outcome::Ends(Reason::WanNotReady);
        }
        return outcome;
    }
    // The route to one of the router's own addresses is local: no way for the fast path.
    if !matches!(
        reason,
        Reason::NoSession | Reason::Unusual | Reason::Stale | Reason::NoRoute | Reason::FastPathOff
    ) {
        return outcome;
    }
    match hairpin(skb, destination, (flags >> prefix::WAN_SHIFT) as u8) {
        Err(Reason::NoSession) => outcome,
        hairpin => hairpin.into(),
    }
}

/// Whether the fast path has left an IPv4 packet to the kernel to route.
#[inline(always)]
const fn is_for_the_kernel(reason: Reason) -> bool {
    matches!(reason.class(), Class::Untouched)
        && !matches!(reason, Reason::NotIpv4 | Reason::Tagged | Reason::NotForUs | Reason::NoRole)
}

/// Whether the kernel would send a packet out by an interface that it may leave untranslated by.
#[inline(never)]
fn leads_nowhere_yet<const LINK: usize>(skb: &Skb<LINK>, source: Addr, destination: Addr) -> bool {
    let Ok(settings) = config::settings() else { return true };
    settings.switches & switches::GUARD != 0 && !forward::is_ready(skb, source, destination)
}

/// The fast path, as a function of its own: its stack is free again for hairpinning.
#[inline(never)]
fn established<const LINK: usize>(skb: &Skb<LINK>) -> Outcome {
    fast::run(skb, role::LAN)
}

/// A packet to one of our external addresses; [`Reason::NoSession`] if it is for the router.
#[inline(always)]
fn hairpin<const LINK: usize>(skb: &Skb<LINK>, external: Addr, wan: u8) -> Step<Outcome> {
    skb.addressee()?;
    let full = full::parse(skb).map_err(|_| Reason::NoSession)?;
    match full.kind {
        // A ping to the external address is for the router.
        Kind::Flow if full.key.protocol != ICMP && has_ids(full.key.protocol) => {}
        Kind::LaterFragment => return later_fragment(skb, full, wan),
        Kind::IcmpError => {
            let way = icmp_error::hairpin(skb, full)?;
            skb.age()?;
            return way.send(skb);
        }
        _ => return Err(Reason::NoSession),
    }
    if !is_mapped(skb, full, wan) {
        return Err(Reason::NoSession);
    }
    let device = Device { address: external, wan, ..Device::default() };
    wan_out::ensure(skb, full, &device, 0)?;
    let out = sessions::entry(&full.key).ok_or(Reason::MappingRetiring)?;
    let arrival = out.to().key(full.key.protocol);
    admit(skb, full, &arrival, wan)?;
    deliver(skb, full, &arrival)
}

/// A fragment without ports goes where the first one of its datagram has gone.
#[inline(always)]
fn later_fragment<const LINK: usize>(skb: &Skb<LINK>, full: &Full, wan: u8) -> Step<Outcome> {
    let Some(translation) = fragments::recall(full) else {
        fragments::early(skb, full, wan, Cause::EarlyHairpin);
        return Err(Reason::NoSession);
    };
    let way = forward::hairpin(skb, full, &translated(&translation))?;
    fragments::rewrite(skb, full, &translation)?;
    skb.age()?;
    way.send(skb)
}

/// The tuple that a later fragment leaves with.
const fn translated(translation: &Translation) -> Tuple {
    let (source, destination) = (translation.source, translation.destination);
    Tuple { source, destination, source_id: Id::ZERO, destination_id: Id::ZERO }
}

/// Whether the destination belongs to a mapping, and not to a service of the router.
#[inline(always)]
fn is_mapped<const LINK: usize>(skb: &Skb<LINK>, full: &Full, wan: u8) -> bool {
    let tuple = &full.key.tuple;
    let port = Port { wan, protocol: full.key.protocol, id: tuple.destination_id };
    port.holder().is_some() && !own_sockets::own(skb.raw(), full.key.protocol, tuple)
}

/// Sees to it that the receiver has a session for what arrives at its mapping.
#[inline(never)]
fn admit<const LINK: usize>(skb: &Skb<LINK>, full: &Full, arrival: &FlowKey, wan: u8) -> Step<()> {
    let settings = config::settings()?;
    let now = clock::now(settings);
    if wan_in::is_alive(arrival, settings, now) {
        return Ok(());
    }
    full.opens().map_err(|_| Reason::HairpinFiltered)?;
    let wanted = Arrival { key: arrival, wan };
    let holder = wanted.holder(settings).ok_or(Reason::HairpinFiltered)?;
    wanted.admit(skb.raw(), holder, settings, now).map_err(|_| Reason::HairpinFiltered)
}

/// Both translations, and on its way.
#[inline(never)]
fn deliver<const LINK: usize>(skb: &Skb<LINK>, full: &Full, arrival: &FlowKey) -> Step<Outcome> {
    let to = sessions::entry(arrival).ok_or(Reason::MappingRetiring)?.to();
    let way = forward::hairpin(skb, full, &to)?;
    if full.first_fragment {
        fragments::first(skb, full, (to.source, to.destination), true)?;
        fragments::follow(full);
    }
    translate(skb, full, &full.key)?;
    translate(skb, full, arrival)?;
    skb.age()?;
    way.send(skb)
}

/// One of the two translations.
#[inline(never)]
fn translate<const LINK: usize>(skb: &Skb<LINK>, full: &Full, key: &FlowKey) -> Step<()> {
    let half = super::pass(full, key)?;
    skb.rewrite(&half, full.transport)
}
