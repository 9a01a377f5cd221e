//! The machine changes while no daemon runs: the next one finds out, and keeps what can be kept.

use std::net::{Ipv4Addr, SocketAddrV4};

use masq_tests::{
    capture::Capture,
    daemon::{self, Masq, StopAtEnd},
    lab::{ISP, ISP_IF, Lab, LanKind, Layout, MAC_ISP, ROUTER_WAN, SERVER_1, SERVER_2, veth},
    sockets::eventually,
    traffic::{echo, probe},
};

use crate::{
    flow::Datagrams,
    restart::kill,
    state::{State, has_tcx},
};

const NEW_ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 77);

const SERVER: SocketAddrV4 = SocketAddrV4::new(SERVER_1, 53);

#[test]
fn the_sessions_of_an_address_that_went_are_removed() {
    let lab = Lab::new(Layout::default());
    let before = State::of(&lab.router);
    let capture = Capture::start(&lab.isp, ISP_IF);
    let _clean = StopAtEnd(&lab.router);
    let _server = echo::Server::start(&lab.server1, 53);
    let masq = Masq::start(&lab, ["--mode", "tc"]);
    let socket = lab.a.udp_bind(40_000);
    let seen = echo::ask(&socket, SERVER, b"question").expect("an answer");
    assert_eq!(*seen.ip(), ROUTER_WAN);
    kill(masq);
    lab.set_wan_address(NEW_ADDRESS);
    let masq = Masq::start(&lab, ["--mode", "tc"]);
    masq.wait_for("taken over from an earlier masq, with 0 sessions");
    masq.wait_for("removed the sessions of a lost address");
    assert_eq!(daemon::sessions(&lab.router, &[]).len(), 0);
    let seen = echo::ask(&socket, SERVER, b"question").expect("an answer");
    assert_eq!(*seen.ip(), NEW_ADDRESS);
    masq.stop();
    lab.set_wan_address(ROUTER_WAN);
    before.assert_restored(&lab.router);
    capture.finish().assert_clean();
}

#[test]
fn a_wan_that_comes_back_under_another_index_is_used_again() {
    let lab = Lab::new(Layout::default());
    let _clean = StopAtEnd(&lab.router);
    let _server = echo::Server::start(&lab.server1, 53);
    let masq = Masq::start(&lab, ["--mode", "tc"]);
    let socket = lab.a.udp_bind(40_000);
    let seen = echo::ask(&socket, SERVER, b"question").expect("an answer");
    kill(masq);
    lab.remove_wan();
    lab.restore_wan();
    let capture = Capture::start(&lab.isp, ISP_IF);
    lab.connect_wan();
    // Without a daemon nobody attaches to it; so nothing may leave by it.
    for _ in 0..50 {
        socket.send_to(b"into the void", SERVER).expect("send");
    }
    let masq = Masq::start(&lab, ["--mode", "tc"]);
    masq.wait_for("taken over from an earlier masq, with 1 sessions");
    eventually("an answer", || echo::ask(&socket, SERVER, b"question").ok());
    let again = echo::ask(&socket, SERVER, b"question").expect("an answer");
    assert_eq!(again, seen, "the same session");
    masq.stop();
    capture.finish().assert_clean();
}

#[test]
fn a_neighbour_that_changes_is_followed_without_a_daemon() {
    const OTHER: &str = "02:00:00:00:0b:02";
    let lab = Lab::new(Layout::default());
    let _clean = StopAtEnd(&lab.router);
    let _server = echo::Server::start(&lab.server1, 53);
    for mode in ["tc", "xdp"] {
        lab.prepare_for_xdp();
        let masq = Masq::start(&lab, ["--mode", mode]);
        let socket = lab.a.udp_bind(40_000);
        for _ in 0..5 {
            echo::ask(&socket, SERVER, b"question").expect("an answer");
        }
        kill(masq);
        let address = |mac: &str| {
            lab.isp.ip(&format!("link set {ISP_IF} address {mac}"));
            lab.router.ip(&format!("neigh replace {ISP} lladdr {mac} dev wan0 nud permanent"));
        };
        // With what its session remembers, the question would go to a station that is not there.
        address(OTHER);
        echo::ask(&socket, SERVER, b"question").expect("an answer from the new address");
        address(MAC_ISP);
        echo::ask(&socket, SERVER, b"question").expect("an answer from the old address");
    }
}

