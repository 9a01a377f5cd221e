//! Accounts of the inside hosts: what their sessions had counted when they ended. Written by
//! [`crate::retire`] only, so that no packet pays for it; read by the daemon, which adds what the
//! living sessions have counted. Elements are never removed, so none is given to another host.

use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, BPF_NOEXIST},
    btf_maps::HashMap,
    macros::btf_map,
};
use masq_common::{
    account::{Account, HOSTS},
    be::Addr,
    event::Event,
};

use crate::atomic;

/// Full: further hosts share the account of no address, which the daemon makes before anything is
/// attached.
#[btf_map]
static ACCOUNTS: HashMap<Addr, Account, HOSTS, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

/// Adds an ended session to the account of its host.
#[inline(never)]
pub fn settle(host: Addr, ended: &Event) {
    let first = Account {
        sessions: 1,
        packets_out: ended.packets_out,
        bytes_out: ended.bytes_out,
        packets_in: ended.packets_in,
        bytes_in: ended.bytes_in,
    };
    // Another CPU may be quicker, whose account is as good.
    if ACCOUNTS.get_ptr(host).is_none()
        && ACCOUNTS.insert(host, first, u64::from(BPF_NOEXIST)).is_ok()
    {
        return;
    }
    let Some(account) = ACCOUNTS.get_ptr_mut(host).or_else(|| ACCOUNTS.get_ptr_mut(Addr::NONE))
    else {
        return;
    };
    // SAFETY: aligned words of a map value, changed atomically only.
    unsafe {
        atomic::add(&raw mut (*account).sessions, 1);
        atomic::add(&raw mut (*account).packets_out, ended.packets_out);
        atomic::add(&raw mut (*account).bytes_out, ended.bytes_out);
        atomic::add(&raw mut (*account).packets_in, ended.packets_in);
        atomic::add(&raw mut (*account).bytes_in, ended.bytes_in);
    }
}
