//! Counters by reason, one set for each CPU.

use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use masq_common::reason::{COUNTERS as LENGTH, Reason};

/// Per CPU, so that counting costs no shared cache line; never full.
#[btf_map]
static COUNTERS: PerCpuArray<u64, { LENGTH as usize }> = PerCpuArray::new();

/// Counts one more.
#[inline(always)]
pub fn bump(reason: Reason) {
    if let Some(counter) = COUNTERS.get_ptr_mut(reason as u32) {
        // SAFETY: the pointer is this CPU's own element; an interrupted increment by a nested
        // program can at worst lose one count.
        unsafe { *counter += 1 }
    }
}
