//! Beside others on the same interfaces: the kernel's masquerade, a FORWARD chain that drops, a shaper
//! on the WAN, IPv6.
//!
//! What `masq check` says of them is in the suite `cli`.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv6Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket},
    time::{Duration, Instant},
};

use masq_tests::{
    daemon::{self, Mode, counter},
    lab::{HOST_A, HOST_IF, ISP_IF, Lab, ROUTER_WAN, SERVER_1, SERVER_2, WAN_IF},
    netns::Namespace,
    patience::patience,
    traffic::{echo, http, probe},
};
use serde_json::Value;

use crate::{
    faults::dropped,
    flow::{Connection, Datagrams},
    in_both_modes,
    scene::{Scene, Setup},
};

in_both_modes!(
    the_kernels_masquerade_translates_and_masq_lets_it,
    a_forward_chain_that_drops_costs_new_flows_only,
);

fn the_kernels_masquerade_translates_and_masq_lets_it(setup: Setup) {
    setup.arguments(&[]).run(|scene| {
        let Lab { a, b, router, server1, server2, .. } = scene.lab;
        let before = Datagrams::start(a, 40_000, server1);
        let rules = format!(
            "table ip other {{ chain post {{
                type nat hook postrouting priority srcnat
                oifname {WAN_IF} masquerade
            }}
            }}"
        );
        router.feed("nft", &["-f", "-"], &rules);
        let opened = || counter(&daemon::stats(router), "session_opened");
        let already = opened();
        // Two hosts and the router, from one port: three different ones outside, and each has its answers.
        let _server = echo::Server::start(server2, 54);
        let server = SocketAddrV4::new(SERVER_2, 54);
        let sockets = [a.udp_bind(41_000), b.udp_bind(41_000), router.udp_bind(41_000)];
        for _ in 0..3 {
            let seen = sockets.each_ref().map(|socket| {
                let seen = echo::ask(socket, server, b"who am I?").expect("an answer");
                assert_eq!(*seen.ip(), ROUTER_WAN);
                seen.port()
            });
            assert!(seen[0] != seen[1] && seen[1] != seen[2] && seen[0] != seen[2], "{seen:?}");
        }
        let _web = http::Server::start(server2, 80);
        http::download(b, (SERVER_2, 80), 300_000).expect("a whole download");
        probe::ping(router, SERVER_1, 1).expect("a reply to the router");
        let stats = daemon::stats(router);
        assert_eq!(opened(), already, "translated once, by the kernel");
        assert!(counter(&stats, "already_translated") > 0);
        assert_eq!(dropped(&stats).len(), 0, "{:?}", dropped(&stats));
        // Without the rule, flows that begin are masq's.
        router.feed("nft", &["-f", "-"], "delete table ip other");
        echo::ask(&b.udp_bind(0), server, b"who am I?").expect("an answer");
        assert_eq!(opened(), already + 1);
        before.assert_all_answered();
    });
}

fn a_forward_chain_that_drops_costs_new_flows_only(setup: Setup) {
    setup.arguments(&[]).run(|scene| {
        let lab = scene.lab;
        let udp = Datagrams::start(&lab.a, 40_000, &lab.server1);
        let tcp = Connection::start(&lab.a, (HOST_A, 41_000), &lab.server2);
        // As Docker does when it starts.
        lab.router.output("iptables", &["-P", "FORWARD", "DROP"]);
        udp.go_on(100);
        let _server = echo::Server::start(&lab.server2, 54);
        let server = SocketAddrV4::new(SERVER_2, 54);
        let socket = lab.b.udp_bind(0);
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("set a timeout");
        echo::ask(&socket, server, b"question").expect_err("the kernel drops it");
        // It is none of masq's drops; who asks why, is told by the check.
        let stats = daemon::stats(&lab.router);
        assert_eq!(dropped(&stats).len(), 0, "{:?}", dropped(&stats));
        let finding = finding(&lab.router, "competing.forward").expect("a finding");
        assert_eq!(finding["severity"], "warning", "{finding}");
        for command in finding["commands"].as_array().expect("the commands") {
            lab.router.output("sh", &["-c", command.as_str().expect("a command")]);
        }
        socket.set_read_timeout(Some(patience())).expect("set a timeout");
        echo::ask(&socket, server, b"question").expect("an answer");
        udp.assert_all_answered();
        tcp.assert_whole();
    });
}

/// What `masq check` says of the running instance under this name.
fn finding(router: &Namespace, check: &str) -> Option<Value> {
    let report = daemon::json(router, ["check", "--json"]);
    let findings = report["findings"].as_array().expect("the findings");
    findings.iter().find(|finding| finding["check"] == check).cloned()
}

/// Bytes of an upload through a shaper.
const UPLOAD: usize = 1_000_000;

/// What the shaper of the WAN has sent of an upload, in bytes, and how long that has taken.
fn shaped_upload(scene: &Scene) -> (u64, Duration) {
    let lab = scene.lab;
    let shaper = ["qdisc", "replace", "dev", WAN_IF, "root", "tbf"];
    let size = ["rate", "20mbit", "burst", "64kb", "latency", "50ms"];
    lab.router.output("tc", &[&shaper[..], &size].concat());
    let _web = http::Server::start(&lab.server1, 80);
    let begin = Instant::now();
    http::upload(&lab.a, (SERVER_1, 80), UPLOAD).expect("a whole upload");
    let statistics = lab.router.output("tc", &["-s", "qdisc", "show", "dev", WAN_IF]);
    let (_, tbf) = statistics.split_once("qdisc tbf").expect("the shaper");
    let (_, sent) = tbf.split_once("Sent ").expect("its counters");
    let sent = sent.split(' ').next().and_then(|number| number.parse().ok());
    (sent.expect("a number"), begin.elapsed())
}

