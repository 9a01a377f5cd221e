//! Lines that come and go: several WANs, flapping links, LAN interfaces that vanish and return, and
//! flows that never pause while the address changes.

use std::net::{Ipv4Addr, SocketAddrV4};

use masq_tests::{
    capture::Capture,
    daemon,
    lab::{
        HOST_A, HOST_B, HOST_IF, ISP_IF, Lab, LanKind, Layout, MAC_HOST_B, ROUTER_LAN, ROUTER_WAN,
        SERVER_1, SERVER_2, WAN_IF, veth, wait_for_carrier,
    },
    sockets::eventually,
    traffic::{echo, probe},
};
use serde_json::Value;

use crate::{
    flow::{Connection, Datagrams},
    in_both_modes,
    scene::Setup,
};

in_both_modes!(
    flows_follow_the_routes_and_end_with_their_wan,
    a_line_that_flaps_costs_no_session,
    a_lan_interface_that_returns_is_used_again,
    flows_that_never_pause_follow_a_new_address,
);

const NEW_ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 77);
/// The router on a second WAN.
const SECOND: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 5);

fn flows_follow_the_routes_and_end_with_their_wan(setup: Setup) {
    let both = ["--wan", "wan1", "--wait-interfaces"];
    setup.arguments(&both).run(|scene| {
        let lab = scene.lab;
        let capture = second_wan(lab);
        eventually("the second WAN", || {
            let stats = daemon::stats(&lab.router);
            let is = |interface: &&Value| interface["name"] == "wan1";
            let found = stats["interfaces"].as_array()?.iter().find(is)?.clone();
            (found["address"] == SECOND.to_string() && !found["mode"].is_null()).then_some(())
        });
        let _server = echo::Server::start(&lab.server2, 54);
        let server = SocketAddrV4::new(SERVER_2, 54);
        let socket = lab.b.udp_bind(0);
        let ask = || echo::ask(&socket, server, b"who am I?").map(|seen| *seen.ip());
        let first = Datagrams::start(&lab.a, 40_000, &lab.server1);
        let tcp = Connection::start(&lab.a, (HOST_A, 41_000), &lab.server1);
        assert_eq!(ask().expect("an answer"), SECOND);
        // A route that changes takes the flow along: to another WAN it is another session.
        lab.router.ip(&format!("route del {SERVER_2}/32 dev wan1"));
        eventually("the first WAN", || ask().ok().filter(|seen| *seen == ROUTER_WAN));
        lab.router.ip(&format!("route add {SERVER_2}/32 via 192.0.2.1 dev wan1"));
        eventually("the second WAN again", || ask().ok().filter(|seen| *seen == SECOND));
        assert!(!of(lab, SECOND).is_empty());
        // It loses its address: its sessions end, those of the other stay.
        lab.router.ip("addr flush dev wan1");
        eventually("the end of its sessions", || of(lab, SECOND).is_empty().then_some(()));
        eventually("the way by the other WAN", || ask().ok().filter(|seen| *seen == ROUTER_WAN));
        assert!(of(lab, ROUTER_WAN).len() >= 2);
        first.assert_all_answered();
        tcp.assert_whole();
        capture.finish().assert_clean();
    });
}

/// Makes a second WAN, with the route to the second server, and captures on it.
fn second_wan(lab: &Lab) -> Capture {
    veth(&lab.router, "wan1", &lab.isp, "isp1");
    if lab.layout().lan == LanKind::Switch {
        masq_tests::lab::set_features(&lab.isp, "isp1", "tx off gro on");
    }
    lab.isp.ip("addr add 192.0.2.1/24 dev isp1\nlink set isp1 up");
    lab.router.ip(&format!("addr add {SECOND}/24 dev wan1\nlink set wan1 up"));
    wait_for_carrier(&lab.router, "wan1");
    lab.router.ip(&format!("route add {SERVER_2}/32 via 192.0.2.1 dev wan1"));
    Capture::start(&lab.isp, "isp1")
}

