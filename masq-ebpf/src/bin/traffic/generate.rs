//! The generator: one frame for each run, as a [`Plan`] says. Each CPU has a plan of its own.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext as _,
    bindings::xdp_action::{XDP_ABORTED, XDP_TX},
    btf_maps::PerCpuArray,
    helpers::{bpf_ktime_get_ns, bpf_loop, bpf_xdp_adjust_tail},
    macros::{btf_map, xdp},
    programs::XdpContext,
};

use crate::{
    NEW_TOS, NO_OPTIONS, at, checksum, front,
    plan::{
        ADDRESSES, ETHERNET, LENGTHS, PPPOE, Plan, Position, TAG, TAG_AND_PPPOE, Tally, WORDS, word,
    },
    window, words,
};

/// What to send; one element, written before a run.
#[btf_map]
static PLAN: PerCpuArray<Plan, 1> = PerCpuArray::new();
/// What has been sent.
#[btf_map]
static SENT: PerCpuArray<Tally, 1> = PerCpuArray::new();
/// Where the generator is.
#[btf_map]
static POSITION: PerCpuArray<Position, 1> = PerCpuArray::new();

/// How often the clock is read at most before a burst begins: some 20 ms.
const LOOKS: u32 = 1 << 20;
/// So many bursts late, a generator that could not keep pace no longer tries to catch up.
const LATE: u64 = 4;

/// The words of version and type of service, for packets of a new flow.
const NEW_VERSION: u16 = u16::from_ne_bytes([NO_OPTIONS, NEW_TOS]);

/// A packet to be made.
struct Next {
    flow: u32,
    length: u16,
    new: bool,
}

/// Sends one frame. Frames are recycled with the bytes that the last receiver has left in them, so
/// every header is written anew.
#[xdp]
fn generate(ctx: XdpContext) -> u32 {
    send_next(&ctx).unwrap_or(XDP_ABORTED)
}

#[inline(always)]
fn send_next(ctx: &XdpContext) -> Option<u32> {
    let plan = PLAN.get(0)?;
    let sent = SENT.get_ptr_mut(0)?;
    // SAFETY: an element of this CPU, and only one test run is under way on it at a time.
    let sent = unsafe { &mut *sent };
    let next = next(plan)?;
    let (start, end) = window(ctx);
    let more = usize::from(plan.front.more);
    let length = ETHERNET + 2 * more + usize::from(next.length);
    let shorten = length as i32 - (end as i32 - start as i32);
    // SAFETY: the context is valid; the window is read again below.
    if shorten != 0 && unsafe { bpf_xdp_adjust_tail(ctx.as_ptr().cast(), shorten) } != 0 {
        return None;
    }
    match more {
        0 => write::<0, ADDRESSES>(ctx, plan, &next)?,
        TAG => write::<TAG, { ADDRESSES + TAG }>(ctx, plan, &next)?,
        PPPOE => write::<PPPOE, { ADDRESSES + PPPOE }>(ctx, plan, &next)?,
        _ => write::<TAG_AND_PPPOE, { ADDRESSES + TAG_AND_PPPOE }>(ctx, plan, &next)?,
    }
    if next.new {
        sent.new += 1;
    } else {
        sent.packets += 1;
    }
    sent.bytes += length as u64;
    Some(XDP_TX)
}

/// Writes the headers of a frame with `MORE` words between the addresses and what precedes the IP
/// header; `FRONT` are those and the addresses.
#[inline(always)]
fn write<const MORE: usize, const FRONT: usize>(
    ctx: &XdpContext,
    plan: &Plan,
    next: &Next,
) -> Option<()> {
    let frame: &mut [u16; WORDS] = words(window(ctx), 2 * MORE)?;
    write_headers(frame, plan, next);
    if MORE != 0 {
        front::write::<FRONT>(window(ctx), &plan.front)?;
    }
    if MORE >= PPPOE {
        front::write_length::<FRONT>(window(ctx), next.length)?;
    }
    Some(())
}

