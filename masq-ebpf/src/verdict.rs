//! How a packet ends: counts the reason and turns it into the number that the kernel wants.
//! Nowhere else do XDP and TC return codes appear.

use aya_ebpf::bindings::{tcx_action_base, xdp_action};
use masq_common::reason::{Class, Reason};

use crate::counters;

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

/// The verdict of an XDP program.
#[inline(always)]
pub fn xdp(outcome: Outcome) -> u32 {
    match outcome {
        Outcome::Redirected(reason, code) => {
            counters::bump(reason);
            code as u32
        }
        Outcome::Ends(reason) => {
            counters::bump(reason);
            match reason.class() {
                Class::Dropped => xdp_action::XDP_DROP,
                Class::Translated | Class::Untouched | Class::Event => xdp_action::XDP_PASS,
            }
        }
    }
}

/// The verdict of a TC program: "next" rather than "pass", so that other programs see it too.
#[inline(always)]
pub fn tc(outcome: Outcome) -> i32 {
    match outcome {
        Outcome::Redirected(reason, code) => {
            counters::bump(reason);
            code as i32
        }
        Outcome::Ends(reason) => {
            counters::bump(reason);
            match reason.class() {
                Class::Dropped => tcx_action_base::TCX_DROP,
                Class::Translated | Class::Untouched | Class::Event => tcx_action_base::TCX_NEXT,
            }
        }
    }
}
