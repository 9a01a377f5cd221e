//! What is planned for made-up machines.

use clap::Parser as _;
use masq_common::{be::Addr, settings::prefix};

use super::*;
use crate::{
    cli::{Cli, Command},
    netlink::{Stack, Vlan},
};

fn config(rest: &str) -> Config {
    let words = format!("masq run {rest}");
    match Cli::try_parse_from(words.split_whitespace()).unwrap().command {
        Command::Run(args) => Config::new(*args).unwrap(),
        _ => unreachable!(),
    }
}

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

fn address(index: u32, local: &str, network: &str) -> Address {
    Address {
        index,
        local: local.parse().unwrap(),
        network: network.parse().unwrap(),
        usable: true,
    }
}

fn machine() -> Snapshot {
    let ppp = Link { layer: Layer::Raw, kind: Some("ppp".into()), mac: [0; 6], ..link(9, "ppp0") };
    Snapshot {
        links: vec![link(2, "eth0"), link(3, "eth1"), Link { hardware: false, ..ppp }],
        addresses: vec![
            address(3, "192.168.1.1", "192.168.1.0/24"),
            address(9, "203.0.113.5", "203.0.113.1/32"),
        ],
        sessions: Vec::new(),
    }
}

#[test]
fn a_home_router_is_planned() {
    let plan = plan(&config("--lan eth1 --wan ppp0"), &machine());
    assert!(plan.warnings.is_empty());
    let lan = plan.interfaces[0].present.as_ref().unwrap();
    assert!(lan.is_port());
    let port = Port { index: 3, name: "eth1".into(), fast: Fast::TryXdp, tagged: false };
    assert_eq!((lan.index, plan.ports), (3, vec![port]));
    let wan = &plan.interfaces[1];
    let device = wan.present.as_ref().unwrap().device(wan.role, Hooks::default());
    assert_eq!(device.address, Addr::from_octets([203, 0, 113, 5]));
    assert_eq!((device.role, device.wan, device.caps), (role::WAN, 0, 0));
    assert_eq!(plan.prefixes[&"192.168.1.0/24".parse().unwrap()], prefix::SOURCE | prefix::INSIDE);
}

#[test]
fn a_lan_has_no_external_address() {
    let plan = plan(&config("--lan eth1 --wan ppp0"), &machine());
    let lan = plan.interfaces[0].present.as_ref().unwrap();
    let lan = lan.device(Role::Lan, Hooks { xdp: true, wan_out: false });
    assert_eq!(lan.address, Addr::NONE);
    assert_eq!(lan.caps, caps::ETHERNET | caps::XDP_TRANSMIT | caps::READY);
    assert_eq!(lan.mac, [2, 0, 0, 0, 0, 3]);
}

#[test]
fn a_wan_is_ready_when_its_egress_hook_is_attached() {
    let plan = plan(&config("--lan eth1 --wan ppp0"), &machine());
    let ready = |interface: &Interface, wan_out| {
        let present = interface.present.as_ref().unwrap();
        present.device(interface.role, Hooks { xdp: false, wan_out }).caps & caps::READY != 0
    };
    assert!(!ready(&plan.interfaces[1], false) && ready(&plan.interfaces[1], true));
    assert!(ready(&plan.interfaces[0], false), "nothing is translated on its way into a LAN");
    assert_eq!(plan.others, [2], "eth0 is nobody's WAN");
}

#[test]
fn an_interface_that_is_missing_is_not_present() {
    let mut machine = machine();
    machine.links.retain(|link| link.name != "ppp0");
    let plan = plan(&config("--lan eth1 --wan ppp0"), &machine);
    assert_eq!(plan.interfaces[1].present, None);
    assert!(plan.interfaces[0].present.is_some());
}

#[test]
fn second_wan_has_the_second_index() {
    let plan = plan(&config("--lan eth1 --wan ppp0 --wan eth0"), &machine());
    assert_eq!(plan.interfaces[2].role, Role::Wan(1));
    assert_eq!(plan.interfaces[2].present.as_ref().unwrap().address, None);
}

