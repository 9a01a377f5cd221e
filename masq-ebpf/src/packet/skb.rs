//! TC: a socket buffer. Checksums go through the helpers, which know whether the checksum is
//! complete, partial or verified already; the rest of the headers is written directly.

use core::{ffi::c_void, mem::offset_of, ptr};

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR, bpf_xfrm_state},
    helpers::{
        bpf_l3_csum_replace, bpf_l4_csum_replace, bpf_redirect, bpf_skb_change_head,
        bpf_skb_get_xfrm_state, bpf_skb_load_bytes, bpf_skb_pull_data, bpf_skb_store_bytes,
    },
    programs::TcContext,
};
use masq_common::{
    be::Addr,
    checksum::Delta,
    flow::{ICMP, UDP, UDP_LITE, has_ids, pseudo_checksum},
    hop::Way,
    link::Arrival,
    reason::Reason,
    session::SessionHalf,
    settings::{Settings, caps},
};
use network_types::{eth::EthHdr, ip::Ipv4Hdr, tcp::TcpHdr};

use crate::{
    config,
    links::Entry,
    packet::{
        ETHERNET, Packet, RAW,
        fast::{Fast, at, field},
        xdp::{rewrite_ip, rewrite_link, rewrite_ports, set},
    },
    verdict::{Outcome, Step},
};

/// EtherType of IPv4, as the kernel has it in the socket buffer.
const IPV4: u32 = 0x0800_u16.to_be() as u32;
/// EtherTypes of VLAN tags, as loaded from a frame.
const VLAN: [u16; 2] = [0x8100_u16.to_be(), 0x88a8_u16.to_be()];
/// `skb->pkt_type` of a packet for this machine.
const PACKET_HOST: u32 = 0;
/// Where in the control block the pass of a packet stands, two words.
const PASS: usize = 3;
/// Bytes that the fast hooks read at most.
const HEADERS: u32 = (ETHERNET + Ipv4Hdr::LEN + TcpHdr::LEN) as u32;

/// How the helper treats the checksum field of a protocol: of UDP, 0 means that there is none, and
/// of UDP-Lite it must not be.
#[inline(always)]
const fn mangled(protocol: u8) -> u32 {
    if matches!(protocol, UDP | UDP_LITE) { BPF_F_MARK_MANGLED_0 } else { 0 }
}

/// A socket buffer at a TC hook of a device with `LINK` bytes before the IP header.
pub struct Skb<const LINK: usize> {
    skb: *mut __sk_buff,
}