/// At 20 Mbit/s, less what the bucket is full of at the beginning.
fn assert_shaped(setup: Setup) {
    setup.masq_only().run(|scene| {
        let (sent, time) = shaped_upload(scene);
        assert!(sent >= UPLOAD as u64, "{sent} bytes");
        assert!(time > Duration::from_millis(300), "{time:?}");
    });
}

#[test]
fn a_shaper_sees_every_packet_without_a_fast_path() {
    assert_shaped(Setup::new(Mode::Kernel));
}

#[test]
fn a_shaper_sees_every_packet_of_the_fast_path_in_tc() {
    assert_shaped(Setup::new(Mode::Tc));
}

#[test]
fn a_shaper_is_passed_by_in_xdp_and_the_check_says_so() {
    Setup::new(Mode::Xdp).masq_only().run(|scene| {
        let (sent, _) = shaped_upload(scene);
        assert!(sent < UPLOAD as u64 / 2, "{sent} bytes");
        let finding = finding(&scene.lab.router, "interfaces.shaper").expect("a finding");
        assert_eq!(finding["severity"], "warning", "{finding}");
    });
}

const HOST_6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10);
const SERVER_6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 1);

/// IPv6 is routed as if masq were not there, with the addresses that it has.
fn ipv6_is_left_alone(mode: Mode) {
    Setup::new(mode).masq_only().run(|scene| {
        let lab = scene.lab;
        speak_ipv6(lab);
        let server = bound(&lab.server1, SERVER_6);
        let host = bound(&lab.a, HOST_6);
        let mut buffer = [0; 2000];
        for length in [0, 1, 1452] {
            host.send_to(&vec![0x5a; length], server.local_addr().expect("an address"))
                .expect("send");
            let (received, from) = server.recv_from(&mut buffer).expect("a datagram");
            assert_eq!((received, from), (length, host.local_addr().expect("an address")));
            server.send_to(&buffer[..received], from).expect("send");
            assert_eq!(host.recv(&mut buffer).expect("its answer"), length);
        }
        let address = SocketAddr::from((SERVER_6, 80));
        let listener = lab.server1.run(|| TcpListener::bind(address)).expect("listen");
        let client = lab.a.spawn_thread(move || {
            let mut stream = std::net::TcpStream::connect_timeout(&address, patience())?;
            stream.write_all(&[0x5a; 300_000])
        });
        let (mut stream, from) = listener.accept().expect("a connection");
        stream.set_read_timeout(Some(patience())).expect("set a timeout");
        assert_eq!(from.ip(), HOST_6);
        let mut data = Vec::new();
        stream.read_to_end(&mut data).expect("all of it");
        assert_eq!(data, [0x5a; 300_000]);
        client.join().expect("the client").expect("sent");
        let stats = daemon::stats(&lab.router);
        assert!(counter(&stats, "not_ipv4") > 0);
        assert_eq!(counter(&stats, "session_opened"), 0);
        assert_eq!(dropped(&stats).len(), 0, "{:?}", dropped(&stats));
    });
}

#[test]
fn ipv6_is_left_alone_in_tc() {
    ipv6_is_left_alone(Mode::Tc);
}

#[test]
fn ipv6_is_left_alone_in_xdp() {
    ipv6_is_left_alone(Mode::Xdp);
}

#[test]
fn ipv6_is_left_alone_without_a_fast_path() {
    ipv6_is_left_alone(Mode::Kernel);
}

/// A UDP socket of a host at this address.
fn bound(host: &Namespace, address: Ipv6Addr) -> UdpSocket {
    let socket = host.run(|| UdpSocket::bind((address, 53))).expect("bind");
    socket.set_read_timeout(Some(patience())).expect("set a timeout");
    socket
}

/// Gives host A, the router, the ISP and the first server addresses and routes of IPv6.
fn speak_ipv6(lab: &Lab) {
    let (a, isp, server): (&Namespace, _, &Namespace) = (&lab.a, &lab.isp, &lab.server1);
    for namespace in [a, &lab.router, isp, server] {
        for of in ["all", "default"] {
            namespace.set_sysctl(&format!("net.ipv6.conf.{of}.accept_dad"), "0");
            namespace.set_sysctl(&format!("net.ipv6.conf.{of}.disable_ipv6"), "0");
        }
    }
    for router in [&lab.router, isp] {
        router.set_sysctl("net.ipv6.conf.all.forwarding", "1");
    }
    let add = |namespace: &Namespace, address: &str, interface: &str| {
        namespace.ip(&format!("addr add {address}/64 dev {interface} nodad"));
    };
    add(a, &HOST_6.to_string(), HOST_IF);
    add(&lab.router, "2001:db8:1::1", "lan0");
    add(&lab.router, "2001:db8:2::5", WAN_IF);
    add(isp, "2001:db8:2::1", ISP_IF);
    add(isp, "2001:db8:9::fe", "s1");
    add(server, &SERVER_6.to_string(), HOST_IF);
    a.ip("route add 2000::/3 via 2001:db8:1::1");
    lab.router.ip("route add 2000::/3 via 2001:db8:2::1");
    isp.ip("route add 2001:db8:1::/64 via 2001:db8:2::5");
    server.ip("route add 2000::/3 via 2001:db8:9::fe");
}