#[test]
fn segments_are_limited_where_the_wan_is_narrower() {
    let behind = |lan: u32, options: &str, ppp: u32| {
        let mut machine = machine();
        (machine.links[1].mtu, machine.links[2].mtu) = (lan, ppp);
        let plan = plan(&config(&format!("--lan eth1 --wan ppp0 {options}")), &machine);
        let device = |i: usize| plan.interfaces[i].present.as_ref().unwrap().mss;
        assert_eq!(device(0), 0, "the limit is the WAN's");
        device(1)
    };
    let mss = |options: &str, ppp: u32| behind(1500, options, ppp);
    // Jumbo frames inside; a tunnel inside, behind which there is Ethernet.
    assert_eq!(behind(9000, "", 1500), 1460);
    assert_eq!(behind(1420, "", 1492), 1452);
    assert_eq!(mss("", 1492), 1452);
    assert_eq!(mss("", 1500), 0);
    assert_eq!(mss("", 9000), 0);
    assert_eq!(mss("--mss-clamp off", 1492), 0);
    assert_eq!(mss("--mss-clamp 1400", 1500), 1400);
    assert_eq!(mss("--mss-clamp auto", 576), 536);
}

#[test]
fn the_fast_path_is_chosen_by_mode_and_device() {
    let veth = Link { kind: Some("veth".into()), hardware: false, ..link(2, "v0") };
    let busy = Link { xdp: Some(17), ..link(2, "eth0") };
    let is_tc = |mode, link: &Link| matches!(fast(mode, link), Fast::Tc(_));
    assert!(is_tc(Mode::Auto, &veth) && is_tc(Mode::Auto, &busy));
    assert!(is_tc(Mode::Tc, &link(2, "eth0")));
    assert_eq!(fast(Mode::Auto, &link(2, "eth0")), Fast::TryXdp);
    assert_eq!(fast(Mode::Xdp, &veth), Fast::ForceXdp);
}

#[test]
fn a_shaper_keeps_xdp_off_unless_it_is_asked_for() {
    let mut machine = machine();
    machine.links[1].qdisc = Some("cake".into());
    let lan = |mode: &str, machine: &Snapshot| {
        let config = config(&format!("--lan eth1 --wan ppp0 --mode {mode}"));
        let plan = plan(&config, machine);
        plan.interfaces[0].present.as_ref().unwrap().below.clone()
    };
    assert!(lan("auto", &machine).unwrap_err().contains("cake"));
    assert!(lan("xdp", &machine).is_ok());
    machine.links[1].qdisc = Some("fq_codel".into());
    assert!(lan("auto", &machine).is_ok());
    let port = Link { qdisc: Some("htb".into()), ..link(2, "eth0") };
    assert!(matches!(fast(Mode::Auto, &port), Fast::Tc(why) if why.contains("htb")));
}

#[test]
fn a_port_is_planned_once_and_keeps_the_tags_of_its_vlans() {
    let mut machine = machine();
    for (index, name, id) in [(5, "eth0.7", 7), (6, "eth0.8", 8)] {
        let tag = Vlan { id, ordinary: true, priorities: 0 };
        let stack = Stack { parent: Some(2), vlan: Some(tag), ..Stack::default() };
        let kind = Some("vlan".into());
        machine.links.push(Link { kind, hardware: false, stack, ..link(index, name) });
    }
    let plan = |rest: &str| plan(&config(rest), &machine).ports;
    let port = Port { index: 2, name: "eth0".into(), fast: Fast::TryXdp, tagged: true };
    assert_eq!(plan("--lan eth0.8 --wan eth0.7"), [port]);
    assert_eq!(plan("--lan eth0.8 --wan eth0.7 --mode tc"), []);
}

#[test]
fn a_port_has_a_partner_if_the_other_side_may_have_the_program() {
    let has = |options: &str, machine: &Snapshot, may: fn(u32) -> bool| {
        let plan = plan(&config(options), machine);
        [2, 3].map(|port| plan.has_partner(port, may))
    };
    let both = "--lan eth1 --wan eth0";
    assert_eq!(has(both, &machine(), |_| true), [true, true]);
    assert_eq!(has(both, &machine(), |port| port != 2), [true, false], "its driver cannot");
    let mut virtual_wan = machine();
    virtual_wan.links[0].kind = Some("veth".into());
    assert_eq!(has(both, &virtual_wan, |_| true), [true, false]);
    // Without a session there is no port below it.
    assert_eq!(has("--lan eth1 --wan ppp0", &machine(), |_| true), [false, false]);
    assert_eq!(has("--lan eth1 --lan eth0 --wan ppp0", &machine(), |_| true), [false, false]);
    // Each serves nobody on its own side.
    let dialled = Snapshot {
        sessions: vec![crate::netlink::pppoe::Session {
            id: 1,
            peer: [2; 6],
            device: "eth0".into(),
            transformed: false,
        }],
        links: machine()
            .links
            .into_iter()
            .map(|link| match link.name.as_str() {
                "ppp0" => Link { mtu: 1492, ..link },
                _ => link,
            })
            .collect(),
        ..machine()
    };
    assert_eq!(has("--lan eth1 --wan ppp0", &dialled, |_| true), [true, true]);
}
