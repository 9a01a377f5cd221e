//! What lies below an interface changes under traffic: hosts that roam from one port of a bridge to
//! another, ports that come and go, bridges that forget.

use masq_tests::{
    daemon::{self, Mode},
    gateway::Kind,
    lab::{HOST_A, HOST_B, HOST_IF, Lab, LanKind, Layout, MAC_HOST_A, set_features, veth},
    netns::Namespace,
    sockets::eventually,
};
use serde_json::Value;

use crate::{
    flow::{Connection, Datagrams},
    in_both_modes,
    scene::Setup,
};

in_both_modes!(
    a_host_that_roams_is_followed,
    a_port_that_leaves_and_returns,
    a_bridge_that_forgets_quickly,
);

fn bridged(setup: Setup) -> Setup {
    setup.layout(Layout::default().lan(LanKind::Bridge))
}

/// The line of a host to the router ends at an access point, which can be hung to either of two ports.
fn access_point(lab: &Lab) -> Namespace {
    let point = Namespace::new("point");
    lab.a.ip(&format!("link del {HOST_IF}"));
    veth(&lab.a, HOST_IF, &point, "host");
    veth(&point, "up0", &lab.router, "port0");
    veth(&point, "up1", &lab.router, "port2");
    point.ip("link add br0 type bridge\nlink set br0 up\nlink set host master br0 up\n\
         link set up0 master br0 up\nlink set up1 up");
    lab.router.ip("link set port0 master lan0 up\nlink set port2 master lan0 up");
    lab.a.ip(&format!(
        "link set {HOST_IF} address {MAC_HOST_A}\naddr add {HOST_A}/24 dev {HOST_IF}\n\
         link set {HOST_IF} up\nroute add default via {}",
        masq_tests::lab::ROUTER_LAN
    ));
    set_features(&lab.a, HOST_IF, "tx off gro on");
    for port in ["up0", "up1"] {
        set_features(&point, port, "tx off gro on");
    }
    for port in ["port0", "port2"] {
        set_features(&lab.router, port, "tx off");
    }
    point
}

fn a_host_that_roams_is_followed(setup: Setup) {
    bridged(setup).run(|scene| {
        let lab = scene.lab;
        let point = access_point(lab);
        for port in ["port0", "port1", "port2"] {
            masq_tests::lab::wait_for_carrier(&lab.router, port);
        }
        eventually("the ports", || has_ports(lab, scene.mode, &["port0", "port1", "port2"]));
        let udp = Datagrams::start(&lab.a, 40_000, &lab.server1);
        let tcp = Connection::start(&lab.a, (HOST_A, 41_000), &lab.server2);
        let other = Datagrams::start(&lab.b, 40_000, &lab.server2);
        let mut unplugged = Vec::new();
        let moves = [("up0", "up1", "port0", "port2"), ("up1", "up0", "port2", "port0")];
        for (old, new, before, port) in moves {
            eventually("the fast path", || takes_xdp(lab, scene.mode, before));
            let from = udp.sent();
            point.ip(&format!("link set {old} nomaster\nlink set {new} master br0"));
            eventually("the bridge to learn it", || {
                let table = lab.router.output("bridge", &["fdb", "show", "br", "lan0"]);
                let line = format!("{MAC_HOST_A} dev {port} ");
                table.lines().any(|known| known.starts_with(&line)).then_some(())
            });
            // Some were on their way.
            unplugged.push(from.saturating_sub(10)..udp.sent() + 10);
            eventually("the fast path on the other port", || takes_xdp(lab, scene.mode, port));
            udp.go_on(50);
        }
        // Until the bridge has heard from the new line, answers go to the old one. After that, none.
        let (sent, answered, sources) = udp.finish();
        let stale = |number: &u64| {
            !answered.contains(number) && !unplugged.iter().any(|time| time.contains(number))
        };
        let stale: Vec<_> = (0..sent).filter(stale).collect();
        assert!(stale.is_empty(), "lost: {stale:?}, not in {unplugged:?}");
        assert_eq!(sources.len(), 1, "{sources:?}");
        other.assert_all_answered();
        tcp.assert_whole();
    });
}

fn a_port_that_leaves_and_returns(setup: Setup) {
    bridged(setup).run(|scene| {
        let lab = scene.lab;
        let stays = Datagrams::start(&lab.a, 40_000, &lab.server1);
        let tcp = Connection::start(&lab.b, (HOST_B, 41_000), &lab.server2);
        for _ in 0..3 {
            eventually("the fast path", || takes_xdp(lab, scene.mode, "port1"));
            lab.router.ip("link set port1 nomaster");
            eventually("one port", || has_ports(lab, scene.mode, &["port0"]));
            let link = lab.router.output("ip", &["-details", "link", "show", "port1"]);
            assert!(!link.contains("xdp"), "the program has left with it: {link}");
            stays.go_on(20);
            lab.router.ip("link set port1 master lan0");
            eventually("both ports", || has_ports(lab, scene.mode, &["port0", "port1"]));
            stays.go_on(20);
        }
        stays.assert_all_answered();
        tcp.assert_whole();
    });
}

fn a_bridge_that_forgets_quickly(setup: Setup) {
    bridged(setup).run(|scene| {
        let lab = scene.lab;
        // A second: what XDP takes is not seen by the bridge, which has to learn again each time.
        lab.router.ip("link set lan0 type bridge ageing_time 100");
        let udp = Datagrams::start(&lab.a, 40_000, &lab.server1);
        let tcp = Connection::start(&lab.b, (HOST_B, 41_000), &lab.server2);
        for _ in 0..4 {
            udp.go_on(500);
            for port in ["port0", "port1"] {
                eventually("the fast path", || takes_xdp(lab, scene.mode, port));
            }
        }
        udp.assert_all_answered();
        tcp.assert_whole();
    });
}

/// Whether frames that come in by this port are redirected by XDP; nothing is asked of other modes.
fn takes_xdp(lab: &Lab, mode: Mode, port: &str) -> Option<()> {
    let count = || crate::fast::redirected_by_xdp(&lab.router, port);
    if mode != Mode::Xdp || Kind::from_environment() != Kind::Masq {
        return Some(());
    }
    let before = count();
    std::thread::sleep(std::time::Duration::from_millis(20));
    (count() > before).then_some(())
}

/// Whether masq has resolved the LAN to these ports, all of them in the mode.
fn has_ports(lab: &Lab, mode: Mode, wanted: &[&str]) -> Option<()> {
    if mode != Mode::Xdp || Kind::from_environment() != Kind::Masq {
        return Some(());
    }
    let stats = daemon::stats(&lab.router);
    let lan = stats["interfaces"].as_array()?.iter().find(|i| i["name"] == "lan0")?;
    let fast = |port: &&Value| port["mode"] == "xdp";
    let ports = lan["ports"].as_array()?.iter().filter(fast);
    let mut ports: Vec<_> = ports.filter_map(|port| port["name"].as_str()).collect();
    ports.sort_unstable();
    (ports == wanted).then_some(())
}
