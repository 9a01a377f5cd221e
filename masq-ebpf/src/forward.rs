//! Where an established packet goes: the kernel's own routing, neighbours and MTU are asked with
//! the addresses that its full path would use, *before* anything is written. What they have
//! answered holds until something changes ([`crate::hops`]). In the driver, what lies below the interfaces
//! comes on top of that ([`crate::links`]).
//!
//! That path routes a packet from the inside before it is translated, and one from outside after:
//! so the source is the one received and the destination the one that leaves.

use core::{ffi::c_void, ptr};

use aya_ebpf::{
    bindings::{
        BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_SUCCESS,
        bpf_fib_lookup as Query,
    },
    btf_maps::PerCpuArray,
    helpers::{bpf_fib_lookup, bpf_redirect, bpf_redirect_neigh},
    macros::btf_map,
};
use masq_common::{
    be::Addr,
    flow::{TCP, Tuple, UDP},
    hop::{Ticket, Way, neighbourhood},
    link::{Arrival, NO_STATION},
    reason::Reason,
    session::SessionHalf,
    settings::{Device, Settings, caps, role},
    time::Tick,
};
use network_types::ip::Ipv4Hdr;

use crate::{
    config,
    generations::{self, Before},
    hops,
    links::{self, Entry},
    packet::{Packet, RAW, fast::Fast, full::Full, skb::Skb},
    sessions::Found,
    verdict::{Outcome, Step},
};

/// Address family of IPv4.
const AF_INET: u8 = 2;

/// A question to the routing and what follows from the answer: too large for the stack.
#[repr(C)]
struct Asked {
    query: [u64; size_of::<Query>() / 8],
    entry: Entry,
    way: Way,
    before: Before,
    /// 0 if there is no `before`, and nothing to remember.
    remembers: u64,
}

/// One for each CPU, since the hooks of one CPU do not interrupt each other.
#[btf_map]
static ASKED: PerCpuArray<Asked, 1> = PerCpuArray::new();

#[inline(always)]
fn scratch() -> Step<&'static mut Asked> {
    let asked = ASKED.get_ptr_mut(0).ok_or(Reason::NoRoute)?;
    // SAFETY: this CPU's own element, see above; nobody keeps it for longer than a hook runs.
    Ok(unsafe { &mut *asked })
}

impl Asked {
    /// The question, with nothing in it.
    #[inline(always)]
    fn query(&mut self) -> &mut Query {
        // Word by word, which the compiler cannot turn into a call of a function that clears byte by
        // byte.
        for word in &mut self.query {
            // SAFETY: a reference can be written through.
            unsafe { ptr::write_volatile(word, 0) };
        }
        // SAFETY: the words are as many as the query has, which any bytes are a value of, and aligned
        // better than it needs.
        unsafe { &mut *self.query.as_mut_ptr().cast() }
    }
}

/// Finds the interface that a packet has come in by, for [`resolve`]; its role, at XDP.
#[inline(always)]
pub fn enter<P: Packet>(packet: &P, settings: &Settings) -> Step<u8> {
    let asked = scratch()?;
    // Before anything is looked up, what the frame is for included: the answer depends on that too.
    // Two fields, since of an `Option` that is `None` the rest would be written without a value.
    asked.remembers = 0;
    if let Some(before) = generations::before(settings) {
        (asked.before, asked.remembers) = (before, 1);
    }
    let entry = &mut asked.entry;
    entry.arrival = packet.arrival();
    // What not every packet has. Together the compiler would clear it by a function that it calls.
    // SAFETY: a reference can be written through.
    unsafe { ptr::write_volatile(&raw mut entry.peer, [0; 6]) };
    (entry.station, entry.role) = (NO_STATION, 0);
    packet.enter(entry)?;
    Ok(entry.role as u8)
}

