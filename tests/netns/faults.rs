//! Floods from the LAN, and memory that runs out: established flows go on, other hosts open new
//! ones, nothing leaks, and the counters tell the cause.
//!
//! Floods of fragments are in [`crate::fragments`], ports and tables that are full in
//! [`crate::exhaustion`], a daemon that does not run in [`crate::halted`].

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

use masq_common::reason::{Class, Reason};
use masq_tests::{
    capture::{Capture, Injector},
    daemon::{self, Masq, StopAtEnd},
    lab::{
        HOST_A, HOST_B, HOST_IF, ISP_IF, Lab, Layout, MAC_HOST_B, MAC_ROUTER_LAN, SERVER_1,
        SERVER_2,
    },
    netns::Namespace,
    packet::{Packet, tcp},
    sockets::eventually,
    traffic::{echo, http, probe},
};
use serde_json::Value;

use crate::{
    flow::{Connection, Datagrams},
    group::Group,
    in_both_modes,
    scene::{Scene, Setup},
    state::State,
};

in_both_modes!(
    a_syn_flood_of_one_host_hurts_nobody_else,
    a_storm_of_datagrams_of_one_host_hurts_nobody_else,
    a_scanner_fills_the_table_and_ends_no_session,
);

/// Packets of a flood.
const FLOOD: u16 = 5_000;

fn a_syn_flood_of_one_host_hurts_nobody_else(setup: Setup) {
    setup.arguments(&["--host-sessions", "100"]).run(|scene| {
        flood_and_go_on(scene, "host_sessions", |from, to| Packet::tcp(from, to, tcp::SYN, b""));
        assert!(daemon::sessions(&scene.lab.router, &["--inside", "192.168.1.11"]).len() <= 100);
    });
}

fn a_storm_of_datagrams_of_one_host_hurts_nobody_else(setup: Setup) {
    setup.arguments(&["--host-rate", "100"]).run(|scene| {
        flood_and_go_on(scene, "host_rate", |from, to| Packet::udp(from, to, b"storm"));
    });
}

/// Two flows of host A go on, and it opens others, while host B opens a flow with each packet. What is
/// dropped is B's, for this reason.
fn flood_and_go_on(
    scene: &Scene,
    reason: &str,
    packet: impl Fn((Ipv4Addr, u16), (Ipv4Addr, u16)) -> Packet,
) {
    let lab = scene.lab;
    let _web = http::Server::start(&lab.server1, 80);
    let udp = Datagrams::start(&lab.a, 40_000, &lab.server1);
    let tcp = Connection::start(&lab.a, (HOST_A, 41_000), &lab.server2);
    let line = Injector::open(&lab.b, HOST_IF);
    for i in 0..FLOOD {
        let packet = packet((HOST_B, 1024 + i), (SERVER_2, 1024 + i));
        line.send(&packet.frame(mac(MAC_ROUTER_LAN), mac(MAC_HOST_B)));
        if i % 500 == 0 {
            http::download(&lab.a, (SERVER_1, 80), 10_000).expect("a new connection of A");
            probe::ping(&lab.a, SERVER_1, i).expect("a reply");
        }
    }
    udp.assert_all_answered();
    tcp.assert_whole();
    let dropped = dropped(&daemon::stats(&lab.router));
    assert!(dropped.keys().eq([&reason]), "{dropped:?}");
    assert!(dropped[reason] > u64::from(FLOOD) / 4, "{dropped:?}");
}

fn a_scanner_fills_the_table_and_ends_no_session(setup: Setup) {
    setup.arguments(&["--max-sessions", "500"]).run(|scene| {
        let lab = scene.lab;
        let udp = Datagrams::start(&lab.a, 40_000, &lab.server1);
        let tcp = Connection::start(&lab.a, (HOST_A, 41_000), &lab.server2);
        let line = Injector::open(&lab.b, HOST_IF);
        for i in 0..FLOOD {
            let to = (if i % 2 == 0 { SERVER_1 } else { SERVER_2 }, 1024 + i);
            let packet = Packet::tcp((HOST_B, 1024 + i), to, tcp::SYN, b"");
            line.send(&packet.frame(mac(MAC_ROUTER_LAN), mac(MAC_HOST_B)));
        }
        udp.assert_all_answered();
        tcp.assert_whole();
        let stats = daemon::stats(&lab.router);
        assert_eq!(stats["tables"]["sessions"]["used"], 500);
        assert_dropped_for_room(&stats);
        // Who it was is told, and the remedy is at hand.
        let hosts = daemon::json(&lab.router, ["hosts", "--json", "--sort", "sessions"]);
        assert_eq!(hosts[0]["address"], HOST_B.to_string(), "{hosts}");
        daemon::output(&lab.router, ["flush", "--inside", "192.168.1.11"]);
        probe::ping(&lab.a, SERVER_1, 7).expect("a reply");
    });
}

