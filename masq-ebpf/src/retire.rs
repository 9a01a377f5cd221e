//! The end of a session: by its timer, because its external address has gone, or because the user
//! wants it. The only place that removes halves, and the daemon's way to it: a program that is run
//! with a list of keys.
//!
//! Several CPUs may try to end the same session. Exactly one succeeds in removing its inbound
//! half; that one goes on to remove the outbound half, to let go of the port and to report.
//!
//! A session can be refreshed or even created anew between the moment at which it was judged to
//! have expired and its removal. Then one packet later it is created again, with the same mapping
//! if that has other sessions: nothing is left inconsistent.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext as _,
    helpers::{bpf_loop, bpf_xdp_load_bytes},
    programs::XdpContext,
};
use masq_common::{
    event::{CloseCause, Event, RetireRequest},
    flow::FlowKey,
    reason::Reason,
    session::{SessionHalf, flags, remaining},
    settings::Settings,
    time::Tick,
};

use crate::{
    clock, config, counters,
    create::{Held, mapping, permits},
    events,
    ports::Port,
    sessions,
};

/// Lets go of a port that was held for a session. The last one takes the mapping with it.
#[inline(never)]
pub fn let_go(held: Held) {
    if held.flags & flags::OVERLAP != 0 {
        return;
    }
    if let Some(holder) = held.port.leave() {
        // The mapping first: as long as it can be found, its port must not be anybody else's.
        mapping::remove(held.port, holder.owner, holder.generation);
        held.port.free();
    }
}

/// Ends the session that one of its halves has `key`; false if it is not to be ended, or if
/// another CPU does it.
#[inline(never)]
pub fn session(key: &FlowKey, cause: CloseCause, settings: &Settings, now: Tick) -> bool {
    let Some(half) = sessions::entry(key) else { return false };
    let partner = half.partner();
    let Some(other) = sessions::entry(&partner) else {
        // Half a session: the rest of a race. It holds nothing.
        let expired = remaining(half, half, &settings.timeouts, now).is_none();
        return (expired || cause as u8 != CloseCause::Expired as u8) && sessions::remove(key);
    };
    if cause as u8 == CloseCause::Expired as u8
        && remaining(half, other, &settings.timeouts, now).is_some()
    {
        return false;
    }
    let (outbound, inbound) = if half.is_outbound() { (half, other) } else { (other, half) };
    let (outbound_key, inbound_key) =
        if half.is_outbound() { (key, &partner) } else { (&partner, key) };
    let held = Held {
        port: Port { wan: outbound.wan, protocol: outbound.protocol, id: outbound.to.source_id },
        flags: outbound.flags & flags::OVERLAP,
    };
    let permit = (outbound.flags & flags::PERMIT != 0).then_some(outbound.to.destination);
    let counts = [outbound.packets, outbound.bytes, inbound.packets, inbound.bytes];
    let created = outbound.created;
    if !sessions::remove(inbound_key) {
        return false;
    }
    counters::bump(Reason::SessionClosed);
    if events::wanted(settings) {
        // The outbound half is still there: nobody else removes it now.
        report(outbound, counts, cause, (settings, now.since(created).as_millis()));
    }
    sessions::remove(outbound_key);
    if let Some(remote) = permit {
        permits::revoke(held.port, remote);
    }
    let_go(held);
    true
}

#[inline(always)]
fn report(
    outbound: &SessionHalf,
    [packets_out, bytes_out, packets_in, bytes_in]: [u64; 4],
    cause: CloseCause,
    (settings, age_ms): (&Settings, u64),
) {
    events::send(|event| {
        *event = Event {
            nanos: clock::nanos(settings),
            packets_out,
            bytes_out,
            packets_in,
            bytes_in,
            age_ms,
            inside: outbound.from,
            outside: outbound.to,
            reason: Reason::SessionClosed as u8,
            protocol: outbound.protocol,
            wan: outbound.wan,
            cause: cause as u8,
            zero: [0; 4],
        };
    });
}

/// What the loop over the daemon's keys carries.
struct Batch {
    ctx: *mut c_void,
    settings: &'static Settings,
    now: Tick,
    cause: u32,
    removed: u32,
}

/// Removes the sessions that the daemon names; how many it were.
#[inline(always)]
pub fn run(ctx: &XdpContext) -> u32 {
    let Ok(settings) = config::settings() else { return 0 };
    let mut request = RetireRequest::default();
    // SAFETY: the helper writes the whole of `request` or fails.
    let code = unsafe {
        let to = (&raw mut request).cast();
        bpf_xdp_load_bytes(ctx.as_ptr().cast(), 0, to, size_of::<RetireRequest>() as u32)
    };
    if code != 0 {
        return 0;
    }
    let count = request.count.min(RetireRequest::MAX_KEYS as u32);
    let mut batch = Batch {
        ctx: ctx.as_ptr(),
        settings,
        now: clock::now(settings),
        cause: u32::from(request.cause),
        removed: 0,
    };
    // SAFETY: the callback has the signature that the helper calls, and `batch` outlives the call.
    unsafe {
        bpf_loop(count, remove_next as *mut c_void, (&raw mut batch).cast(), 0);
    }
    batch.removed
}

/// One step of [`run`].
#[inline(never)]
unsafe extern "C" fn remove_next(step: u32, batch: *mut Batch) -> i64 {
    // SAFETY: called by `bpf_loop` with the pointer that `run` has passed.
    let batch = unsafe { &mut *batch };
    let mut key = FlowKey::default();
    let offset = size_of::<RetireRequest>() as u32 + step * size_of::<FlowKey>() as u32;
    // SAFETY: the helper writes the whole of `key` or fails.
    let code = unsafe {
        let to = (&raw mut key).cast();
        bpf_xdp_load_bytes(batch.ctx.cast(), offset, to, size_of::<FlowKey>() as u32)
    };
    if code != 0 {
        return 1;
    }
    let cause = CloseCause::from_number(batch.cause as u8);
    if session(&key, cause, batch.settings, batch.now) {
        batch.removed += 1;
    }
    0
}
