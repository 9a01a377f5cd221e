//! Frames made by hand, put onto a line as they are: wrong checksums, any source, any length.

use std::os::fd::OwnedFd;

use super::socket;
use crate::netns::Namespace;

/// A way onto the line behind an interface.
#[derive(Debug)]
pub struct Injector {
    socket: OwnedFd,
}

impl Injector {
    /// Opens it on `interface` of `namespace`.
    ///
    /// # Panics
    /// If there is no such interface.
    pub fn open(namespace: &Namespace, interface: &str) -> Self {
        let socket = namespace.run(|| {
            socket::open_to_send(interface)
                .unwrap_or_else(|e| panic!("send frames on the interface {interface}: {e}"))
        });
        Self { socket }
    }

    /// Sends a frame, from its Ethernet header on.
    ///
    /// # Panics
    /// If the interface does not take it.
    #[track_caller]
    pub fn send(&self, frame: &[u8]) {
        nix::unistd::write(&self.socket, frame).expect("send a frame");
    }
}