/// What has been dropped, by reason.
pub fn dropped(stats: &Value) -> BTreeMap<&'static str, u64> {
    let reasons = Reason::ALL.iter().filter(|reason| reason.class() == Class::Dropped);
    let counts = reasons.map(|reason| (reason.label(), daemon::counter(stats, reason.label())));
    counts.filter(|(_, count)| *count > 0).collect()
}

/// Demands that packets were dropped, and all of them because a table was full.
#[track_caller]
pub fn assert_dropped_for_room(stats: &Value) {
    let dropped = dropped(stats);
    let for_room = |reason: &&str| reason.ends_with("_table_full");
    assert!(!dropped.is_empty() && dropped.keys().all(for_room), "{dropped:?}");
}

fn mac(text: &str) -> [u8; 6] {
    let bytes: Vec<_> = text.split(':').map(|part| u8::from_str_radix(part, 16)).collect();
    let bytes = bytes.into_iter().collect::<Result<Vec<_>, _>>().expect("hexadecimal numbers");
    bytes.try_into().expect("six of them")
}

#[test]
fn tables_that_find_no_memory_are_an_error_that_leaves_nothing() {
    let lab = Lab::new(Layout::default());
    let Some(group) = Group::new() else { return };
    // Enough for a daemon, and less than the empty table wants.
    group.limit(56 << 20);
    let before = State::of(&lab.router);
    let arguments = ["run", "--lan", "lan0", "--wan", "wan0", "--max-sessions", "2000000"];
    let mut command = daemon::masq(&lab.router, arguments);
    group.join(&mut command);
    let (status, log) = Masq::spawn(command).outcome();
    assert_eq!(status.code(), Some(1), "{log}");
    let error = log.lines().last().unwrap_or_default();
    assert!(error.contains("no memory for 2000000 sessions"), "{log}");
    assert!(error.contains("--max-sessions") && error.contains("MemoryMax="), "{log}");
    before.assert_restored(&lab.router);
}

/// The control group that masq runs in is full: no session finds memory, nor does the daemon, which may
/// be killed for it. What is established goes on, and with memory everything does.
#[test]
fn memory_that_runs_out_costs_new_flows_only() {
    let lab = Lab::new(Layout::default());
    let Some(group) = Group::new() else { return };
    let capture = Capture::start(&lab.isp, ISP_IF);
    let _clean = StopAtEnd(&lab.router);
    // Of ports that no inside endpoint has, so that no mapping preserves one.
    let ports = ["--mode", "tc", "--ports", "2000-20000"];
    let interfaces = ["run", "--lan", "lan0", "--wan", "wan0"];
    let mut command = daemon::masq(&lab.router, [&interfaces[..], &ports].concat());
    group.join(&mut command);
    let masq = Masq::spawn(command);
    masq.wait_for("ready");
    let udp = Datagrams::start(&lab.a, 40_000, &lab.server1);
    let tcp = Connection::start(&lab.a, (HOST_A, 41_000), &lab.server2);
    group.fill_up();
    // Sessions have their room from the start on; mappings with another port than the inside one take memory.
    open_from_many_ports(&lab.b, 5000);
    udp.go_on(50);
    group.limit(u64::MAX);
    // The daemon is there still, or has been killed for want of memory.
    let masq = if daemon::run(&lab.router, ["stats"]).status.success() {
        masq
    } else {
        drop(masq);
        let masq = Masq::start(&lab, ports);
        masq.wait_for("taken over from an earlier masq");
        masq
    };
    let stats = daemon::stats(&lab.router);
    assert_dropped_for_room(&stats);
    udp.assert_all_answered();
    tcp.assert_whole();
    let _server = echo::Server::start(&lab.server2, 53);
    let socket = lab.b.udp_bind(0);
    socket.set_read_timeout(Some(Duration::from_millis(100))).expect("set a timeout");
    let server = SocketAddrV4::new(SERVER_2, 53);
    eventually("a new flow with memory again", || echo::ask(&socket, server, b"question").ok());
    masq.stop();
    capture.finish().assert_clean();
}

/// Opens so many flows from a host, each from a port of its own, with one datagram.
fn open_from_many_ports(host: &Namespace, count: usize) {
    for _ in 0..count {
        // A port that is closed may have been answered by an error.
        let _ = host.udp_bind(0).send_to(b"hello", (SERVER_1, 1024));
    }
}

/// Opens so many flows from one port of a host, each with one datagram.
pub fn open_many(host: &Namespace, count: u16) {
    let socket = host.udp_bind(0);
    for i in 0..count {
        // A port that is closed may have been answered by an error.
        let _ = socket.send_to(b"hello", (SERVER_1, 1024 + i));
    }
}
