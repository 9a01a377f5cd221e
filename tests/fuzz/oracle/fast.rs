//! The fast path, at every ingress hook: established flows are translated and sent on, one hop
//! further; all else is left as it is.

use std::net::Ipv4Addr;

use masq_tests::{
    lab::{
        HOST_A, HOST_B, ISP, MAC_HOST_A, MAC_HOST_B, MAC_ISP, MAC_ROUTER_LAN, MAC_ROUTER_WAN,
        ROUTER_WAN,
    },
    program::{INNER_ROUTER, MAC_INNER_ROUTER, mac},
};

use super::{
    Allowed, Arrival, MTU, Oracle, is_external, is_host, is_inside,
    parse::{Kind, kind},
    rewrite::Rewrite,
    sessions::Half,
};
use crate::wire::{ICMP, Ip, TCP, UDP, header_is_good};

impl Oracle<'_> {
    /// The end of a frame at an ingress hook; `rest` is what may become of it if the fast path
    /// leaves it.
    pub(super) fn fast(&self, arrival: Arrival<'_>, rest: Allowed) -> Allowed {
        let Some((half, odd)) = self.established(arrival) else { return rest };
        // Where the fast path could not send it, what follows it has to.
        let Some(way) = Way::of(half) else { return rest };
        let mut rewrite = Rewrite::of(arrival.frame);
        rewrite.translate(&half.from, &half.to);
        rewrite.send(Some(way.link_addresses));
        Allowed::rewrite(rewrite).or_if_odd(odd || !way.certain, rest)
    }

    /// The half of a session that the fast path may use for a frame, and whether it may not.
    fn established(&self, arrival: Arrival<'_>) -> Option<(&Half, bool)> {
        let ip = Ip::read(arrival.packet()).filter(|ip| ip.header == 20 && ip.is_whole())?;
        let Kind::Flow(flow) = kind(arrival.packet(), &ip) else { return None };
        let half = self.before.find(&flow.key)?;
        let fits = arrival.is_for_us()
            && !flow.syn
            && half.outbound == arrival.hook.is_from_lan()
            // A hairpin packet never comes by the WAN, whoever it claims to be from.
            && (half.outbound || !is_external(flow.key.source.0))
            && !half.own
            && ip.ttl > 1
            && header_is_good(&arrival.packet()[..ip.header])
            && has_fast_path(ip.protocol)
            && ip.total <= MTU;
        fits.then(|| (half, arrival.is_odd(&ip)))
    }
}

/// Other protocols take the kernel's way.
fn has_fast_path(protocol: u8) -> bool {
    matches!(protocol, TCP | UDP | ICMP)
}

/// Where the routing of the bench leads.
struct Way {
    link_addresses: [[u8; 6]; 2],
    /// Whether it leads there for certain, or may refuse.
    certain: bool,
}

impl Way {
    fn of(half: &Half) -> Option<Self> {
        let destination = half.to.destination.0;
        if half.outbound {
            // The documentation prefix of the servers is plain; other addresses may be special.
            let certain = destination.octets()[..3] == [198, 51, 100];
            let on_link = destination.octets()[..3] == ROUTER_WAN.octets()[..3];
            let leads_out = !is_inside(destination) && (!on_link || destination == ISP);
            let link_addresses = [MAC_ISP, MAC_ROUTER_WAN].map(mac);
            return (leads_out && half.to.source.0 == ROUTER_WAN)
                .then_some(Self { link_addresses, certain });
        }
        let station = station(destination).filter(|_| is_host(destination))?;
        Some(Self { link_addresses: [station, MAC_ROUTER_LAN].map(mac), certain: true })
    }
}

/// The link-layer address of a station on the LAN that the router knows.
fn station(address: Ipv4Addr) -> Option<&'static str> {
    match address {
        HOST_A => Some(MAC_HOST_A),
        HOST_B => Some(MAC_HOST_B),
        INNER_ROUTER => Some(MAC_INNER_ROUTER),
        _ => None,
    }
}
