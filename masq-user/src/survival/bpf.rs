//! Taking a pinned link off at once. Removing its file alone would do so too, but only when the
//! kernel gets round to it; until then a program of ours would go on where another has taken over.
//!
//! aya has no BPF_LINK_DETACH yet, and does not give away the descriptors of its links, so this
//! file makes two bpf(2) calls itself.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

/// Numbers of the commands in `enum bpf_cmd`.
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_LINK_DETACH: libc::c_long = 34;

/// The part of `union bpf_attr` that BPF_OBJ_GET uses.
#[repr(C)]
struct GetAttr {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// The part of `union bpf_attr` that BPF_LINK_DETACH uses.
#[repr(C)]
struct DetachAttr {
    link_fd: u32,
}

/// Why a link was not taken off.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// There is no pinned object of that name.
    #[error("nothing is pinned there: {0}")]
    NotFound(io::Error),
    /// There is, and it cannot be detached.
    #[error(transparent)]
    Refused(io::Error),
}

/// Takes the program of a pinned link off its hook; the link itself stays, without use. Refused with
/// ENOLINK if the interface has gone, and with EOPNOTSUPP for links that end with their last
/// reference only (tracing).
pub fn detach(pin: &Path) -> Result<(), Failure> {
    let path = CString::new(pin.as_os_str().as_bytes()).map_err(io::Error::from);
    let path = path.map_err(Failure::NotFound)?;
    let get = GetAttr { pathname: path.as_ptr() as u64, bpf_fd: 0, file_flags: 0 };
    // SAFETY: the path is a C string that outlives the call.
    let fd = unsafe { bpf(BPF_OBJ_GET, &get) }.map_err(Failure::NotFound)?;
    // SAFETY: the kernel has just made the descriptor for us alone.
    let link = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    let detach = DetachAttr { link_fd: link.as_raw_fd() as u32 };
    // SAFETY: no pointers in it.
    unsafe { bpf(BPF_LINK_DETACH, &detach) }.map(|_| ()).map_err(Failure::Refused)
}

/// # Safety
/// `attr` has to be what the command expects, and what it points to valid for the call.
unsafe fn bpf<T>(command: libc::c_long, attr: &T) -> io::Result<libc::c_long> {
    // SAFETY: as the caller promises; the kernel reads no more than the size given.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attr), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_file_is_no_link() {
        // One that is there in any case: this program's own.
        let file = std::env::current_exe().expect("the path of this program");
        assert!(matches!(detach(&file), Err(Failure::NotFound(_))));
    }
}
