//! Judgements of made-up interfaces.

use super::{
    super::{
        Severity::{Note, Ok, Warning},
        made_up::{complaints, config, facts, link, only, usual},
    },
    *,
};
use crate::{
    netlink::{Stack, Vlan},
    plan,
};

fn machine_with(names: &[&str]) -> Snapshot {
    let links = (1..).zip(names).map(|(index, name)| link(index, name)).collect();
    Snapshot { links, ..Snapshot::default() }
}

/// What refuses to start, in words.
fn refused(rest: &str, snapshot: &Snapshot) -> Option<String> {
    let config = config(rest);
    let plan = plan::plan(&config, snapshot);
    let findings = refusals(&config, snapshot, &plan);
    findings.iter().find(|f| f.severity == super::super::Severity::Fatal).map(Finding::sentence)
}

#[test]
fn a_missing_interface_is_named_with_those_that_exist() {
    let machine = machine_with(&["lo", "eth0", "eth1"]);
    let error = refused("--lan eth1 --wan ppp0", &machine).unwrap();
    assert!(error.contains("no interface ppp0") && error.contains("eth0, eth1"), "{error}");
    assert_eq!(refused("--lan eth1 --wan ppp0 --wait-interfaces", &machine), None);
    assert_eq!(refused("--lan eth1 --wan eth0", &machine), None);
}

#[test]
fn a_foreign_xdp_program_is_in_the_way_of_forced_xdp_only() {
    let mut machine = machine_with(&["eth0", "eth1"]);
    machine.links[1].xdp = Some(42);
    let error = refused("--lan eth1 --wan eth0 --mode xdp", &machine).unwrap();
    assert!(error.contains("42") && error.contains("eth1"), "{error}");
    assert_eq!(refused("--lan eth1 --wan eth0", &machine), None);
    assert_eq!(refused("--lan eth1 --wan eth0 --mode tc", &machine), None);
}

#[test]
fn the_port_of_a_bridge_is_refused_in_favour_of_the_bridge() {
    let mut machine = machine_with(&["eth0", "eth1", "br0"]);
    machine.links[1].master = Some(machine.links[2].index);
    machine.links[2].kind = Some("bridge".to_owned());
    let error = refused("--lan eth1 --wan eth0", &machine).unwrap();
    assert!(error.contains("name br0 instead"), "{error}");
    machine.links[2].kind = Some("vrf".to_owned());
    assert_eq!(refused("--lan eth1 --wan eth0", &machine), None);
}

#[test]
fn unreadable_link_layers_are_refused() {
    let mut machine = machine_with(&["eth0", "ib0"]);
    machine.links[1].layer = Layer::Other;
    assert!(refused("--lan ib0 --wan eth0", &machine).unwrap().contains("ib0"));
}

#[test]
fn interfaces_have_to_be_up_and_to_have_a_line() {
    let mut facts = facts();
    facts.devices[0].up = false;
    facts.devices[1].carrier = false;
    let findings = remarks(&usual(), &facts);
    assert_eq!(complaints(&findings), [(Warning, "interfaces.up"); 2]);
    let down = findings.iter().find(|f| f.interface.as_deref() == Some("lan0")).unwrap();
    assert_eq!(down.commands, ["ip link set lan0 up"]);
}

#[test]
fn a_wan_with_small_packets_needs_a_clamp() {
    let mut facts = facts();
    facts.snapshot.links[1].mtu = 1492;
    let severity = |clamp: &str| {
        let config = config(&format!("--lan lan0 --wan wan0 {clamp}"));
        let findings = remarks(&config, &facts);
        only(&findings, "interfaces.mtu").severity
    };
    for clamp in ["", "--mss-clamp auto", "--mss-clamp 1452"] {
        assert_eq!(severity(clamp), Ok, "{clamp}");
    }
    for clamp in ["--mss-clamp off", "--mss-clamp 1453"] {
        assert_eq!(severity(clamp), Warning, "{clamp}");
    }
    // A LAN with small ones does not.
    facts.snapshot.links[0].mtu = 1280;
    let off = config("--lan lan0 --wan wan0 --mss-clamp off");
    assert_eq!(complaints(&remarks(&off, &facts)), []);
}

#[test]
fn what_an_interface_stands_on_is_told_and_judged() {
    let mut facts = facts();
    let (links, devices) = (&mut facts.snapshot.links, &mut facts.devices);
    let tag = Vlan { id: 7, ordinary: true, priorities: 0 };
    links[1].kind = Some("vlan".into());
    links[1].stack = Stack { parent: Some(3), vlan: Some(tag), ..Stack::default() };
    (links[2].kind, links[2].hardware) = (None, true);
    devices[2].ethtool.driver = Some("r8169".into());
    let findings = remarks(&usual(), &facts);
    let below = only(&findings, "interfaces.below");
    assert_eq!(below.severity, Ok);
    assert_eq!(below.text, "wan0: VLAN 7 of wan1, in the driver of wan1");
    let driver = only(&findings, "interfaces.driver");
    assert_eq!((driver.severity, driver.interface.as_deref()), (Note, Some("wan1")));
    facts.snapshot.links[1].stack.vlan.as_mut().unwrap().ordinary = false;
    let findings = remarks(&usual(), &facts);
    assert_eq!(complaints(&findings), [(Note, "interfaces.below")]);
    assert!(only(&findings, "interfaces.below").text.contains("802.1ad"));
    let tc = config("--lan lan0 --wan wan0 --mode tc");
    assert_eq!(complaints(&remarks(&tc, &facts)), []);
}

#[test]
fn interfaces_that_are_waited_for_are_a_note() {
    let machine = machine_with(&["lan0"]);
    let config = config("--lan lan0 --wan ppp0 --wait-interfaces");
    let plan = plan::plan(&config, &machine);
    let findings = refusals(&config, &machine, &plan);
    assert_eq!(complaints(&findings), [(Note, "interfaces.exist")]);
}
