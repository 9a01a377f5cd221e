//! A PPPoE session without anybody who negotiates it: a socket with a session id and a peer of one's own
//! choice, and a PPP interface on it. What `pppd` with its plugin does once the negotiation is over.

use std::{
    fs::{File, OpenOptions},
    io,
    mem::size_of,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use nix::libc;

/// Where PPP interfaces are made.
pub const DEVICE: &str = "/dev/ppp";

/// `struct sockaddr_pppox` of `linux/if_pppox.h`: packed, and of this length only.
#[repr(C, packed)]
struct Address {
    family: libc::sa_family_t,
    /// `PX_PROTO_OE`: 0.
    protocol: u32,
    /// Network byte order.
    session: u16,
    remote: [u8; 6],
    device: [u8; libc::IFNAMSIZ],
}
const _: () = assert!(size_of::<Address>() == 30);

/// `struct npioctl` of `linux/ppp-ioctl.h`.
#[repr(C)]
struct NetworkProtocol {
    protocol: i32,
    mode: i32,
}

/// `PPP_IP` and `NPMODE_PASS`.
static PASS_IPV4: NetworkProtocol = NetworkProtocol { protocol: 0x21, mode: 0 };

nix::ioctl_read!(get_channel, b't', 55, i32);
nix::ioctl_write_ptr!(attach_channel, b't', 56, i32);
nix::ioctl_write_ptr!(connect_unit, b't', 58, i32);
nix::ioctl_readwrite!(new_unit, b't', 62, i32);
nix::ioctl_write_ptr!(set_mode, b't', 75, NetworkProtocol);

/// A session; its interface exists as long as this.
#[derive(Debug)]
pub struct Session {
    // The interface goes with its unit, so that has to be dropped first.
    _unit: File,
    _channel: File,
    _socket: OwnedFd,
    name: String,
}

impl Session {
    /// Has frames of the session `id` from and to the link-layer address `peer`, on the interface
    /// `device`, be those of a new PPP interface, which is down yet. In the namespace of the calling
    /// thread.
    ///
    /// # Errors
    /// What the kernel says; first of all, if it has no PPPoE.
    pub fn open(device: &str, id: u16, peer: [u8; 6]) -> io::Result<Self> {
        let socket = socket()?;
        let mut address = Address {
            family: libc::AF_PPPOX as libc::sa_family_t,
            protocol: 0,
            session: id.to_be(),
            remote: peer,
            device: [0; libc::IFNAMSIZ],
        };
        // Its last byte stays 0.
        let name = device.as_bytes().iter().take(libc::IFNAMSIZ - 1);
        let mut place = address.device;
        place.iter_mut().zip(name).for_each(|(place, byte)| *place = *byte);
        address.device = place;
        let length = size_of::<Address>() as libc::socklen_t;
        // SAFETY: the address is as long as is said, and outlives the call.
        let result =
            unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), length) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        let open = || OpenOptions::new().read(true).write(true).open(DEVICE);
        let (channel, unit) = (open()?, open()?);
        let (mut number, mut index) = (0, -1);
        // SAFETY: each call has a descriptor of the right kind, and a value of the type that it reads or
        // writes, which outlives it.
        unsafe {
            get_channel(socket.as_raw_fd(), &raw mut number)?;
            attach_channel(channel.as_raw_fd(), &raw const number)?;
            new_unit(unit.as_raw_fd(), &raw mut index)?;
            connect_unit(channel.as_raw_fd(), &raw const index)?;
            set_mode(unit.as_raw_fd(), &raw const PASS_IPV4)?;
        }
        Ok(Self { _unit: unit, _channel: channel, _socket: socket, name: format!("ppp{index}") })
    }

    /// Name of the interface.
    pub fn interface(&self) -> &str {
        &self.name
    }
}

/// A socket for a PPPoE session.
///
/// # Errors
/// Most of all if the kernel has none.
pub fn socket() -> io::Result<OwnedFd> {
    // SAFETY: takes three numbers.
    let descriptor =
        unsafe { libc::socket(libc::AF_PPPOX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