#[test]
fn a_lan_interface_that_went_takes_nothing_along() {
    let lab = Lab::new(Layout::default().lan(LanKind::InterfacePerHost));
    let _clean = StopAtEnd(&lab.router);
    let masq = Masq::start(&lab, ["--mode", "tc"]);
    probe::ping(&lab.b, SERVER_2, 1).expect("a reply");
    let udp = Datagrams::start(&lab.a, 40_000, &lab.server1);
    kill(masq);
    lab.router.ip("link del lan1");
    let masq = Masq::start(&lab, ["--mode", "tc", "--wait-interfaces"]);
    masq.wait_for("taken over from an earlier masq");
    let stats = daemon::stats(&lab.router);
    assert_eq!(stats["interfaces"][1]["index"], serde_json::Value::Null, "{stats}");
    udp.assert_all_answered();
    // It comes back, and is attached to.
    veth(&lab.router, "lan1", &lab.b, "eth1");
    lab.router.ip("link set lan1 up");
    eventually("a hook on lan1", || {
        let stats = daemon::stats(&lab.router);
        (stats["interfaces"][1]["mode"] == "tc").then_some(())
    });
    masq.stop();
}

#[test]
fn a_lan_that_is_not_named_any_more_is_let_go() {
    if !has_tcx() {
        println!("left out: it looks at the hooks of tcx, which this kernel has not");
        return;
    }
    let lab = Lab::new(Layout::default().lan(LanKind::InterfacePerHost));
    let before = State::of(&lab.router);
    let _clean = StopAtEnd(&lab.router);
    let masq = Masq::start(&lab, ["--mode", "tc"]);
    let udp = Datagrams::start(&lab.a, 40_000, &lab.server1);
    kill(masq);
    let only_lan0 = ["run", "--lan", "lan0", "--wan", "wan0", "--mode", "tc"];
    let masq = Masq::spawn(daemon::masq(&lab.router, only_lan0));
    masq.wait_for("ready");
    let left = State::of(&lab.router).tcx.len();
    assert_eq!(left, 3, "lan0, and both directions of wan0");
    let attached = lab.router.run(|| {
        let ingress = aya::programs::TcAttachType::Ingress;
        aya::programs::SchedClassifier::query_tcx("lan1", ingress).expect("query").1.len()
    });
    assert_eq!(attached, 0);
    udp.assert_all_answered();
    masq.stop();
    before.assert_restored(&lab.router);
}

#[test]
fn tables_keep_their_size() {
    let lab = Lab::new(Layout::default());
    let _clean = StopAtEnd(&lab.router);
    kill(Masq::start(&lab, ["--mode", "tc", "--max-sessions", "1000"]));
    let udp = Datagrams::start(&lab.a, 40_000, &lab.server1);
    let more = ["--mode", "tc", "--max-sessions", "2000", "--host-mappings", "5"];
    let masq = Masq::start(&lab, more);
    masq.wait_for("the session table keeps its size of 1000");
    masq.wait_for("--host-mappings has no effect");
    assert_eq!(daemon::stats(&lab.router)["tables"]["sessions"]["max"], 1000);
    udp.assert_all_answered();
    masq.stop();
    let masq = Masq::start(&lab, more);
    assert_eq!(daemon::stats(&lab.router)["tables"]["sessions"]["max"], 2000);
    masq.stop();
}

#[test]
fn another_instance_that_stops_leaves_forwarding_on() {
    let lab = Lab::new(Layout::default().lan(LanKind::InterfacePerHost));
    let before = State::of(&lab.router);
    let _clean = StopAtEnd(&lab.router);
    let start = |name: &str, lan: &str, wan: &str| {
        let arguments = ["run", "--instance", name, "--lan", lan, "--wan", wan, "--mode", "tc"];
        let masq = Masq::spawn(daemon::masq(
            &lab.router,
            [&arguments[..], &["--wait-interfaces"]].concat(),
        ));
        masq.wait_for(if wan == "wan0" { "ready" } else { "waiting for" });
        masq
    };
    let number = lab.router.run(|| std::fs::read_link("/proc/thread-self/ns/net").expect("a link"));
    let number = number.to_string_lossy().chars().filter(char::is_ascii_digit).collect::<String>();
    let (first, second) = (format!("first-{number}"), format!("second-{number}"));
    kill(start(&first, "lan0", "wan0"));
    start(&second, "lan1", "wan1").stop();
    // The first one still translates, without a daemon.
    probe::ping(&lab.a, SERVER_1, 1).expect("a reply");
    daemon::output(&lab.router, ["stop", "--instance", &first]);
    before.assert_restored(&lab.router);
}