/// Asks for the way of a packet that has [entered](enter) and that `half` will rewrite; [`remember`]
/// has the answer.
#[inline(always)]
pub fn resolve<P: Packet>(packet: &P, parsed: &Fast, half: &SessionHalf) -> Step<()> {
    let asked = scratch()?;
    if P::XDP {
        follow(asked, half.ticket, parsed.tos)?;
    }
    let entered = asked.entry.ifindex;
    let query = asked.query();
    query.family = AF_INET;
    query.l4_protocol = parsed.protocol;
    let to = half.to();
    query.sport = half.from.source_id.raw();
    query.dport = to.destination_id.raw();
    query.__bindgen_anon_1.tot_len = largest(packet, parsed)?;
    query.__bindgen_anon_2.tos = parsed.tos;
    query.__bindgen_anon_3.ipv4_src = half.from.source.raw();
    query.__bindgen_anon_4.ipv4_dst = to.destination.raw();
    query.ifindex = entered;
    match look_up(packet.context(), query) {
        BPF_FIB_LKUP_RET_SUCCESS => {}
        BPF_FIB_LKUP_RET_FRAG_NEEDED => return Err(Reason::TooBig),
        BPF_FIB_LKUP_RET_NO_NEIGH => return Err(Reason::NoNeighbour),
        _ => return Err(Reason::NoRoute),
    }
    let device = config::device(query.ifindex).ok_or(Reason::OtherDevice)?;
    if !leads_on(&device, half) {
        return Err(Reason::OtherDevice);
    }
    // SAFETY: integers; the kernel has written the largest length that the way has room for, and the
    // address of the next hop.
    let (mtu, next) =
        unsafe { (query.__bindgen_anon_1.mtu_result, query.__bindgen_anon_4.ipv4_dst) };
    let (ifindex, destination, source) = (query.ifindex, query.dmac, query.smac);
    let entry = &asked.entry;
    asked.way = Way {
        arrival: entry.arrival,
        port: ifindex,
        mtu: u32::from(mtu),
        addressee: entry.addressee,
        destination,
        source,
        peer: entry.peer,
        tag: 0,
        session: 0,
        station: entry.station,
        other_station: NO_STATION,
        neighbourhood: neighbourhood(next),
        caps: device.caps,
        zero: 0,
    };
    if P::XDP {
        links::leave(&mut asked.way, ifindex, parsed.tos)?;
    }
    Ok(())
}

/// Whether XDP could send a packet where TC sends those of its session, if TC knows: else the routing
/// need not be asked only for that. Otherwise every packet to a station behind Wi-Fi would ask it.
#[inline(always)]
fn follow(asked: &mut Asked, ticket: Ticket, tos: u8) -> Step<()> {
    match hops::recall(ticket, tos, Arrival::plain(asked.entry.ifindex)) {
        Some(way) if way.caps & Way::BELOW == 0 => {
            asked.way = *way;
            links::leave(&mut asked.way, way.port, tos)
        }
        _ => Ok(()),
    }
}

/// Has a session remember the way that [`resolve`] has just found for a packet of it.
#[inline(always)]
pub fn remember(found: &Found, parsed: &Fast, now: Tick) -> Step<&'static Way> {
    let asked = scratch()?;
    if asked.remembers != 0 {
        found.remember(hops::remember(&asked.way, parsed.tos, asked.before, now));
    }
    Ok(&asked.way)
}

/// The way of a packet, if the session remembers one that holds for it.
#[inline(always)]
pub fn recall<P: Packet>(packet: &P, parsed: &Fast, half: &SessionHalf) -> Option<&'static Way> {
    let way = hops::recall(half.ticket, parsed.tos, packet.arrival())?;
    // Both hooks of an interface may have found it.
    let sends = match P::XDP {
        true => way.caps & caps::XDP_TRANSMIT != 0,
        false => way.caps & Way::BELOW == 0,
    };
    (packet.is_addressed(way) && sends).then_some(way)
}

#[inline(always)]
fn look_up(context: *mut c_void, query: &mut Query) -> u32 {
    // SAFETY: `query` is of the size given and outlives the call.
    unsafe { bpf_fib_lookup(context, query, size_of::<Query>() as i32, 0) as u32 }
}

