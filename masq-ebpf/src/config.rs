//! What the daemon has told us: settings, devices, prefixes. Read-only from here.

use aya_ebpf::{
    btf_maps::{Array, HashMap, LpmTrie, lpm_trie::Key},
    macros::btf_map,
};
use masq_common::{
    be::Addr,
    reason::Reason,
    settings::{Device, Settings, role},
};

use crate::verdict::Step;

/// An array, so that the lookup is inlined into the program; always present.
#[btf_map]
static SETTINGS: Array<Settings, 1> = Array::new();

/// Every interface of the machine; full means that packets from a LAN to further ones are dropped
/// with [`Reason::WanNotReady`], which the daemon says.
#[btf_map]
static DEVICES: HashMap<u32, Device, 4096> = HashMap::new();

/// Only asked on the full path; full means that the daemon refuses the configuration.
#[btf_map]
static PREFIXES: LpmTrie<Addr, u32, 4096> = LpmTrie::new();

/// The settings.
#[inline(always)]
pub fn settings() -> Step<&'static Settings> {
    SETTINGS.get(0).ok_or(Reason::NoRole)
}

/// What an interface is to us, if anything.
#[inline(always)]
pub fn device(ifindex: u32) -> Option<Device> {
    // SAFETY: the value is copied out at once. If the daemon removes the device at this moment the
    // copy may be of another of our devices, as if the packet had come a moment later.
    unsafe { DEVICES.get(ifindex).copied() }
}

/// Whether packets that came in there come from the inside.
#[inline(always)]
pub fn is_lan(ifindex: u32) -> bool {
    ifindex != 0 && matches!(device(ifindex), Some(device) if device.role == role::LAN)
}

/// Flags of [`masq_common::settings::prefix`] that hold for an address.
#[inline(always)]
pub fn prefix(address: Addr) -> u32 {
    PREFIXES.get(&Key::new(32, address)).copied().unwrap_or(0)
}
