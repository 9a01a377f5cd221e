//! What each inside host has, where there are limits for it (RFC 6888 REQ-4 and REQ-5): one host
//! that is out of hand must not take everybody's ports and sessions. Without limits nothing is
//! counted.
//!
//! The counts live in a hash element, as in [`super::permits`], with the same care: the value
//! repeats its key, and a count that has gone to another host's element is taken back. In a race of
//! a host's last session's end with its next one's beginning the element can go although a session
//! needs it; that session is then not counted until it ends, and the limit is one too high.

use core::ptr;

use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, BPF_NOEXIST},
    btf_maps::HashMap,
    macros::btf_map,
};
use masq_common::{be::Addr, reason::Reason, settings::Settings};

use crate::{atomic, clock, verdict::Step};

/// What a host has.
#[repr(C)]
#[derive(Clone, Copy)]
struct Has {
    sessions: u64,
    mappings: u64,
    /// Second, and new sessions in it, packed into one word.
    recent: u64,
    host: Addr,
    zero: u32,
}

/// Full: a new host gets no session, with [`Reason::HostTableFull`]. More hosts than a /16 has.
#[btf_map]
static HOSTS: HashMap<Addr, Has, 131_072, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

/// One of the two counts.
#[derive(Clone, Copy)]
enum Count {
    Sessions,
    Mappings,
}

/// The word of a count.
///
/// # Safety
/// `has` has to point to an element of [`HOSTS`].
#[inline(always)]
unsafe fn word(has: *mut Has, count: Count) -> *mut u64 {
    // SAFETY: as the caller promises.
    unsafe {
        match count {
            Count::Sessions => &raw mut (*has).sessions,
            Count::Mappings => &raw mut (*has).mappings,
        }
    }
}

/// Adds to a count of a host, if it is in the table; what it is then.
#[inline(always)]
fn add(host: Addr, count: Count, difference: i64) -> Option<u64> {
    let has = HOSTS.get_ptr_mut(host)?;
    // SAFETY: aligned words of a map value, changed atomically only; the key beside them tells
    // whether it was the right one.
    unsafe {
        let word = word(has, count);
        atomic::add(word, difference as u64);
        if ptr::read_volatile(&raw const (*has).host) != host {
            atomic::add(word, difference.wrapping_neg() as u64);
            return None;
        }
        Some(ptr::read_volatile(word))
    }
}

/// Counts one more session of a host, unless it has as many as it may, or opens them too fast.
/// Whether it is counted: [`release`] has to follow then, when the session ends.
#[inline(never)]
pub fn admit(host: Addr, settings: &Settings) -> Step<bool> {
    let limits = &settings.host;
    if !limits.any() {
        return Ok(false);
    }
    if HOSTS.get_ptr(host).is_none() {
        let has = Has { sessions: 0, mappings: 0, recent: 0, host, zero: 0 };
        // Another CPU may have been quicker, which is as good.
        let _ = HOSTS.insert(host, has, u64::from(BPF_NOEXIST));
    }
    if limits.rate != 0 && !is_slow(host, limits.rate, clock::nanos(settings)) {
        return Err(Reason::HostRate);
    }
    let sessions = add(host, Count::Sessions, 1).ok_or(Reason::HostTableFull)?;
    if limits.sessions != 0 && sessions > u64::from(limits.sessions) {
        release(host);
        return Err(Reason::HostSessions);
    }
    Ok(true)
}

/// Counts a new session in the current second; false if there were enough of them. Two CPUs at once
/// may count one for two.
#[inline(always)]
fn is_slow(host: Addr, rate: u32, nanos: u64) -> bool {
    // 2^30 ns, a little more than a second.
    let second = (nanos >> 30) as u32;
    let Some(has) = HOSTS.get_ptr_mut(host) else { return true };
    // SAFETY: an aligned word of a map value. If that is another host's by now, it has one new
    // session too many for a second.
    unsafe {
        let recent = &raw mut (*has).recent;
        let word = ptr::read_volatile(recent);
        let count = if (word >> 32) as u32 == second { word as u32 } else { 0 };
        if count >= rate {
            return false;
        }
        ptr::write_volatile(recent, u64::from(second) << 32 | u64::from(count + 1));
    }
    true
}

/// Counts one session less, of those that [`admit`] has counted.
#[inline(never)]
pub fn release(host: Addr) {
    if add(host, Count::Sessions, -1) == Some(0) {
        let _ = HOSTS.remove(host);
    }
}

/// Counts one more mapping of a host; false if it has as many as it may.
#[inline(never)]
pub fn claim(host: Addr, settings: &Settings) -> bool {
    let limit = u64::from(settings.host.mappings);
    if limit == 0 {
        return true;
    }
    match add(host, Count::Mappings, 1) {
        Some(mappings) if mappings > limit => {
            let_go(host, settings);
            false
        }
        _ => true,
    }
}

/// Counts one mapping less.
#[inline(never)]
pub fn let_go(host: Addr, settings: &Settings) {
    if settings.host.mappings != 0 {
        let _ = add(host, Count::Mappings, -1);
    }
}
