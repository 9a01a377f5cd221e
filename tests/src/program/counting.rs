//! All counters in one system call. aya reads one element at a time, and has no batch calls yet.

use std::{os::fd::AsFd as _, sync::LazyLock};

use aya::{maps::MapData, util::nr_cpus};
use masq_common::reason::Reason;
use masq_user::maps::batch;

/// Possible CPUs: the kernel keeps a value for each of them.
static CPUS: LazyLock<usize> = LazyLock::new(|| nr_cpus().expect("the number of CPUs"));

/// Counters that have a reason; those behind them are never used.
static COUNTERS: LazyLock<usize> =
    LazyLock::new(|| Reason::ALL.iter().map(|reason| *reason as usize + 1).max().unwrap_or(0));

/// The values of the per-CPU array of counters, summed over the CPUs, by number of the reason.
///
/// # Panics
/// If the kernel refuses: it can do this since 5.13.
pub fn read(map: &MapData) -> Vec<u64> {
    let (cpus, counters) = (*CPUS, *COUNTERS);
    let mut keys = vec![0_u32; counters];
    let mut values = vec![0_u64; counters * cpus];
    let buffers = (keys.as_mut_ptr(), values.as_mut_ptr());
    // SAFETY: there is room for as many keys and values as there are counters, a value being a word for
    // each possible CPU.
    let found = unsafe { batch::look_up(map.fd().as_fd(), None, buffers, counters) };
    let found = found.expect("read the counters");
    assert_eq!(found.count, counters, "counters");
    values.chunks(cpus).map(|counter| counter.iter().sum()).collect()
}
