//! What a fast hook reads of a packet: an IPv4 header without options, not fragmented, and the
//! ports. Anything else is left to the full path.

use core::mem::offset_of;
use masq_common::{
    be::{Addr, Id},
    flow::{ICMP, TCP, Tuple, UDP},
    icmp,
    reason::Reason,
    tcp,
};
use network_types::{eth::EthHdr, icmp::Icmpv4Hdr, ip::Ipv4Hdr, tcp::TcpHdr, udp::UdpHdr};

use crate::{packet::Packet, verdict::Step};

/// "More fragments" and the fragment offset, as loaded from a packet.
const FRAGMENT: u16 = 0x3fff_u16.to_be();

/// A packet that the fast hooks can look up.
pub struct Fast {
    /// Its addresses and ports.
    pub tuple: Tuple,
    /// IP protocol number.
    pub protocol: u8,
    /// Total length from the IP header on.
    pub length: u16,
    /// Type-of-service byte.
    pub tos: u8,
    /// Time to live as received.
    pub ttl: u8,
    /// TCP flags; 0 for other protocols.
    pub tcp_flags: u8,
    /// Upper half of the TCP sequence number, host byte order; 0 for other protocols.
    pub sequence: u16,
    /// Length of the transport header.
    pub header: u8,
}

/// A bounds-checked pointer into the packet.
#[inline(always)]
pub fn at<T>((start, end): (usize, usize), offset: usize) -> Option<*mut T> {
    if start + offset + size_of::<T>() > end {
        return None;
    }
    Some((start + offset) as *mut T)
}

/// The field at `offset` of a header that [`at`] has found.
///
/// # Safety
/// `offset + size_of::<T>()` bytes from `header` on have to be accessible.
#[inline(always)]
pub unsafe fn field<H, T: Copy>(header: *const H, offset: usize) -> T {
    // SAFETY: accessible, as the caller promises. The packet may lie at an odd address; every
    // machine with a BPF JIT loads words from there, whereas a load that is declared unaligned
    // would be compiled into one load for each byte.
    unsafe { *header.cast::<u8>().add(offset).cast::<T>() }
}

/// Reads what the lookup needs.
#[inline(always)]
pub fn parse<P: Packet>(packet: &P) -> Step<Fast> {
    packet.obstacle()?;
    let window = packet.window();
    let ip: *const Ipv4Hdr = at(window, P::LINK).ok_or(Reason::Unusual)?;
    // SAFETY: the IP header comes after it.
    unsafe { packet.announces(window.0 as *const EthHdr)? };
    // SAFETY: `at` has checked that the whole header is accessible.
    let (version_length, tos, length, fragment): (u8, u8, u16, u16) = unsafe {
        (
            field(ip, offset_of!(Ipv4Hdr, vihl)),
            field(ip, offset_of!(Ipv4Hdr, tos)),
            u16::from_be(field(ip, offset_of!(Ipv4Hdr, tot_len))),
            field(ip, offset_of!(Ipv4Hdr, frags)),
        )
    };
    if version_length != 0x45 || fragment & FRAGMENT != 0 || !is_intact(ip) || !packet.holds(length)
    {
        return Err(Reason::Unusual);
    }
    // SAFETY: as above.
    let (ttl, protocol, source, destination): (u8, u8, u32, u32) = unsafe {
        (
            field(ip, offset_of!(Ipv4Hdr, ttl)),
            field(ip, offset_of!(Ipv4Hdr, proto)),
            field(ip, offset_of!(Ipv4Hdr, src_addr)),
            field(ip, offset_of!(Ipv4Hdr, dst_addr)),
        )
    };
    let transport = transport::<P>(window, protocol)?;
    if usize::from(length) < Ipv4Hdr::LEN + usize::from(transport.header) {
        return Err(Reason::Unusual);
    }
    let tuple = Tuple {
        source: Addr::from_raw(source),
        destination: Addr::from_raw(destination),
        source_id: transport.source,
        destination_id: transport.destination,
    };
    Ok(Fast {
        tuple,
        protocol,
        length,
        tos,
        ttl,
        tcp_flags: transport.tcp_flags,
        sequence: transport.sequence,
        header: transport.header,
    })
}

/// Whether the checksum of an IP header without options is right (RFC 1812 section 5.2.2: a router
/// must not forward what is not). This hook comes before the kernel, which checks the same.
#[inline(always)]
fn is_intact(ip: *const Ipv4Hdr) -> bool {
    // SAFETY: the caller has checked that the whole header is accessible.
    let words: [u32; 5] =
        unsafe { [field(ip, 0), field(ip, 4), field(ip, 8), field(ip, 12), field(ip, 16)] };
    let sum = words.iter().fold(0_u64, |sum, word| sum + u64::from(*word));
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum == 0xffff
}

/// What is read of the transport header.
struct Transport {
    source: Id,
    destination: Id,
    tcp_flags: u8,
    sequence: u16,
    header: u8,
}

/// Reads the ports or the identifier, and the TCP flags.
#[inline(always)]
fn transport<P: Packet>(window: (usize, usize), protocol: u8) -> Step<Transport> {
    let offset = P::LINK + Ipv4Hdr::LEN;
    match protocol {
        TCP => {
            let tcp: *const TcpHdr = at(window, offset).ok_or(Reason::Unusual)?;
            // SAFETY: `at` has checked that the whole header is accessible.
            let (source, destination, data_offset, tcp_flags): (u16, u16, u8, u8) =
                unsafe { (field(tcp, 0), field(tcp, 2), field(tcp, 12), field(tcp, 13)) };
            // SAFETY: as above.
            let sequence = u16::from_be(unsafe { field(tcp, 4) });
            let header = (data_offset >> 4) * 4;
            if tcp_flags & tcp::SYN != 0 || usize::from(header) < TcpHdr::LEN {
                return Err(Reason::Unusual);
            }
            let (source, destination) = (Id::from_raw(source), Id::from_raw(destination));
            Ok(Transport { source, destination, tcp_flags, sequence, header })
        }
        UDP => {
            let udp: *const UdpHdr = at(window, offset).ok_or(Reason::Unusual)?;
            // SAFETY: as above.
            let (source, destination): (u16, u16) = unsafe { (field(udp, 0), field(udp, 2)) };
            let (source, destination) = (Id::from_raw(source), Id::from_raw(destination));
            let header = UdpHdr::LEN as u8;
            Ok(Transport { source, destination, tcp_flags: 0, sequence: 0, header })
        }
        ICMP => {
            let icmp: *const Icmpv4Hdr = at(window, offset).ok_or(Reason::Unusual)?;
            // SAFETY: as above.
            let (message_type, identifier): (u8, u16) = unsafe { (field(icmp, 0), field(icmp, 4)) };
            let (source, destination) = match icmp::kind(message_type) {
                icmp::Kind::Request => (Id::from_raw(identifier), Id::ZERO),
                icmp::Kind::Reply => (Id::ZERO, Id::from_raw(identifier)),
                icmp::Kind::Error | icmp::Kind::Other => return Err(Reason::Unusual),
            };
            let header = size_of::<Icmpv4Hdr>() as u8;
            Ok(Transport { source, destination, tcp_flags: 0, sequence: 0, header })
        }
        _ => Err(Reason::Unusual),
    }
}
