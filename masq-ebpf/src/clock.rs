//! The clock of the data plane: the kernel's coarse monotonic one, which costs no timer read, and
//! an offset that tests move.

use aya_ebpf::helpers::bpf_ktime_get_coarse_ns;
use masq_common::{settings::Settings, time::Tick};

/// Nanoseconds since boot, plus the offset.
#[inline(always)]
pub fn nanos(settings: &Settings) -> u64 {
    // SAFETY: the helper has no arguments and cannot fail.
    unsafe { bpf_ktime_get_coarse_ns() }.wrapping_add(settings.clock_offset)
}

/// The current tick.
#[inline(always)]
pub fn now(settings: &Settings) -> Tick {
    Tick::from_nanos(nanos(settings))
}
