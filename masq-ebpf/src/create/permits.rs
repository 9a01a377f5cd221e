//! Which remote addresses an inside endpoint has sent to: what address-dependent filtering lets in
//! (RFC 4787 section 5). Kept only for protocols that are filtered that way.
//!
//! A permit counts the sessions of one mapping with one remote address. The count lives in a hash
//! element, which the kernel may give to another permit at any moment: so the value repeats its
//! key, and a count that has gone to the wrong one is taken back. In a race of the last session's
//! end with the next one's beginning a permit can go although a session needs it: then the next
//! session with that address brings it back, and until then other ports of that remote address are
//! not let in. The session itself does not need it.

use core::ptr;

use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, BPF_NOEXIST},
    btf_maps::HashMap,
    macros::btf_map,
};
use masq_common::{
    be::{Addr, Id},
    flow::{TCP, UDP},
    settings::{Filtering, Settings},
};

use crate::{atomic, ports::Port};

/// An external port and a remote address that may send to it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
struct Permit {
    remote: Addr,
    external: Id,
    protocol: u8,
    wan: u8,
}

/// How often a permit is granted.
#[repr(C)]
#[derive(Clone, Copy)]
struct Grants {
    count: u64,
    permit: Permit,
}

/// Full: further remote addresses are filtered by address and port, which is stricter.
#[btf_map]
static PERMITS: HashMap<Permit, Grants, 262_144, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

/// How a protocol is filtered.
#[inline(always)]
pub fn filtering(settings: &Settings, protocol: u8) -> Filtering {
    match protocol {
        TCP => Filtering::from_number(settings.filtering_tcp),
        UDP => Filtering::from_number(settings.filtering_udp),
        _ => Filtering::AddressAndPortDependent,
    }
}

#[inline(always)]
const fn permit(port: Port, remote: Addr) -> Permit {
    Permit { remote, external: port.id, protocol: port.protocol, wan: port.wan }
}

/// Changes the count of a permit by `difference`; what is left, if the permit is there.
#[inline(always)]
fn count(permit: Permit, difference: i64) -> Option<u64> {
    let grants = PERMITS.get_ptr_mut(permit)?;
    // SAFETY: an aligned word of a map value, changed atomically only; the key beside it tells
    // whether it was the right one.
    unsafe {
        atomic::add(&raw mut (*grants).count, difference as u64);
        if ptr::read_volatile(&raw const (*grants).permit) != permit {
            atomic::add(&raw mut (*grants).count, difference.wrapping_neg() as u64);
            return None;
        }
        Some(ptr::read_volatile(&raw const (*grants).count))
    }
}

/// Counts one more session of the mapping at `port` with `remote`; whether it was counted.
#[inline(never)]
pub fn grant(port: Port, remote: Addr) -> bool {
    let permit = permit(port, remote);
    if count(permit, 1).is_some() {
        return true;
    }
    PERMITS.insert(permit, Grants { count: 1, permit }, u64::from(BPF_NOEXIST)).is_ok()
}

/// Counts one session less.
#[inline(never)]
pub fn revoke(port: Port, remote: Addr) {
    let permit = permit(port, remote);
    if count(permit, -1) == Some(0) {
        let _ = PERMITS.remove(permit);
    }
}

/// Whether `remote` may send to `port`.
#[inline(always)]
pub fn allows(port: Port, remote: Addr) -> bool {
    PERMITS.get_ptr(permit(port, remote)).is_some()
}
