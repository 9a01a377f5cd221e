//! Events for the daemon. A full ring buffer loses events, never packets, and the loss is counted.

use aya_ebpf::{
    btf_maps::{Array, RingBuf},
    macros::btf_map,
};
use masq_common::{
    event::Event,
    flow::FlowKey,
    reason::{COUNTERS, Reason},
    settings::{Settings, switches},
};

use crate::{clock, counters};

/// 1 MiB: some 11,000 events, a storm of a tenth of a second.
#[btf_map]
static EVENTS: RingBuf<Event, { 1 << 20 }> = RingBuf::new();

/// The tick in which a reason was last reported, by its number.
#[btf_map]
static REPORTED: Array<u32, { COUNTERS as usize }> = Array::new();

/// Sends an event, which `fill` writes straight into the buffer.
#[inline(always)]
pub fn send(fill: impl FnOnce(&mut Event)) {
    let Some(mut entry) = EVENTS.reserve(0) else {
        counters::bump(Reason::EventLost);
        return;
    };
    // SAFETY: the reserved bytes are zero or old records: both are valid events.
    fill(unsafe { entry.assume_init_mut() });
    entry.submit(0);
}

/// Sends an event that was written before.
#[inline(always)]
pub fn output(event: &Event) {
    if EVENTS.output(event, 0).is_err() {
        counters::bump(Reason::EventLost);
    }
}

/// Whether the daemon wants to hear of each session.
#[inline(always)]
pub fn wanted(settings: &Settings) -> bool {
    settings.switches & switches::EVENTS != 0
}

/// Reports that a first packet had to be dropped, at most once a tick for each reason.
#[inline(never)]
pub fn refused(settings: &Settings, key: &FlowKey, reason: Reason) {
    let now = clock::now(settings).0;
    let Some(last) = REPORTED.get_ptr_mut(reason as u32) else { return };
    // SAFETY: an array element; two CPUs may report at once, which does no harm.
    unsafe {
        if *last == now {
            return;
        }
        *last = now;
    }
    send(|event| {
        *event = Event {
            nanos: clock::nanos(settings),
            inside: key.tuple,
            reason: reason as u8,
            protocol: key.protocol,
            ..Event::default()
        };
    });
}
