//! The TC hooks, where the fast path ends: what comes in by the WAN, what a LAN host sends to the
//! external address, and everything that leaves by the WAN.

use std::net::Ipv4Addr;

use masq_common::settings::Filtering;
use masq_tests::{lab::ROUTER_WAN, program::Hook};

use super::{
    Allowed, Arrival, MTU, Oracle,
    fragments::Left,
    is_external, is_host, is_inside,
    parse::{Flow, Kind, Quote, kind},
    rewrite::Rewrite,
    sessions::Key,
};
use crate::wire::{ICMP, Ip, TCP, UDP, address};

impl Oracle<'_> {
    /// LAN ingress: a packet to the external endpoint of a mapping is translated twice and sent
    /// (RFC 4787 REQ-9); one to the router, or to anywhere else, goes on.
    pub(super) fn lan_in(&self, arrival: Arrival<'_>) -> Allowed {
        let Some(ip) = Ip::read(arrival.packet()) else { return Allowed::untouched() };
        if !is_external(ip.destination) || !arrival.is_for_us() {
            return Allowed::untouched();
        }
        // What the fast path leaves for other reasons than that it knows no way.
        let left = ip.ttl <= 1 || ip.total > MTU || arrival.is_odd(&ip);
        let dropped = || Allowed::dropped().or_if_odd(left, Allowed::untouched());
        let key = match kind(arrival.packet(), &ip) {
            Kind::Later => return self.later_hairpin(arrival, &ip).or_if_odd(left, dropped()),
            Kind::Error(Some(quote)) => return self.error_hairpin(arrival, &ip, &quote),
            Kind::Flow(Flow { key, .. }) if matches!(key.protocol, TCP | UDP) => key,
            _ => return Allowed::untouched(),
        };
        if self.before.holder(key.protocol, key.destination).is_none() {
            return Allowed::untouched();
        }
        let out = match self.after.find(&key) {
            Some(half) if half.outbound => half,
            // A packet like this comes from outside.
            Some(_) => return Allowed::dropped().or(Allowed::untouched()),
            None => return dropped(),
        };
        let Some(back) = self.after.find(&out.to).filter(|half| !half.outbound) else {
            return dropped();
        };
        let to = Key { destination: back.to.destination, ..out.to };
        let Some(mut rewrite) = self.translated(arrival, &ip, &key, &to, true) else {
            return dropped();
        };
        if ip.ttl <= 1 {
            return dropped();
        }
        // The kernel puts the link-layer header on.
        rewrite.send(None);
        Allowed::rewrite(rewrite).or(dropped())
    }

    /// An error about a packet from one LAN host to another one (RFC 5508 REQ-7): out by the
    /// session of the one, in by the session of the other.
    fn error_hairpin(&self, arrival: Arrival<'_>, ip: &Ip, quote: &Quote) -> Allowed {
        let outside = self.quoted(&quote.key, true);
        let Some(to) = outside.and_then(|outside| self.quoted(&outside, false)) else {
            return Allowed::untouched();
        };
        let odd = Allowed::dropped().or_if_odd(arrival.is_odd(ip), Allowed::untouched());
        if !quote.good || ip.ttl <= 1 {
            return odd;
        }
        let mut rewrite = Rewrite::of(arrival.frame);
        rewrite.translate_quote(quote, &to);
        rewrite.translate_addresses(to.destination.0, to.source.0);
        rewrite.send(None);
        Allowed::rewrite(rewrite).or(odd)
    }

    fn later_hairpin(&self, arrival: Arrival<'_>, ip: &Ip) -> Allowed {
        let Some(left) = self.fragments.find(ip) else { return Allowed::untouched() };
        if (left.source, left.destination) == (ip.source, ip.destination) {
            // Of the router's own datagram.
            return Allowed::untouched().or(Allowed::dropped());
        }
        if ip.ttl <= 1 {
            return Allowed::dropped();
        }
        let mut rewrite = Rewrite::of(arrival.frame);
        rewrite.identify(left.id);
        rewrite.translate_addresses(left.source, left.destination);
        rewrite.send(None);
        // It may be too large for the LAN, or not be for it at all.
        Allowed::rewrite(rewrite).or(Allowed::dropped())
    }

    /// WAN ingress: what belongs to a session is translated, the rest is the router's own, unless
    /// it forges an inside source or goes straight to an inside address.
    pub(super) fn wan_in(&self, arrival: Arrival<'_>) -> Allowed {
        let packet = arrival.packet();
        if !arrival.is_for_us() || packet.len() < 20 {
            return Allowed::untouched();
        }
        let (source, destination) = (address(packet, 12), address(packet, 16));
        if is_inside(source) || is_host(destination) {
            return Allowed::dropped();
        }
        if !is_external(destination) {
            return Allowed::untouched();
        }
        if is_external(source) {
            return Allowed::dropped();
        }
        let Some(ip) = Ip::read(packet) else { return Allowed::untouched() };
        let odd = arrival.is_odd(&ip);
        let untouched = Allowed::untouched;
        match kind(packet, &ip) {
            Kind::Damaged | Kind::Error(None) | Kind::OtherMessage | Kind::Foreign => untouched(),
            Kind::Later => self.later(arrival, &ip, untouched()),
            Kind::Error(Some(quote)) => {
                // A quote of ours is of a packet that has left with our address.
                let ours = is_external(quote.key.source.0);
                let Some(to) = self.quoted(&quote.key, false).filter(|_| ours) else {
                    return untouched();
                };
                if !quote.good {
                    return Allowed::dropped().or_if_odd(odd, untouched());
                }
                let mut rewrite = Rewrite::of(arrival.frame);
                rewrite.translate_quote(&quote, &to);
                rewrite.translate_addresses(source, to.source.0);
                Allowed::rewrite(rewrite).or_if_odd(odd || !quote.clean, untouched())
            }
            Kind::Flow(flow) => match self.after.find(&flow.key).filter(|half| !half.outbound) {
                Some(half) => match self.translated(arrival, &ip, &half.from, &half.to, false) {
                    Some(rewrite) => Allowed::rewrite(rewrite),
                    None => Allowed::dropped(),
                }
                .or_if_odd(odd, untouched()),
                // Nobody has this address, so nobody can be answered.
                None if is_nobody(source) => untouched().or(Allowed::dropped()),
                None if self.lets_in(&flow) && !odd => Allowed::default(),
                None => untouched(),
            },
        }
    }

    /// Whether the filtering (RFC 4787 section 5) lets the first packet of a flow in to a mapping,
    /// so that it has to have a session now.
    fn lets_in(&self, flow: &Flow) -> bool {
        flow.opens
            && matches!(flow.key.protocol, TCP | UDP)
            && self.filtering == Filtering::EndpointIndependent
            && self.before.find(&flow.key).is_none()
            && self.before.holder(flow.key.protocol, flow.key.destination).is_some()
    }

    /// WAN egress: from a LAN, translated or dropped; from the router, translated only where a LAN
    /// host's flow is in the way.
    pub(super) fn wan_out(&self, arrival: Arrival<'_>) -> Allowed {
        let packet = arrival.packet();
        if packet.len() < 20 {
            return Allowed::untouched();
        }
        let source = address(packet, 12);
        let from_lan = arrival.hook == Hook::WanOut;
        match (is_external(source), from_lan || is_inside(source)) {
            // The fast path has translated it already.
            (true, true) => Allowed::untouched(),
            (false, true) => self.inside(arrival),
            (_, false) => self.own(arrival),
        }
    }

    fn inside(&self, arrival: Arrival<'_>) -> Allowed {
        let packet = arrival.packet();
        let Some(ip) = Ip::read(packet) else { return Allowed::dropped() };
        let odd = arrival.is_odd(&ip);
        match kind(packet, &ip) {
            Kind::Damaged | Kind::Error(None) | Kind::OtherMessage | Kind::Foreign => {
                Allowed::dropped()
            }
            // A datagram of another way leaves us nothing.
            Kind::Later
                if self.fragments.find(&ip).is_some_and(|left| !is_external(left.source)) =>
            {
                Allowed::dropped()
            }
            Kind::Later => self.later(arrival, &ip, Allowed::dropped()),
            Kind::Error(Some(quote)) => {
                // It goes to whoever has sent the packet that it is about.
                let back = quote.key.source.0 == ip.destination;
                let Some(to) = self.quoted(&quote.key, true) else { return Allowed::dropped() };
                if !back || !quote.good || quote.source_route {
                    return Allowed::dropped();
                }
                let mut rewrite = Rewrite::of(arrival.frame);
                rewrite.translate_quote(&quote, &to);
                rewrite.translate_addresses(ROUTER_WAN, ip.destination);
                Allowed::rewrite(rewrite).or_if_odd(odd || !quote.clean, Allowed::dropped())
            }
            Kind::Flow(flow) => match self.after.find(&flow.key) {
                Some(half) if half.outbound => {
                    match self.translated(arrival, &ip, &half.from, &half.to, true) {
                        Some(rewrite) => Allowed::rewrite(rewrite),
                        None => Allowed::dropped(),
                    }
                    .or_if_odd(odd, Allowed::dropped())
                }
                // A forged source: packets like this come from outside.
                Some(_) => Allowed::dropped(),
                // Whoever may open a flow has a session now.
                None if flow.opens && !odd && !is_martian(ip.source) && self.is_free(&flow) => {
                    Allowed::default()
                }
                None => Allowed::dropped(),
            },
        }
    }

    /// A packet of the router itself.
    fn own(&self, arrival: Arrival<'_>) -> Allowed {
        let packet = arrival.packet();
        let Some(ip) = Ip::read(packet) else { return Allowed::untouched() };
        let odd = arrival.is_odd(&ip);
        match kind(packet, &ip) {
            Kind::Error(Some(quote)) => {
                let Some(to) = self.quoted(&quote.key, true) else { return Allowed::untouched() };
                let mut rewrite = Rewrite::of(arrival.frame);
                rewrite.translate_quote(&quote, &to);
                Allowed::rewrite(rewrite).or_if_odd(odd || !quote.clean, Allowed::untouched())
            }
            // An answer to a ping cannot be mistaken for a LAN host's.
            Kind::Flow(flow) if flow.key.protocol == ICMP && !flow.opens => Allowed::untouched(),
            // Without ports there is nothing to translate.
            Kind::Flow(flow) if !has_ports(flow.key.protocol) => Allowed::untouched(),
            Kind::Flow(flow) if is_external(ip.source) => {
                let collides = self.before.find(&flow.key.reversed()).is_some();
                match self.after.find(&flow.key) {
                    // From the router to itself, by way of two hosts' mappings: leaves by no WAN.
                    Some(half) if !half.outbound => Allowed::untouched(),
                    Some(half) => match self.translated(arrival, &ip, &half.from, &half.to, true) {
                        Some(rewrite) => Allowed::rewrite(rewrite),
                        None => Allowed::untouched(),
                    }
                    .or_if_odd(odd, Allowed::untouched()),
                    None if collides && flow.opens && !odd => Allowed::default(),
                    None => Allowed::untouched(),
                }
            }
            Kind::Later if is_external(ip.source) => {
                // The first one may have got another identification. (Its addresses stay.)
                let stays =
                    |left: &Left| left.source == ip.source && left.destination == ip.destination;
                match self.fragments.find(&ip) {
                    Some(left) if stays(left) => self.later(arrival, &ip, Allowed::untouched()),
                    _ => Allowed::untouched(),
                }
            }
            _ => Allowed::untouched(),
        }
    }

    /// A fragment without ports goes the way of the first one.
    fn later(&self, arrival: Arrival<'_>, ip: &Ip, unknown: Allowed) -> Allowed {
        let Some(left) = self.fragments.find(ip) else { return unknown };
        let mut rewrite = Rewrite::of(arrival.frame);
        rewrite.identify(left.id);
        rewrite.translate_addresses(left.source, left.destination);
        Allowed::rewrite(rewrite).or_if_odd(arrival.is_odd(ip), unknown)
    }

    /// What the packet that an ICMP error quotes was before it was translated: it is the answer
    /// that half of a session is there for. `outbound` is the direction of that half.
    fn quoted(&self, quoted: &Key, outbound: bool) -> Option<Key> {
        let half = self.before.find(&quoted.reversed())?;
        (half.outbound == outbound).then(|| half.to.reversed())
    }

    /// Whether a new flow is in nobody's way. Of a protocol without ports, one inside host at a time
    /// can talk to a remote one.
    fn is_free(&self, flow: &Flow) -> bool {
        let external = Key { source: (ROUTER_WAN, 0), ..flow.key };
        has_ports(flow.key.protocol) || self.before.find(&external.reversed()).is_none()
    }
}

/// Whether flows of a protocol are told apart by more than their addresses.
fn has_ports(protocol: u8) -> bool {
    matches!(protocol, TCP | UDP | ICMP)
}

/// Whether an address cannot be that of a host outside (RFC 1812 section 5.3.7).
fn is_nobody(source: Ipv4Addr) -> bool {
    matches!(source.octets()[0], 0 | 127 | 224..) || is_external(source)
}

/// Whether no router forwards packets with this source: reserved (RFC 1812 section 5.3.7), or
/// link-local (RFC 3927 section 2.7).
fn is_martian(source: Ipv4Addr) -> bool {
    source.octets()[0] >= 240 || source.is_link_local()
}
