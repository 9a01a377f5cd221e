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
    btf_maps::PerCpuArray,
    helpers::{bpf_loop, bpf_xdp_load_bytes},
    macros::btf_map,
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

/// The report of a session that is being ended, by [`Run`]: too large for the stack.
#[btf_map]
static REPORT: PerCpuArray<Event, 2> = PerCpuArray::new();

/// On whose behalf a session is ended. The daemon's run may be interrupted by a hook's.
#[repr(u8)]
#[derive(Clone, Copy)]
pub enum Run {
    /// A hook's, to make room.
    Hook = 0,
    /// The daemon's.
    Daemon = 1,
}

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
pub fn session(key: &FlowKey, cause: CloseCause, settings: &Settings, now: Tick, run: Run) -> bool {
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
    let remote = (outbound.flags & flags::PERMIT != 0).then_some(outbound.to.destination);
    // Written before the halves go: afterwards their memory may belong to others.
    let report = events::wanted(settings).then(|| REPORT.get_ptr_mut(run as u32)).flatten();
    if let Some(report) = report {
        // SAFETY: this CPU's own element of this kind of run.
        describe(unsafe { &mut *report }, outbound, inbound, cause, settings);
    }
    if !sessions::remove(inbound_key) {
        return false;
    }
    if let Some(report) = report {
        // SAFETY: as above.
        events::output(unsafe { &*report });
    }
    sessions::remove(outbound_key);
    counters::bump(Reason::SessionClosed);
    if let Some(remote) = remote {
        permits::revoke(held.port, remote);
    }
    let_go(held);
    true
}

#[inline(never)]
fn describe(
    event: &mut Event,
    outbound: &SessionHalf,
    inbound: &SessionHalf,
    cause: CloseCause,
    settings: &Settings,
) {
    *event = Event {
        nanos: clock::nanos(settings),
        packets_out: outbound.packets,
        bytes_out: outbound.bytes,
        packets_in: inbound.packets,
        bytes_in: inbound.bytes,
        age_ms: clock::now(settings).since(outbound.created).as_millis(),
        inside: outbound.from,
        outside: outbound.to,
        reason: Reason::SessionClosed as u8,
        protocol: outbound.protocol,
        wan: outbound.wan,
        cause: cause as u8,
        zero: [0; 4],
    };
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
    if session(&key, cause, batch.settings, batch.now, Run::Daemon) {
        batch.removed += 1;
    }
    0
}
