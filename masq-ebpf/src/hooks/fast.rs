//! Established flows, both directions: look up, ask for the next hop, rewrite, redirect.
//!
//! Cost for each packet: one lookup in the session hash, one FIB lookup, one lookup of the outgoing
//! device in a small hash (at XDP also of the one it came in by), one read of the coarse clock; the
//! settings and the counter are array elements.

use masq_common::{reason::Reason, session::flags, settings::role};

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
    let parsed = parse(packet)?;
    let found = sessions::find(&parsed.key).ok_or(Reason::NoSession)?;
    let half = &found.half;
    let arrived_by = packet.addressee()?;
    let role = if P::XDP { arrived_by } else { role };
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
    let settings = config::settings()?;
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
    let hop = forward::resolve(packet, &parsed, half)?;
    let (packets, bytes) = match packet.segments() {
        None => (1, u64::from(parsed.length)),
        // Every segment gets the headers again.
        Some((_, segments)) => {
            let headers = u64::from(20 + parsed.header);
            let more = u64::from(segments.saturating_sub(1));
            (more + 1, u64::from(parsed.length) + more * headers)
        }
    };
    let (tcp_flags, sequence) = (parsed.tcp_flags, parsed.sequence);
    found.touch(now, &Passed { tcp_flags, sequence, packets, bytes });
    Ok(packet.send(&parsed, half, &hop))
}
