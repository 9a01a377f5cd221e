//! ICMP errors: known by the packet they quote, which is translated back with them (RFC 5508
//! section 4). They never create, refresh or end a session.
//!
//! Inside the quote the checksums are corrected as far as they are quoted. The change of an IP
//! header and of its own checksum cancel out, so only what changes behind it counts for the
//! checksum of the ICMP message.

use masq_common::{
    be::{Addr, Id},
    checksum::Delta,
    flow::{FlowKey, ICMP, TCP, Tuple, UDP},
    icmp,
    reason::Reason,
};
use network_types::ip::Ipv4Hdr;

use crate::{
    packet::{full::Full, skb::Skb},
    sessions,
    verdict::{Outcome, Step},
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
    let words: [u16; 4] = skb.load(transport).ok_or(Reason::Malformed)?;
    let mut tuple = Tuple {
        source: Addr::from_octets(ip.src_addr),
        destination: Addr::from_octets(ip.dst_addr),
        source_id: Id::from_raw(words[0]),
        destination_id: Id::from_raw(words[1]),
    };
    let mut request = false;
    match ip.proto {
        TCP | UDP => {}
        ICMP => {
            request = icmp::kind(words[0].to_ne_bytes()[0]) == icmp::Kind::Request;
            let identifier = Id::from_raw(words[2]);
            let ids = if request { (identifier, Id::ZERO) } else { (Id::ZERO, identifier) };
            (tuple.source_id, tuple.destination_id) = ids;
        }
        _ => return Err(Reason::IcmpErrorUnknown),
    }
    Ok(Quote { key: tuple.key(ip.proto), ip: start, transport, request })
}

/// What the quote becomes: the packet that it quotes has passed the half whose answers have its
/// tuple reversed.
/// `outbound` is the direction of that half: the error is about a packet of the other one.
#[inline(always)]
fn original(quote: &Quote, outbound: bool) -> Step<Tuple> {
    let half = sessions::find(&quote.key.reversed()).ok_or(Reason::IcmpErrorUnknown)?.half;
    if half.is_outbound() != outbound {
        return Err(Reason::IcmpErrorUnknown);
    }
    Ok(half.to.reversed())
}

/// An error from outside about a packet that we have translated; [`Reason::NoSession`] if it is
/// about one of the router's own.
#[inline(never)]
pub fn inbound<const LINK: usize>(skb: &Skb<LINK>, full: &Full) -> Step<Outcome> {
    let quote = quote(skb, full).map_err(|_| Reason::NoSession)?;
    let new = original(&quote, false).map_err(|_| Reason::NoSession)?;
    // A quote of ours is of a packet that has left with the address which the error came to.
    if quote.key.tuple.source != full.key.tuple.destination {
        return Err(Reason::NoSession);
    }
    translate(skb, full, &quote, &new)?;
    let outer = full.key.tuple;
    let delta = Delta::addr(outer.destination, new.source);
    skb.rewrite_addresses(outer.source, new.source, delta)?;
    Ok(Outcome::Ends(Reason::IcmpErrorInbound))
}

/// An error from the inside about a packet that came from outside. `external` is the address it
/// leaves with, whoever on the inside has sent it.
#[inline(never)]
pub fn outbound<const LINK: usize>(skb: &Skb<LINK>, full: &Full, external: Addr) -> Step<Outcome> {
    let quote = quote(skb, full)?;
    let new = original(&quote, true)?;
    translate(skb, full, &quote, &new)?;
    let outer = full.key.tuple;
    let delta = Delta::addr(outer.source, external);
    skb.rewrite_addresses(external, outer.destination, delta)?;
    Ok(Outcome::Ends(Reason::IcmpErrorOutbound))
}

/// The kernel's own error about a packet from outside that we had translated already: only the
/// quote is still in inside terms. [`Reason::Own`] if it is about another packet.
#[inline(never)]
pub fn own<const LINK: usize>(skb: &Skb<LINK>, full: &Full) -> Step<Outcome> {
    let quote = quote(skb, full).map_err(|_| Reason::Own)?;
    let new = original(&quote, true).map_err(|_| Reason::Own)?;
    translate(skb, full, &quote, &new)?;
    Ok(Outcome::Ends(Reason::IcmpErrorOwn))
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

    let mut outer = ids;
    let (offset, delta) = match quote.key.protocol {
        TCP => (16, addresses.and(ids)),
        UDP => (6, addresses.and(ids)),
        _ => (2, ids),
    };
    // Routers may quote as little as eight bytes: then the checksum of TCP is not there.
    let end = LINK + full.bytes as usize;
    let quoted = quote.transport + offset + 2 <= end;
    if let Some(old) = quoted.then(|| skb.load::<u16>(quote.transport + offset)).flatten() {
        let new = match quote.key.protocol {
            UDP => delta.apply_udp(old),
            _ => delta.apply(old),
        };
        skb.store(quote.transport + offset, new)?;
        outer = outer.and(Delta::word(old, new));
    }
    if quote.key.protocol == ICMP {
        let id = if quote.request { new.source_id } else { new.destination_id };
        skb.store(quote.transport + 4, id.raw())?;
    } else {
        skb.store(quote.transport, [new.source_id.raw(), new.destination_id.raw()])?;
    }
    skb.fix_icmp_checksum(full.transport, outer)
}
