//! Tables of packets: what each of them is, where it goes in, how it has to end.

use masq_common::reason::{Class, Reason};
use masq_tests::{
    packet::frame,
    program::{Bench, Hook, Output, Verdict},
};

/// Runs packets (from the IP header on) through a hook; each has to end for the reason beside it,
/// with the verdict of that reason's class, and unchanged unless it was translated.
#[track_caller]
pub fn ends(bench: &mut Bench, hook: Hook, cases: &[(&str, Vec<u8>, Reason)]) {
    let [destination, source] = hook.link_addresses();
    let frames = cases
        .iter()
        .map(|(what, packet, reason)| (*what, frame(destination, source, packet), *reason))
        .collect::<Vec<_>>();
    frames_end(bench, hook, &frames);
}

/// The same for whole frames.
#[track_caller]
pub fn frames_end(bench: &mut Bench, hook: Hook, cases: &[(&str, Vec<u8>, Reason)]) {
    let mut faults = Vec::new();
    for (what, frame, reason) in cases {
        let output = bench.run_frame(hook, frame);
        if let Some(fault) = fault(hook, frame, &output, *reason) {
            faults.push(format!("{what}: {fault}"));
        }
    }
    assert!(faults.is_empty(), "at {hook:?}:\n{}", faults.join("\n"));
}

/// What is wrong with the end of a packet, if anything.
fn fault(hook: Hook, frame: &[u8], output: &Output, reason: Reason) -> Option<String> {
    let ends: Vec<_> = output.ends().collect();
    if ends != [(reason, 1)] {
        return Some(format!("counted {:?} instead of {reason:?}", output.counted));
    }
    let fast = matches!(reason, Reason::OutboundFast | Reason::InboundFast);
    let verdict = match reason.class() {
        Class::Dropped => Verdict::Drop,
        Class::Translated if fast => Verdict::Redirect,
        _ => Verdict::Pass,
    };
    if output.verdict != verdict {
        return Some(format!("{:?} instead of {verdict:?} at {hook:?}", output.verdict));
    }
    let changed = output.frame != frame;
    match reason.class() {
        Class::Untouched if changed => Some("changed, although untouched".into()),
        Class::Translated if !changed => Some("unchanged, although translated".into()),
        _ => None,
    }
}
