//! What the full path reads of a packet: IPv4 of any shape, through helpers that work whatever the
//! socket buffer's layout is. TC only.

use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use masq_common::{
    be::{Addr, Id},
    flow::{DCCP, FlowKey, ICMP, TCP, Tuple, UDP, UDP_LITE, has_ids, is_translatable},
    icmp,
    reason::Reason,
    tcp,
};
use network_types::ip::Ipv4Hdr;

use crate::{packet::skb::Skb, sessions::Passed, verdict::Step};

/// What a packet is to the full path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// TCP, UDP, an ICMP query, or a protocol without ports: has a key of its own.
    Flow,
    /// An ICMP reply: like a flow, but never the first packet of one.
    IcmpReply,
    /// An ICMP error, known by the packet it quotes.
    IcmpError,
    /// An ICMP message that does not cross a NAT.
    IcmpOther,
    /// A fragment without transport header.
    LaterFragment,
    /// A protocol that cannot be translated.
    Untranslatable,
}

/// A packet as the full path sees it.
pub struct Full {
    /// Its 5-tuple; without ports if it is no flow.
    pub key: FlowKey,
    /// What it is.
    pub kind: Kind,
    /// Whether it is the first of several fragments.
    pub first_fragment: bool,
    /// TCP flags, 0 for other protocols.
    pub tcp_flags: u8,
    /// Upper half of the TCP sequence number, host byte order; 0 for other protocols.
    pub sequence: u16,
    /// IP identification, as loaded.
    pub identification: u16,
    /// Where the transport header begins, from the start of what the hook sees.
    pub transport: usize,
    /// Length of the largest IP packet that this one will be on the wire.
    pub largest: usize,
    /// Number of packets that this one will be on the wire.
    pub packets: u64,
    /// Their bytes from the IP header on.
    pub bytes: u64,
}

impl Full {
    /// Whether this may be the first packet of a flow: of TCP, only a SYN.
    #[inline(always)]
    pub fn opens(&self) -> Step<()> {
        match self.kind {
            Kind::Flow if self.key.protocol != TCP => Ok(()),
            Kind::Flow if self.is_syn() => Ok(()),
            Kind::Flow => Err(Reason::NoTcpSession),
            Kind::IcmpReply => Err(Reason::NoIcmpSession),
            Kind::IcmpError => Err(Reason::IcmpErrorUnknown),
            Kind::IcmpOther => Err(Reason::IcmpOther),
            Kind::LaterFragment => Err(Reason::FragmentUnknown),
            Kind::Untranslatable => Err(Reason::UnsupportedProtocol),
        }
    }

    /// What passes a half with it.
    #[inline(always)]
    pub fn passed(&self) -> Passed {
        let (tcp_flags, sequence) = (self.tcp_flags, self.sequence);
        Passed { tcp_flags, sequence, packets: self.packets, bytes: self.bytes }
    }

    /// Whether it opens a TCP connection.
    #[inline(always)]
    pub fn is_syn(&self) -> bool {
        self.tcp_flags & (tcp::SYN | tcp::ACK | tcp::RST) == tcp::SYN
    }
}

/// Source and destination address of a packet whose other fields do not matter, or are damaged.
#[inline(always)]
pub fn addresses<const LINK: usize>(skb: &Skb<LINK>) -> Option<(Addr, Addr)> {
    let [source, destination] = skb.load::<[u32; 2]>(LINK + 12)?;
    Some((Addr::from_raw(source), Addr::from_raw(destination)))
}

/// What was read, kept off the stack. The full path runs at TC hooks only, with soft interrupts
/// off, so one for each CPU is enough.
#[btf_map]
static PACKET: PerCpuArray<Full, 1> = PerCpuArray::new();

/// Reads a packet.
#[inline(never)]
pub fn parse<const LINK: usize>(skb: &Skb<LINK>) -> Step<&'static Full> {
    let full = PACKET.get_ptr_mut(0).ok_or(Reason::Malformed)?;
    // SAFETY: this CPU's own element, see above; `read` writes every field before it is read.
    let full = unsafe { &mut *full };
    read(skb, full)?;
    Ok(full)
}

