//! The raw socket that packets leave by: with the header that they have.

use std::{
    io::{self, IoSlice},
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendmsg,
    socket,
};

/// A raw socket of this network namespace. It receives nothing.
#[derive(Debug)]
pub struct RawSocket(OwnedFd);

impl RawSocket {
    /// Opens it.
    pub fn open() -> Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        // IPPROTO_RAW: packets are given with their header.
        let socket = socket(AddressFamily::Inet, SockType::Raw, flags, SockProtocol::Raw)
            .context("cannot open a raw socket")?;
        dont_reassemble(&socket).context("cannot set the option IP_NODEFRAG")?;
        Ok(Self(socket))
    }

    /// Sends an IPv4 packet by this interface; 0 lets the routes decide. The kernel fills in the
    /// checksum of the header, an identification of 0, and a source of 0.0.0.0. Never waits.
    pub fn send(&self, packet: &[u8], interface: u32) -> io::Result<()> {
        let Some(header) = packet.first_chunk::<20>() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let [.., s0, s1, s2, s3, d0, d1, d2, d3] = *header;
        let address = |octets| libc::in_addr { s_addr: u32::from_ne_bytes(octets) };
        let by = libc::in_pktinfo {
            ipi_ifindex: interface as libc::c_int,
            // Routing by source goes by the one in the packet.
            ipi_spec_dst: address([s0, s1, s2, s3]),
            ipi_addr: address([0; 4]),
        };
        sendmsg(
            self.0.as_raw_fd(),
            &[IoSlice::new(packet)],
            &[ControlMessage::Ipv4PacketInfo(&by)],
            MsgFlags::MSG_DONTWAIT,
            Some(&SockaddrIn::new(d0, d1, d2, d3, 0)),
        )?;
        Ok(())
    }
}

/// Keeps connection tracking from gathering the fragments that are sent here until they are whole.
fn dont_reassemble(socket: &OwnedFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open, and the option is an int that lives through the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_NODEFRAG,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