/// The sessions with this external address.
fn of(lab: &Lab, address: Ipv4Addr) -> Vec<Value> {
    daemon::sessions(&lab.router, &["--external", &address.to_string()])
}

fn a_line_that_flaps_costs_no_session(setup: Setup) {
    setup.arguments(&[]).run(|scene| {
        let lab = scene.lab;
        let tcp = Connection::start(&lab.a, (HOST_A, 41_000), &lab.server2);
        let _server = echo::Server::start(&lab.server1, 53);
        let socket = lab.b.udp_bind_to((HOST_B, 40_000));
        let server = SocketAddrV4::new(SERVER_1, 53);
        let seen = echo::ask(&socket, server, b"question").expect("an answer");
        for _ in 0..3 {
            // The far end of the line, and then the router's own, which loses its routes with that.
            lab.isp.ip(&format!("link set {ISP_IF} down\nlink set {ISP_IF} up"));
            lab.router.ip(&format!("link set {WAN_IF} down\nlink set {WAN_IF} up"));
            wait_for_carrier(&lab.router, WAN_IF);
            lab.router.ip(&format!("route replace default via 203.0.113.1 dev {WAN_IF}"));
            let again = eventually("an answer", || echo::ask(&socket, server, b"question").ok());
            assert_eq!(again, seen, "the same session");
        }
        let stats = daemon::stats(&lab.router);
        assert_eq!(daemon::counter(&stats, "session_closed"), 0);
        tcp.assert_whole();
    });
}

fn a_lan_interface_that_returns_is_used_again(setup: Setup) {
    let setup = setup.layout(Layout::default().lan(LanKind::InterfacePerHost));
    setup.arguments(&[]).run(|scene| {
        let lab = scene.lab;
        let udp = Datagrams::start(&lab.a, 40_000, &lab.server1);
        probe::ping(&lab.b, SERVER_2, 1).expect("a reply");
        let index = || daemon::stats(&lab.router)["interfaces"][1]["index"].clone();
        for round in 0..2 {
            lab.router.ip("link del lan1");
            eventually("its end", || index().is_null().then_some(()));
            veth(&lab.b, HOST_IF, &lab.router, "lan1");
            lab.prepare_for_xdp();
            lab.b.ip(&format!(
                "link set {HOST_IF} address {MAC_HOST_B}\naddr add {HOST_B}/24 dev {HOST_IF}\n\
                 link set {HOST_IF} up\nroute add default via {ROUTER_LAN}"
            ));
            lab.router.ip(&format!(
                "addr add {ROUTER_LAN}/32 dev lan1\nlink set lan1 up\nroute add {HOST_B}/32 dev lan1"
            ));
            wait_for_carrier(&lab.router, "lan1");
            eventually("a reply by the new interface", || probe::ping(&lab.b, SERVER_2, 2 + round).ok());
            eventually("its hook", || (!index().is_null()).then_some(()));
        }
        udp.assert_all_answered();
    });
}

/// Keep-alives of WireGuard or SIP: sessions that are never idle, from either side.
fn flows_that_never_pause_follow_a_new_address(setup: Setup) {
    setup.arguments(&[]).run(|scene| {
        let lab = scene.lab;
        let udp = Datagrams::start(&lab.a, 40_000, &lab.server1);
        lab.set_wan_address(NEW_ADDRESS);
        // The old session is ended by the daemon, or by its own next packet if that is faster.
        eventually("a session of the new address only", || {
            (!of(lab, NEW_ADDRESS).is_empty() && of(lab, ROUTER_WAN).is_empty()).then_some(())
        });
        udp.go_on(200);
        let (sent, answered, sources) = udp.finish();
        let addresses: Vec<_> = sources.iter().map(|s| s.split(':').next().unwrap_or("")).collect();
        assert_eq!(addresses, ["203.0.113.5", "203.0.113.77"], "{sources:?}");
        assert!((sent - 100..sent).all(|number| answered.contains(&number)), "answered again");
    });
}