/// Whether the kernel's way of a packet leads to a device that packets from a LAN may leave by: that
/// has the hook which translates them, or needs none. What is not forwarded may go on.
#[inline(always)]
pub fn is_ready<const LINK: usize>(skb: &Skb<LINK>, source: Addr, destination: Addr) -> bool {
    let Ok(asked) = scratch() else { return true };
    let query = asked.query();
    let [tos, protocol]: [u8; 2] =
        [skb.load(LINK + 1).unwrap_or_default(), skb.load(LINK + 9).unwrap_or_default()];
    // Policy rules may look at the ports. They stand elsewhere behind IP options: then the rules
    // of the kernel see something else than this, as they do for fragments.
    let [sport, dport]: [u16; 2] = match protocol {
        TCP | UDP => skb.load(LINK + Ipv4Hdr::LEN).unwrap_or_default(),
        _ => [0; 2],
    };
    query.family = AF_INET;
    query.l4_protocol = protocol;
    (query.sport, query.dport) = (sport, dport);
    query.__bindgen_anon_2.tos = tos;
    query.__bindgen_anon_3.ipv4_src = source.raw();
    query.__bindgen_anon_4.ipv4_dst = destination.raw();
    query.ifindex = skb.device();
    match look_up(skb.context(), query) {
        BPF_FIB_LKUP_RET_SUCCESS | BPF_FIB_LKUP_RET_NO_NEIGH | BPF_FIB_LKUP_RET_FRAG_NEEDED => {}
        _ => return true,
    }
    config::device(query.ifindex).is_some_and(|device| device.caps & caps::READY != 0)
}

/// The way of a hairpin packet, which the kernel resolves to the last step: it may have no
/// neighbour entry yet, and cannot be left to the kernel to find one.
///
/// Without a field that has invalid values: rustc would put the discriminant of a `Result` there,
/// and describe that in a way of BTF that the kernel refuses.
pub struct HairpinWay {
    ifindex: u32,
    /// As in [`Device::caps`].
    caps: u16,
}

/// Asks for the way of a packet that will be delivered to the inside with the tuple `to`.
#[inline(never)]
pub fn hairpin<const LINK: usize>(skb: &Skb<LINK>, full: &Full, to: &Tuple) -> Step<HairpinWay> {
    let [ttl, protocol]: [u8; 2] = skb.load(LINK + 8).ok_or(Reason::HairpinFailed)?;
    if ttl <= 1 {
        return Err(Reason::HairpinFailed);
    }
    let query = scratch()?.query();
    query.family = AF_INET;
    query.l4_protocol = protocol;
    query.sport = to.source_id.raw();
    query.dport = to.destination_id.raw();
    query.__bindgen_anon_1.tot_len =
        u16::try_from(full.largest).map_err(|_| Reason::HairpinFailed)?;
    query.__bindgen_anon_3.ipv4_src = to.source.raw();
    query.__bindgen_anon_4.ipv4_dst = to.destination.raw();
    query.ifindex = skb.device();
    match look_up(skb.context(), query) {
        BPF_FIB_LKUP_RET_SUCCESS | BPF_FIB_LKUP_RET_NO_NEIGH => {}
        _ => return Err(Reason::HairpinFailed),
    }
    let device = config::device(query.ifindex).ok_or(Reason::HairpinFailed)?;
    if device.role != role::LAN {
        return Err(Reason::HairpinFailed);
    }
    Ok(HairpinWay { ifindex: query.ifindex, caps: device.caps })
}

impl HairpinWay {
    /// Sends the packet on its way.
    #[inline(always)]
    pub fn send<const LINK: usize>(&self, skb: &Skb<LINK>) -> Step<Outcome> {
        let ethernet = self.caps & caps::ETHERNET != 0;
        if ethernet && LINK == RAW {
            // The helper takes a link-layer header off before it puts on the right one.
            skb.add_link_header()?;
        }
        // SAFETY: the helpers take any interface index; without parameters the next hop is the
        // one that the route has.
        let code = unsafe {
            if ethernet {
                bpf_redirect_neigh(self.ifindex, core::ptr::null_mut(), 0, 0)
            } else {
                bpf_redirect(self.ifindex, 0)
            }
        };
        Ok(Outcome::Redirected(Reason::Hairpin, code))
    }
}

/// Length of the largest IP packet that this one will be on the wire. A packet that the kernel
/// would fragment is too big for the fast path as well: it must not be sent as it is.
#[inline(always)]
pub fn largest<P: Packet>(packet: &P, parsed: &Fast) -> Step<u16> {
    match packet.segments() {
        None => Ok(parsed.length),
        Some((size, _)) => {
            let length = Ipv4Hdr::LEN as u32 + u32::from(parsed.header) + size;
            u16::try_from(length).map_err(|_| Reason::TooBig)
        }
    }
}

/// Whether the route leads where the session leads: out of the WAN whose address it has, which
/// may have changed since, or into a LAN.
#[inline(always)]
fn leads_on(device: &Device, half: &SessionHalf) -> bool {
    if half.is_outbound() {
        device.role == role::WAN && device.wan == half.wan && device.address == half.address
    } else {
        device.role == role::LAN
    }
}
