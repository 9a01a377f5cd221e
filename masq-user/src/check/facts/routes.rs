//! Where the kernel would send what hosts of each LAN send to the Internet: the routing is asked, no
//! packet leaves. The tables themselves are not read: they may have a million routes.

use std::{
    net::{IpAddr, Ipv4Addr},
    pin::pin,
};

use futures_util::StreamExt as _;
use rtnetlink::packet_route::{
    AddressFamily,
    route::{RouteAttribute, RouteMessage},
};

use crate::{
    config::Config,
    netlink::{Netlink, Snapshot},
};

/// An address that is reached by a default route, if by any.
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(1, 1, 1, 1);

/// The way out of one LAN.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outward {
    /// The LAN.
    pub lan: String,
    /// Index of the interface that packets leave by; `None` if there is no way.
    pub by: Option<u32>,
}

/// Asks for each LAN that exists.
pub(super) async fn gather(
    config: &Config,
    netlink: &Netlink,
    snapshot: &Snapshot,
) -> Vec<Outward> {
    let mut found = Vec::new();
    let own = ask(netlink, None).await;
    for lan in &config.lans {
        let Some(link) = snapshot.link(lan) else { continue };
        let host = snapshot
            .addresses_of(link.index)
            .find_map(|a| a.network.hosts().find(|host| *host != a.local));
        let by = match host {
            // As if the packet had come in: rules may ask for interface and source.
            Some(host) => ask(netlink, Some((link.index, host))).await,
            None => None,
        };
        // While nothing is forwarded, only what the router sends itself has a way.
        found.push(Outward { lan: lan.clone(), by: by.or(own) });
    }
    found
}

/// The interface by which a packet leaves that came in by `from`, or is the router's own.
async fn ask(netlink: &Netlink, from: Option<(u32, Ipv4Addr)>) -> Option<u32> {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.destination_prefix_length = 32;
    message.attributes.push(RouteAttribute::Destination(IpAddr::V4(OUTSIDE).into()));
    if let Some((index, source)) = from {
        message.header.source_prefix_length = 32;
        message.attributes.push(RouteAttribute::Source(IpAddr::V4(source).into()));
        message.attributes.push(RouteAttribute::Iif(index));
    }
    let answer = pin!(netlink.handle().route().get(message).execute()).next().await?.ok()?;
    answer.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    })
}
