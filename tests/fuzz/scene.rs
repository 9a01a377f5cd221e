//! The sessions that are there when a case begins: of every protocol, with several hosts, towards
//! several remote endpoints, and one of the router's own. The frames of the corpus belong to them.

use std::net::Ipv4Addr;

use masq_common::{
    flow::{ICMP, TCP, UDP},
    session::{SessionPair, flags},
};
use masq_tests::{
    lab::{HOST_A, HOST_B, ROUTER_WAN, SERVER_1, SERVER_2},
    packet::Endpoint,
    program::{INNER_ROUTER, pair},
};

/// Protocol, inside endpoint, external port, remote endpoint.
const SESSIONS: [(u8, Endpoint, u16, Endpoint); 14] = [
    (UDP, (HOST_A, 40000), 61001, (SERVER_1, 53)),
    (UDP, (HOST_A, 40000), 61001, (SERVER_1, 9)),
    (UDP, (HOST_A, 40000), 61001, (SERVER_1, 4500)),
    (UDP, (HOST_A, 40000), 61001, (SERVER_1, 7000)),
    (UDP, (HOST_A, 40000), 61001, (SERVER_1, 33434)),
    (UDP, (HOST_A, 15780), 50000, (SERVER_1, 3478)),
    // The two ends of a hairpin.
    (UDP, (HOST_A, 40000), 61001, (ROUTER_WAN, 61099)),
    (UDP, (HOST_B, 45000), 61099, (ROUTER_WAN, 61001)),
    (UDP, (INNER_ROUTER, 500), 500, (SERVER_2, 500)),
    (TCP, (HOST_A, 50001), 62001, (SERVER_1, 443)),
    (TCP, (HOST_B, 50002), 62002, (SERVER_2, 80)),
    (TCP, (INNER_ROUTER, 1000), 1001, (SERVER_1, 22)),
    (ICMP, (HOST_A, 4660), 48879, (SERVER_1, 0)),
    (ICMP, (HOST_B, 7), 7, (SERVER_2, 0)),
];

/// The router's port of the last session but one of TCP is a LAN host's towards the same remote
/// endpoint, so that the router's flow goes by another one.
const OWN: (u8, Endpoint, u16, Endpoint) = (TCP, (ROUTER_WAN, 62002), 62003, (SERVER_2, 80));

/// Addresses that mean something in the bench.
pub const ADDRESSES: [Ipv4Addr; 17] = [
    HOST_A,
    HOST_B,
    INNER_ROUTER,
    masq_tests::lab::ROUTER_LAN,
    ROUTER_WAN,
    ROUTER_WAN,
    SERVER_1,
    SERVER_2,
    masq_tests::lab::ISP,
    Ipv4Addr::new(192, 168, 1, 255),
    Ipv4Addr::new(203, 0, 113, 77),
    Ipv4Addr::UNSPECIFIED,
    Ipv4Addr::BROADCAST,
    Ipv4Addr::LOCALHOST,
    Ipv4Addr::new(224, 0, 0, 1),
    Ipv4Addr::new(10, 1, 2, 3),
    Ipv4Addr::new(169, 254, 7, 7),
];

/// The sessions.
pub fn sessions() -> Vec<SessionPair> {
    let plain = SESSIONS
        .map(|(protocol, inside, external, remote)| pair(protocol, inside, external, remote));
    let (protocol, inside, external, remote) = OWN;
    let mut own = pair(protocol, inside, external, remote);
    own.outbound.flags |= flags::OWN;
    own.inbound.flags |= flags::OWN;
    plain.into_iter().chain([own]).collect()
}

/// One of the tuples of those sessions, as a packet has it: protocol, source, destination. Of an
/// ICMP query one of the ports is its identifier and the other one is 0.
pub fn tuple(index: usize) -> (u8, Endpoint, Endpoint) {
    let (protocol, inside, external, remote) = SESSIONS[index / 4 % SESSIONS.len()];
    let external = (ROUTER_WAN, external);
    match index % 4 {
        0 => (protocol, inside, remote),
        1 => (protocol, remote, external),
        2 => (protocol, external, remote),
        _ => (protocol, remote, inside),
    }
}

/// How many [`tuple`]s there are.
pub const TUPLES: usize = SESSIONS.len() * 4;
