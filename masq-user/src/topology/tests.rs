//! Made-up machines, from the plain one to PPPoE on a VLAN.

use masq_common::{
    link::{Arrival, DISCOVERY, Exit, Leg, exit},
    settings::caps,
};

use super::{Kind, Tables, Topology, describe, resolve};
use crate::netlink::{BridgePort, Layer, Link, Snapshot, Stack, Vlan, pppoe::Session};

const PEER: [u8; 6] = [2, 0, 0, 0, 0x0b, 1];
const FORWARDING: BridgePort =
    BridgePort { forwarding: true, learning: true, has_backup: false, locked: false };

fn link(index: u32, name: &str) -> Link {
    Link {
        index,
        name: name.into(),
        layer: Layer::Ethernet,
        mac: [2, 0, 0, 0, 0, index as u8],
        mtu: 1500,
        kind: None,
        hardware: true,
        xdp: None,
        master: None,
        up: true,
        qdisc: None,
        stack: Stack::default(),
    }
}

fn vlan(index: u32, name: &str, parent: u32, id: u16) -> Link {
    let tag = Vlan { id, ordinary: true, priorities: 5 << 18 };
    let stack = Stack { parent: Some(parent), vlan: Some(tag), ..Stack::default() };
    Link { kind: Some("vlan".into()), hardware: false, stack, ..link(index, name) }
}

fn port(link: Link, bridge: u32) -> Link {
    let stack = Stack { port: Some(FORWARDING), ..link.stack };
    Link { master: Some(bridge), stack, ..link }
}

fn kind(kind: &str, link: Link) -> Link {
    Link { kind: Some(kind.into()), hardware: false, ..link }
}

fn ppp(index: u32, name: &str) -> Link {
    Link { layer: Layer::Raw, mac: [0; 6], mtu: 1492, ..kind("ppp", link(index, name)) }
}

fn session(id: u16, device: &str) -> Session {
    Session { id: id.to_be(), peer: PEER, device: device.into(), transformed: false }
}

/// ppp0 over eth0.7, and br0 of eth1, eth2 and VLAN 10 of eth0.
fn router() -> Snapshot {
    Snapshot {
        links: vec![
            link(2, "eth0"),
            port(link(3, "eth1"), 6),
            port(link(4, "eth2"), 6),
            vlan(5, "eth0.7", 2, 7),
            kind("bridge", link(6, "br0")),
            port(vlan(7, "eth0.10", 2, 10), 6),
            ppp(9, "ppp0"),
        ],
        addresses: Vec::new(),
        sessions: vec![session(0x12, "eth0.7")],
    }
}

fn resolved(name: &str, snapshot: &Snapshot) -> Result<Topology, String> {
    resolve(snapshot.link(name).unwrap(), snapshot)
}

#[track_caller]
fn refused(name: &str, snapshot: &Snapshot, says: &str) {
    let why = resolved(name, snapshot).unwrap_err();
    assert!(why.contains(says), "{why}");
}

fn tables(name: &str, snapshot: &Snapshot, in_driver: &[u32]) -> Tables {
    let mut tables = Tables::default();
    let link = snapshot.link(name).unwrap();
    let topology = resolve(link, snapshot).unwrap();
    tables.add((link.index, link.mac), &topology, |port| in_driver.contains(&port));
    tables.hold_for(99);
    tables
}

const CAPS: u16 = caps::ETHERNET | caps::XDP_TRANSMIT | caps::READY;

#[test]
fn a_plain_device_is_its_own_port_and_needs_no_tables() {
    let topology = resolved("eth0", &router()).unwrap();
    assert_eq!((topology.kind, topology.lanes[0].port), (Kind::Itself, 2));
    assert_eq!(tables("eth0", &router(), &[2]), Tables::default());
}

#[test]
fn a_vlan_comes_in_and_goes_out_by_its_parent_with_its_tag() {
    let tables = tables("eth0.7", &router(), &[2]);
    let arrival = Arrival { port: 2, vlan: 7, session: 0 };
    let mac = [2, 0, 0, 0, 0, 5];
    assert_eq!(tables.legs, [(arrival, Leg { ifindex: 5, mac, ..Leg::default() })].into());
    let out = Exit {
        port: 2,
        kind: exit::PORT,
        caps: CAPS,
        vlan: 7,
        priorities: 5 << 18,
        ..Exit::default()
    };
    assert_eq!(tables.exits, [(5, out)].into());
}

#[test]
fn pppoe_adds_the_session_to_what_its_device_is() {
    let tables = tables("ppp0", &router(), &[2]);
    let id = 0x12_u16.to_be();
    let own = [2, 0, 0, 0, 0, 5];
    let leg = &tables.legs[&Arrival { port: 2, vlan: 7, session: id }];
    let wanted = Leg { ifindex: 9, bridge_port: 0, mac: own, peer: PEER, discoveries: 99 };
    assert_eq!(*leg, wanted);
    let out = &tables.exits[&9];
    assert_eq!((out.port, out.vlan, out.session, out.discoveries), (2, 7, id, 99));
    assert_eq!((out.source, out.peer), (own, PEER));
    let hears = Arrival { port: 2, vlan: 7, session: DISCOVERY };
    let heard = Leg { ifindex: 5, mac: own, ..Leg::default() };
    assert_eq!(tables.discovery().collect::<Vec<_>>(), [(hears, heard)]);
    assert!(tables.has_sessions());
    let mut without = tables.clone();
    without.drop_sessions();
    assert_eq!((without.legs, without.exits), ([(hears, heard)].into(), [].into()));
}

