//! Two TUN devices in different namespaces, joined like the two ends of a PPP line.
//!
//! The devices have no link-layer header, which is what they are here for: they stand in for
//! `ppp0` on a kernel without PPP. A thread for each direction copies packets from one to the
//! other, until the value is dropped; then the devices vanish.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::OpenOptionsExt,
    },
    sync::Arc,
    thread::{self, JoinHandle},
};

use nix::{
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::eventfd::EventFd,
};

use crate::netns::Namespace;

mod request {
    nix::ioctl_write_int!(
        /// TUNSETIFF: names the device behind a descriptor and says of which kind it is.
        set_interface,
        b'T',
        202
    );
}

/// A line between two namespaces.
#[derive(Debug)]
pub struct TunLine {
    stop: Arc<EventFd>,
    copiers: Vec<JoinHandle<()>>,
}

impl TunLine {
    /// Joins a new device `name_a` in `a` with a new device `name_b` in `b`. Both are down and
    /// without addresses.
    ///
    /// # Panics
    /// If the kernel has no TUN devices, or a name is taken.
    pub fn new(a: &Namespace, name_a: &str, b: &Namespace, name_b: &str) -> Self {
        let ends = [open(a, name_a), open(b, name_b)];
        let stop = Arc::new(EventFd::new().expect("make an event descriptor"));
        let copiers = [(0, 1), (1, 0)].map(|(from, to)| {
            let [from, to] = [from, to].map(|i: usize| ends[i].try_clone().expect("duplicate"));
            let stop = Arc::clone(&stop);
            thread::spawn(move || copy(from, to, &stop))
        });
        Self { stop, copiers: copiers.into() }
    }
}

impl Drop for TunLine {
    fn drop(&mut self) {
        let _ = self.stop.write(1);
        for copier in self.copiers.drain(..) {
            let _ = copier.join();
        }
    }
}

/// A new TUN device in a namespace, down and without addresses. It vanishes when the file is
/// closed. Reading and writing packets does not block.
///
/// # Panics
/// If the kernel has no TUN devices, or the name is taken.
pub fn open(namespace: &Namespace, name: &str) -> File {
    assert!(name.len() < libc::IFNAMSIZ, "the interface name {name} is too long");
    namespace.run(|| {
        // SAFETY: all-zero bytes are a valid `ifreq`.
        let mut name_and_kind: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in name_and_kind.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        name_and_kind.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/net/tun")
            .unwrap_or_else(|e| panic!("open /dev/net/tun: {e}"));
        // SAFETY: the kernel reads one `ifreq` at the address, which outlives the call.
        unsafe {
            request::set_interface(file.as_raw_fd(), (&raw const name_and_kind) as libc::c_ulong)
        }
        .unwrap_or_else(|e| panic!("create the TUN device {name}: {e}"));
        file
    })
}

/// Copies packets until `stop` becomes readable.
fn copy(mut from: File, mut to: File, stop: &EventFd) {
    let mut packet = vec![0; 1 << 16];
    loop {
        let mut waiting = [
            PollFd::new(stop.as_fd(), PollFlags::POLLIN),
            PollFd::new(from.as_fd(), PollFlags::POLLIN),
        ];
        if poll(&mut waiting, PollTimeout::NONE).is_err() {
            continue;
        }
        if waiting[0].any() == Some(true) {
            return;
        }
        let down = waiting[1].revents().is_some_and(|r| r.contains(PollFlags::POLLERR));
        while let Ok(length) = from.read(&mut packet) {
            // A device that is down refuses packets: then they are lost, as on any line.
            let _ = to.write(&packet[..length]);
        }
        // A device that is down reports an error at once, for ever: do not spin on it.
        if down {
            thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}
