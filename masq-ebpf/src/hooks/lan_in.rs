//! TC on LAN ingress: established flows. First packets, and all that is unusual, go on to the
//! kernel and meet [`super::wan_out`] when they leave.

use crate::{hooks::fast, packet::skb::Skb, verdict::Outcome};

/// Runs the hook.
#[inline(always)]
pub fn run<const LINK: usize>(skb: &Skb<LINK>) -> Outcome {
    fast::run(skb)
}
