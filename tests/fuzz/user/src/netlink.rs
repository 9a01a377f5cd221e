//! What the kernel says of its links and addresses. The kernel is trusted; a new one may say things
//! that nobody knows yet.

use masq_user::netlink::{Address, Link};
use rtnetlink::{
    packet_core::{NetlinkMessage, NetlinkPayload},
    packet_route::RouteNetlinkMessage,
};

/// Message types.
const NEWLINK: u16 = 16;
const NEWADDR: u16 = 20;

/// A message with this payload, if it can be read.
fn message(kind: u16, payload: &[u8]) -> Option<RouteNetlinkMessage> {
    let length = u32::try_from(16 + payload.len()).ok()?;
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    // No flags, no sequence number, from the kernel.
    bytes.extend([0; 10]);
    bytes.extend(payload);
    match NetlinkMessage::deserialize(&bytes).ok()?.payload {
        NetlinkPayload::InnerMessage(message) => Some(message),
        _ => None,
    }
}

/// The description of a link.
pub fn link(payload: &[u8]) {
    if let Some(RouteNetlinkMessage::NewLink(message)) = message(NEWLINK, payload)
        && let Some(link) = Link::from_message(&message)
    {
        assert!(!link.name.is_empty());
        assert_eq!(link.index, message.header.index);
    }
}

/// The description of an address.
pub fn address(payload: &[u8]) {
    if let Some(RouteNetlinkMessage::NewAddress(message)) = message(NEWADDR, payload)
        && let Some(address) = Address::from_message(&message)
    {
        assert_eq!(address.network, address.network.trunc());
        assert_eq!(address.index, message.header.index);
    }
}
