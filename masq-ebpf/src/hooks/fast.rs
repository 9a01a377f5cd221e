//! Established flows, both directions: look up, ask for the next hop, rewrite, redirect.
//!
//! Cost for each packet: one read of the coarse clock; session, next hop, generation, settings and counter
//! are elements of arrays, which are read without a call. Whoever has no next hop that holds also pays for a
//! FIB lookup and two or three lookups of devices.

use masq_common::{
    reason::Reason,
    session::{SessionHalf, flags},
    settings::{Settings, role, switches},
};

use crate::{
    clock, config, forward,
    packet::{Packet, fast::parse},
    sessions::{self, Passed},
    verdict::{Outcome, Step},
};

/// Runs the fast path on a packet that has come in by an interface of this `role`; 0 if only the
/// packet can tell.
#[inline(always)]
pub fn run<P: Packet>(packet: &P, role: u8) -> Outcome {
    decide(packet, role).into()
}

#[inline(always)]
fn decide<P: Packet>(packet: &P, role: u8) -> Step<Outcome> {
    let settings = config::settings()?;
    let parsed = parse(packet)?;
    let found = sessions::find(&parsed.tuple, parsed.protocol).ok_or(Reason::NoSession)?;
    let half = &found.half;
    // What a session remembers was found by a packet that had come in by the same interface, and
    // had got past all this.
    let known = match forward::recall(packet, &parsed, half) {
        Some(way) if u32::from(forward::largest(packet, &parsed)?) <= way.mtu => Some(way),
        _ => None,
    };
    if known.is_none() {
        admit(packet, role, half, settings)?;
    }
    let now = clock::now(settings);
    // The inbound half of a session that was opened from outside cannot tell by itself.
    let tells = half.is_outbound() || half.flags & flags::FROM_OUTSIDE == 0;
    if tells && !found.is_fresh(settings, now) || !tells && !sessions::is_alive(half, settings, now)
    {
        return Err(Reason::Stale);
    }
    if parsed.ttl <= 1 {
        return Err(Reason::TtlExpired);
    }
    let way = match known {
        Some(way) => way,
        None => {
            forward::resolve(packet, &parsed, half)?;
            forward::remember(&found, &parsed, now)?
        }
    };
    let (packets, bytes) = match packet.segments() {
        None => (1, u64::from(parsed.length)),
        // Every segment gets the headers again.
        Some((_, segments)) => {
            let headers = u64::from(20 + parsed.header);
            let more = u64::from(segments.saturating_sub(1));
            (more + 1, u64::from(parsed.length) + more * headers)
        }
    };
    if half.is_outbound() {
        packet.give_pass(settings);
    }
    let outcome = packet.send(&parsed, half, way);
    // What could not be sent, another hook may count.
    if let Outcome::Redirected(..) = outcome {
        let (tcp_flags, sequence) = (parsed.tcp_flags, parsed.sequence);
        found.touch(now, &Passed { tcp_flags, sequence, packets, bytes });
    }
    Ok(outcome)
}

/// Whether a packet may be translated by the session that it was found to have.
#[inline(always)]
fn admit<P: Packet>(packet: &P, role: u8, half: &SessionHalf, settings: &Settings) -> Step<()> {
    let entered = forward::enter(packet, settings)?;
    let role = if P::XDP { entered } else { role };
    // Whoever forges the tuple of somebody's session is on the wrong side of it.
    if half.is_outbound() != (role == role::LAN) {
        return Err(Reason::WrongSide);
    }
    // So is whoever claims to be the external address: that is how a hairpin packet arrives, which
    // never comes from the WAN.
    if !half.is_outbound() && half.from.source == half.from.destination {
        return Err(Reason::WrongSide);
    }
    if half.flags & flags::OWN != 0 {
        return Err(Reason::Own);
    }
    if settings.switches & switches::NO_FAST_PATH != 0 {
        return Err(Reason::FastPathOff);
    }
    Ok(())
}
