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
//! [`fast`] is the same code on both sides and in XDP and TC, since each half of a session carries
//! its own rewrite. It never decides anything new: what it cannot finish it leaves untouched.

pub mod fast;
pub mod lan_in;
pub mod wan_in;
pub mod wan_out;

use masq_common::{flow::FlowKey, reason::Reason};

use crate::{
    clock, config, fragments,
    packet::{full::Full, skb::Skb},
    sessions,
    verdict::Step,
};

/// The full path's rewrite: by the half of `key`, noting that the packet has passed. The TTL is
/// left to the kernel.
#[inline(never)]
fn apply<const LINK: usize>(skb: &Skb<LINK>, full: &Full, key: &FlowKey) -> Step<()> {
    let found = sessions::find(key).ok_or(Reason::MappingRetiring)?;
    let now = clock::now(config::settings()?);
    found.touch(now, full.tcp_flags, full.packets, full.bytes);
    if full.first_fragment {
        fragments::remember(full, &found.half, now);
    }
    skb.rewrite(&found.half, full.transport)
}