#[inline(always)]
fn read<const LINK: usize>(skb: &Skb<LINK>, full: &mut Full) -> Step<()> {
    let ip: Ipv4Hdr = skb.load(LINK).ok_or(Reason::Malformed)?;
    let header = usize::from(ip.vihl & 0xf) * 4;
    let available = (skb.len() as usize).saturating_sub(LINK);
    let mut length = usize::from(u16::from_be_bytes(ip.tot_len));
    if length == 0 && skb.gso_size() != 0 {
        // A super-packet too long for the field ("BIG TCP").
        length = available;
    }
    if ip.vihl >> 4 != 4 || header < Ipv4Hdr::LEN || length < header || length > available {
        return Err(Reason::Malformed);
    }
    let fragment = u16::from_be_bytes(ip.frags) & 0x3fff;
    let tuple = Tuple {
        source: Addr::from_octets(ip.src_addr),
        destination: Addr::from_octets(ip.dst_addr),
        ..Tuple::default()
    };
    *full = Full {
        key: tuple.key(ip.proto),
        kind: if is_translatable(ip.proto) { Kind::Flow } else { Kind::Untranslatable },
        first_fragment: fragment == 0x2000,
        tcp_flags: 0,
        sequence: 0,
        identification: u16::from_ne_bytes(ip.id),
        transport: LINK + header,
        largest: length,
        packets: 1,
        bytes: length as u64,
    };
    if fragment & 0x1fff == 1 && ip.proto == TCP {
        return Err(Reason::FragmentTiny);
    }
    if fragment & 0x1fff != 0 {
        full.kind = Kind::LaterFragment;
        return Ok(());
    }
    transport(skb, full, length - header)
}

/// Reads the transport header, of whose packet `length` bytes are there.
#[inline(always)]
fn transport<const LINK: usize>(skb: &Skb<LINK>, full: &mut Full, length: usize) -> Step<()> {
    let minimum = match full.key.protocol {
        TCP => 20,
        UDP | ICMP | UDP_LITE => 8,
        DCCP => 12,
        _ => return Ok(()),
    };
    if length < minimum {
        return Err(Reason::Malformed);
    }
    let words: [u16; 4] = skb.load(full.transport).ok_or(Reason::Malformed)?;
    let mut headers = full.transport - LINK + 8;
    if full.key.protocol == ICMP {
        full.kind = read_icmp(full, words);
        return Ok(());
    }
    if !has_ids(full.key.protocol) {
        return Ok(());
    }
    full.key.tuple.source_id = Id::from_raw(words[0]);
    full.key.tuple.destination_id = Id::from_raw(words[1]);
    if full.key.protocol == TCP {
        let [offset, flags]: [u8; 2] = skb.load(full.transport + 12).ok_or(Reason::Malformed)?;
        let header = usize::from(offset >> 4) * 4;
        if header < 20 || header > length {
            return Err(Reason::Malformed);
        }
        full.tcp_flags = flags;
        full.sequence = u16::from_be(words[2]);
        headers = full.transport - LINK + header;
    }
    let segment = skb.gso_size() as usize;
    if segment != 0 {
        full.largest = headers + segment;
        // Every segment gets the headers again.
        let more = u64::from(skb.gso_segs().saturating_sub(1));
        full.packets += more;
        full.bytes += more * headers as u64;
    }
    Ok(())
}

/// Type and identifier of an ICMP message.
#[inline(always)]
fn read_icmp(full: &mut Full, words: [u16; 4]) -> Kind {
    let identifier = Id::from_raw(words[2]);
    match icmp::kind(words[0].to_ne_bytes()[0]) {
        icmp::Kind::Request => {
            full.key.tuple.source_id = identifier;
            Kind::Flow
        }
        icmp::Kind::Reply => {
            full.key.tuple.destination_id = identifier;
            Kind::IcmpReply
        }
        icmp::Kind::Error => Kind::IcmpError,
        icmp::Kind::Other => Kind::IcmpOther,
    }
}
