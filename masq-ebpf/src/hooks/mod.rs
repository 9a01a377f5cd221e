//! What happens at which point of a packet's way.
//!
//! ```text
//!            LAN interface                                  WAN interface
//!  in  ──▶ [fast (XDP)] ─▶ [lan_in (TC)] ─▶ kernel: route, ─▶ [wan_out (TC)] ──▶ out
//!              └──────────────┴─ redirect ─ filter, TTL ──────▶ (established flows)
//!
//!  out ◀──────────────────────────────────── kernel ◀── [wan_in (TC)] ◀─ [fast (XDP)] ◀── in
//!       (established flows) ◀──────────────── redirect ──────┴────────────────┘
//! ```
//!
//! [`port`] is where frames meet XDP, below the interface if that is a bridge, a VLAN or a PPPoE session.
//! [`fast`] is the same code on both sides and in XDP and TC, since each half of a session carries
//! its own rewrite. It never decides anything new: what it cannot finish it leaves untouched.

pub mod fast;
pub mod lan_in;
pub mod port;
pub mod wan_in;
pub mod wan_out;

use masq_common::{flow::FlowKey, reason::Reason, session::SessionHalf};

use crate::{
    clock, config, fragments,
    packet::{full::Full, mss, skb::Skb},
    sessions,
    verdict::Step,
};

/// The full path's rewrite: by the half of `key`, noting that the packet has passed. The TTL is
/// left to the kernel.
#[inline(never)]
fn apply<const LINK: usize>(skb: &Skb<LINK>, full: &Full, key: &FlowKey) -> Step<()> {
    let half = pass(full, key)?;
    if full.first_fragment {
        let to = half.to();
        let to = (to.source, to.destination);
        fragments::first(skb, full, to, half.is_outbound())?;
        fragments::follow(full);
    }
    mss::clamp(skb, full)?;
    skb.rewrite(&half, full.transport)
}

/// Notes that a packet passes the half of `key`, which does not change it.
#[inline(never)]
fn note(full: &Full, key: &FlowKey) -> Step<()> {
    pass(full, key).map(|_| ())
}

/// Notes that a packet passes the half of `key`.
#[inline(always)]
fn pass(full: &Full, key: &FlowKey) -> Step<SessionHalf> {
    let found = sessions::find(&key.tuple, key.protocol).ok_or(Reason::MappingRetiring)?;
    let now = clock::now(config::settings()?);
    found.touch(now, &full.passed());
    Ok(found.half)
}
