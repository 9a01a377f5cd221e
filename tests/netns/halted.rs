//! A daemon that is stopped by a signal, or does not get to run, for a while; and changes of the
//! machine that come faster than it can hear of them.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

use masq_tests::{
    daemon,
    lab::{HOST_A, HOST_B, Lab, ROUTER_WAN, SERVER_1, SERVER_2},
    packet::Packet,
    sockets::eventually,
    traffic::{echo, http, probe},
};
use nix::sys::signal::Signal;

use crate::{
    faults::{assert_dropped_for_room, dropped, open_many},
    flow::{Connection, Datagrams},
    in_both_modes,
    scene::{Scene, Setup},
};

in_both_modes!(
    a_halted_daemon_costs_nobody_a_packet,
    a_table_of_expired_sessions_is_swept_after_a_halt,
    changes_that_nobody_could_hear_of_are_not_missed,
);

const NEW_ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 77);

fn a_halted_daemon_costs_nobody_a_packet(setup: Setup) {
    // Every session is reported: more than the ring buffer holds.
    setup.arguments(&["-v", "--max-sessions", "50000"]).run(|scene| {
        let lab = scene.lab;
        let _web = http::Server::start(&lab.server1, 80);
        let udp = Datagrams::start(&lab.a, 40_000, &lab.server1);
        let tcp = Connection::start(&lab.a, (HOST_A, 41_000), &lab.server2);
        scene.gateway.daemon().signal(Signal::SIGSTOP);
        for _ in 0..200 {
            // At a pace that the lines of this network keep up with, whose queues are short.
            open_many(&lab.b, 100);
            probe::ping(&lab.b, SERVER_2, 1).expect("a reply");
        }
        http::download(&lab.b, (SERVER_1, 80), 100_000).expect("a new connection");
        // These wait for the daemon, as far as there is room.
        for id in 0..200 {
            let lost = Packet::udp((HOST_B, 50_000), (SERVER_1, 7000), &[0; 3000]).id(1 + id);
            lab.b.send_packet(&lost.fragment(1480, 2960).bytes());
        }
        probe::ping(&lab.b, SERVER_2, 1).expect("a reply");
        // Whoever asks is told, and does not wait for ever.
        let asked = daemon::run(&lab.router, ["stats"]);
        let error = String::from_utf8_lossy(&asked.stderr).into_owned();
        assert!(!asked.status.success() && error.contains("does not answer"), "{error}");
        let listed = daemon::output(&lab.router, ["instances"]);
        assert!(listed.contains("its daemon does not answer"), "{listed}");

        scene.gateway.daemon().signal(Signal::SIGCONT);
        let stats = daemon::stats(&lab.router);
        udp.assert_all_answered();
        tcp.assert_whole();
        assert!(daemon::counter(&stats, "event_lost") > 0, "{stats}");
        assert!(daemon::counter(&stats, "session_opened") > 15_000, "{stats}");
        let dropped = dropped(&stats);
        let known = ["fragment_early", "fragment_unknown"];
        assert!(dropped.keys().all(|reason| known.contains(reason)), "{dropped:?}");
        eventually("the end of the fragments that waited", || {
            let stats = daemon::stats(&lab.router);
            let waited = stats["slow_path"]["expired"].as_u64() > Some(0);
            (waited && stats["slow_path"]["parked"] == 0).then_some(())
        });
    });
}

fn a_table_of_expired_sessions_is_swept_after_a_halt(setup: Setup) {
    let few = ["--max-sessions", "300", "--udp-timeout", "1s", "--allow-short-timeouts"];
    setup.arguments(&few).run(|scene| {
        let lab = scene.lab;
        let udp = Datagrams::start(&lab.a, 40_000, &lab.server1);
        let _server = echo::Server::start(&lab.server2, 53);
        scene.gateway.daemon().signal(Signal::SIGSTOP);
        open_many(&lab.b, 1_000);
        let socket = lab.b.udp_bind(0);
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("set a timeout");
        let server = SocketAddrV4::new(SERVER_2, 53);
        echo::ask(&socket, server, b"question").expect_err("there is no room");
        scene.gateway.daemon().signal(Signal::SIGCONT);
        eventually("room for a new flow", || echo::ask(&socket, server, b"question").ok());
        udp.assert_all_answered();
        let stats = daemon::stats(&lab.router);
        assert_dropped_for_room(&stats);
        assert!(daemon::counter(&stats, "session_closed") > 0, "{stats}");
    });
}

fn changes_that_nobody_could_hear_of_are_not_missed(setup: Setup) {
    setup.arguments(&[]).run(|scene| {
        let lab = scene.lab;
        let udp = Datagrams::start(&lab.b, 40_000, &lab.server2);
        let _server = echo::Server::start(&lab.server1, 53);
        let socket = lab.a.udp_bind(0);
        let server = SocketAddrV4::new(SERVER_1, 53);
        let ask = || echo::ask(&socket, server, b"who am I?").map(|seen| *seen.ip());
        assert_eq!(ask().expect("an answer"), ROUTER_WAN);
        // While it listens.
        change_a_lot(lab);
        udp.go_on(50);
        udp.assert_all_answered();
        // And while it does not: far more than its socket has room for, and the one that counts is the
        // last.
        scene.gateway.daemon().signal(Signal::SIGSTOP);
        change_a_lot(lab);
        lab.set_wan_address(NEW_ADDRESS);
        scene.gateway.daemon().signal(Signal::SIGCONT);
        scene.gateway.daemon().wait_for("change faster than the kernel can tell of it");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("set a timeout");
        eventually("the new address", || ask().ok().filter(|seen| *seen == NEW_ADDRESS));
        assert_forgotten(scene, ROUTER_WAN);
    });
}

/// Demands that no session has this external address any more.
fn assert_forgotten(scene: &Scene, address: Ipv4Addr) {
    eventually("the end of the old sessions", || {
        let address = address.to_string();
        daemon::sessions(&scene.lab.router, &["--external", &address]).is_empty().then_some(())
    });
}

/// Thousands of changes of addresses and of an interface that are none of masq's business.
fn change_a_lot(lab: &Lab) {
    let each = |i: u32| {
        let address = Ipv4Addr::from_bits(0x0a63_0000 + i);
        let mtu = 60_000 + i;
        format!(
            "addr add {address}/32 dev lo\nlink set lo mtu {mtu}\naddr del {address}/32 dev lo\n"
        )
    };
    lab.router.ip(&(0..1_000).map(each).collect::<String>());
}