#[test]
fn a_bridge_has_an_exit_for_each_port_that_is_in_a_driver() {
    let tables = tables("br0", &router(), &[2, 3]);
    let mac = [2, 0, 0, 0, 0, 6];
    let leg = |bridge_port| Leg { ifindex: 6, bridge_port, mac, ..Leg::default() };
    let legs =
        [(Arrival::plain(3), leg(3)), (Arrival { port: 2, vlan: 10, session: 0 }, leg(7))].into();
    assert_eq!(tables.legs, legs);
    let mut exits: Vec<_> =
        tables.exits.iter().map(|(i, e)| (*i, e.kind, e.port, e.vlan)).collect();
    exits.sort_unstable();
    assert_eq!(
        exits,
        [(3, exit::PORT, 3, 0), (6, exit::BRIDGE, 0, 0), (7, exit::PORT, 2, 10)],
        "eth2 has no program, so it has no exit"
    );
    assert_eq!(self::tables("br0", &router(), &[]), Tables::default());
}

#[test]
fn nothing_takes_a_port_that_the_bridge_does_not_use_as_usual() {
    for (change, says) in [
        (BridgePort { forwarding: false, ..FORWARDING }, "STP"),
        (BridgePort { learning: false, ..FORWARDING }, "learn"),
        (BridgePort { locked: true, ..FORWARDING }, "locked"),
        (BridgePort { has_backup: true, ..FORWARDING }, "takes over"),
    ] {
        let mut snapshot = router();
        snapshot.links[1].stack.port = Some(change);
        let topology = resolved("br0", &snapshot).unwrap();
        assert!(topology.lanes[0].idle.unwrap().contains(says));
        assert!(!tables("br0", &snapshot, &[2, 3, 4]).exits.contains_key(&3));
    }
    let mut snapshot = router();
    snapshot.links[4].up = false;
    assert_eq!(tables("br0", &snapshot, &[2, 3, 4]), Tables::default());
}

#[test]
fn what_is_not_understood_is_refused_with_the_reason() {
    let mut snapshot = router();
    snapshot.links[4].stack.filters_vlans = true;
    refused("br0", &snapshot, "vlan_filtering");
    let mut snapshot = router();
    snapshot.links.push(vlan(11, "eth0.7.8", 5, 8));
    refused("eth0.7.8", &snapshot, "two VLAN tags");
    snapshot.links.push(vlan(12, "br0.9", 6, 9));
    refused("br0.9", &snapshot, "br0 is a bridge");
    snapshot.links[3].stack.vlan.as_mut().unwrap().ordinary = false;
    refused("eth0.7", &snapshot, "802.1ad");
    refused("ppp0", &snapshot, "802.1ad");
    snapshot.links[3].stack.parent = None;
    snapshot.links[3].stack.vlan.as_mut().unwrap().ordinary = true;
    refused("eth0.7", &snapshot, "another namespace");
    let tunnel = Link { layer: Layer::Raw, ..kind("wireguard", link(13, "wg0")) };
    snapshot.links.push(tunnel);
    refused("wg0", &snapshot, "no Ethernet header");
    let mut snapshot = router();
    snapshot.links.push(kind("bond", link(14, "bond0")));
    snapshot.links[0].master = Some(14);
    refused("eth0.7", &snapshot, "bond0");
}

#[test]
fn a_session_is_taken_only_if_it_can_be_no_others() {
    let with = |change: fn(&mut Snapshot)| {
        let mut snapshot = router();
        change(&mut snapshot);
        snapshot
    };
    let two = with(|machine| machine.sessions.push(session(0x13, "eth1")));
    refused("ppp0", &two, "several PPPoE sessions");
    refused("ppp0", &with(|machine| machine.sessions.clear()), "no PPPoE session");
    refused("ppp0", &with(|machine| machine.sessions[0].transformed = true), "compression");
    refused("ppp0", &with(|machine| machine.links.push(ppp(20, "ppp1"))), "several PPP interfaces");
    // Of an uplink over a modem, with a session of something else.
    refused("ppp0", &with(|machine| machine.links[6].mtu = 1500), "MTU");
    let bridged = with(|machine| machine.sessions = vec![session(0x12, "br0")]);
    refused("ppp0", &bridged, "br0 is a bridge");
    let ported = with(|machine| machine.sessions = vec![session(0x12, "eth1")]);
    refused("ppp0", &ported, "port of br0");
    refused("ppp0", &with(|machine| machine.sessions = vec![session(1, "eth9")]), "no eth9");
    // RFC 4638: a device that is large enough leaves the full 1500 bytes.
    let jumbo = with(|machine| {
        machine.links[6].mtu = 1500;
        machine.links[3].mtu = 1508;
    });
    assert!(resolved("ppp0", &jumbo).is_ok());
}

#[test]
fn words_tell_ports_and_reasons() {
    let machine = router();
    let text = |name: &str, fast: &[u32]| {
        let state = |port| (fast.contains(&port), if port == 2 { "busy" } else { "virtual" });
        describe(&resolved(name, &machine).unwrap(), state)
    };
    assert_eq!(
        text("ppp0", &[2]),
        "PPPoE session 0x0012 with 02:00:00:00:0b:01, on eth0.7, in the driver of eth0"
    );
    assert_eq!(text("eth0.7", &[]), "VLAN 7 of eth0; not in the driver of eth0: busy");
    assert_eq!(text("br0", &[2, 3, 4]), "bridge, in the driver of eth1, eth2, eth0 (VLAN 10)");
    assert_eq!(
        text("br0", &[2]),
        "bridge, in the driver of eth0 (VLAN 10); not in the driver of eth1, eth2: virtual"
    );
    assert_eq!(text("eth0", &[]), "busy");
}
