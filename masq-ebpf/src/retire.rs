//! The end of a session: by its timer, because its external address has gone, or because the user
//! wants it. The only place that removes halves, and the daemon's way to it: a program that is run
//! with a list of keys.
//!
//! Several CPUs may try to end the same session. One at most succeeds in removing its halves, which
//! go together; that one goes on to let go of the port and to report.
//!
//! A session can be refreshed between the moment at which it was judged to have expired and its removal.
//! Then one packet later it is created again, with the same mapping if that has other sessions. One that was
//! created anew meanwhile is not removed.

use core::{ffi::c_void, mem, ptr};

use aya_ebpf::{
    EbpfContext as _,
    btf_maps::PerCpuArray,
    helpers::{bpf_loop, bpf_xdp_load_bytes},
    macros::btf_map,
    programs::XdpContext,
};
use masq_common::{
    be::Addr,
    event::{CloseCause, Event, RetireRequest},
    flow::FlowKey,
    reason::Reason,
    session::{SessionHalf, flags, remaining},
    settings::{Settings, prefix},
    time::Tick,
};

use crate::{
    accounts, clock, config, counters,
    create::{Held, hosts, mapping, permits},
    events,
    ports::Port,
    sessions, table,
};

/// The session that is being ended, by [`Run`]: too large for the stack.
#[btf_map]
static ENDING: PerCpuArray<Ending, 2> = PerCpuArray::new();

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
    if held.flags & (flags::OVERLAP | flags::ADDRESS_ONLY) != 0 {
        return;
    }
    if let Some(holder) = held.port.leave() {
        // The mapping first: as long as it can be found, its port must not be anybody else's.
        mapping::remove(held.port, holder);
        held.port.free();
    }
}

/// A session that is to be ended: all that is needed once its halves are gone.
#[repr(C)]
struct Ending {
    report: Event,
    /// At first the key that was asked for, of either half.
    outbound: FlowKey,
    inbound: FlowKey,
    held: Held,
    /// When it is judged.
    now: Tick,
    /// What tells it from others between the same endpoints ([`table::identity`]).
    identity: u64,
    /// The remote address of its permit, or none.
    permitted: Addr,
    /// The inside host whose limit it counts for, or none.
    counted: Addr,
    /// Whether it is the router's own, which has no account.
    own: bool,
    /// Why it is ended ([`CloseCause`]), and on whose behalf ([`Run`]): here and not in arguments, since
    /// every word counts on the stack of the longest chain of calls.
    cause: u8,
    run: u8,
}

/// Ends the session that one of its halves has `key`; false if it is not to be ended, or if
/// another CPU does it.
#[inline(never)]
pub fn session(key: &FlowKey, cause: CloseCause, settings: &Settings, now: Tick, run: Run) -> bool {
    let Some(ending) = ENDING.get_ptr_mut(run as u32) else { return false };
    // SAFETY: this CPU's own element of this kind of run; `judge` fills it in.
    let ending = unsafe { &mut *ending };
    put(&mut ending.outbound, *key);
    ending.now = now;
    ending.cause = cause as u8;
    ending.run = run as u8;
    if !judge(ending, settings)
        || !table::remove(&ending.outbound, &ending.inbound, ending.identity)
    {
        return false;
    }
    counters::bump(Reason::SessionClosed);
    if events::wanted(settings) {
        events::output(&ending.report);
    }
    if !ending.own {
        accounts::settle(ending.report.inside.source, &ending.report);
    }
    if !ending.permitted.is_none() {
        permits::revoke(ending.held.port, ending.permitted);
    }
    if !ending.counted.is_none() {
        hosts::release(ending.counted);
    }
    let_go(ending.held);
    true
}

/// Judges the session that one of its halves has the key in `ending.outbound`, and fills in the rest;
/// whether it is to be ended.
#[inline(never)]
fn judge(ending: &mut Ending, settings: &Settings) -> bool {
    let Some(half) = sessions::entry(&ending.outbound) else { return false };
    let Some(other) = sessions::entry(&half.partner()) else { return false };
    let (outbound, inbound) = if half.is_outbound() { (half, other) } else { (other, half) };
    // Before all else is read: if another half lies there when the session is removed, it is not removed.
    // SAFETY: a half of the table.
    ending.identity = unsafe { table::identity(outbound) };
    let (half, outbound) = (table::read_anew(half), table::read_anew(outbound));
    if !half.belongs_to(&ending.outbound) {
        return false;
    }
    let spared = match CloseCause::from_number(ending.cause) {
        CloseCause::Expired => remaining(half, other, &settings.timeouts, ending.now).is_some(),
        CloseCause::AddressLost => is_current(outbound, ending.run),
        CloseCause::Flushed => false,
    };
    if spared {
        return false;
    }
    describe(&mut ending.report, outbound, inbound, ending.cause, settings);
    put(&mut ending.outbound, outbound.key());
    put(&mut ending.inbound, inbound.key());
    ending.held = Held {
        port: Port { wan: outbound.wan, protocol: outbound.protocol, id: outbound.id },
        flags: outbound.flags & (flags::OVERLAP | flags::ADDRESS_ONLY),
    };
    let permit = outbound.flags & flags::PERMIT != 0;
    ending.permitted = if permit { outbound.from.destination } else { Addr::NONE };
    let counted = outbound.flags & flags::COUNTED != 0;
    ending.counted = if counted { outbound.from.source } else { Addr::NONE };
    ending.own = outbound.flags & flags::OWN != 0;
    true
}

/// Whether a session that the daemon removes for its lost address has in the meantime made room for
/// one with the current address.
#[inline(always)]
fn is_current(outbound: &SessionHalf, run: u8) -> bool {
    if run == Run::Hook as u8 {
        return false;
    }
    let flags = config::prefix(outbound.address);
    flags & prefix::EXTERNAL != 0 && flags >> prefix::WAN_SHIFT == u32::from(outbound.wan)
}

/// Writes a key in whole words. The compiler would call a function that moves byte by byte, since it
/// cannot know that the key is not part of what is written.
#[inline(always)]
pub fn put(to: &mut FlowKey, key: FlowKey) {
    // SAFETY: a key has neither padding nor invalid values (`bytemuck::Pod`).
    let words: [u64; 2] = unsafe { mem::transmute(key) };
    let to = ptr::from_mut(to).cast::<u64>();
    for (place, word) in words.into_iter().enumerate() {
        // SAFETY: a key is two words long, and one in the value of a map begins at a multiple of eight bytes.
        unsafe { ptr::write_volatile(to.add(place), word) };
    }
}

/// What is to be known of a session that is being ended, before its halves are removed: afterwards their
/// memory may belong to other sessions.
#[inline(never)]
fn describe(
    report: &mut Event,
    outbound: &SessionHalf,
    inbound: &SessionHalf,
    cause: u8,
    settings: &Settings,
) {
    // Field by field: a whole value would be made on the stack first.
    report.nanos = clock::nanos(settings);
    report.packets_out = outbound.packets;
    report.bytes_out = outbound.bytes;
    report.packets_in = inbound.packets;
    report.bytes_in = inbound.bytes;
    report.age_ms = clock::now(settings).since(outbound.created).as_millis();
    report.inside = outbound.from;
    report.outside = outbound.to();
    report.reason = Reason::SessionClosed as u8;
    report.protocol = outbound.protocol;
    report.wan = outbound.wan;
    report.cause = cause;
    report.zero = [0; 4];
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
