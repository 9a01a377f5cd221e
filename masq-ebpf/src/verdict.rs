//! How a packet ends: counts the reason and turns it into the number that the kernel wants.
//! Nowhere else do XDP and TC return codes appear.

use aya_ebpf::bindings::{tcx_action_base, xdp_action};
use masq_common::{
    reason::{Class, Reason},
    trace::Verdict,
};

use crate::{
    counters,
    packet::{ETHERNET, skb::Skb, xdp::Frame},
    trace,
};

/// What a hook has decided.
#[must_use]
#[derive(Clone, Copy)]
pub enum Outcome {
    /// Rewritten and handed to a redirect helper, with that helper's return code.
    Redirected(Reason, i64),
    /// Ends for the reason given; its class says whether the packet goes on or is dropped.
    Ends(Reason),
}

/// A step that may end the packet's way.
pub type Step<T> = Result<T, Reason>;

impl From<Step<Outcome>> for Outcome {
    #[inline(always)]
    fn from(step: Step<Outcome>) -> Self {
        match step {
            Ok(outcome) => outcome,
            Err(reason) => Self::Ends(reason),
        }
    }
}

/// The verdict of an XDP program on a frame, of whatever kind it is.
#[inline(always)]
pub fn xdp(frame: &Frame<ETHERNET>, outcome: Outcome) -> u32 {
    match outcome {
        Outcome::Redirected(reason, code) => {
            counters::bump(reason);
            let code = code as u32;
            trace::after(frame, reason, redirected(code == xdp_action::XDP_REDIRECT));
            code
        }
        Outcome::Ends(reason) => {
            counters::bump(reason);
            match reason.class() {
                Class::Dropped => {
                    trace::after(frame, reason, Verdict::Drop);
                    xdp_action::XDP_DROP
                }
                Class::Translated | Class::Untouched | Class::Event => {
                    trace::after(frame, reason, Verdict::Pass);
                    xdp_action::XDP_PASS
                }
            }
        }
    }
}

/// The verdict of a TC program: "next" rather than "pass", so that other programs see it too.
#[inline(always)]
pub fn tc<const LINK: usize>(skb: &Skb<LINK>, outcome: Outcome) -> i32 {
    match outcome {
        Outcome::Redirected(reason, code) => {
            counters::bump(reason);
            let code = code as i32;
            trace::after(skb, reason, redirected(code == tcx_action_base::TCX_REDIRECT));
            code
        }
        Outcome::Ends(reason) => {
            counters::bump(reason);
            match reason.class() {
                Class::Dropped => {
                    trace::after(skb, reason, Verdict::Drop);
                    tcx_action_base::TCX_DROP
                }
                Class::Translated | Class::Untouched | Class::Event => {
                    trace::after(skb, reason, Verdict::Pass);
                    tcx_action_base::TCX_NEXT
                }
            }
        }
    }
}

/// What comes of a redirect helper's return code: if it was refused, the kernel drops the packet.
#[inline(always)]
const fn redirected(done: bool) -> Verdict {
    if done { Verdict::Redirect } else { Verdict::Drop }
}
