//! All counters in one system call. aya reads one element at a time, and has no batch calls yet.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _},
    sync::LazyLock,
};

use aya::{maps::MapData, util::nr_cpus};
use masq_common::reason::Reason;
use nix::libc;

/// Possible CPUs: the kernel keeps a value for each of them.
static CPUS: LazyLock<usize> = LazyLock::new(|| nr_cpus().expect("the number of CPUs"));

/// Counters that have a reason; those behind them are never used.
static COUNTERS: LazyLock<usize> =
    LazyLock::new(|| Reason::ALL.iter().map(|reason| *reason as usize + 1).max().unwrap_or(0));

/// Number of the command in `enum bpf_cmd`.
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;

/// The part of `union bpf_attr` that batch commands use.
#[repr(C)]
#[derive(Default)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// The values of the per-CPU array of counters, summed over the CPUs, by number of the reason.
///
/// # Panics
/// If the kernel refuses: it can do this since 5.13.
pub fn read(map: &MapData) -> Vec<u64> {
    let (cpus, counters) = (*CPUS, *COUNTERS);
    let (mut keys, mut next) = (vec![0_u32; counters], 0_u32);
    let mut values = vec![0_u64; counters * cpus];
    let mut attr = BatchAttr {
        out_batch: (&raw mut next) as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: counters as u32,
        map_fd: map.fd().as_fd().as_raw_fd() as u32,
        ..BatchAttr::default()
    };
    // SAFETY: the pointers are valid for as many keys and values as there are counters, a value
    // being a word for each possible CPU, and for one position, which is a key.
    let result = unsafe {
        let size = size_of::<BatchAttr>() as libc::c_long;
        libc::syscall(libc::SYS_bpf, BPF_MAP_LOOKUP_BATCH, &raw mut attr, size)
    };
    let error = io::Error::last_os_error();
    // "No entry" says that these were the last ones.
    let ended = result == 0 || error.raw_os_error() == Some(libc::ENOENT);
    assert!(ended && attr.count as usize == counters, "read {} counters: {error}", attr.count);
    values.chunks(cpus).map(|counter| counter.iter().sum()).collect()
}