/// The flow and the length of the next packet, when its time has come.
#[inline(always)]
fn next(plan: &Plan) -> Option<Next> {
    let position = POSITION.get_ptr_mut(0)?;
    // SAFETY: an element of this CPU, and only one test run is under way on it at a time.
    let position = unsafe { &mut *position };
    if plan.burst_gap != 0 {
        keep_pace(plan, position);
    }
    let length = position.length as usize;
    position.length = if length + 1 < LENGTHS { length as u32 + 1 } else { 0 };
    let length = *plan.lengths.get(length)?;
    if plan.new_every != 0 {
        position.since_new += 1;
        if position.since_new >= plan.new_every {
            position.since_new = 0;
            let flow = plan.first_new + position.new;
            position.new += 1;
            return Some(Next { flow, length, new: true });
        }
    }
    let flow = position.flow;
    let after = flow + plan.stride;
    position.flow = if after >= plan.flows { after - plan.flows } else { after };
    Some(Next { flow: plan.first_flow + flow, length, new: false })
}

/// Waits for the time of the next burst, at the beginning of each.
#[inline(always)]
fn keep_pace(plan: &Plan, position: &mut Position) {
    position.in_burst += 1;
    if position.in_burst < plan.burst {
        return;
    }
    position.in_burst = 0;
    let gap = u64::from(plan.burst_gap);
    // SAFETY: takes nothing, returns a number.
    let now = unsafe { bpf_ktime_get_ns() };
    if now > position.due + LATE * gap {
        position.due = now;
    }
    let mut due = position.due;
    position.due += gap;
    // SAFETY: the callback has the signature that the helper calls; `due` outlives the call.
    unsafe {
        bpf_loop(LOOKS, is_due as *mut c_void, (&raw mut due).cast(), 0);
    }
}

/// 1, which ends the loop, when the time has come.
#[inline(never)]
unsafe extern "C" fn is_due(_look: u32, due: *mut u64) -> i64 {
    // SAFETY: called by `bpf_loop` with the pointer that `keep_pace` has passed.
    let due = unsafe { *due };
    // SAFETY: takes nothing, returns a number.
    i64::from(unsafe { bpf_ktime_get_ns() } >= due)
}

#[inline(always)]
fn write_headers(frame: &mut [u16; WORDS], plan: &Plan, next: &Next) {
    let flow = next.flow;
    let ports = u32::from(plan.ports).max(1);
    let inside = if plan.insides == 0 { flow } else { flow % plan.insides };
    let (high, low) = halves(plan.first_address + inside / ports);
    let port = (plan.first_port + (inside % ports) as u16).to_be();
    let (ip_length, udp_length) = (next.length.to_be(), (next.length - 20).to_be());

    *frame = plan.headers;
    let mut address_sum = u32::from(high) + u32::from(low);
    if plan.end == 0 {
        (frame[word::ADDRESSES], frame[word::ADDRESSES + 1]) = (high, low);
        frame[word::PORTS] = port;
        if let Some(remote) = flow.checked_div(plan.per_remote) {
            let (high, low) = halves(plan.first_remote + remote);
            (frame[word::ADDRESSES + 2], frame[word::ADDRESSES + 3]) = (high, low);
            address_sum += u32::from(high) + u32::from(low);
        }
    } else {
        (frame[word::ADDRESSES + 2], frame[word::ADDRESSES + 3]) = (high, low);
        frame[word::PORTS + 1] = port;
    }
    let mut ip_sum = plan.ip_sum + address_sum + u32::from(ip_length);
    if next.new {
        ip_sum += u32::from(NEW_VERSION - frame[at::VERSION]);
        frame[at::VERSION] = NEW_VERSION;
    }
    frame[at::LENGTH] = ip_length;
    frame[at::UDP_LENGTH] = udp_length;
    frame[at::IP_CHECKSUM] = checksum(ip_sum);
    // The length counts twice: in the header and in the pseudo-header.
    let udp_sum = plan.udp_sum + address_sum + u32::from(port) + 2 * u32::from(udp_length);
    frame[at::UDP_CHECKSUM] = match checksum(udp_sum) {
        0 => 0xffff,
        sum => sum,
    };
}

/// The two words of an address in the byte order of the machine, as on the wire.
#[inline(always)]
fn halves(address: u32) -> (u16, u16) {
    let wire = address.to_be();
    (wire as u16, (wire >> 16) as u16)
}
