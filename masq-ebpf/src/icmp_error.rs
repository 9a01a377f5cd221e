//! ICMP errors: known by the packet they quote, which is translated back with them (RFC 5508
//! section 4). They never create, refresh or end a session.
//!
//! One whose checksum is wrong, or that of the header it quotes, is dropped (RFC 5508 REQ-3): nobody
//! after us could tell. The transport checksum of the quote is not looked at, only corrected.
//!
//! Inside the quote the checksums are corrected as far as they are quoted. The change of an IP
//! header and of its own checksum cancel out, so only what changes behind it counts for the
//! checksum of the ICMP message.

use masq_common::{
    be::{Addr, Id},
    checksum::Delta,
    flow::{FlowKey, ICMP, Tuple, UDP, UDP_LITE, has_ids, pseudo_checksum},
    icmp,
    reason::Reason,
};
use network_types::ip::Ipv4Hdr;

use crate::{
    forward::{self, HairpinWay},
    packet::{full::Full, options, skb::Skb, sum},
    sessions,
    verdict::Step,
};

/// The packet that an ICMP error quotes.
struct Quote {
    /// Its 5-tuple.
    key: FlowKey,
    /// Where its IP header begins.
    ip: usize,
    /// Where its transport header begins.
    transport: usize,
    /// Where the identifier of an ICMP query stands, if it is one.
    request: bool,
}

/// Reads the quote of an ICMP error.
#[inline(always)]
fn quote<const LINK: usize>(skb: &Skb<LINK>, full: &Full) -> Step<Quote> {
    let start = full.transport + 8;
    let ip: Ipv4Hdr = skb.load(start).ok_or(Reason::Malformed)?;
    let header = usize::from(ip.vihl & 0xf) * 4;
    if ip.vihl >> 4 != 4 || header < Ipv4Hdr::LEN {
        return Err(Reason::Malformed);
    }
    if u16::from_be_bytes(ip.frags) & 0x1fff != 0 {
        // Quotes a later fragment, which has no ports.
        return Err(Reason::IcmpErrorUnknown);
    }
    let transport = start + header;
    let mut tuple = Tuple {
        source: Addr::from_octets(ip.src_addr),
        destination: Addr::from_octets(ip.dst_addr),
        ..Tuple::default()
    };
    let mut request = false;
    // What stands behind the packet is not of it.
    let needed = if has_ids(ip.proto) { 8 } else { 0 };
    if transport + needed > LINK + full.bytes as usize {
        return Err(Reason::Malformed);
    }
    if has_ids(ip.proto) {
        let words: [u16; 4] = skb.load(transport).ok_or(Reason::Malformed)?;
        if ip.proto == ICMP {
            request = match icmp::kind(words[0].to_ne_bytes()[0]) {
                icmp::Kind::Request => true,
                icmp::Kind::Reply => false,
                // There are no errors about errors (RFC 1122 section 3.2.2).
                icmp::Kind::Error | icmp::Kind::Other => return Err(Reason::IcmpErrorUnknown),
            };
            let identifier = Id::from_raw(words[2]);
            let ids = if request { (identifier, Id::ZERO) } else { (Id::ZERO, identifier) };
            (tuple.source_id, tuple.destination_id) = ids;
        } else {
            tuple.source_id = Id::from_raw(words[0]);
            tuple.destination_id = Id::from_raw(words[1]);
        }
    }
    Ok(Quote { key: tuple.key(ip.proto), ip: start, transport, request })
}

/// That the checksums of the message and of the quoted IP header are right.
#[inline(always)]
fn verify<const LINK: usize>(skb: &Skb<LINK>, full: &Full, quote: &Quote) -> Step<()> {
    let message = LINK + full.bytes as usize - full.transport;
    // Of a message in fragments, this is only the first one.
    let right = full.first_fragment || sum::is_right(skb, full.transport, message);
    if right && sum::is_right(skb, quote.ip, quote.transport - quote.ip) {
        Ok(())
    } else {
        Err(Reason::IcmpBadChecksum)
    }
}

/// What the quote becomes: the packet that it quotes has passed the half whose answers have its
/// tuple reversed.
/// `outbound` is the direction of that half: the error is about a packet of the other one.
#[inline(always)]
fn original(quoted: &FlowKey, outbound: bool) -> Step<Tuple> {
    let half = sessions::find(&quoted.tuple.reversed(), quoted.protocol)
        .ok_or(Reason::IcmpErrorUnknown)?
        .half;
    if half.is_outbound() != outbound {
        return Err(Reason::IcmpErrorUnknown);
    }
    Ok(half.to().reversed())
}