macro_rules! context_fields {
    ($($(#[$doc:meta])+ $name:ident;)+) => {
        $(
            $(#[$doc])+
            #[inline(always)]
            pub fn $name(&self) -> u32 {
                // SAFETY: the context is valid while the program runs. Volatile, so that the
                // compiler does not merge branches into a load from a computed context offset,
                // which the verifier refuses.
                unsafe { ptr::read_volatile(&raw const (*self.skb).$name) }
            }
        )+
    };
}

impl<const LINK: usize> Skb<LINK> {
    /// The socket buffer of a program's context.
    #[inline(always)]
    pub fn new(ctx: &TcContext) -> Self {
        Self { skb: ctx.skb.skb }
    }

    context_fields! {
        /// Length from the first byte that this hook sees.
        len;
        /// For whom it is, as the device saw it.
        pkt_type;
        /// EtherType, network byte order.
        protocol;
        /// Whether a VLAN tag was taken off by the hardware.
        vlan_present;
        /// The interface it came in by; 0 if this machine has made it.
        ingress_ifindex;
        /// Bytes in each segment of a super-packet; 0 for an ordinary packet.
        gso_size;
        /// Number of segments of a super-packet.
        gso_segs;
    }

    /// The interface whose hook this is.
    #[inline(always)]
    pub fn device(&self) -> u32 {
        // SAFETY: as for the other context fields.
        unsafe { ptr::read_volatile(&raw const (*self.skb).ifindex) }
    }

    /// That it was sent to this station, and not merely seen by it.
    #[inline(always)]
    pub fn addressee(&self) -> Step<()> {
        if self.pkt_type() == PACKET_HOST { Ok(()) } else { Err(Reason::NotForUs) }
    }

    /// Whether it is an IPv4 packet.
    #[inline(always)]
    pub fn is_ipv4(&self) -> bool {
        self.protocol() == IPV4
    }

    /// The context, for helpers that take any.
    #[inline(always)]
    pub fn raw(&self) -> *mut __sk_buff {
        self.skb
    }

    /// Copies `T` out of the packet.
    #[inline(always)]
    pub fn load<T: Copy>(&self, offset: usize) -> Option<T> {
        let mut value = core::mem::MaybeUninit::<T>::uninit();
        // SAFETY: the helper writes the whole of `value` or fails.
        unsafe {
            let code = bpf_skb_load_bytes(
                self.skb.cast(),
                offset as u32,
                value.as_mut_ptr().cast(),
                size_of::<T>() as u32,
            );
            (code == 0).then(|| value.assume_init())
        }
    }

    /// Copies `value` into the packet; the caller keeps the checksums right.
    #[inline(always)]
    pub fn store<T: Copy>(&self, offset: usize, value: T) -> Step<()> {
        // SAFETY: the helper reads the whole of `value`, which outlives the call.
        let code = unsafe {
            let from = (&raw const value).cast();
            bpf_skb_store_bytes(self.skb, offset as u32, from, size_of::<T>() as u32, 0)
        };
        if code == 0 { Ok(()) } else { Err(Reason::RewriteFailed) }
    }

    /// Applies a difference to the IP checksum at `offset`.
    #[inline(always)]
    pub fn fix_ip_checksum(&self, offset: usize, delta: Delta) -> Step<()> {
        // SAFETY: size 0 means that `to` is a ready difference.
        let code =
            unsafe { bpf_l3_csum_replace(self.skb, offset as u32, 0, u64::from(delta.raw()), 0) };
        if code == 0 { Ok(()) } else { Err(Reason::RewriteFailed) }
    }

    /// Applies a difference to the transport checksum at `offset`.
    #[inline(always)]
    fn fix_transport_checksum(&self, offset: usize, delta: Delta, flags: u32) -> Step<()> {
        // SAFETY: as above.
        let code = unsafe {
            let (offset, delta) = (offset as u32, u64::from(delta.raw()));
            bpf_l4_csum_replace(self.skb, offset, 0, delta, u64::from(flags))
        };
        if code == 0 { Ok(()) } else { Err(Reason::RewriteFailed) }
    }

    /// Applies a difference of ICMP data to the ICMP checksum; `transport` is where ICMP begins.
    #[inline(always)]
    pub fn fix_icmp_checksum(&self, transport: usize, delta: Delta) -> Step<()> {
        self.fix_transport_checksum(transport + 2, delta, 0)
    }

    /// Applies a difference of TCP options to the TCP checksum; `transport` is where TCP begins.
    #[inline(always)]
    pub fn fix_tcp_checksum(&self, transport: usize, delta: Delta) -> Step<()> {
        self.fix_transport_checksum(transport + 16, delta, 0)
    }

    /// The transport checksum of a session's packet. The address part goes in as pseudo-header,
    /// because that is the only part which a partial checksum has to learn.
    #[inline(always)]
    fn fix_transport(&self, half: &SessionHalf, transport: usize) -> Step<()> {
        let Some(offset) = pseudo_checksum(half.protocol) else {
            if half.protocol == ICMP {
                return self.fix_icmp_checksum(transport, half.id_delta());
            }
            return Ok(());
        };
        let (offset, flags) = (transport + offset, mangled(half.protocol));
        self.fix_transport_checksum(offset, half.addr_delta(), flags | BPF_F_PSEUDO_HDR)?;
        if !has_ids(half.protocol) {
            return Ok(());
        }
        self.fix_transport_checksum(offset, half.id_delta(), flags)
    }

    /// Rewrites the IP addresses of a packet, and nothing of its transport header.
    #[inline(always)]
    pub fn rewrite_addresses(&self, source: Addr, destination: Addr, delta: Delta) -> Step<()> {
        self.fix_ip_checksum(LINK + 10, delta)?;
        self.store(LINK + 12, [source.raw(), destination.raw()])
    }

    /// Rewrites a packet as `half` says, leaving the TTL to the kernel. `transport` is where the
    /// transport header begins.
    #[inline(always)]
    pub fn rewrite(&self, half: &SessionHalf, transport: usize) -> Step<()> {
        self.fix_transport(half, transport)?;
        if half.protocol == ICMP {
            self.store(transport + 4, half.id.raw())?;
        } else if has_ids(half.protocol) {
            let to = half.to();
            self.store(transport, [to.source_id.raw(), to.destination_id.raw()])?;
        }
        let to = half.to();
        self.rewrite_addresses(to.source, to.destination, half.addr_delta())
    }

    /// Whether IPsec has unpacked it from another packet.
    #[inline(always)]
    pub fn was_encrypted(&self) -> bool {
        // SAFETY: all fields are integers; the helper writes the whole of `state` or fails.
        unsafe {
            let mut state: bpf_xfrm_state = core::mem::zeroed();
            let size = size_of::<bpf_xfrm_state>() as u32;
            bpf_skb_get_xfrm_state(self.skb, 0, &raw mut state, size, 0) == 0
        }
    }

    /// Whether the fast path has given this packet its pass, which is taken away. The kernel keeps
    /// other things in the same place, none of which is a random number of 64 bits.
    #[inline(always)]
    pub fn take_pass(&self, settings: &Settings) -> bool {
        // SAFETY: as in `give_pass`.
        unsafe {
            let first = ptr::read_volatile(&raw const (*self.skb).cb[PASS]);
            let second = ptr::read_volatile(&raw const (*self.skb).cb[PASS + 1]);
            if first == 0 || first != settings.pass[0] || second != settings.pass[1] {
                return false;
            }
            ptr::write_volatile(&raw mut (*self.skb).cb[PASS], 0);
        }
        true
    }

    /// Puts an empty link-layer header in front of a packet that has none.
    #[inline(always)]
    pub fn add_link_header(&self) -> Step<()> {
        // SAFETY: the helper makes room for the header or fails.
        let code = unsafe { bpf_skb_change_head(self.skb, ETHERNET as u32, 0) };
        if code == 0 { Ok(()) } else { Err(Reason::RewriteFailed) }
    }

    /// Takes one off the TTL, which has to be greater than one.
    #[inline(always)]
    pub fn age(&self) -> Step<()> {
        let old: [u8; 2] = self.load(LINK + 8).ok_or(Reason::RewriteFailed)?;
        let new = [old[0].wrapping_sub(1), old[1]];
        let delta = Delta::word(u16::from_ne_bytes(old), u16::from_ne_bytes(new));
        self.fix_ip_checksum(LINK + 10, delta)?;
        self.store(LINK + 8, new)
    }

    /// Direct access to the first bytes, after a helper has made the pointers invalid.
    #[inline(always)]
    fn pointers(&self) -> (usize, usize) {
        // SAFETY: the context is valid while the program runs.
        unsafe {
            (
                ptr::read_volatile(&raw const (*self.skb).data) as usize,
                ptr::read_volatile(&raw const (*self.skb).data_end) as usize,
            )
        }
    }

    /// Everything of a fast packet but the link-layer header.
    #[inline(always)]
    fn rewrite_headers(&self, parsed: &Fast, half: &SessionHalf) -> Step<()> {
        let transport = LINK + Ipv4Hdr::LEN;
        self.fix_transport(half, transport)?;
        let window = self.pointers();
        let ip: *mut Ipv4Hdr = at(window, LINK).ok_or(Reason::RewriteFailed)?;
        // The ports, or of ICMP the identifier and the sequence number after it.
        let ports: *mut [u8; 8] = at(window, transport).ok_or(Reason::RewriteFailed)?;
        // SAFETY: `at` has checked that both are accessible.
        unsafe {
            rewrite_ip(ip, half, parsed.ttl);
            if half.protocol == ICMP {
                set(ports, 4, half.id.raw());
            } else {
                rewrite_ports(ports, half);
            }
        }
        Ok(())
    }

    /// The link-layer header that the next device wants: rewritten, added, or left for the kernel
    /// to take off.
    #[inline(always)]
    fn rewrite_link(&self, way: &Way) -> Step<()> {
        if way.caps & caps::ETHERNET == 0 {
            return Ok(());
        }
        if LINK == RAW {
            self.add_link_header()?;
        }
        let eth: *mut EthHdr = at(self.pointers(), 0).ok_or(Reason::RewriteFailed)?;
        // SAFETY: `at` has checked that the header is accessible.
        unsafe {
            rewrite_link(eth, way);
            if LINK == RAW {
                (*eth).ether_type = IPV4 as u16;
            }
        }
        Ok(())
    }
}

impl<const LINK: usize> Packet for Skb<LINK> {
    const LINK: usize = LINK;
    const XDP: bool = false;

    #[inline(always)]
    fn context(&self) -> *mut c_void {
        self.skb.cast()
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        self.device()
    }

    #[inline(always)]
    fn window(&self) -> (usize, usize) {
        let (start, end) = self.pointers();
        let wanted = self.len().min(HEADERS);
        if start + wanted as usize <= end {
            return (start, end);
        }
        // The headers are not in the linear part yet.
        // SAFETY: the helper changes where the data lies, which is asked for again below.
        unsafe { bpf_skb_pull_data(self.skb, wanted) };
        self.pointers()
    }

    #[inline(always)]
    fn holds(&self, length: u16) -> bool {
        usize::from(length) + LINK <= self.len() as usize
    }

    #[inline(always)]
    fn obstacle(&self) -> Step<()> {
        if !self.is_ipv4() {
            return Err(Reason::NotIpv4);
        }
        if self.vlan_present() != 0 {
            return Err(Reason::Tagged);
        }
        Ok(())
    }

    #[inline(always)]
    unsafe fn announces(&self, header: *const EthHdr) -> Step<()> {
        if LINK == RAW {
            return Ok(());
        }
        // SAFETY: as the caller promises.
        let (group, ether_type): (u8, u16) =
            unsafe { (field(header, 0), field(header, offset_of!(EthHdr, ether_type))) };
        if u32::from(ether_type) != IPV4 {
            let tagged = VLAN.contains(&ether_type);
            return Err(if tagged { Reason::Tagged } else { Reason::NotIpv4 });
        }
        if group & 1 != 0 { Err(Reason::NotForUs) } else { Ok(()) }
    }

    #[inline(always)]
    fn arrival(&self) -> Arrival {
        Arrival::plain(self.device())
    }

    #[inline(always)]
    fn enter(&self, entry: &mut Entry) -> Step<()> {
        self.addressee()?;
        let device = config::device(self.device()).ok_or(Reason::NoRole)?;
        entry.ifindex = self.device();
        entry.addressee = device.mac;
        Ok(())
    }

    #[inline(always)]
    fn is_addressed(&self, _way: &Way) -> bool {
        self.pkt_type() == PACKET_HOST
    }

    #[inline(always)]
    fn segments(&self) -> Option<(u32, u32)> {
        match self.gso_size() {
            0 => None,
            size => Some((size, self.gso_segs())),
        }
    }

    #[inline(always)]
    fn give_pass(&self, settings: &Settings) {
        // SAFETY: the context is valid while the program runs, and these words are the programs' own.
        unsafe {
            ptr::write_volatile(&raw mut (*self.skb).cb[PASS], settings.pass[0]);
            ptr::write_volatile(&raw mut (*self.skb).cb[PASS + 1], settings.pass[1]);
        }
    }

    #[inline(always)]
    fn send(&self, parsed: &Fast, half: &SessionHalf, way: &Way) -> Outcome {
        // Both steps fail only when memory runs out, half way: then the packet has to go.
        let written = self.rewrite_headers(parsed, half).and_then(|()| self.rewrite_link(way));
        if let Err(reason) = written {
            return Outcome::Ends(reason);
        }
        let reason = if half.is_outbound() { Reason::OutboundFast } else { Reason::InboundFast };
        // SAFETY: the helper takes any interface index.
        Outcome::Redirected(reason, unsafe { bpf_redirect(way.port, 0) })
    }
}
