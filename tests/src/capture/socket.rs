//! The packet socket under a capture: opening it, taking packets out of it. The only part of the
//! capture that talks to the kernel in its own structures.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::{errno::Errno, libc};

use super::Captured;
use crate::checksum::{self, Transport};

/// Bytes of each packet that are kept.
const KEPT: usize = 192;
/// Buffer of the socket: more than any test sends, so that a slow reader loses nothing.
const BUFFER: libc::c_int = 1 << 28;

/// Opens a packet socket on an interface of the current namespace that receives everything.
pub fn open(interface: &str) -> nix::Result<OwnedFd> {
    let socket = bound(interface, libc::ETH_P_ALL as u16)?;
    set_option(&socket, libc::SOL_PACKET, libc::PACKET_AUXDATA, 1)?;
    set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, BUFFER)?;
    Ok(socket)
}

/// Opens a packet socket on an interface of the current namespace that only sends.
pub fn open_to_send(interface: &str) -> nix::Result<OwnedFd> {
    bound(interface, 0)
}

/// A packet socket for one interface and an Ethernet `protocol`: 0 receives nothing.
fn bound(interface: &str, protocol: u16) -> nix::Result<OwnedFd> {
    let index = nix::net::if_::if_nametoindex(interface)?;
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // Protocol 0: nothing is received before `bind` says from which interface.
    // SAFETY: no memory is passed.
    let raw = Errno::result(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
    // SAFETY: the kernel has just given us this descriptor.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    // SAFETY: all-zero bytes are a valid `sockaddr_ll`.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = index as i32;
    let length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: address and length describe `address`, which outlives the call.
    Errno::result(unsafe { libc::bind(raw, (&raw const address).cast(), length) })?;
    Ok(socket)
}

fn set_option(socket: &OwnedFd, level: i32, name: i32, value: libc::c_int) -> nix::Result<()> {
    let length = size_of_val(&value) as libc::socklen_t;
    let value = (&raw const value).cast();
    // SAFETY: pointer and length describe `value`, which outlives the call.
    Errno::result(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value, length) })?;
    Ok(())
}

/// Takes one packet from the socket, without waiting; `None` if it is not IPv4.
pub fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> nix::Result<Option<Captured>> {
    // SAFETY: all-zero bytes are valid for both types.
    let (mut from, mut message): (libc::sockaddr_ll, libc::msghdr) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut control = [0_u64; 16];
    message.msg_name = (&raw mut from).cast();
    message.msg_namelen = size_of_val(&from) as libc::socklen_t;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    let flags = libc::MSG_DONTWAIT;
    // SAFETY: all pointers in `message` are to live memory of the length that stands beside them.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
    let frame = &buffer[..Errno::result(length)? as usize];
    let transport = transport_checksum(&message);
    let header = if from.sll_hatype == libc::ARPHRD_ETHER { 14 } else { 0 };
    let ipv4 = u16::from_be(from.sll_protocol) == libc::ETH_P_IP as u16;
    let Some(packet) = frame.get(header..).filter(|packet| ipv4 && packet.len() >= 20) else {
        return Ok(None);
    };
    // Short Ethernet frames are padded.
    let length = usize::from(u16::from_be_bytes([packet[2], packet[3]])).clamp(20, packet.len());
    Ok(Some(Captured {
        received: from.sll_pkttype != libc::PACKET_OUTGOING,
        bytes: packet[..length.min(KEPT)].to_vec(),
        length,
        bad: checksum::check(&packet[..length], transport).err(),
    }))
}

/// What the kernel says beside the packet about its transport checksum.
fn transport_checksum(message: &libc::msghdr) -> Transport {
    // SAFETY: the kernel has filled the control buffer and set its length; the macros stay inside.
    // The data of this kind of message is a `tpacket_auxdata`, perhaps unaligned.
    let status = unsafe {
        let mut next = libc::CMSG_FIRSTHDR(message);
        let mut status = 0;
        while let Some(head) = next.as_ref() {
            if (head.cmsg_level, head.cmsg_type) == (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
                let data = libc::CMSG_DATA(next).cast::<libc::tpacket_auxdata>();
                status = data.read_unaligned().tp_status;
            }
            next = libc::CMSG_NXTHDR(message, next);
        }
        status
    };
    if status & libc::TP_STATUS_CSUMNOTREADY != 0 { Transport::Partial } else { Transport::Whole }
}

/// How many packets did not fit the buffer.
pub fn lost(socket: &OwnedFd) -> u32 {
    // SAFETY: all-zero bytes are valid.
    let mut stats: libc::tpacket_stats = unsafe { std::mem::zeroed() };
    let mut length = size_of_val(&stats) as libc::socklen_t;
    let value = (&raw mut stats).cast();
    let (level, name) = (libc::SOL_PACKET, libc::PACKET_STATISTICS);
    // SAFETY: pointer and length describe `stats`, which outlives the call.
    unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, value, &raw mut length) };
    stats.tp_drops
}
