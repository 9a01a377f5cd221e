//! Reading a map in batches, a system call for some thousand entries instead of two for each.
//!
//! aya has no batch calls yet, so this file makes the one that masq needs itself
//! (BPF_MAP_LOOKUP_BATCH, kernel 5.6; of per-CPU arrays 5.13).

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use aya::Pod;

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

/// What one call has read.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Entries.
    pub count: usize,
    /// Where the kernel goes on; `None` if these were the last ones.
    pub next: Option<u64>,
}

/// Reads up to `count` entries from `position` on, which is the beginning if it is `None`.
///
/// # Errors
/// What the kernel says; ENOSPC if one bucket of a hash map alone holds more.
///
/// # Safety
/// `keys` and `values` have to be valid for `count` keys and values of the map, each of a type that any
/// bytes are a value of; a value of a per-CPU map is one word-aligned value for each possible CPU. A
/// position has to come from an earlier call with the same map.
pub unsafe fn look_up<K, V>(
    map: BorrowedFd<'_>,
    position: Option<u64>,
    (keys, values): (*mut K, *mut V),
    count: usize,
) -> io::Result<Found> {
    let mut from = position.unwrap_or_default();
    let mut next = 0_u64;
    let mut attr = BatchAttr {
        in_batch: if position.is_some() { (&raw mut from) as u64 } else { 0 },
        out_batch: (&raw mut next) as u64,
        keys: keys as u64,
        values: values as u64,
        count: count as u32,
        map_fd: map.as_raw_fd() as u32,
        ..BatchAttr::default()
    };
    // SAFETY: keys and values as the caller promises; positions are of 8 bytes, of which the kernel
    // uses as many as it needs.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_MAP_LOOKUP_BATCH,
            &raw mut attr,
            size_of::<BatchAttr>() as libc::c_long,
        )
    };
    let found = |next| Found { count: attr.count as usize, next };
    if result == 0 {
        return Ok(found(Some(next)));
    }
    let error = io::Error::last_os_error();
    // The end; what came before it is still counted.
    if error.raw_os_error() == Some(libc::ENOENT) { Ok(found(None)) } else { Err(error) }
}

/// Goes once through a hash map. Entries that are inserted or removed meanwhile may or may not be
/// seen; all others are seen exactly once, because the kernel goes bucket by bucket.
pub struct Batches<'a, K, V> {
    map: BorrowedFd<'a>,
    keys: Vec<K>,
    values: Vec<V>,
    /// Where the kernel goes on; opaque.
    position: Option<u64>,
    done: bool,
}

impl<'a, K: Pod + Default, V: Pod + Default> Batches<'a, K, V> {
    /// Starts at the beginning of `map`, whose keys and values have to be `K` and `V`, with
    /// batches of at most `size` entries.
    pub fn new(map: BorrowedFd<'a>, size: usize) -> Self {
        Self {
            map,
            keys: vec![K::default(); size],
            values: vec![V::default(); size],
            position: None,
            done: false,
        }
    }

    /// The next batch; `None` at the end.
    pub fn next_batch(&mut self) -> io::Result<Option<(&[K], &[V])>> {
        while !self.done {
            let count = match self.lookup() {
                Ok(count) => count,
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                    // One bucket alone holds more than fits.
                    let size = self.keys.len() * 2;
                    self.keys.resize(size, K::default());
                    self.values.resize(size, V::default());
                    continue;
                }
                Err(error) => return Err(error),
            };
            if count > 0 {
                return Ok(Some((&self.keys[..count], &self.values[..count])));
            }
        }
        Ok(None)
    }

    fn lookup(&mut self) -> io::Result<usize> {
        let buffers = (self.keys.as_mut_ptr(), self.values.as_mut_ptr());
        // SAFETY: both have room for as many; all are plain old data, so that any bytes are a value.
        let found = unsafe { look_up(self.map, self.position, buffers, self.keys.len()) }?;
        self.position = found.next;
        self.done = found.next.is_none();
        Ok(found.count)
    }
}

const _: () = assert!(size_of::<BatchAttr>() == 56);