/// An error from outside about a packet that we have translated; [`Reason::NoSession`] if it is
/// about one of the router's own.
#[inline(never)]
pub fn inbound<const LINK: usize>(skb: &Skb<LINK>, full: &Full) -> Step<()> {
    let quote = quote(skb, full).map_err(|_| Reason::NoSession)?;
    let new = original(&quote.key, false).map_err(|_| Reason::NoSession)?;
    // A quote of ours is of a packet that has left with the address which the error came to.
    if quote.key.tuple.source != full.key.tuple.destination {
        return Err(Reason::NoSession);
    }
    verify(skb, full, &quote)?;
    translate(skb, full, &quote, &new)?;
    let outer = full.key.tuple;
    let delta = Delta::addr(outer.destination, new.source);
    skb.rewrite_addresses(outer.source, new.source, delta)
}

/// An error from the inside about a packet that came from outside. `external` is the address it
/// leaves with, whoever on the inside has sent it.
#[inline(never)]
pub fn outbound<const LINK: usize>(skb: &Skb<LINK>, full: &Full, external: Addr) -> Step<()> {
    let quote = quote(skb, full)?;
    let new = original(&quote.key, true)?;
    // It goes to whoever has sent the packet that it is about.
    if quote.key.tuple.source != full.key.tuple.destination {
        return Err(Reason::IcmpErrorUnknown);
    }
    verify(skb, full, &quote)?;
    if options::has_source_route(skb, quote.ip, quote.transport) {
        return Err(Reason::SourceRoute);
    }
    translate(skb, full, &quote, &new)?;
    let outer = full.key.tuple;
    let delta = Delta::addr(outer.source, external);
    skb.rewrite_addresses(external, outer.destination, delta)
}

/// An error from one LAN host about a packet that came from another one by way of the external
/// address (RFC 5508 REQ-7): out by the one's session and in by the other's. The way that it takes
/// then; [`Reason::NoSession`] if it is about no such packet.
#[inline(never)]
pub fn hairpin<const LINK: usize>(skb: &Skb<LINK>, full: &Full) -> Step<HairpinWay> {
    let quote = quote(skb, full).map_err(|_| Reason::NoSession)?;
    let outside = original(&quote.key, true).map_err(|_| Reason::NoSession)?;
    let new = original(&outside.key(quote.key.protocol), false).map_err(|_| Reason::NoSession)?;
    verify(skb, full, &quote)?;
    let outer = full.key.tuple;
    // It comes from the external address that the quoted packet was sent to, and goes back to its
    // sender.
    let (source, destination) = (new.destination, new.source);
    let to = Tuple { source, destination, ..Tuple::default() };
    let way = forward::hairpin(skb, full, &to)?;
    translate(skb, full, &quote, &new)?;
    let delta = Delta::addr(outer.source, source).and(Delta::addr(outer.destination, destination));
    skb.rewrite_addresses(source, destination, delta)?;
    Ok(way)
}

/// The kernel's own error about a packet from outside that we had translated already: only the
/// quote is still in inside terms. [`Reason::Own`] if it is about another packet.
#[inline(never)]
pub fn own<const LINK: usize>(skb: &Skb<LINK>, full: &Full) -> Step<()> {
    let quote = quote(skb, full).map_err(|_| Reason::Own)?;
    let new = original(&quote.key, true).map_err(|_| Reason::Own)?;
    translate(skb, full, &quote, &new)
}

/// Rewrites the quote, and the checksum of the ICMP message with it.
#[inline(never)]
fn translate<const LINK: usize>(
    skb: &Skb<LINK>,
    full: &Full,
    quote: &Quote,
    new: &Tuple,
) -> Step<()> {
    let old = &quote.key.tuple;
    let addresses =
        Delta::addr(old.source, new.source).and(Delta::addr(old.destination, new.destination));
    let ids = Delta::id(old.source_id, new.source_id)
        .and(Delta::id(old.destination_id, new.destination_id));
    let check: u16 = skb.load(quote.ip + 10).ok_or(Reason::Malformed)?;
    skb.store(quote.ip + 10, addresses.apply(check))?;
    skb.store(quote.ip + 12, [new.source.raw(), new.destination.raw()])?;

    let protocol = quote.key.protocol;
    let mut outer = ids;
    let (offset, delta) = match pseudo_checksum(protocol) {
        Some(offset) => (offset, addresses.and(ids)),
        None if protocol == ICMP => (2, ids),
        None => return skb.fix_icmp_checksum(full.transport, outer),
    };
    // Routers may quote as little as eight bytes: then the checksum of TCP is not there.
    let end = LINK + full.bytes as usize;
    let quoted = quote.transport + offset + 2 <= end;
    if let Some(old) = quoted.then(|| skb.load::<u16>(quote.transport + offset)).flatten() {
        let new = match protocol {
            UDP | UDP_LITE => delta.apply_udp(old),
            _ => delta.apply(old),
        };
        skb.store(quote.transport + offset, new)?;
        outer = outer.and(Delta::word(old, new));
    }
    if protocol == ICMP {
        let id = if quote.request { new.source_id } else { new.destination_id };
        skb.store(quote.transport + 4, id.raw())?;
    } else if has_ids(protocol) {
        skb.store(quote.transport, [new.source_id.raw(), new.destination_id.raw()])?;
    }
    skb.fix_icmp_checksum(full.transport, outer)
}
