//! The demo's steps on every kind of network: what a user does first.

use std::{net::SocketAddrV4, thread};

use masq_tests::{
    daemon::{Masq, Mode},
    lab::{Lab, LanKind, Layout, SERVER_1, SERVER_2},
    sockets::eventually,
    traffic::{echo, http, probe},
};

use crate::{
    in_both_modes,
    scene::{Scene, Setup},
};

in_both_modes!(
    a_switch,
    an_interface_for_each_host,
    a_bridge,
    a_lan_on_a_vlan,
    a_wan_on_a_vlan,
    a_bridge_of_vlans_and_a_wan_on_a_vlan,
);

fn a_switch(setup: Setup) {
    setup.run(tour);
}

fn an_interface_for_each_host(setup: Setup) {
    setup.layout(Layout::default().lan(LanKind::InterfacePerHost)).run(tour);
}

fn a_bridge(setup: Setup) {
    setup.layout(Layout::default().lan(LanKind::Bridge)).run(tour);
}

fn a_lan_on_a_vlan(setup: Setup) {
    setup.layout(Layout::default().lan(LanKind::Vlan)).run(tour);
}

fn a_wan_on_a_vlan(setup: Setup) {
    setup.layout(Layout::default().vlan()).run(tour);
}

fn a_bridge_of_vlans_and_a_wan_on_a_vlan(setup: Setup) {
    setup.layout(Layout::default().lan(LanKind::BridgeOfVlans).vlan()).run(tour);
}

#[test]
fn tun_as_wan() {
    Setup::new(Mode::Tc).layout(Layout::default().tun()).run(tour);
}

#[test]
fn tun_as_wan_with_the_mtu_of_pppoe() {
    Setup::new(Mode::Tc).layout(Layout::default().tun().wan_mtu(1492)).run(tour);
}

#[test]
fn a_bridge_and_tun_as_wan() {
    let layout = Layout::default().lan(LanKind::Bridge).tun();
    Setup::new(Mode::Tc).layout(layout).run(tour);
}

#[test]
fn auto_chooses_tc_for_virtual_links_and_says_why() {
    let lab = Lab::new(Layout::default());
    let masq = Masq::start(&lab, [] as [&str; 0]);
    eventually("the line that says why", || {
        masq.log().contains("lan0 (lan): attached with tc: ").then_some(())
    });
    probe::ping(&lab.a, SERVER_1, 1).expect("a reply");
    masq.stop();
}

fn tour(scene: &Scene) {
    let Lab { a, b, server1, server2, .. } = scene.lab;
    let _web = [server1, server2].map(|server| http::Server::start(server, 80));
    let _echo = [server1, server2].map(|server| echo::Server::start(server, 53));
    for (host, server) in [(a, SERVER_1), (b, SERVER_2)] {
        probe::ping(host, server, 1).expect("a reply");
        let hops = probe::traceroute(host, server).expect("an answer of every hop");
        assert_eq!(hops.len(), 3);
        let socket = host.udp_bind(40_000);
        for _ in 0..3 {
            echo::ask(&socket, SocketAddrV4::new(server, 53), b"question").expect("an answer");
        }
        http::download(host, (server, 80), 3_000_000).expect("a whole download");
        http::upload(host, (server, 80), 3_000_000).expect("a whole upload");
    }
    thread::scope(|scope| {
        for host in [a, b].into_iter().cycle().take(10) {
            scope.spawn(|| {
                http::download(host, (SERVER_1, 80), 300_000).expect("a whole download");
            });
        }
    });
}
