//! Reading a hash map in batches, a system call for some thousand entries instead of two for each.
//!
//! aya has no batch calls yet, so this file makes the one that masq needs itself
//! (BPF_MAP_LOOKUP_BATCH, kernel 5.6).

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
        let mut position = self.position.unwrap_or_default();
        let mut next = 0_u64;
        let mut attr = BatchAttr {
            in_batch: if self.position.is_some() { (&raw mut position) as u64 } else { 0 },
            out_batch: (&raw mut next) as u64,
            keys: self.keys.as_mut_ptr() as u64,
            values: self.values.as_mut_ptr() as u64,
            count: self.keys.len() as u32,
            map_fd: self.map.as_raw_fd() as u32,
            ..BatchAttr::default()
        };
        // SAFETY: the pointers are valid for `count` keys and values and for one position each (a
        // hash map's is 4 bytes); all are plain old data, so that any bytes are a value.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_MAP_LOOKUP_BATCH,
                &raw mut attr,
                size_of::<BatchAttr>() as libc::c_long,
            )
        };
        if result != 0 {
            let error = io::Error::last_os_error();
            // The end; what came before it is still counted.
            if error.raw_os_error() != Some(libc::ENOENT) {
                return Err(error);
            }
            self.done = true;
        }
        self.position = Some(next);
        Ok(attr.count as usize)
    }
}

const _: () = assert!(size_of::<BatchAttr>() == 56);
